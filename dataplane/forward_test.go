package dataplane

import (
	"net/netip"
	"testing"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
)

// Stations, and the rest of a frame that is of no protocol.
const (
	stA = "0200000000aa"
	stB = "0200000000bb"
	stC = "0200000000cc"
	all = "ffffffffffff"

	payload = "88b5 00112233445566778899aabbccddeeff 00112233445566778899aabbccddeeff"
	vlan10  = "8100 000a"
	vlan20  = "8100 0014"
)

func TestUnknownIsFloodedOnce(t *testing.T) {
	l := newLab(t, "a", "b", "c", "d")
	l.network(NetworkConfig{Name: "other"})
	l.attach(PortConfig{Name: "x", Network: "other", MTU: 1500, Up: true})
	for _, dst := range []string{stB, all, "01005e000001", "0180c2000000", "000000000000"} {
		l.send("a", dst+stA+payload)
		l.expect("to "+dst, dst+stA+payload, "b", "c", "d")
	}
	st := l.stats("a")
	if st.Flooded != 5 || st.Forwarded != 0 || st.RxPackets != 5 || st.RxBytes != 5*46 {
		t.Errorf("counters: %+v", st)
	}
	if st := l.stats("b"); st.TxPackets != 5 || st.TxBytes != 5*46 || st.RxPackets != 0 {
		t.Errorf("counters of a port that was flooded to: %+v", st)
	}
	for _, n := range l.sw.NetworkStats() {
		if want := map[string]uint64{"n": 5, "other": 0}[n.Name]; n.Flooded != want {
			t.Errorf("network %s flooded %d, want %d", n.Name, n.Flooded, want)
		}
	}
}

func TestLearnedUnicastGoesToOnePort(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	l.send("a", all+stA+payload)
	l.expect("broadcast", all+stA+payload, "b", "c")
	l.send("b", stA+stB+payload)
	l.expect("answer", stA+stB+payload, "a")
	l.send("a", stB+stA+payload)
	l.expect("and on", stB+stA+payload, "b")
	if st := l.stats("a"); st.Forwarded != 1 || st.Flooded != 1 {
		t.Errorf("counters: %+v", st)
	}
}

func TestStationMoves(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	l.send("a", all+stA+payload)
	l.expect("first heard", all+stA+payload, "b", "c")
	l.send("c", stB+stA+payload)
	l.expect("heard elsewhere", stB+stA+payload, "a", "b")
	l.send("b", stA+stB+payload)
	l.expect("to where it is now", stA+stB+payload, "c")
}

func TestStaticStationStays(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	if err := l.sw.AddFDB("a", 1, mac(t, stA)); err != nil {
		t.Fatal(err)
	}
	l.send("c", all+stA+payload) // spoofed
	l.expect("from elsewhere", all+stA+payload, "a", "b")
	l.send("b", stA+stB+payload)
	l.expect("pinned", stA+stB+payload, "a")
	if ok, err := l.sw.DelFDB("n", 1, mac(t, stA)); !ok || err != nil {
		t.Fatalf("delete: %v, %v", ok, err)
	}
	l.send("b", stA+stB+payload)
	l.expect("no longer", stA+stB+payload, "a", "c")
}

func TestLocalAddressIsNeverLearnedElsewhere(t *testing.T) {
	l := newLab(t, "a", "b")
	l.attach(PortConfig{Name: "h", Network: "n", Role: Host, MTU: 1500, Up: true, Local: mac(t, stC)})
	l.send("a", stC+stA+payload)
	l.expect("to the host, which was silent", stC+stA+payload, "h")
	l.send("b", all+stC+payload) // spoofed
	l.expect("as the host", all+stC+payload, "a", "h")
	l.send("a", stC+stA+payload)
	l.expect("to the host still", stC+stA+payload, "h")

	if _, err := l.sw.DelFDB("n", 1, mac(t, stC)); err == nil {
		t.Error("the host's own address could be deleted")
	}
	l.update("h", func(c *PortConfig) { c.Local = mac(t, stB) })
	l.send("a", stB+stA+payload)
	l.expect("to the host's new address", stB+stA+payload, "h")
	l.send("a", stC+stA+payload)
	l.expect("to its former one", stC+stA+payload, "b", "h")
}

func TestVLANsLearnSeparately(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	l.send("a", all+stA+vlan10+payload)
	l.expect("VLAN 10", all+stA+vlan10+payload, "b", "c")
	l.send("b", all+stA+vlan20+payload)
	l.expect("VLAN 20", all+stA+vlan20+payload, "a", "c")
	l.send("c", stA+stC+vlan10+payload)
	l.expect("to it in VLAN 10", stA+stC+vlan10+payload, "a")
	l.send("c", stA+stC+vlan20+payload)
	l.expect("to it in VLAN 20", stA+stC+vlan20+payload, "b")
	l.send("c", stA+stC+payload)
	l.expect("to it untagged", stA+stC+payload, "a", "b")
}

func TestTagsAtTheDoor(t *testing.T) {
	for _, c := range []struct{ name, in, out string }{
		{"untagged", payload, payload},
		{"VID 1 is the untagged one", "8100 0001" + payload, payload},
		{"VID 0 is untagged with a priority", "8100 e000" + payload, payload},
		{"VID 0, priority 0", "8100 0000" + payload, payload},
		{"VID 2", "8100 0002" + payload, "8100 0002" + payload},
		{"PCP and DEI are kept", "8100 f064" + payload, "8100 f064" + payload},
		{"VID 4094", "8100 0ffe" + payload, "8100 0ffe" + payload},
		{"802.1ad is payload", "88a8 0064" + payload, "88a8 0064" + payload},
		{"an inner tag stays", "8100 0064 8100 6014" + payload, "8100 0064 8100 6014" + payload},
	} {
		l := newLab(t, "a", "b", "c")
		l.send("a", stB+stA+c.in)
		l.expect(c.name+", unknown", stB+stA+c.out, "b", "c")
		l.send("b", stA+stB+c.in)
		l.expect(c.name+", known", stA+stB+c.out, "a")
		n := uint64(len(unhex(t, stA+stB+c.in)))
		if st := l.stats("b"); st.RxBytes != n {
			t.Errorf("%s: %d bytes in, want %d", c.name, st.RxBytes, n)
		}
		if st, n := l.stats("a"), uint64(len(unhex(t, stA+stB+c.out))); st.TxBytes != n {
			t.Errorf("%s: %d bytes out, want %d", c.name, st.TxBytes, n)
		}
	}

	// What would leave untagged, with a tag inside, would be taken for a frame of
	// that tag's VLAN.
	for _, tag := range []string{"8100 0001 8100 6014", "8100 0000 8100 6014", "8100 0001 8100 0001"} {
		l := newLab(t, "a", "b", "c")
		l.send("b", all+stB+payload)
		l.expect("", all+stB+payload, "a", "c")
		l.dropped(tag+" to all", "a", all+stA+tag+payload, frame.VLANDenied)
		l.dropped(tag+" to one", "a", stB+stA+tag+payload, frame.VLANDenied)
	}

	l := newLab(t, "a", "b")
	l.dropped("a tag cut short", "a", all+stA+"8100 00", frame.VLANDenied)

	// One broadcast domain, however they are tagged.
	l = newLab(t, "a", "b", "c")
	l.send("a", all+stA+payload)
	l.expect("untagged", all+stA+payload, "b", "c")
	for _, tag := range []string{"8100 0001", "8100 0000", "8100 a000"} {
		l.send("b", stA+stB+tag+payload)
		l.expect("known untagged, addressed with "+tag, stA+stB+payload, "a")
	}
}

func TestDrops(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	l.dropped("VID 4095", "a", all+stA+"8100 0fff"+payload, frame.VLANDenied)
	l.dropped("runt", "a", "0200000000bb 0200000000aa 08", frame.Malformed)
	l.dropped("nothing", "a", "", frame.Malformed)
	l.dropped("source null", "a", all+"000000000000"+payload, frame.Malformed)
	l.dropped("source a group", "a", all+"010000000001"+payload, frame.Malformed)
	l.dropped("PAUSE", "a", "0180c2000001"+stA+"8808 0001", frame.Reserved)
	l.dropped("LLDP in a VLAN", "a", "0180c200000e"+stA+vlan10+"88cc", frame.Reserved)
	l.send("a", "0180c2000000"+stA+"0026 424203")
	l.expect("a BPDU passes", "0180c2000000"+stA+"0026 424203", "b", "c")
	l.dropped("to itself", "a", stA+stA+payload, frame.SamePort)
	l.send("b", all+stB+payload)
	l.expect("", all+stB+payload, "a", "c")
	l.send("b", all+stC+payload)
	l.expect("", all+stC+payload, "a", "c")
	l.dropped("to a neighbour behind the same port", "b", stC+stB+payload, frame.SamePort)
	l.checkSums()
	if st := l.stats("a"); st.RxPackets != 9 {
		t.Errorf("%d frames in, want 9", st.RxPackets)
	}
}

func TestNoDestination(t *testing.T) {
	l := newLab(t, "a")
	l.dropped("alone", "a", all+stA+payload, frame.NoDestination)
	l.dropped("alone, unknown unicast", "a", stB+stA+payload, frame.NoDestination)
	l.attach(PortConfig{Name: "b", Network: "n", MTU: 1500, Up: true})
	l.send("b", all+stB+payload)
	l.expect("two", all+stB+payload, "a")
	if err := l.sw.AddFDB("b", 1, mac(t, stC)); err != nil {
		t.Fatal(err)
	}
	l.update("b", func(c *PortConfig) { c.Up = false })
	l.dropped("the other is down", "a", all+stA+payload, frame.NoDestination)
	l.dropped("pinned behind the one that is down", "a", stC+stA+payload, frame.NoDestination)
	l.update("b", func(c *PortConfig) { c.Up = true })
	l.send("a", stC+stA+payload)
	l.expect("up again", stC+stA+payload, "b")
	if err := l.sw.Detach("b"); err != nil {
		t.Fatal(err)
	}
	delete(l.ports, "b")
	l.dropped("the other is gone", "a", stC+stA+payload, frame.NoDestination)
}

// What was learned at a port goes with its link; others are not touched.
func TestDownForgetsStations(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	l.send("b", all+stB+payload)
	l.expect("", all+stB+payload, "a", "c")
	l.update("b", func(c *PortConfig) { c.Up = false })
	l.send("a", stB+stA+payload)
	l.expect("it may have been plugged in elsewhere", stB+stA+payload, "c")
}

func TestMTUIsTheEgressPorts(t *testing.T) {
	l := newLab(t, "a", "b")
	l.attach(PortConfig{Name: "small", Network: "n", MTU: 500, Up: true})
	long := append(unhex(t, all+stA+"88b5"), make([]byte, 501)...)
	for _, c := range []struct {
		data  []byte
		drops uint64
	}{{long[:514], 0}, {long, 1}} {
		l.inject("a", nil, c.data, 1)
		l.settle()
		b, small := l.ports["b"].Sent(), l.ports["small"].Sent()
		if len(b) != 1 || len(small) != int(1-c.drops) {
			t.Errorf("%d bytes: %d frames at b, %d at the small one", len(c.data), len(b), len(small))
		}
		if st := l.stats("small"); st.TxDrops[frame.MTU] != c.drops {
			t.Errorf("%d bytes: dropped %v at the small one", len(c.data), reasons(st.TxDrops))
		}
	}
	if st := l.stats("a"); st.Flooded != 2 || reasons(st.RxDrops)["mtu"] != 0 {
		t.Errorf("counters at ingress: %+v", st)
	}
	// A tag does not count, and a super-frame is as long as its segments.
	l.inject("a", nil, append(unhex(t, all+stA+vlan10+"88b5"), make([]byte, 500)...), 1)
	vnet, data := superTCP(t, stB, stA, 446, 4460) // segments of 500 at layer 3 are 10
	l.inject("a", vnet, data, 10)
	vnet, data = superTCP(t, stB, stA, 461, 4610)
	l.inject("a", vnet, data, 10)
	l.settle()
	if got := len(l.ports["small"].Sent()); got != 2 {
		t.Errorf("%d frames at the small one, want the tagged one and a super-frame", got)
	}
	if st := l.stats("small"); st.TxDrops[frame.MTU] != 1+10 || st.TxPackets != 1+1+10 {
		t.Errorf("dropped %v at the small one, %d sent", reasons(st.TxDrops), st.TxPackets)
	}
}

func TestTxFullIsTheEgressPorts(t *testing.T) {
	l := newLab(t, "a", "b")
	l.ports["b"].Limit = 3 // nothing was sent yet
	for range 5 {
		l.inject("a", nil, unhex(t, stB+stA+payload), 1)
	}
	l.settle()
	if st := l.stats("b"); st.TxPackets != 3 || st.TxDrops[frame.TxFull] != 2 {
		t.Errorf("%d sent, dropped %v", st.TxPackets, reasons(st.TxDrops))
	}
	if st := l.stats("a"); st.Flooded != 5 {
		t.Errorf("counters at ingress: %+v", st)
	}
}

func TestRingLossesAreCounted(t *testing.T) {
	l := newLab(t, "a", "b")
	l.sw.workers[0].call(func() { // nobody reads meanwhile
		w := l.sw.workers[1]
		w.call(func() {
			for range 1024 + 7 {
				l.inject("a", nil, unhex(t, all+stA+payload), 1)
			}
		})
	})
	l.settle()
	l.ports["b"].Sent()
	st := l.stats("a")
	if st.RxDrops[frame.RingFull] == 0 || st.RxDrops[frame.RingFull] > 7 || st.RxPackets != 1024+7 {
		t.Errorf("%d in, dropped %v", st.RxPackets, reasons(st.RxDrops))
	}
	l.checkSums()
}

// The uplink's own address belongs to the host's stack, which has the frame
// from the NIC: it comes in and must go nowhere, in any VLAN.
func TestUplinksOwnAddress(t *testing.T) {
	l := newLab(t, "a", "b")
	l.attach(PortConfig{Name: "up", Network: "n", Role: Uplink, MTU: 1500, Up: true, Local: mac(t, stC)})
	for _, tag := range []string{"", "8100 0001", "8100 0000", vlan10, vlan20} {
		l.send("up", stC+stB+tag+payload)
		l.expect("in from the wire, tag "+tag, "")
	}
	if st := l.stats("up"); st.Consumed != 5 || st.RxPackets != 5 {
		t.Errorf("%d frames in, %d consumed, want 5 and 5", st.RxPackets, st.Consumed)
	}
	l.send("up", all+stB+payload)
	l.expect("broadcast from the wire", all+stB+payload, "a", "b")
	l.send("a", stC+stA+payload)
	l.expect("a guest to it", stC+stA+payload, "up")
}

func TestHostOnlyHost(t *testing.T) {
	l := newLab(t)
	l.network(NetworkConfig{Name: "ho", HostOnly: true})
	for _, g := range []string{"a", "b"} {
		l.attach(PortConfig{Name: g, Network: "ho", MTU: 1500, Up: true})
	}
	l.attach(PortConfig{Name: "h", Network: "ho", Role: Host, MTU: 1500, Up: true, Local: mac(t, stC)})
	l.sw.SetHostAddresses([]netip.Addr{
		netip.MustParseAddr("::ffff:192.168.60.1"),
		netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fe80::1%h"),
	})
	const (
		v4head = "0800 4500 0014 0000 0000 4001 0000"
		v6head = "86dd 60000000 0000 3a40"
		guest4 = "c0a83c64" // 192.168.60.100
		host4  = "c0a83c01"
		away4  = "08080808"
		guest6 = "fd000000000000000000000000000064"
		host6  = "fd000000000000000000000000000001"
		away6  = "20010db8000000000000000000000001"
	)
	v4 := func(src, dst string) string { return v4head + src + dst }
	v6 := func(src, dst string) string { return v6head + src + dst }

	for _, c := range []struct{ name, data string }{
		{"IPv4 to the host", v4(guest4, host4)},
		{"IPv4 of a foreign source to the host", v4(away4, host4)},
		{"IPv6 to the host", v6(guest6, host6)},
		{"IPv6 to its link-local address", v6(guest6, "fe800000000000000000000000000001")},
		{"ARP", "0806 0001 0800 06 04 0001" + stA + guest4 + "000000000000" + host4},
		{"no IP", payload},
		{"IPv4 cut short", "0800 4500 0014"},
	} {
		l.send("a", stC+stA+c.data)
		l.expect(c.name, stC+stA+c.data, "h")
		l.send("a", all+stA+c.data)
		l.expect(c.name+", broadcast", all+stA+c.data, "b", "h")
	}
	for _, c := range []struct{ name, data string }{
		{"IPv4 to elsewhere", v4(guest4, away4)},
		{"IPv4 to another guest", v4(guest4, "c0a83c65")},
		{"IPv4 to the subnet's broadcast", v4(guest4, "c0a83cff")},
		{"IPv4 to 255.255.255.255", v4(guest4, "ffffffff")},
		{"IPv4 to a group", v4(guest4, "e0000001")},
		{"IPv6 to elsewhere", v6(guest6, away6)},
		{"IPv6 to another guest", v6(guest6, "fd000000000000000000000000000065")},
		{"IPv6 to a group", v6(guest6, "ff020000000000000000000000000001")},
	} {
		l.dropped(c.name, "a", stC+stA+c.data, frame.NoRoute)
		l.dropped(c.name+", VLAN 1", "a", stC+stA+"8100 0001"+c.data, frame.NoRoute)
		l.send("a", all+stA+c.data) // no host forwards what came to a group address of layer 2
		l.expect(c.name+", broadcast", all+stA+c.data, "b", "h")
		l.send("a", all+stA+vlan10+c.data)
		l.expect(c.name+", broadcast in VLAN 10", all+stA+vlan10+c.data, "b", "h")
	}

	for _, c := range []struct{ name, data string }{
		{"IPv4 from the host", v4(host4, guest4)},
		{"IPv4 from no address yet", v4("00000000", "ffffffff")},
		{"IPv6 from the host", v6(host6, guest6)},
		{"IPv6 from no address yet", v6("00000000000000000000000000000000", "ff020000000000000000000000000001")},
		{"ARP", "0806 0001 0800 06 04 0001" + stC + host4 + "000000000000" + guest4},
	} {
		l.send("h", stA+stC+c.data)
		l.expect(c.name, stA+stC+c.data, "a")
		l.send("h", all+stC+c.data)
		l.expect(c.name+", broadcast", all+stC+c.data, "a", "b")
	}
	for _, c := range []struct{ name, data string }{
		{"IPv4 forwarded by the host", v4(away4, guest4)},
		{"IPv6 forwarded by the host", v6(away6, guest6)},
	} {
		l.dropped(c.name, "h", stA+stC+c.data, frame.NoRoute)
		l.dropped(c.name+", broadcast", "h", all+stC+c.data, frame.NoRoute)
	}

	// Guests among themselves are none of this.
	l.send("b", stA+stB+v4(away4, away4))
	l.expect("guest to guest", stA+stB+v4(away4, away4), "a")
	l.checkSums()
}

// In a network of another mode the host's leg is a port like any other.
func TestHostOfOtherModes(t *testing.T) {
	l := newLab(t, "a")
	l.attach(PortConfig{Name: "h", Network: "n", Role: Host, MTU: 1500, Up: true, Local: mac(t, stC)})
	const packet = "0800 4500 0014 0000 0000 4001 0000 0a000001 08080808"
	l.send("a", stC+stA+packet)
	l.expect("to elsewhere", stC+stA+packet, "h")
	l.send("h", stA+stC+packet)
	l.expect("from elsewhere", stA+stC+packet, "a")
}

func TestSuperFrameIsCountedAsTheWireWould(t *testing.T) {
	l := newLab(t, "a", "b")
	vnet, data := superTCP(t, stB, stA, 1000, 2500)
	l.inject("a", vnet, data, 3)
	l.settle()
	if sent := l.ports["b"].Sent(); len(sent) != 1 || len(sent[0]) != frame.VNetLen+len(data) || sent[0][1] != 1 {
		t.Errorf("%d frames left, want the super-frame", len(sent))
	}
	const wire = 2500 + 3*54
	if st := l.stats("a"); st.RxPackets != 3 || st.RxBytes != wire || st.Flooded != 3 {
		t.Errorf("in: %+v", st)
	}
	if st := l.stats("b"); st.TxPackets != 3 || st.TxBytes != wire {
		t.Errorf("out: %+v", st)
	}
	vnet[1] = 3 // UDP fragmentation
	l.inject("a", vnet, data, 1)
	l.settle()
	if st := l.stats("a"); st.RxDrops[frame.UnsupportedGSO] != 1 {
		t.Errorf("dropped %v, want one unsupported_gso", reasons(st.RxDrops))
	}
	l.checkSums()
}

// superTCP is an untagged IPv4 TCP super-frame.
func superTCP(t testing.TB, dst, src string, size, payload int) (vnet, data []byte) {
	t.Helper()
	data = unhex(t, dst+src+"0800 4500 0000 0001 4000 4006 0000 0a000001 0a000002"+
		"8000 0009 00000001 00000000 5010 ffff 0000 0000")
	return []byte{1, 1, 0, 0, byte(size), byte(size >> 8), 34, 0, 16, 0}, append(data, make([]byte, payload)...)
}

func TestFDBListsWhoIsWhere(t *testing.T) {
	l := newLab(t, "a", "b")
	l.attach(PortConfig{Name: "h", Network: "n", Role: Host, MTU: 1500, Up: true, Local: mac(t, stC)})
	l.send("a", all+stA+vlan10+payload)
	if err := l.sw.AddFDB("b", 1, mac(t, stB)); err != nil {
		t.Fatal(err)
	}
	list, err := l.sw.FDB("n")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		got = append(got, e.Kind.String()+" "+e.Key.MAC().String()+" "+e.PortName)
	}
	want := []string{
		fdb.Static.String() + " 02:00:00:00:00:bb b", fdb.Local.String() + " 02:00:00:00:00:cc h", fdb.Dynamic.String() + " 02:00:00:00:00:aa a",
	}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || list[2].Key.VLAN() != 10 {
		t.Errorf("%q, want %q", got, want)
	}
	for _, c := range []struct {
		network, port string
		want          int
		ok            bool
	}{{"n", "b", 0, true}, {"", "a", 1, true}, {"n", "", 0, true}, {"none", "", 0, false}, {"other", "a", 0, false}, {"", "none", 0, false}} {
		if n, err := l.sw.FlushFDB(c.network, c.port); n != c.want || (err == nil) != c.ok {
			t.Errorf("flush network %q port %q: %d, %v; want %d", c.network, c.port, n, err, c.want)
		}
	}
}

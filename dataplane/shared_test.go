package dataplane

import (
	"errors"
	"fmt"
	"testing"

	"gxswitch/internal/frame"
)

// sharedNIC is a NIC of three networks: VLAN 4094 is br0, 4093 is br1, and all the
// others are tagged0.
func sharedNIC(t *testing.T) *lab {
	l := newLab(t)
	for _, n := range []string{"br0", "br1", "tagged0"} {
		l.network(NetworkConfig{Name: n})
	}
	l.attach(PortConfig{Name: "nic", Network: "br0", Role: Uplink, MTU: 1500, Up: true, UplinkVLAN: 4094})
	l.share(PortConfig{Name: "nic in br1", Network: "br1", Role: Uplink, MTU: 1500, Up: true, UplinkVLAN: 4093}, "nic")
	l.share(PortConfig{Name: "nic in tagged0", Network: "tagged0", Role: Uplink, MTU: 1500, Up: true}, "nic")
	for _, n := range []string{"br0", "br1", "tagged0"} {
		l.attach(PortConfig{Name: "guest of " + n, Network: n, MTU: 1500, Up: true})
	}
	return l
}

func TestNetworksShareANIC(t *testing.T) {
	l := sharedNIC(t)
	for _, c := range []struct{ tag, guest, inside string }{
		{"8100 0ffe", "guest of br0", ""},
		{"8100 7ffe", "guest of br0", ""},
		{"8100 0ffd", "guest of br1", ""},
		{"", "guest of tagged0", ""},
		{"8100 0000", "guest of tagged0", ""},
		{vlan10, "guest of tagged0", vlan10},
	} {
		l.send("nic", all+stA+c.tag+payload)
		l.expect("in with tag "+c.tag, all+stA+c.inside+payload, c.guest)
	}
	for _, c := range []struct{ guest, inside, tag string }{
		{"guest of br0", "", "8100 0ffe"},
		{"guest of br0", "8100 e000", "8100 effe"},
		{"guest of br0", "8100 0001" + vlan10, "8100 0ffe" + vlan10}, // its own affair behind the tag
		{"guest of br1", "", "8100 0ffd"},
		{"guest of tagged0", "", ""},
		{"guest of tagged0", vlan10, vlan10},
	} {
		l.send(c.guest, all+stB+c.inside+payload)
		l.expect(c.guest+", out", all+stB+c.tag+payload, "nic")
	}
	l.dropped("a VLAN of br0, which has one", "guest of br0", all+stB+vlan10+payload, frame.NoDestination)
	before := l.stats("nic in tagged0")
	l.send("nic", all+stA+"8100 0fff"+payload)
	l.expect("VLAN 4095", "")
	l.counted("VLAN 4095", "nic in tagged0", before, frame.VLANDenied, 1)
}

// What one network of a NIC has, another neither gets nor sends: a guest of
// tagged0 would else speak in the VLAN of br0, and br0's machines outside hear it.
func TestRestOfANICLeavesOthersVLANsAlone(t *testing.T) {
	l := sharedNIC(t)
	for _, tag := range []string{"8100 0ffe", "8100 0ffd"} {
		l.send("guest of tagged0", all+stB+tag+payload)
		l.expect("to all with tag "+tag, "")
		if err := l.sw.AddFDB("nic in tagged0", uint16(unhex(t, tag)[2])<<8&0xf00|uint16(unhex(t, tag)[3]), mac(t, stA)); err != nil {
			t.Fatal(err)
		}
		l.send("guest of tagged0", stA+stB+tag+payload)
		l.expect("to one with tag "+tag, "")
	}
	if err := l.sw.Detach("nic in br1"); err != nil {
		t.Fatal(err)
	}
	delete(l.of, "nic in br1")
	l.send("guest of tagged0", all+stB+"8100 0ffd"+payload)
	l.expect("br1 has gone", all+stB+"8100 0ffd"+payload, "nic")
	l.checkSums()
}

func TestVLANOfANICChanges(t *testing.T) {
	l := sharedNIC(t)
	l.attach(PortConfig{Name: "second guest", Network: "br0", MTU: 1500, Up: true})
	l.send("nic", all+stA+"8100 0ffe"+payload)
	l.expect("in VLAN 4094", all+stA+payload, "guest of br0", "second guest")
	for _, taken := range []uint16{0, 4093} {
		if err := l.sw.Update("nic", func(c *PortConfig) { c.UplinkVLAN = taken }); !errors.Is(err, ErrShared) {
			t.Errorf("to VLAN %d: %v, want %v", taken, err, ErrShared)
		}
	}
	l.update("nic", func(c *PortConfig) { c.UplinkVLAN = 20 })
	l.send("nic", all+stC+vlan20+payload)
	l.expect("in VLAN 20", all+stC+payload, "guest of br0", "second guest")
	l.send("nic", all+stC+"8100 0ffe"+payload)
	l.expect("VLAN 4094 is one of the others", all+stC+"8100 0ffe"+payload, "guest of tagged0")

	// Who was heard in VLAN 4094 is not behind VLAN 20.
	l.inject("guest of br0", nil, unhex(t, stA+stB+payload), 1)
	l.settle()
	if got := l.left(); got["nic"] != 1 || got["second guest"] != 1 {
		t.Errorf("to a station of the former VLAN: left by %v, want it flooded", got)
	}
	l.checkSums()
}

// What a NIC's ring had no room for is lost once, however many networks share it.
func TestRingLossesOfASharedNICAreCountedOnce(t *testing.T) {
	l := sharedNIC(t)
	const lost = 5
	l.ports["nic"].Limit = 0 // nothing came yet
	for range lost {
		l.ports["nic"].Inject(nil, unhex(t, all+stA+payload))
	}
	var counted uint64
	for _, st := range l.sw.PortStats() {
		counted += st.RxDrops[frame.RingFull]
	}
	if counted != lost {
		t.Errorf("%d frames counted as %v, want %d", lost, frame.RingFull, counted)
	}
	l.checkSums()
}

// Members of a NIC come and go by themselves; the NIC closes with the last.
func TestSharedNICOutlivesItsMembers(t *testing.T) {
	l := newLab(t)
	for _, n := range []string{"br0", "br1", "tagged0"} {
		l.network(NetworkConfig{Name: n})
		l.attach(PortConfig{Name: "guest of " + n, Network: n, MTU: 1500, Up: true})
	}
	w := newWitness(t, "nic")
	if err := l.sw.Attach(PortConfig{Name: "nic", Network: "br0", Role: Uplink, MTU: 1500, Up: true, UplinkVLAN: 4094}, w); err != nil {
		t.Fatal(err)
	}
	l.ports["nic"], l.sent["nic"], l.of["nic"] = w.Memory, 0, "nic"
	br1 := PortConfig{Name: "nic in br1", Network: "br1", Role: Uplink, MTU: 1500, Up: true, UplinkVLAN: 4093}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"VLAN taken", l.sw.Share(PortConfig{Name: "nic again", Network: "br1", UplinkVLAN: 4094}, "nic"), ErrShared},
		{"no such port", l.sw.Share(br1, "eth9"), ErrNoPort},
		{"no such network", l.sw.Share(PortConfig{Name: "nic in br9", Network: "br9", UplinkVLAN: 9}, "nic"), ErrNoNetwork},
		{"name taken", l.sw.Share(PortConfig{Name: "nic", Network: "br1", UplinkVLAN: 9}, "nic"), ErrExists},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	l.dropped("nobody has VLAN 4093", "nic", all+stA+"8100 0ffd"+payload, frame.VLANDenied)
	l.dropped("nobody has untagged frames", "nic", all+stA+payload, frame.VLANDenied)
	l.share(br1, "nic")
	l.send("nic", all+stA+"8100 0ffd"+payload)
	l.expect("br1 has", all+stA+payload, "guest of br1")

	if err := l.sw.Detach("nic"); err != nil { // the one that opened it
		t.Fatal(err)
	}
	l.of["nic in br1"] = "nic"
	l.sent["nic"] = l.stats("nic in br1").RxPackets
	l.send("nic", all+stA+"8100 0ffd"+payload)
	l.expect("br1 has still", all+stA+payload, "guest of br1")
	l.dropped("br0 is gone", "guest of br0", all+stB+payload, frame.NoDestination)
	l.send("guest of br1", stA+stB+payload)
	l.expect("out", stA+stB+"8100 0ffd"+payload, "nic")
	if w.closed.Load() {
		t.Fatal("closed while br1 uses it")
	}
	if err := l.sw.Detach("nic in br1"); err != nil {
		t.Fatal(err)
	}
	if err := l.sw.Close(); err != nil { // waits for what was detached
		t.Fatal(err)
	}
	if !w.closed.Load() {
		t.Error("not closed with its last member")
	}
}

// The statistics of VLANs add up to what came in.
func TestVLANCounters(t *testing.T) {
	l := newLab(t)
	l.attach(PortConfig{Name: "a", Network: "n", MTU: 1500, Up: true, VLANs: vlans(t, "10p/20")})
	l.attach(PortConfig{Name: "b", Network: "n", MTU: 1500, Up: true, VLANs: vlans(t, "1p/10/20")})
	for _, f := range []string{payload, vlan10 + payload, vlan20 + payload, vlan20 + payload, "8100 001e" + payload} {
		l.send("a", all+stA+f)
	}
	l.send("b", all+stB+vlan20+payload)
	l.left()
	got := map[uint16]string{}
	for _, v := range l.sw.VLANStats() {
		got[v.VLAN] = fmt.Sprint(v.Network, v.Untagged, v.Tagged, v.RxPackets, v.RxBytes, v.FDBEntries)
	}
	want := map[uint16]string{
		1:  fmt.Sprint("n", []string{"b"}, []string(nil), 0, 0, 0),
		10: fmt.Sprint("n", []string{"a"}, []string{"b"}, 2, 46+50, 1),
		20: fmt.Sprint("n", []string(nil), []string{"a", "b"}, 3, 3*50, 2),
	}
	for vid, w := range want {
		if got[vid] != w {
			t.Errorf("VLAN %d: %s, want %s", vid, got[vid], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d VLANs, want %d: %v", len(got), len(want), got)
	}
}

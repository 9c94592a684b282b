package dataplane

import (
	"encoding/binary"
	"fmt"
	"maps"
	"testing"
	"time"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
)

// street is a switch with a guest that must be who it is, a neighbour that is
// held to its addresses too, a guest that is held to nothing, and a NIC.
func street(t *testing.T) *lab {
	l := newLab(t)
	l.attach(PortConfig{Name: "guest", Network: "n", MTU: 1500, Up: true, Policy: heldTo(t, guestMAC, "10.0.0.5", "fd00::5", "fe80::ff:fe00:5")})
	l.attach(PortConfig{Name: "neighbour", Network: "n", MTU: 1500, Up: true, Policy: heldTo(t, neighbourMAC, "10.0.0.6")})
	l.attach(PortConfig{Name: "free", Network: "n", MTU: 1500, Up: true})
	l.attach(PortConfig{Name: "up", Network: "n", Role: Uplink, MTU: 1500, Up: true})
	l.send("neighbour", all+neighbourMAC+arp(1, neighbourMAC, neighbour4))
	l.expect("the neighbour", all+neighbourMAC+arp(1, neighbourMAC, neighbour4), "guest", "free", "up")
	return l
}

// What a hostile guest sends goes nowhere, sent to one or to all, and is counted
// under its reason. What a benign one sends that looks like it passes.
func TestHostileGuest(t *testing.T) {
	l := street(t)
	const other = "020000000007"
	fragment := func(next int, rest string) string { return fmt.Sprintf("%02x 00 0001 00000001", next) + rest }
	router := func(payload string, next int) string {
		return guestMAC + ip6("fe800000000000000000000000000001", all6, next, payload)
	}
	mine := func(payload string, next int) string { return guestMAC + ip6(guestLL, all6, next, payload) }
	for _, c := range []struct {
		name    string
		hostile string // from its source MAC on
		reason  frame.DropReason
		benign  string
	}{
		{"MAC of nobody", other + payload, frame.SpoofMAC, guestMAC + payload},
		{"MAC of the neighbour", neighbourMAC + payload, frame.SpoofMAC, guestMAC + payload},
		{"MAC of the neighbour, tagged", neighbourMAC + vlan10 + payload, frame.SpoofMAC, guestMAC + vlan10 + payload},
		{"ARP for the neighbour", guestMAC + arp(2, guestMAC, neighbour4), frame.SpoofARP, guestMAC + arp(2, guestMAC, guest4)},
		{"ARP with the neighbour's MAC", guestMAC + arp(2, neighbourMAC, guest4), frame.SpoofARP, guestMAC + arp(1, guestMAC, guest4)},
		{"ARP for the gateway", guestMAC + arp(1, guestMAC, server4), frame.SpoofARP, guestMAC + arp(1, guestMAC, nobody4)},
		{"ARP in VLAN 10", guestMAC + vlan10 + arp(2, guestMAC, neighbour4), frame.SpoofARP, guestMAC + vlan10 + arp(2, guestMAC, guest4)},
		{"ARP in an 802.1ad tag", guestMAC + "88a8 0005" + arp(2, guestMAC, neighbour4), frame.SpoofARP, guestMAC + "88a8 0005" + arp(2, guestMAC, guest4)},
		{"IPv4", guestMAC + ip4(neighbour4, server4, 6, tcp), frame.SpoofIP, guestMAC + ip4(guest4, server4, 6, tcp)},
		{"IPv4 in SNAP", guestMAC + "0030 aaaa03 000000" + ip4(neighbour4, server4, 6, tcp), frame.SpoofIP, guestMAC + "0030 aaaa03 000000" + ip4(guest4, server4, 6, tcp)},
		{"IPv6", guestMAC + ip6(neighbour6, all6, 6, tcp), frame.SpoofIP, guestMAC + ip6(guest6, all6, 6, tcp)},
		{"ND for the neighbour", guestMAC + ip6(guest6, all6, 58, na(neighbour6)), frame.SpoofARP, guestMAC + ip6(guest6, all6, 58, na(guest6))},
		{"ND with the neighbour's MAC", guestMAC + ip6(guest6, all6, 58, na(guest6)+"0201"+neighbourMAC), frame.SpoofARP, guestMAC + ip6(guest6, all6, 58, na(guest6)+"0201"+guestMAC)},
		{"RA", mine(ra, 58), frame.RAGuard, mine("85 00 0000 00000000", 58)},
		{"RA of the router", router(ra, 58), frame.RAGuard, mine(echo6, 58)},
		{"redirect", mine(redirect, 58), frame.RAGuard, mine(echo6, 58)},
		{"RA behind headers", mine("3c"+options+"3a"+options+ra, 0), frame.RAGuard, mine("3c"+options+"3a"+options+echo6, 0)},
		{"RA in a fragment", mine(fragment(58, ra), 44), frame.RAGuard, mine(fragment(58, echo6), 44)},
		{"RA behind a header in a fragment", mine(fragment(60, "3a"+options+ra), 44), frame.RAGuard, mine("3a"+options+echo6, 60)},
		{"a first fragment that hides what it is", mine(fragment(60, "3a 01 0104 00000000"), 44), frame.RAGuard, mine(fragment(17, udp(5353, 5353, "")), 44)},
		{"RA in VLAN 10", guestMAC + vlan10 + ip6(guestLL, all6, 58, ra), frame.RAGuard, guestMAC + vlan10 + ip6(guestLL, all6, 58, echo6)},
		{"DHCP offer", guestMAC + ip4(guest4, all4, 17, udp(67, 68, bootp(2, neighbour4, neighbourMAC, "350102 ff"))), frame.DHCPGuard, guestMAC + discover(guestMAC)},
		{"DHCP from another port", guestMAC + ip4(guest4, all4, 17, udp(1067, 68, bootp(2, neighbour4, neighbourMAC, "350102 ff"))), frame.DHCPGuard, guestMAC + request(guestMAC)},
		{"DHCP request of the neighbour", guestMAC + request(neighbourMAC), frame.SpoofMAC, guestMAC + request(guestMAC)},
		{"DHCPv6 advertise", mine(udp(547, 546, "02 000001"), 17), frame.DHCPGuard, mine(udp(546, 547, "01 000001"), 17)},
	} {
		before := l.stats("guest")
		for _, dst := range []string{neighbourMAC, all} {
			l.dropped(c.name+", to "+dst, "guest", dst+c.hostile, c.reason)
		}
		l.counted(c.name, "guest", before, c.reason, 2)
		before = l.stats("guest")
		// In a VLAN of a tag the neighbour has not been heard.
		l.send("guest", all+c.benign)
		l.expect(c.name+": benign, to all", all+c.benign, "neighbour", "free", "up")
		l.counted(c.name+": benign", "guest", before, frame.Pass, 0)
	}
	l.dropped("BPDU", "guest", "0180c2000000"+guestMAC+"0026 424203", frame.BPDUGuard)
	l.dropped("BPDU in VLAN 10", "guest", "0180c2000000"+guestMAC+vlan10+"0026 424203", frame.BPDUGuard)
	l.dropped("PVST+", "guest", "01000ccccccd"+guestMAC+"0032 aaaa03 00000c 010b", frame.BPDUGuard)
	l.send("guest", "01000ccccccc"+guestMAC+"0032 aaaa03 00000c 2000")
	l.expect("CDP", "01000ccccccc"+guestMAC+"0032 aaaa03 00000c 2000", "neighbour", "free", "up")
	l.send("free", "0180c2000000020000000011 0026 424203")
	l.expect("a BPDU where none guards", "0180c2000000020000000011 0026 424203", "guest", "neighbour", "up")

	// Nothing of it was learned.
	l.send("up", neighbourMAC+serverMAC+payload)
	l.expect("to the neighbour still", neighbourMAC+serverMAC+payload, "neighbour")
	l.checkSums()
}

// The tag that is left of two must not be one that a bridge behind takes for the
// frame's VLAN.
func TestVLANHopping(t *testing.T) {
	l := newLab(t)
	for name, set := range map[string]string{"attacker": "10", "peer": "10", "victim": "20", "native": "10p/20"} {
		l.attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true, VLANs: vlans(t, set)})
	}
	l.send("victim", all+stB+payload)
	l.expect("the victim is heard", all+stB+vlan20+payload, "native")
	l.send("peer", all+stC+payload)
	l.expect("the peer is heard", all+stC+payload, "attacker", "native")
	for _, c := range []struct{ name, tags string }{
		{"its own VLAN outside, the victim's inside", vlan10 + vlan20},
		{"a priority outside, the victim's inside", "8100 e000" + vlan20},
		{"its own VLAN twice", vlan10 + vlan10},
		{"its own VLAN outside, a priority inside", vlan10 + "8100 0000"},
		{"three tags", vlan10 + vlan10 + vlan20},
		{"the victim's VLAN", vlan20},
		{"the victim's VLAN outside, its own inside", vlan20 + vlan10},
		{"VLAN 1, that of ports without settings", "8100 0001"},
		{"VLAN 4095", "8100 0fff"},
	} {
		for _, dst := range []string{stB, stC, all, "01005e000001"} {
			l.dropped(c.name+", to "+dst, "attacker", dst+stA+c.tags+payload, frame.VLANDenied)
		}
	}
	if err := l.sw.AddFDB("victim", 10, mac(t, "020000000077")); err != nil {
		t.Fatal(err)
	}
	l.dropped("an operator's entry carries no VLAN to the victim", "attacker", "020000000077"+stA+payload, frame.VLANDenied)
	l.dropped("native VLAN outside, the victim's inside", "native", all+"020000000001"+vlan10+vlan20+payload, frame.VLANDenied)
	for _, tag := range []string{"", vlan10, "8100 e000"} {
		l.send("attacker", all+stA+tag+payload)
		l.expect("benign, tag "+tag, all+stA+payload, "peer", "native")
	}
	l.send("attacker", stC+stA+"88a8 0014"+payload)
	l.expect("an 802.1ad tag is payload", stC+stA+"88a8 0014"+payload, "peer")
	l.send("native", stB+"020000000001"+vlan20+payload)
	l.expect("from where VLAN 20 is carried", stB+"020000000001"+payload, "victim")

	// Where the VLAN leaves tagged, a tag inside is payload.
	l.attach(PortConfig{Name: "trunk", Network: "n", MTU: 1500, Up: true, VLANs: vlans(t, "1p/10/20")})
	l.send("attacker", all+stA+vlan10+vlan20+payload)
	l.expect("to a trunk", all+stA+vlan10+vlan20+payload, "trunk")
	l.checkSums()
}

// macs are frames to a station, each from another MAC.
func macs(t *testing.T, dst string, n int) (frames [][]byte) {
	for i := range uint32(n) {
		data := unhex(t, dst+"0200 00000000"+payload)
		binary.BigEndian.PutUint32(data[8:], (i+1)*2654435761)
		frames = append(frames, data)
	}
	return frames
}

func TestFloodOfMACsBehindALimit(t *testing.T) {
	const invented, limit = 20_000, 16
	l := newLab(t, "a", "b")
	l.attach(PortConfig{Name: "attacker", Network: "n", MTU: 1500, Up: true, MACLimit: limit})
	l.attach(PortConfig{Name: "held", Network: "n", MTU: 1500, Up: true, Policy: filter.Policy{Antispoof: filter.MAC, MAC: mac(t, guestMAC)}})
	for _, s := range []struct{ port, station string }{{"a", stA}, {"b", stB}, {"held", guestMAC}} {
		l.send(s.port, all+s.station+payload)
	}
	l.left()
	entries := func(port string) (n int) {
		list, err := l.sw.FDB("n")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.PortName == port {
				n++
			}
		}
		return n
	}

	l.ports["a"].Discard()
	l.atOnce("attacker", 0, macs(t, stA, invented)...)
	if n := entries("attacker"); n != limit {
		t.Errorf("with a limit: %d addresses, want %d", n, limit)
	}
	if st := l.stats("attacker"); st.Forwarded != invented {
		t.Errorf("with a limit: %d forwarded, dropped %v; want %d", st.Forwarded, reasons(st.RxDrops), invented)
	}

	before := l.stats("held")
	l.atOnce("held", 0, macs(t, stA, invented)...)
	l.counted("held to its MAC", "held", before, frame.SpoofMAC, invented)
	if n := entries("held"); n != 1 {
		t.Errorf("held to its MAC: %d addresses, want 1", n)
	}

	l.send("a", stB+stA+payload)
	l.expect("the others are known still", stB+stA+payload, "b")
	l.checkSums()
}

// A storm passes as far as its burst goes, and then at its rate; each class by
// itself, and what is known not at all.
func TestStorms(t *testing.T) {
	const rate, burst, storm = 2000, 100, 600
	l := newLab(t)
	l.attach(PortConfig{Name: "stormy", Network: "n", MTU: 1500, Up: true, Storm: rate})
	for _, name := range []string{"b", "c"} {
		l.attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true})
		l.ports[name].Limit = 10 * storm
	}
	if err := l.sw.AddFDB("b", 1, mac(t, stB)); err != nil {
		t.Fatal(err)
	}
	of := func(dst string, n int) (frames [][]byte) {
		for range n {
			frames = append(frames, unhex(t, dst+stA+payload))
		}
		return frames
	}
	now := int64(time.Hour)
	for _, c := range []struct{ name, dst string }{
		{"broadcast", all}, {"multicast", "01005e000001"}, {"IPv6 multicast", "333300000001"},
		{"BPDUs", "0180c2000000"}, {"unknown unicast", stC},
	} {
		now += int64(time.Hour) // all is full again
		for _, step := range []struct {
			name    string
			after   time.Duration
			n, pass int
		}{
			{"a storm", 0, storm, burst},
			{"10 ms later", 10 * time.Millisecond, storm, 20},
			{"an hour later, as much as a burst", time.Hour, burst, burst},
			{"one more", 0, 1, 0},
		} {
			now += int64(step.after)
			before := l.stats("stormy")
			l.atOnce("stormy", now, of(c.dst, step.n)...)
			l.counted(c.name+", "+step.name, "stormy", before, frame.Storm, uint64(step.n-step.pass))
			want := map[string]int{"b": step.pass, "c": step.pass}
			if step.pass == 0 {
				want = map[string]int{}
			}
			if got := l.left(); !maps.Equal(got, want) {
				t.Errorf("%s, %s: left %v, want %v", c.name, step.name, got, want)
			}
		}
		before := l.stats("stormy")
		l.atOnce("stormy", now, of(stB, storm)...)
		l.counted(c.name+": known unicast", "stormy", before, frame.Pass, 0)
		if got := l.left(); !maps.Equal(got, map[string]int{"b": storm}) {
			t.Errorf("%s: known unicast: left %v, want %d at b", c.name, got, storm)
		}
	}

	// A storm of one class leaves the others their share.
	now += int64(time.Hour)
	l.atOnce("stormy", now, of(all, storm)...)
	l.left()
	before := l.stats("stormy")
	l.atOnce("stormy", now, append(of("01005e000001", burst), of(stC, burst)...)...)
	l.counted("after a storm of another class", "stormy", before, frame.Pass, 0)
	if got := l.left(); !maps.Equal(got, map[string]int{"b": 2 * burst, "c": 2 * burst}) {
		t.Errorf("after a storm of another class: left %v", got)
	}

	// Others are not held to it.
	before = l.stats("b")
	l.atOnce("b", now, of(all, storm)...)
	l.counted("from a port without a limit", "b", before, frame.Pass, 0)
	l.checkSums()
}

// Nobody uses the MAC of a guest that is held to it, and what is for that guest
// stays its.
func TestTheftOfAMAC(t *testing.T) {
	l := street(t)
	l.attach(PortConfig{Name: "thief", Network: "n", MTU: 1500, Up: true, Policy: filter.Policy{Antispoof: filter.MAC, MAC: mac(t, stC)}})
	others := func(port string) (names []string) {
		for _, name := range []string{"guest", "neighbour", "free", "up", "thief"} {
			if name != port {
				names = append(names, name)
			}
		}
		return names
	}
	for _, thief := range []string{"thief", "free"} {
		for _, dst := range []string{all, guestMAC, stB} {
			l.dropped(thief+" as the neighbour, to "+dst, thief, dst+neighbourMAC+payload, frame.SpoofMAC)
			l.dropped(thief+" as the neighbour in a VLAN, to "+dst, thief, dst+neighbourMAC+vlan10+payload, frame.SpoofMAC)
		}
		l.send("up", neighbourMAC+serverMAC+payload)
		l.expect("to the neighbour", neighbourMAC+serverMAC+payload, "neighbour")
	}
	l.send("thief", all+stC+payload)
	l.expect("as itself", all+stC+payload, others("thief")...)
	l.send("free", all+stA+payload)
	l.expect("as itself, held to nothing", all+stA+payload, others("free")...)
	l.send("neighbour", all+neighbourMAC+payload)
	l.expect("the owner", all+neighbourMAC+payload, others("neighbour")...)

	// A machine may move away: what the NIC says counts.
	l.send("up", all+neighbourMAC+payload)
	l.expect("by the NIC", all+neighbourMAC+payload, others("up")...)

	// Who is held to no MAC owns none.
	l.update("neighbour", func(c *PortConfig) { c.Policy = filter.Policy{} })
	l.send("free", all+neighbourMAC+payload)
	l.expect("no longer held", all+neighbourMAC+payload, others("free")...)
	l.checkSums()
}

func TestIsolatedPorts(t *testing.T) {
	l := newLab(t, "a")
	for _, name := range []string{"i1", "i2"} {
		l.attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true, Isolated: true})
	}
	l.send("i2", all+stB+payload)
	l.expect("an isolated port to all", all+stB+payload, "a")
	l.send("a", all+stA+payload)
	l.expect("to isolated ports", all+stA+payload, "i1", "i2")
	l.dropped("unicast", "i1", stB+stC+payload, frame.Isolated)
	l.send("i1", stA+stC+payload)
	l.expect("unicast to one that is not", stA+stC+payload, "a")
	l.send("a", stC+stA+payload)
	l.expect("and back", stC+stA+payload, "i1")
	for _, dst := range []string{all, "01005e000001", "020000000077"} {
		l.send("i1", dst+stC+payload)
		l.expect("to "+dst, dst+stC+payload, "a")
	}
	if err := l.sw.Detach("a"); err != nil {
		t.Fatal(err)
	}
	delete(l.ports, "a")
	for _, dst := range []string{all, "01005e000001", "020000000077"} {
		l.dropped("nobody else is there, to "+dst, "i1", dst+stC+payload, frame.Isolated)
	}
	l.attach(PortConfig{Name: "up", Network: "n", Role: Uplink, MTU: 1500, Up: true})
	l.send("i1", all+stC+payload)
	l.expect("to the NIC", all+stC+payload, "up")
	l.update("i2", func(c *PortConfig) { c.Isolated = false })
	l.send("i1", stB+stC+payload)
	l.expect("isolated no longer", stB+stC+payload, "i2")
	l.checkSums()
}

// Two interfaces of one virtual NIC: the guest must not hear itself.
func TestTwinsHaveASplitHorizon(t *testing.T) {
	l := newLab(t, "a")
	l.attach(PortConfig{Name: "vif", Network: "n", MTU: 1500, Up: true, Twin: "emu"})
	l.attach(PortConfig{Name: "emu", Network: "n", MTU: 1500, Up: true, Twin: "vif"})
	l.send("a", all+stA+payload)
	l.expect("to both", all+stA+payload, "vif", "emu")
	l.send("emu", all+stB+payload)
	l.expect("from the one", all+stB+payload, "a")
	l.send("vif", all+stB+payload)
	l.expect("from the other", all+stB+payload, "a")
	l.send("a", stB+stA+payload)
	l.expect("to where it was heard last", stB+stA+payload, "vif")
	l.dropped("to the other's station", "emu", stB+stC+payload, frame.SamePort)
	if err := l.sw.Detach("a"); err != nil {
		t.Fatal(err)
	}
	delete(l.ports, "a")
	l.dropped("nobody else", "vif", all+stB+payload, frame.NoDestination)
	l.checkSums()
}

// A guest without told addresses has those that a trusted port's DHCP server
// gives it, until another has them.
func TestLeasesAreLearned(t *testing.T) {
	for _, trusted := range []Role{Host, Uplink} {
		l := newLab(t)
		policy := func(station string) filter.Policy {
			p := heldTo(t, station)
			p.Antispoof = filter.MACIP
			return p
		}
		l.attach(PortConfig{Name: "guest", Network: "n", MTU: 1500, Up: true, Policy: policy(guestMAC)})
		l.attach(PortConfig{Name: "neighbour", Network: "n", MTU: 1500, Up: true, Policy: policy(neighbourMAC)})
		l.attach(PortConfig{Name: "rogue", Network: "n", MTU: 1500, Up: true})
		l.attach(PortConfig{Name: "server", Network: "n", Role: trusted, MTU: 1500, Up: true})
		packet := serverMAC + guestMAC + ip4(guest4, server4, 6, tcp)
		others := []string{"neighbour", "rogue", "server"}

		l.dropped("before", "guest", packet, frame.SpoofIP)
		l.send("guest", all+guestMAC+discover(guestMAC))
		l.expect("DISCOVER", all+guestMAC+discover(guestMAC), others...)
		l.send("server", all+serverMAC+answer(offer, guest4, guestMAC))
		l.expect("OFFER", all+serverMAC+answer(offer, guest4, guestMAC), "guest", "neighbour", "rogue")
		l.dropped("after an offer", "guest", packet, frame.SpoofIP)
		l.send("guest", all+guestMAC+request(guestMAC))
		l.expect("REQUEST", all+guestMAC+request(guestMAC), others...)
		l.send("rogue", all+stC+answer(ack, guest4, guestMAC))
		l.expect("ACK of a guest", all+stC+answer(ack, guest4, guestMAC), "guest", "neighbour", "server")
		l.dropped("after a guest's ACK", "guest", packet, frame.SpoofIP)

		l.send("server", guestMAC+serverMAC+answer(ack, guest4, guestMAC))
		l.expect("ACK", guestMAC+serverMAC+answer(ack, guest4, guestMAC), "guest")
		l.send("guest", packet)
		l.expect("leased", packet, "server")
		l.send("guest", all+guestMAC+arp(1, guestMAC, guest4))
		l.expect("leased, ARP", all+guestMAC+arp(1, guestMAC, guest4), others...)
		l.dropped("another address", "guest", serverMAC+guestMAC+ip4(neighbour4, server4, 6, tcp), frame.SpoofIP)
		l.dropped("the neighbour has none", "neighbour", serverMAC+neighbourMAC+ip4(guest4, server4, 6, tcp), frame.SpoofIP)

		// The same address to the neighbour, to all.
		l.send("server", all+serverMAC+answer(ack, guest4, neighbourMAC))
		l.expect("ACK to the neighbour", all+serverMAC+answer(ack, guest4, neighbourMAC), "guest", "neighbour", "rogue")
		l.send("neighbour", serverMAC+neighbourMAC+ip4(guest4, server4, 6, tcp))
		l.expect("the neighbour has it", serverMAC+neighbourMAC+ip4(guest4, server4, 6, tcp), "server")
		l.dropped("the guest has it no longer", "guest", packet, frame.SpoofIP)
		l.dropped("the guest has it no longer, ARP", "guest", all+guestMAC+arp(2, guestMAC, guest4), frame.SpoofARP)
		l.checkSums()
	}
}

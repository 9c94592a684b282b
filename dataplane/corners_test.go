package dataplane

import (
	"testing"
	"time"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/shaping"
)

// A port that has guards, but no antispoof, may take the MAC of a guest that is
// held to it no more than one without any.
func TestGuardsAloneDoNotAllowTheft(t *testing.T) {
	l := street(t)
	l.update("free", func(c *PortConfig) { c.Policy = filter.Policy{RAGuard: true, DHCPGuard: true, BPDUGuard: true} })
	l.dropped("as the neighbour", "free", all+neighbourMAC+payload, frame.SpoofMAC)
	l.send("up", neighbourMAC+serverMAC+payload)
	l.expect("to the neighbour", neighbourMAC+serverMAC+payload, "neighbour")
}

// A port whose guest is who its first frame says can't begin as another guest.
func TestFirstFrameCantBeOfAnotherGuest(t *testing.T) {
	l := street(t)
	l.update("free", func(c *PortConfig) { c.Policy = filter.Policy{Antispoof: filter.MAC} })
	l.dropped("as the neighbour", "free", all+neighbourMAC+payload, frame.SpoofMAC)
	l.send("up", neighbourMAC+serverMAC+payload)
	l.expect("to the neighbour", neighbourMAC+serverMAC+payload, "neighbour")
	l.send("free", all+stA+payload)
	l.expect("as itself", all+stA+payload, "guest", "neighbour", "up")
}

// twins are the two interfaces of one virtual NIC, which have the same policy.
func twins(t *testing.T, p filter.Policy) *lab {
	l := newLab(t, "thief")
	l.attach(PortConfig{Name: "vif", Network: "n", MTU: 1500, Up: true, Twin: "emu", Policy: p})
	l.attach(PortConfig{Name: "emu", Network: "n", MTU: 1500, Up: true, Twin: "vif", Policy: p})
	l.attach(PortConfig{Name: "server", Network: "n", Role: Host, MTU: 1500, Up: true})
	return l
}

// Twins have one MAC, and it is theirs.
func TestTwinsOwnTheirMAC(t *testing.T) {
	l := twins(t, heldTo(t, guestMAC))
	l.dropped("another", "thief", all+guestMAC+payload, frame.SpoofMAC)
	for _, name := range []string{"vif", "emu", "vif"} {
		l.send(name, all+guestMAC+payload)
		l.expect("the twin "+name, all+guestMAC+payload, "thief", "server")
	}
}

// An answer that both twins get is the lease of both.
func TestTwinsShareALease(t *testing.T) {
	p := heldTo(t, guestMAC)
	p.Antispoof = filter.MACIP
	l := twins(t, p)
	l.send("vif", all+guestMAC+request(guestMAC))
	l.expect("REQUEST", all+guestMAC+request(guestMAC), "thief", "server")
	l.send("server", all+serverMAC+answer(ack, guest4, guestMAC))
	l.expect("ACK", all+serverMAC+answer(ack, guest4, guestMAC), "thief", "vif", "emu")
	for _, name := range []string{"vif", "emu", "vif"} {
		l.send(name, all+guestMAC+ip4(guest4, server4, 6, tcp))
		l.expect("the twin "+name, all+guestMAC+ip4(guest4, server4, 6, tcp), "thief", "server")
	}
}

// leasing is a switch of two guests without told addresses, and a server.
func leasing(t *testing.T, sets ...string) *lab {
	l := newLab(t)
	for i, g := range []struct{ name, mac string }{{"guest", guestMAC}, {"neighbour", neighbourMAC}} {
		p := heldTo(t, g.mac)
		p.Antispoof = filter.MACIP
		l.attach(PortConfig{Name: g.name, Network: "n", MTU: 1500, Up: true, Policy: p, VLANs: vlans(t, sets[i])})
	}
	l.attach(PortConfig{Name: "server", Network: "n", Role: Uplink, MTU: 1500, Up: true, VLANs: vlans(t, "1p/10/20")})
	return l
}

// VLANs are apart: each may use the same addresses.
func TestLeaseOfAnotherVLANRevokesNothing(t *testing.T) {
	l := leasing(t, "10", "20")
	l.send("server", all+serverMAC+vlan10+answer(ack, guest4, guestMAC))
	l.expect("ACK in VLAN 10", all+serverMAC+answer(ack, guest4, guestMAC), "guest")
	l.send("server", all+serverMAC+vlan20+answer(ack, guest4, neighbourMAC))
	l.expect("ACK in VLAN 20", all+serverMAC+answer(ack, guest4, neighbourMAC), "neighbour")
	l.send("neighbour", all+neighbourMAC+ip4(guest4, server4, 6, tcp))
	l.expect("in VLAN 20", all+neighbourMAC+vlan20+ip4(guest4, server4, 6, tcp), "server")
	l.send("guest", all+guestMAC+ip4(guest4, server4, 6, tcp))
	l.expect("in VLAN 10", all+guestMAC+vlan10+ip4(guest4, server4, 6, tcp), "server")
}

// A guest whose link was down when its address went to another has it no longer
// either.
func TestLeaseIsRevokedWhileDown(t *testing.T) {
	l := leasing(t, "1p", "1p")
	l.send("server", all+serverMAC+answer(ack, guest4, guestMAC))
	l.expect("ACK", all+serverMAC+answer(ack, guest4, guestMAC), "guest", "neighbour")
	l.update("guest", func(c *PortConfig) { c.Up = false })
	l.send("server", all+serverMAC+answer(ack, guest4, neighbourMAC))
	l.expect("ACK", all+serverMAC+answer(ack, guest4, neighbourMAC), "neighbour")
	l.update("guest", func(c *PortConfig) { c.Up = true })
	l.dropped("up again", "guest", all+guestMAC+ip4(guest4, server4, 6, tcp), frame.SpoofIP)
}

// A guest that got its lease before antispoof was turned on keeps its address.
func TestLeaseFromBeforeAntispoof(t *testing.T) {
	l := leasing(t, "1p", "1p")
	strict := heldTo(t, guestMAC)
	strict.Antispoof = filter.MACIP
	off := filter.Policy{MAC: strict.MAC}
	l.update("guest", func(c *PortConfig) { c.Policy = off })
	l.send("server", all+serverMAC+answer(ack, guest4, guestMAC))
	l.expect("ACK", all+serverMAC+answer(ack, guest4, guestMAC), "guest", "neighbour")
	packet := all + guestMAC + ip4(guest4, server4, 6, tcp)
	for _, p := range []filter.Policy{strict, off, strict} {
		l.update("guest", func(c *PortConfig) { c.Policy = p })
		l.send("guest", packet)
		l.expect("antispoof "+p.Antispoof.String(), packet, "neighbour", "server")
	}
}

// The host's own address is pinned in the VLAN of its leg, whichever that is.
func TestHostsAddressInAVLANCantBeDeleted(t *testing.T) {
	l := newLab(t, "a")
	l.attach(PortConfig{Name: "h", Network: "n", Role: Host, MTU: 1500, Up: true, Local: mac(t, stC), VLANs: vlans(t, "10")})
	if ok, err := l.sw.DelFDB("n", 10, mac(t, stC)); ok || err == nil {
		t.Errorf("deleted: %v, %v", ok, err)
	}
	l.send("a", all+stC+vlan10+payload)
	l.expect("as the host", all+stC+payload, "h")
	l.send("a", stC+stA+vlan10+payload)
	l.expect("to the host", stC+stA+payload, "h")

	// In a VLAN that the leg is not in, the address is anybody's.
	if ok, err := l.sw.DelFDB("n", 1, mac(t, stC)); ok || err != nil {
		t.Errorf("in VLAN 1: %v, %v; want no such entry", ok, err)
	}
}

// Frames that wait for a rate limit do not leave in a VLAN that the port has left.
func TestWaitingFramesDoNotCrossVLANs(t *testing.T) {
	l := newLab(t, "trunk")
	l.attach(PortConfig{Name: "slow", Network: "n", MTU: 1500, Up: true, VLANs: vlans(t, "10"),
		RateTo: shaping.FromCredit(250, 50_000)})
	data := append(unhex(t, all+stA+vlan10+"88b5"), make([]byte, 400)...)
	for range 20 {
		l.inject("trunk", nil, data, 1)
	}
	l.settle()
	l.left()
	l.update("slow", func(c *PortConfig) { c.VLANs, c.RateTo = vlans(t, "20"), shaping.Limit{} })
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if st := l.stats("slow"); st.TxPackets+st.TxDrops[frame.Rate]+st.TxDrops[frame.VLANDenied] >= 20 {
			break
		}
	}
	if n := l.left()["slow"]; n != 0 {
		t.Errorf("%d frames of VLAN 10 left by a port of VLAN 20", n)
	}
}

package filter

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"gxswitch/internal/frame"
)

// Guard is one port's rules and what they learned. Make one with NewGuard; a
// port whose policy changes gets another one from With.
type Guard struct {
	policy Policy
	mac    bool // Antispoof is MAC or more
	macip  bool // Antispoof is MACIP
	inside bool // something is to be checked behind the Ethernet header
	ip4    bool // and in IPv4
	listed list // Policy.IP; nil: what is learned counts
	*learned
}

// NewGuard returns a guard that has learned nothing.
func NewGuard(p Policy) *Guard {
	l := &learned{}
	if !p.MAC.IsZero() {
		l.mac.Store(macFrom(p.MAC[:]))
	}
	return newGuard(p, l)
}

// With returns a guard with another policy. Where the guest stays the same it
// shares what g learned: its MAC, if the policies are of one mind about that,
// and its leases. Both guards may be in use for a while.
func (g *Guard) With(p Policy) *Guard {
	if p.MAC == g.policy.MAC || !p.MAC.IsZero() && p.MAC == g.MAC() {
		return newGuard(p, g.learned)
	}
	return NewGuard(p)
}

func newGuard(p Policy, l *learned) *Guard {
	p.IP = slices.Clone(p.IP)
	g := &Guard{policy: p, mac: p.Antispoof >= MAC, macip: p.Antispoof >= MACIP, listed: newList(p.IP), learned: l}
	g.ip4 = g.mac || p.DHCPGuard
	g.inside = g.ip4 || p.RAGuard
	return g
}

// Policy is what the guard was made with.
func (g *Guard) Policy() Policy { return g.policy }

// MAC is the guest's; null while neither told nor seen.
func (g *Guard) MAC() frame.MAC { return macTo(g.learned.mac.Load()) }

// Addresses lists the addresses that the guest may use, in order. It is empty
// where Antispoof is not MACIP: then the guest may use any.
func (g *Guard) Addresses(now int64) []netip.Addr {
	if !g.macip {
		return nil
	}
	var all []netip.Addr
	for _, a := range g.listed {
		all = append(all, a.addr())
	}
	if g.listed == nil {
		for _, l := range g.Leases(now) {
			all = append(all, l.Addr)
		}
		if mac := g.learned.mac.Load(); mac != 0 {
			all = append(all, linkLocal(mac).addr())
		}
		slices.SortFunc(all, netip.Addr.Compare)
		all = slices.Compact(all)
	}
	return all
}

// Ingress says whether a frame from the guest may go on; d is a frame that Parse
// let pass, from its destination MAC on and without outer 802.1Q tag. Only the
// worker that reads the port calls it.
func (g *Guard) Ingress(d []byte, now int64) frame.DropReason {
	if len(d) < frame.HeaderLen {
		return frame.Malformed
	}
	if d[0]&1 != 0 && g.policy.BPDUGuard && isBPDU(d) {
		return frame.BPDUGuard
	}
	if g.mac {
		mac := g.learned.mac.Load()
		if src := macFrom(d[6:]); src != mac {
			if mac != 0 || !g.learned.mac.CompareAndSwap(0, src) {
				return frame.SpoofMAC
			}
		}
	}
	if !g.inside {
		return frame.Pass
	}
	kind, p := binary.BigEndian.Uint16(d[12:]), d[frame.HeaderLen:]
	if kind != frame.EtherTypeIPv4 && kind != frame.EtherTypeIPv6 {
		var reason frame.DropReason
		if kind, p, reason = unwrap(d); reason != frame.Pass {
			return reason
		}
	}
	switch kind {
	case frame.EtherTypeIPv4:
		if g.ip4 {
			return g.ipv4(p, now)
		}
	case frame.EtherTypeIPv6:
		return g.ipv6(p, now)
	case frame.EtherTypeARP, etherTypeRARP:
		if g.mac {
			return g.arp(p, now)
		}
	}
	return frame.Pass
}

// isBPDU reports whether the frame is to the group that bridges of 802.1Q talk
// in (table 8-1), or to that of Cisco's PVST+. Bridges take a BPDU from nowhere
// else.
func isBPDU(d []byte) bool {
	switch macFrom(d) {
	case 0x0180c2000000, 0x01000ccccccd:
		return true
	}
	return false
}

// EtherTypes that matter here alone.
const (
	etherTypeRARP = 0x8035
	etherType9100 = 0x9100 // a service tag from before 802.1ad
	minEtherType  = 0x0600 // below it is a length, and LLC follows (802.3-2018, 3.2.6)
)

// maxWraps bounds the tags and SNAP headers on each other. Two tags and a
// priority tag are all that networks have.
const maxWraps = 4

// unwrap finds the EtherType and the payload behind tags and SNAP headers
// (RFC 1042, and 802.1H's OUI 00-00-F8).
func unwrap(d []byte) (kind uint16, p []byte, reason frame.DropReason) {
	kind, p = binary.BigEndian.Uint16(d[12:]), d[frame.HeaderLen:]
	for range maxWraps + 1 {
		switch {
		case kind == frame.EtherTypeVLAN || kind == frame.EtherTypeQinQ || kind == etherType9100:
			if len(p) < frame.TagLen {
				return 0, nil, frame.Malformed
			}
			kind, p = binary.BigEndian.Uint16(p[2:]), p[frame.TagLen:]
		case kind < minEtherType && isSNAP(p):
			kind, p = binary.BigEndian.Uint16(p[6:]), p[8:]
		default:
			return kind, p, frame.Pass
		}
	}
	return 0, nil, frame.VLANDenied
}

// isSNAP reports whether LLC is DSAP and SSAP AA (their lowest bit is a flag)
// and UI (0x10 is the poll bit), and an OUI follows that means an EtherType.
func isSNAP(p []byte) bool {
	return len(p) >= 8 && p[0]|1 == 0xab && p[1]|1 == 0xab && p[2]&^0x10 == 0x03 &&
		p[3] == 0 && p[4] == 0 && (p[5] == 0 || p[5] == 0xf8)
}

// allowed reports whether the address is the guest's.
func (g *Guard) allowed(a address, now int64) bool {
	if g.listed != nil {
		return g.listed.has(a)
	}
	return g.learned.has(a, now) || a == linkLocal(g.learned.mac.Load())
}

// isMAC reports whether b, of 6 bytes, is the guest's MAC.
func (g *Guard) isMAC(b []byte) bool { return macFrom(b) == g.learned.mac.Load() }

// hidden is the reason for a packet that does not show what it is.
func (g *Guard) hidden() frame.DropReason {
	switch {
	case g.policy.RAGuard:
		return frame.RAGuard
	case g.policy.DHCPGuard:
		return frame.DHCPGuard
	}
	return frame.SpoofARP
}

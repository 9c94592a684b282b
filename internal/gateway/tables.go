package gateway

import (
	"net/netip"

	"gxswitch/internal/frame"
)

// Route is one way by the uplink.
type Route struct {
	To  netip.Prefix
	Via netip.Addr // zero: its addresses are on the link
	// Unreachable refuses what would take a route to a shorter prefix: the kernel's
	// blackhole and unreachable routes, and those by other interfaces.
	Unreachable bool
}

// Routes is a table of routes, which never changes.
//
// The last address of a prefix that is on the link is its broadcast address, and
// has no route (RFC 2644); /31 and /32 have none (RFC 3021).
type Routes struct{ ranges ranges }

// What a route's value is, besides the address of a router.
const (
	onLink  = uint32(0)
	noRoute = ^uint32(0)
)

// NewRoutes returns a table of routes of IPv4; others are left out. Of routes to
// one prefix the first counts. A route via something else than an IPv4 address is
// unreachable.
func NewRoutes(routes []Route) *Routes {
	spans := make([]span, 0, len(routes))
	for _, r := range routes {
		if !r.To.IsValid() || !r.To.Addr().Is4() {
			continue
		}
		s := span{prefix: r.To, value: noRoute}
		switch via := addressFrom(r.Via); {
		case r.Unreachable:
		case via != 0:
			s.value = via
		case !r.Via.IsValid() || r.Via == netip.IPv4Unspecified():
			s.value, s.last, s.hasLast = onLink, noRoute, r.To.Bits() <= 30
		}
		spans = append(spans, s)
	}
	return &Routes{newRanges(spans, noRoute)}
}

// Lookup returns who is next on the way to an IPv4 address: a router, or the
// address itself. ok is false where there is no way.
func (r *Routes) Lookup(a netip.Addr) (next netip.Addr, ok bool) {
	if !a.Is4() {
		return netip.Addr{}, false
	}
	n := r.next(addressFrom(a))
	if n == noRoute {
		return netip.Addr{}, false
	}
	return addr4(n), true
}

// next is Lookup for numbers; noRoute is none.
func (r *Routes) next(a uint32) uint32 {
	v := r.ranges.lookup(a)
	if v == onLink {
		return a
	}
	return v
}

// Neighbours is who has which IPv4 address on a link. It never changes.
type Neighbours struct{ macs map[uint32]frame.MAC }

// NewNeighbours returns a table of neighbours. One whose MAC address can't be a
// station's is left out (RFC 1812, 3.3.2), as is one of IPv6.
func NewNeighbours(neighbours map[netip.Addr]frame.MAC) *Neighbours {
	macs := make(map[uint32]frame.MAC, len(neighbours))
	for a, m := range neighbours {
		if a.Is4() && !m.IsZero() && !m.IsMulticast() {
			macs[addressFrom(a)] = m
		}
	}
	return &Neighbours{macs}
}

// Lookup returns a neighbour's MAC address.
func (n *Neighbours) Lookup(a netip.Addr) (frame.MAC, bool) {
	if n == nil || !a.Is4() {
		return frame.MAC{}, false
	}
	m, ok := n.macs[addressFrom(a)]
	return m, ok
}

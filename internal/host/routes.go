package host

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteType says what the kernel does with the packets of a route.
type RouteType uint8

// What becomes of a packet: it is sent on, or dropped and answered with nothing,
// with "host unreachable" (ICMP code 1) or with "administratively prohibited"
// (13).
const (
	RouteUnicast RouteType = iota
	RouteBlackhole
	RouteUnreachable
	RouteProhibit
)

// Route is where the kernel sends what goes to a prefix. It is comparable.
type Route struct {
	To     netip.Prefix // masked
	Type   RouteType
	Link   int        // 0 unless Type is RouteUnicast
	Via    netip.Addr // the next hop; zero: the destination is on the link itself
	Source netip.Addr // that packets of the host's own prefer; may be zero
	MTU    int        // in bytes, if the route has one of its own; 0: the link's
	Metric int        // lower is better; of equal prefixes only the best is told
}

// WatchRoutes follows the IPv4 routes until ctx ends. The set is sorted, one route
// for each prefix: a longest-prefix match in it is the kernel's own answer. A set
// that takes long to list comes late, by ten times as long, but no more than five
// seconds.
//
// The set is made of the tables main and default, as the kernel's rules are where
// nobody has changed them (ip-rule(8)). The host's own addresses are not in it,
// nor are routes that a next hop's lost carrier or death makes unusable, or that
// hold for some type of service only. Of several next hops it has the first that
// is alive. Next hops that are objects (ip-nexthop(8)) are known as long as
// net.ipv4.nexthop_compat_mode is 1.
func WatchRoutes(ctx context.Context) (*Set[Route], error) {
	return setWatch[Route]{
		what: "routes",
		// The kernel says nothing of IPv4 routes that go with a link or an
		// address. And it tells of the link before it takes the routes away
		// (__dev_notify_flags), so that who asks at once may still find them.
		groups: unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR,
		settle: true,
		list:   listRoutes,
	}.start(ctx)
}

func listRoutes(h *netlink.Handle) ([]Route, error) {
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	var main, fallback routeTable
	_, err := dump(func() ([]Route, error) {
		main, fallback = make(routeTable), make(routeTable)
		return nil, h.RouteListFilteredIter(netlink.FAMILY_V4, all, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			switch r.Table {
			case unix.RT_TABLE_MAIN:
				main.add(&r)
			case unix.RT_TABLE_DEFAULT:
				fallback.add(&r)
			}
			return true
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return combine(main, fallback), nil
}

// routeThrow ends the search in a table as if it had no route.
const routeThrow RouteType = 255

// routeTable is the usable routes of one of the kernel's tables, the best of each
// prefix.
type routeTable map[netip.Prefix]Route

func (t routeTable) add(r *netlink.Route) {
	n, ok := newRoute(r)
	if old, exists := t[n.To]; ok && (!exists || n.Metric < old.Metric) {
		t[n.To] = n // of equals the kernel uses the one that it lists first
	}
}

// covering finds the longest prefix that has all of p.
func (t routeTable) covering(p netip.Prefix) (Route, bool) {
	for bits := p.Bits(); bits >= 0; bits-- {
		q, _ := p.Addr().Prefix(bits)
		if r, ok := t[q]; ok {
			return r, true
		}
	}
	return Route{}, false
}

// combine makes one table that leads each packet where the kernel does, which
// asks fallback where main has nothing at all.
func combine(main, fallback routeTable) []Route {
	routes := make([]Route, 0, len(main))
	for p, r := range main {
		if r.Type == routeThrow {
			r, _ = fallback.covering(p)
		}
		routes = append(routes, r.at(p))
	}
	for p, r := range fallback {
		m, shadowed := main.covering(p)
		if !shadowed || m.Type == routeThrow && m.To != p {
			routes = append(routes, r.at(p))
		}
	}
	slices.SortFunc(routes, func(a, b Route) int { return a.To.Compare(b.To) })
	return routes
}

// at is the route for another prefix. What ends nowhere is unreachable.
func (r Route) at(p netip.Prefix) Route {
	if r.Type == routeThrow || !r.To.IsValid() {
		return Route{To: p, Type: RouteUnreachable, Metric: r.Metric}
	}
	r.To = p
	return r
}

func newRoute(r *netlink.Route) (Route, bool) {
	to, ok := prefixOf(r.Dst)
	if !ok || r.Tos != 0 {
		return Route{}, false
	}
	n := Route{To: to, MTU: r.MTU, Metric: r.Priority, Source: addrOf(r.Src)}
	switch r.Type {
	case unix.RTN_UNICAST:
		return n, n.setNextHop(r)
	case unix.RTN_BLACKHOLE:
		n.Type = RouteBlackhole
	case unix.RTN_UNREACHABLE:
		n.Type = RouteUnreachable
	case unix.RTN_PROHIBIT:
		n.Type = RouteProhibit
	case unix.RTN_THROW:
		n.Type = routeThrow
	default:
		return Route{}, false
	}
	return n, true
}

// setNextHop takes the first next hop that is alive.
func (r *Route) setNextHop(from *netlink.Route) bool {
	const unusable = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN
	hops := from.MultiPath
	if len(hops) == 0 {
		hops = []*netlink.NexthopInfo{{LinkIndex: from.LinkIndex, Gw: from.Gw, Via: from.Via, Flags: from.Flags}}
	}
	for _, h := range hops {
		if h.Flags&unusable != 0 || h.LinkIndex == 0 {
			continue
		}
		r.Link, r.Via = h.LinkIndex, addrOf(h.Gw)
		if v, ok := h.Via.(*netlink.Via); ok { // an IPv6 address (RFC 5549)
			r.Via = addrOf(v.Addr)
		}
		return true
	}
	return false
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	p, err := addrOf(n.IP).Prefix(ones)
	return p, err == nil
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

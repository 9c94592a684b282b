package host

import (
	"context"
	"errors"
	"net/netip"
)

// RouteType says what the kernel does with the packets of a route.
type RouteType uint8

// What a route does with a packet: sends it on, or drops it and answers with
// nothing, "host unreachable" (ICMP code 1) or "administratively prohibited" (13).
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
	Source netip.Addr // that the host prefers for packets of its own; may be zero
	MTU    int        // in bytes, if the route has one of its own; 0: the link's
	Metric int        // lower is better; of equal prefixes only the best is told
}

// WatchRoutes tells the IPv4 routes.
func WatchRoutes(_ context.Context) (<-chan []Route, error) {
	return nil, errors.ErrUnsupported
}

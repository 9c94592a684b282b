package gateway

import (
	"fmt"
	"net/netip"

	"gxswitch/internal/frame"
	"gxswitch/nat"
)

// Side is one of the two links of a gateway.
type Side uint8

// The sides.
const (
	Inside  Side = iota // the guests'
	Outside             // the uplink's
)

func (s Side) String() string { return [...]string{"inside", "outside"}[s] }

// Link is the link of one side, as the switch sends on it.
type Link struct {
	MAC  frame.MAC  // the gateway's own
	MTU  int        // bytes of an IP packet
	Addr netip.Addr // the source of ICMP errors; zero: the other side's
}

// Config is what a Gateway is made of. The tables in it are not changed any more
// afterwards.
type Config struct {
	NAT        *nat.Table              // nil: addresses are kept
	Link       [2]Link                 // by Side
	Hosts      map[netip.Addr]struct{} // the machine's own addresses, of either family; New copies them
	Guests     []netip.Prefix          // which addresses are inside; empty: the NAT's network
	Routes     *Routes                 // by the uplink; nil: none
	Neighbours [2]*Neighbours          // by Side; nil: none is known
	ProxyARP   bool                    // answer on the uplink for Guests
	Errors     *ErrorLimit             // nil: one of its own
}

// Gateway decides about packets. Make one with New.
type Gateway struct {
	nat        *nat.Table
	natGateway uint32 // the NAT's inside address
	link       [2]Link
	speaker    [2]uint32 // the source of ICMP errors, 0 for none
	classes    ranges    // of addresses, see class
	routes     *Routes
	neighbours [2]*Neighbours
	proxyARP   bool
	errors     *ErrorLimit
}

// The bounds of an MTU: what every IPv4 link carries (RFC 791, 3.2), and what an
// IPv4 header can tell.
const (
	minMTU = 68
	maxMTU = 65535
)

// New returns the gateway that c describes.
func New(c Config) (*Gateway, error) {
	g := &Gateway{nat: c.NAT, link: c.Link, routes: c.Routes, neighbours: c.Neighbours, proxyARP: c.ProxyARP, errors: c.Errors}
	for side := range g.link {
		l := &g.link[side]
		switch {
		case l.MAC.IsZero() || l.MAC.IsMulticast():
			return nil, fmt.Errorf("gateway: MAC address %v %v: want a station's own", Side(side), l.MAC)
		case l.MTU < minMTU:
			return nil, fmt.Errorf("gateway: MTU %d %v: want %d or more", l.MTU, Side(side), minMTU)
		case l.Addr.IsValid() && !l.Addr.Is4():
			return nil, fmt.Errorf("gateway: address %v %v: want an IPv4 address", l.Addr, Side(side))
		}
		l.MTU = min(l.MTU, maxMTU)
		g.speaker[side] = addressFrom(l.Addr)
	}
	for side, a := range g.speaker {
		if a == 0 {
			g.speaker[side] = g.speaker[1-side]
		}
	}
	if c.NAT != nil {
		g.natGateway = addressFrom(c.NAT.Gateway())
		if len(c.Guests) == 0 {
			c.Guests = []netip.Prefix{c.NAT.Network()}
		}
	}
	if g.routes == nil {
		g.routes = NewRoutes(nil)
	}
	for side := range g.neighbours {
		if g.neighbours[side] == nil {
			g.neighbours[side] = NewNeighbours(nil)
		}
	}
	if g.errors == nil {
		g.errors = NewErrorLimit()
	}
	var err error
	g.classes, err = classify(c.Hosts, c.Guests)
	return g, err
}

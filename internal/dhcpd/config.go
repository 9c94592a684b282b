package dhcpd

import (
	"errors"
	"fmt"
	"net/netip"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
)

// Config is one network's server.
type Config struct {
	Network   string // its name, for messages
	Interface string // the host's leg
	File      string // of the leases

	Leases lease.Config // but for PinnedTo and Gone, which come from the Switch
	Server netip.Addr   // the leg's own address, by which clients know the server

	// What clients are told. The zero values are not told.
	Router netip.Addr
	DNS    []netip.Addr
	Domain string
	MTU    int
	Routes []Route // besides the default one by Router

	Shared bool // other DHCP servers may be on the network
}

// Route is a way that clients are told (RFC 3442). A Via of 0.0.0.0 means that
// the destination is on the link.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Port is where a station is.
type Port struct {
	Name      string
	Addr      netip.Addr // the IPv4 address it is configured to have, if any
	Unlimited bool       // it is no single guest's: an uplink
}

// Switch is whom the server asks about ports, and tells about leases. Any may be
// nil; without PortOf no client is limited.
type Switch struct {
	PortOf   func(frame.MAC) Port    // the zero Port if it is not known
	PinnedTo func(netip.Addr) string // the port that is configured to have the address, "" for none
	Gone     func(port string) bool  // whether there is no such port any more; nil: all are there
	Changed  func(lease.Event)
}

func (c *Config) check() error {
	switch {
	case !c.Server.Is4():
		return errors.New("no IPv4 address of the host on this network; give the network an address")
	case c.Router.IsValid() && !c.Router.Is4():
		return fmt.Errorf("router %s: is no IPv4 address", c.Router)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > 65535):
		return fmt.Errorf("MTU %d: want %d to 65535", c.MTU, minMTU)
	case len(c.Domain) > 253:
		return fmt.Errorf("domain %q: is longer than 253 characters", c.Domain)
	}
	for _, r := range c.Routes {
		if !r.To.Addr().Is4() || !r.Via.Is4() {
			return fmt.Errorf("route to %s via %s: want IPv4", r.To, r.Via)
		}
	}
	return nil
}

// minMTU is what every IPv4 station must take (RFC 791, 3.1), and the shortest
// value of option 26 is less.
const minMTU = 576

package config

import (
	"net/netip"
	"slices"
	"time"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
)

// DHCP is the key dhcp of a network: the server for its guests. The zero value is
// none.
type DHCP struct {
	On            bool
	Range         Range         // of the addresses that nobody else has; zero: reservations and the ports' own alone
	Lease         time.Duration // of an address
	Router        netip.Addr    // that guests are told; zero: the host's own address; 0.0.0.0: none
	DNS           []netip.Addr  // likewise; empty: the host's own address, if the network has a DNS server
	Domain        string        // likewise; "": the DNS server's
	Routes        []Route       // likewise
	PortLimit     int           // addresses that one port may have
	Authoritative Toggle        // unless off, nobody else serves the network
}

// NewDHCP is a server with the defaults of every key that has one.
func NewDHCP() DHCP {
	return DHCP{On: true, Lease: lease.DefaultTime, PortLimit: lease.DefaultPerPort}
}

// NoRouter is the Router of guests that are told none.
func NoRouter() netip.Addr { return netip.IPv4Unspecified() }

// Equal reports whether the two say the same.
func (d DHCP) Equal(o DHCP) bool {
	return d.On == o.On && d.Range == o.Range && d.Lease == o.Lease && d.Router == o.Router && slices.Equal(d.DNS, o.DNS) &&
		d.Domain == o.Domain && slices.Equal(d.Routes, o.Routes) && d.PortLimit == o.PortLimit && d.Authoritative == o.Authoritative
}

// DNS is the key dns of a network: the server for its guests and the host. The
// zero value is none.
type DNS struct {
	On       bool
	Domain   string   // in which guests have their names; "": they have them without one
	Upstream []string // who knows the rest: SystemDNS, addresses with a port or without, or NoDNS alone
	RebindOK []string // domains that may lead to private addresses; "." for all
}

// The words of DNS.Upstream.
const (
	SystemDNS = "system" // the servers of the host's resolv.conf
	NoDNS     = "none"   // nobody
)

// NewDNS is a server with the defaults of every key that has one.
func NewDNS() DNS { return DNS{On: true, Upstream: []string{SystemDNS}} }

// Equal reports whether the two say the same.
func (d DNS) Equal(o DNS) bool {
	return d.On == o.On && d.Domain == o.Domain && slices.Equal(d.Upstream, o.Upstream) && slices.Equal(d.RebindOK, o.RebindOK)
}

// Host is one [[network.NAME.host]] table: a guest that the configuration knows,
// by at least two of the three.
type Host struct {
	Name string // one label
	MAC  frame.MAC
	IP   []netip.Addr
}

// Equal reports whether the two say the same.
func (h Host) Equal(o Host) bool {
	return h.Name == o.Name && h.MAC == o.MAC && slices.Equal(h.IP, o.IP)
}

// Range is addresses from First to Last.
type Range struct{ First, Last netip.Addr }

func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// Route is a way that guests are told.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

func (r Route) String() string { return r.To.String() + " via " + r.Via.String() }

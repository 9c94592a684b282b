package config

import (
	"net/netip"
	"slices"
	"time"

	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// What a key is worth where the configuration does not say.
const (
	DefaultGroup    = "gxswitch"
	DefaultAgeing   = 300 * time.Second
	DefaultFDBLimit = 8192
)

// Mode is one of the five models of a network.
type Mode string

// The modes.
const (
	Bridged  Mode = "bridged"
	HostOnly Mode = "host-only"
	Isolated Mode = "isolated"
	Routed   Mode = "routed"
	NAT      Mode = "nat"
)

// Supported reports whether there is such a mode.
func (m Mode) Supported() bool {
	return m == Bridged || m == HostOnly || m == Isolated || m.HasGateway()
}

// HasGateway reports whether the network's host interface is its guests' gateway.
func (m Mode) HasGateway() bool { return m == Routed || m == NAT }

// HasHostLeg reports whether the host has an interface in every network of the
// mode; see Network.HasHostLeg.
func (m Mode) HasHostLeg() bool { return m == HostOnly || m == Routed || m == NAT }

// NeedsUplink reports whether the network is joined to a NIC. Where it needs
// none it must not have one.
func (m Mode) NeedsUplink() bool { return m == Bridged || m == Routed || m == NAT }

// Config is one configuration, checked.
type Config struct {
	File     string // as it was named; "" without one
	Daemon   Daemon
	Networks []Network // in the order of the files
	Ports    []Port    // likewise; the first match wins

	// PortDefaults is [defaults.port]. The Ports have it already; NewPort is for
	// one that comes another way.
	PortDefaults Port
}

// Daemon is what concerns the daemon as a whole.
type Daemon struct {
	Group string  // may use the control socket
	Xen   XenMode // whether vifs wait for their hotplug call
}

// Network is one [network.NAME] table.
type Network struct {
	Name       string
	Mode       Mode
	Uplink     string       // "" where the mode needs none
	UplinkVLAN uint16       // the network's tag on the uplink, which it shares with others; 0: none
	Takeover   bool         // the host interface has what the uplink had: address, routes, MAC
	VLAN       vlan.Set     // the uplink's; zero: vlan.Default. Not with UplinkVLAN
	Address    netip.Prefix // the host interface's, host bits kept; zero: the host gives it, or there is none
	Ageing     time.Duration
	FDBLimit   int
	MTU        int           // 0: the uplink's, else 1500
	RateUp     shaping.Limit // of all guests, out by uplink and host interface
	RateDown   shaping.Limit // the other way
	DHCP       DHCP
	DNS        DNS
	Hosts      []Host
	ProxyARP   Toggle     // the uplink is told that the guests are here; unset is on
	NATAddress netip.Addr // that guests have outside; zero: the uplink's
	Forwards   []Forward

	Pos Position `toml:"-"` // of its header; zero from the command line
}

// HasHostLeg reports whether the host has an interface in the network. It bears
// the network's name.
func (n Network) HasHostLeg() bool { return n.Mode.HasHostLeg() || n.Mode == Bridged && n.Takeover }

// Equal reports whether the two say the same, wherever they stand. The order of
// what is in a list counts.
func (n Network) Equal(o Network) bool {
	return n.Name == o.Name && n.Mode == o.Mode && n.Uplink == o.Uplink && n.UplinkVLAN == o.UplinkVLAN && n.Takeover == o.Takeover && n.VLAN == o.VLAN &&
		n.Address == o.Address && n.Ageing == o.Ageing && n.FDBLimit == o.FDBLimit && n.MTU == o.MTU &&
		n.RateUp == o.RateUp && n.RateDown == o.RateDown &&
		n.DHCP.Equal(o.DHCP) && n.DNS.Equal(o.DNS) && slices.EqualFunc(n.Hosts, o.Hosts, Host.Equal) &&
		n.ProxyARP == o.ProxyARP && n.NATAddress == o.NATAddress && slices.Equal(n.Forwards, o.Forwards)
}

// NewNetwork is a network with the defaults of every key that has one.
func NewNetwork(name string, mode Mode) Network {
	return Network{Name: name, Mode: mode, Ageing: DefaultAgeing, FDBLimit: DefaultFDBLimit}
}

// Default is the configuration of a host without a file: no networks.
func Default() Config { return Config{Daemon: Daemon{Group: DefaultGroup, Xen: XenAuto}} }

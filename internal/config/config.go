package config

import (
	"net/netip"
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

// The modes. Routed and NAT come in a later version.
const (
	Bridged  Mode = "bridged"
	HostOnly Mode = "host-only"
	Isolated Mode = "isolated"
	Routed   Mode = "routed"
	NAT      Mode = "nat"
)

// Supported reports whether this version has the mode.
func (m Mode) Supported() bool { return m == Bridged || m == HostOnly || m == Isolated }

// HasHostLeg reports whether the host has an interface in the network. It bears
// the network's name.
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

// Network is one [network.NAME] table. It is comparable.
type Network struct {
	Name       string
	Mode       Mode
	Uplink     string       // "" where the mode needs none
	UplinkVLAN uint16       // the network's tag on the uplink, which it shares with others; 0: none
	VLAN       vlan.Set     // the uplink's; zero: vlan.Default. Not with UplinkVLAN
	Address    netip.Prefix // the host interface's, host bits kept; zero: the host gives it, or there is none
	Ageing     time.Duration
	FDBLimit   int
	MTU        int           // 0: the uplink's, else 1500
	RateUp     shaping.Limit // of all guests, out by uplink and host interface
	RateDown   shaping.Limit // the other way

	Pos Position `toml:"-"` // of its header; zero from the command line
}

// NewNetwork is a network with the defaults of every key that has one.
func NewNetwork(name string, mode Mode) Network {
	return Network{Name: name, Mode: mode, Ageing: DefaultAgeing, FDBLimit: DefaultFDBLimit}
}

// Default is the configuration of a host without a file: no networks.
func Default() Config { return Config{Daemon: Daemon{Group: DefaultGroup, Xen: XenAuto}} }

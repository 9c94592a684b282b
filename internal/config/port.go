package config

import (
	"net/netip"
	"path"
	"slices"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// Port is one [[port]] table: what becomes of an interface of that name, or of
// a domain's NIC.
type Port struct {
	Name     string // a shell pattern; "" where Match says it
	Match    Match
	Network  string        // "": with Match, what the domain's configuration says
	VLAN     vlan.Set      // zero: vlan.Default
	RateFrom shaping.Limit // from the guest to the network
	RateTo   shaping.Limit // from the network to the guest
	MAC      frame.MAC     // the guest's; zero: not told
	IP       []netip.Addr  // the guest's, each once; empty: not told
	Isolated bool          // reaches no other isolated port
	Label    string
	MTU      int // 0: left as it is

	// These are [defaults.port]'s where the table does not say.
	Antispoof filter.Antispoof
	// AntispoofTold is true where the configuration says one, be it off.
	AntispoofTold bool `json:"-"`
	Storm         filter.StormRate
	MACLimit      int // 0: none
	RAGuard       Toggle
	DHCPGuard     Toggle
	BPDUGuard     Toggle

	Pos Position `toml:"-"` // of its header; zero from the command line
}

// Toggle is a switch that may be left alone. The zero value is Unset.
type Toggle uint8

// The states. What Unset means is up to the key.
const (
	Unset Toggle = iota
	On
	Off
)

// Or is the toggle, or unset where it is Unset.
func (t Toggle) Or(unset bool) bool {
	if t == Unset {
		return unset
	}
	return t == On
}

// NewPort is a port that says nothing itself, with what [defaults.port] says.
func (c Config) NewPort(name, network string) Port {
	p := c.PortDefaults
	p.Name, p.Network = name, network
	return p
}

// MatchPort is the first entry about an interface of that name.
func (c Config) MatchPort(ifname string) (Port, bool) {
	for _, p := range c.Ports {
		if p.Matches(ifname) {
			return p, true
		}
	}
	return Port{}, false
}

// Matches reports whether the entry is about an interface of that name. The
// pattern is path.Match's: * ? [a-z] [^a-z], and a backslash takes the next
// character as it is.
func (p Port) Matches(ifname string) bool {
	ok, err := path.Match(p.Name, ifname)
	return ok && err == nil
}

// Equal reports whether the two say the same, wherever they stand. The order of
// addresses counts.
func (p Port) Equal(q Port) bool {
	return p.Name == q.Name && p.Match == q.Match && p.Network == q.Network && p.VLAN == q.VLAN &&
		p.RateFrom == q.RateFrom && p.RateTo == q.RateTo &&
		p.MAC == q.MAC && slices.Equal(p.IP, q.IP) &&
		p.Isolated == q.Isolated && p.Label == q.Label && p.MTU == q.MTU &&
		p.Antispoof == q.Antispoof && p.Storm == q.Storm && p.MACLimit == q.MACLimit &&
		p.RAGuard == q.RAGuard && p.DHCPGuard == q.DHCPGuard && p.BPDUGuard == q.BPDUGuard
}

// Policy is what the guest is held to. A guard that is left alone is on where
// antispoof is.
func (p Port) Policy() filter.Policy {
	on := p.Antispoof != filter.Off
	return filter.Policy{
		Antispoof: p.Antispoof,
		MAC:       p.MAC,
		IP:        p.IP,
		RAGuard:   p.RAGuard.Or(on),
		DHCPGuard: p.DHCPGuard.Or(on),
		BPDUGuard: p.BPDUGuard.Or(on),
	}
}

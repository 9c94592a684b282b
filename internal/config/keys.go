package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// An MTU is at least IPv4's (RFC 791, 3.2), and at most what leaves room for the
// Ethernet header in 65535 bytes.
const (
	minMTU = 68
	maxMTU = 65521
)

// maxMACLimit is for a port with a bridge of its own behind it; one guest has a
// handful of addresses.
const maxMACLimit = 1 << 16

// The keys, table by table. A new key is a field of Daemon, Network or Port and
// a line here. The order is that of reading and of Config.TOML; mode comes
// first, because other keys ask for it.

func daemonKeys() []key[Daemon] {
	return []key[Daemon]{
		field("group", func(d *Daemon) *string { return &d.Group }, text[string]{validGroup}, defaulted),
		field("xen", func(d *Daemon) *XenMode { return &d.Xen }, text[XenMode]{validXen}, defaulted),
		later[Daemon]("metrics"),
	}
}

func networkKeys() []key[Network] {
	return []key[Network]{
		field("mode", func(n *Network) *Mode { return &n.Mode }, text[Mode]{validMode}, required),
		field("uplink", func(n *Network) *string { return &n.Uplink }, text[string]{validInterface}, optional, uplinkFits),
		onlyIn(Bridged, field("uplink_vlan", func(n *Network) *uint16 { return &n.UplinkVLAN }, number[uint16]{vlan.MinVID, vlan.MaxVID}, optional, uplinkVLANFits)),
		onlyIn(Bridged, field("takeover", func(n *Network) *bool { return &n.Takeover }, boolean{}, optional, takeoverFits)),
		onlyIn(Bridged, field("vlan", func(n *Network) *vlan.Set { return &n.VLAN }, vlans(), optional)),
		field("address", func(n *Network) *netip.Prefix { return &n.Address }, hostAddress{}, optional, addressFits),
		field("ageing", func(n *Network) *time.Duration { return &n.Ageing }, duration{time.Second, 24 * time.Hour}, defaulted),
		field("fdb_limit", func(n *Network) *int { return &n.FDBLimit }, number[int]{1, 1 << 20}, defaulted),
		field("mtu", func(n *Network) *int { return &n.MTU }, number[int]{minMTU, maxMTU}, optional),
		withLeg("a DHCP server", dhcpKey()),
		withLeg("a DNS server", dnsKey()),
		withLeg("a named host", hostKey()),
		onlyIn(Routed, field("proxy_arp", func(n *Network) *Toggle { return &n.ProxyARP }, toggle{}, optional)),
		onlyIn(NAT, field("nat_address", func(n *Network) *netip.Addr { return &n.NATAddress }, ipv4Address{}, optional, natAddressFits)),
		onlyIn(NAT, forwardKey()),
		notIsolated(field("rate_up", func(n *Network) *shaping.Limit { return &n.RateUp }, rate(), optional)),
		notIsolated(field("rate_down", func(n *Network) *shaping.Limit { return &n.RateDown }, rate(), optional)),
	}
}

func portKeys() []key[Port] {
	return append([]key[Port]{
		field("name", func(p *Port) *string { return &p.Name }, text[string]{validPattern}, optional, nameOrMatch),
		matchKey(),
		field("network", func(p *Port) *string { return &p.Network }, text[string]{notEmpty}, optional, networkOrMatch),
		field("vlan", func(p *Port) *vlan.Set { return &p.VLAN }, vlans(), optional),
		field("rate_from", func(p *Port) *shaping.Limit { return &p.RateFrom }, rate(), optional),
		field("rate_to", func(p *Port) *shaping.Limit { return &p.RateTo }, rate(), optional),
		field("mac", func(p *Port) *frame.MAC { return &p.MAC }, station{}, optional),
		listField("ip", func(p *Port) *[]netip.Addr { return &p.IP }, list[netip.Addr]{guestAddress{}, `"10.0.0.5"`}),
		field("isolated", func(p *Port) *bool { return &p.Isolated }, boolean{}, optional),
		field("label", func(p *Port) *string { return &p.Label }, text[string]{validLabel}, optional),
		field("mtu", func(p *Port) *int { return &p.MTU }, number[int]{minMTU, maxMTU}, optional),
	}, portDefaultKeys()...)
}

// portDefaultKeys are the keys of [defaults.port], which a [[port]] has too.
func portDefaultKeys() []key[Port] {
	return []key[Port]{
		antispoofKey(),
		field("storm", func(p *Port) *filter.StormRate { return &p.Storm }, storm(), optional),
		field("mac_limit", func(p *Port) *int { return &p.MACLimit }, number[int]{0, maxMACLimit}, optional),
		field("ra_guard", func(p *Port) *Toggle { return &p.RAGuard }, toggle{}, optional),
		field("dhcp_guard", func(p *Port) *Toggle { return &p.DHCPGuard }, toggle{}, optional),
		field("bpdu_guard", func(p *Port) *Toggle { return &p.BPDUGuard }, toggle{}, optional),
	}
}

// key is one key of the table that describes a T.
type key[T any] struct {
	name    string
	later   bool                   // this version has no field for it
	asks    string                 // a key that the check asks for as well
	read    func(*T, *node) Errors // takes the value of the file
	check   func(*T) Errors        // what must hold, whatever way the T came
	inherit func(t, from *T)       // takes the value of another T

	// show is the value as TOML. "" leaves the key out, if the value is zero and
	// so is that of from, whose value a key has that is left out.
	show func(t, from *T) string
}

// need says what the zero value of a field means.
type need int

const (
	required  need = iota // the key is missing
	optional              // the key is left out, which is fine
	defaulted             // a value like any other: NewNetwork and Default set the field
)

// field is a key that fills a field of T. The rules come after the check of the
// value and see the whole T.
func field[T any, V comparable](name string, at func(*T) *V, kind kind[V], need need, rules ...func(*T) *Error) key[T] {
	var zero V
	return fieldOf(name, at, kind, func(v V) bool { return v == zero }, need, rules...)
}

// listField is a key that fills a field that is a list, and may be left out.
func listField[T any, V comparable](name string, at func(*T) *[]V, kind list[V]) key[T] {
	return fieldOf(name, at, kind, func(vs []V) bool { return len(vs) == 0 }, optional)
}

func fieldOf[T, V any](name string, at func(*T) *V, kind kind[V], isZero func(V) bool, need need, rules ...func(*T) *Error) key[T] {
	return key[T]{
		name: name,
		read: func(t *T, n *node) Errors {
			v, e := kind.read(n)
			if e == nil {
				e = kind.check(v)
			}
			if e == nil {
				*at(t) = v
			}
			return e.alone()
		},
		check: func(t *T) Errors {
			v := *at(t)
			if isZero(v) && need == required {
				e := problem("the key is missing")
				if c := kind.check(v); c != nil {
					e.Hint = c.Hint
				}
				return e.alone()
			}
			if !isZero(v) || need == defaulted {
				if e := kind.check(v); e != nil {
					return e.alone()
				}
			}
			for _, rule := range rules {
				if e := rule(t); e != nil {
					return e.alone()
				}
			}
			return nil
		},
		inherit: func(t, from *T) { *at(t) = *at(from) },
		show: func(t, from *T) string {
			if v := *at(t); !isZero(v) || !isZero(*at(from)) {
				return kind.show(v)
			}
			return ""
		},
	}
}

// later is a key of a later version. The literals are the values that say what
// this version does anyway.
func later[T any](name string, literals ...string) key[T] {
	return key[T]{
		name:  name,
		later: true,
		read: func(_ *T, n *node) Errors {
			if slices.Contains(literals, n.literal()) {
				return nil
			}
			if len(literals) == 0 {
				return notYet(name).alone()
			}
			what := name
			switch n.kind {
			case unstable.Table, unstable.Array:
			case unstable.String:
				what += " = " + quote(n.text)
			default:
				what += " = " + clip(n.text)
			}
			return notYet(what).hint("write %s = %s, or leave the key out", name, strings.Join(literals, " or ")).alone()
		},
		check:   func(*T) Errors { return nil },
		inherit: func(_, _ *T) {},
		show:    func(_, _ *T) string { return "" },
	}
}

// onlyIn is a key that no other mode has a use for.
func onlyIn(mode Mode, k key[Network]) key[Network] {
	return only(func(m Mode) bool { return m == mode }, fmt.Sprintf("leave the key out, or write mode = %q", mode), k)
}

// notIsolated is a key about the way out of a network.
func notIsolated(k key[Network]) key[Network] {
	return only(func(m Mode) bool { return m != Isolated }, "there is no way out to limit; rate_from and rate_to limit a port", k)
}

// withLeg is a key about what serves guests on the host's interface.
func withLeg(what string, k key[Network]) key[Network] {
	return only(Mode.HasHostLeg, fmt.Sprintf("%s needs a host interface, and those have %s, %s and %s networks", what, HostOnly, Routed, NAT), k)
}

// only is a key that a mode may have no use for.
func only(fits func(Mode) bool, hint string, k key[Network]) key[Network] {
	read, check := k.read, k.check
	useless := func(n *Network) *Error {
		if !n.Mode.Supported() || fits(n.Mode) {
			return nil
		}
		return problem("%s network has no use for the key", n.Mode.article()).hint("%s", hint)
	}
	k.read = func(n *Network, v *node) Errors {
		if e := useless(n); e != nil {
			return e.alone()
		}
		return read(n, v)
	}
	k.check = func(n *Network) Errors {
		if e := useless(n); e != nil && k.show(n, new(Network)) != "" {
			return e.alone()
		}
		return check(n)
	}
	return k
}

func notYet(what string) *Error {
	return problem("%s is not supported by this version of gxswitch yet", what)
}

// article is the mode with "a" or "an".
func (m Mode) article() string {
	if m == Isolated {
		return "an " + string(m)
	}
	return "a " + string(m)
}

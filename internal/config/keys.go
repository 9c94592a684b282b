package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/internal/frame"
)

// An MTU is at least IPv4's (RFC 791, 3.2), and at most what leaves room for the
// Ethernet header in 65535 bytes.
const (
	minMTU = 68
	maxMTU = 65521
)

// The keys, table by table. A new key is a field of Daemon, Network or Port and
// a line here. The order is that of reading and of Config.TOML; mode comes
// first, because other keys ask for it.

func daemonKeys() []key[Daemon] {
	return []key[Daemon]{
		field("group", func(d *Daemon) *string { return &d.Group }, text[string]{validGroup}, defaulted),
		later[Daemon]("xen", `"auto"`, `"off"`),
		later[Daemon]("metrics"),
	}
}

func networkKeys() []key[Network] {
	return []key[Network]{
		field("mode", func(n *Network) *Mode { return &n.Mode }, text[Mode]{validMode}, required),
		field("uplink", func(n *Network) *string { return &n.Uplink }, text[string]{validInterface}, optional, uplinkFits),
		only(Bridged, later[Network]("uplink_vlan")),
		only(Bridged, later[Network]("takeover", "false")),
		only(Bridged, later[Network]("vlan", `"1p/2-4094"`)),
		field("address", func(n *Network) *netip.Prefix { return &n.Address }, hostAddress{}, optional, addressFits),
		field("ageing", func(n *Network) *time.Duration { return &n.Ageing }, duration{time.Second, 24 * time.Hour}, defaulted),
		field("fdb_limit", func(n *Network) *int { return &n.FDBLimit }, number{1, 1 << 20}, defaulted),
		field("mtu", func(n *Network) *int { return &n.MTU }, number{minMTU, maxMTU}, optional),
		later[Network]("dhcp"),
		later[Network]("dns"),
		later[Network]("host"),
		later[Network]("proxy_arp"),
		later[Network]("forward"),
		later[Network]("nat_address"),
		later[Network]("rate_up"),
		later[Network]("rate_down"),
	}
}

func portKeys() []key[Port] {
	return append([]key[Port]{
		field("name", func(p *Port) *string { return &p.Name }, text[string]{validPattern}, required),
		later[Port]("match"),
		field("network", func(p *Port) *string { return &p.Network }, text[string]{notEmpty}, required),
		later[Port]("vlan", `"1p/2-4094"`),
		later[Port]("rate_from"),
		later[Port]("rate_to"),
		field("mac", func(p *Port) *frame.MAC { return &p.MAC }, station{}, optional),
		later[Port]("ip"),
		later[Port]("isolated", "false"),
		field("label", func(p *Port) *string { return &p.Label }, text[string]{validLabel}, optional),
		field("mtu", func(p *Port) *int { return &p.MTU }, number{minMTU, maxMTU}, optional),
	}, portDefaultKeys()...)
}

// portDefaultKeys are the keys of [defaults.port], which a [[port]] has too.
func portDefaultKeys() []key[Port] {
	return []key[Port]{
		later[Port]("antispoof", `"off"`),
		later[Port]("storm"),
		later[Port]("mac_limit"),
		later[Port]("ra_guard", "false"),
		later[Port]("dhcp_guard", "false"),
		later[Port]("bpdu_guard", "false"),
	}
}

// key is one key of the table that describes a T.
type key[T any] struct {
	name  string
	later bool                    // this version has no field for it
	read  func(*T, *node) *Error  // takes the value of the file
	check func(*T) *Error         // what must hold, whatever way the T came
	show  func(*T) (value string) // as TOML; "" leaves the key out
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
	return key[T]{
		name: name,
		read: func(t *T, n *node) *Error {
			v, e := kind.read(n)
			if e == nil {
				e = kind.check(v)
			}
			if e == nil {
				*at(t) = v
			}
			return e
		},
		check: func(t *T) *Error {
			v := *at(t)
			if v == zero && need == required {
				e := problem("the key is missing")
				if c := kind.check(zero); c != nil {
					e.Hint = c.Hint
				}
				return e
			}
			if v != zero || need == defaulted {
				if e := kind.check(v); e != nil {
					return e
				}
			}
			for _, rule := range rules {
				if e := rule(t); e != nil {
					return e
				}
			}
			return nil
		},
		show: func(t *T) string {
			if v := *at(t); v != zero {
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
		read: func(_ *T, n *node) *Error {
			if slices.Contains(literals, n.literal()) {
				return nil
			}
			if len(literals) == 0 {
				return notYet(name)
			}
			what := name
			switch n.kind {
			case unstable.Table, unstable.Array:
			case unstable.String:
				what += " = " + quote(n.text)
			default:
				what += " = " + clip(n.text)
			}
			return notYet(what).hint("write %s = %s, or leave the key out", name, strings.Join(literals, " or "))
		},
		check: func(*T) *Error { return nil },
		show:  func(*T) string { return "" },
	}
}

// only is a key that no other mode has a use for.
func only(m Mode, k key[Network]) key[Network] {
	read := k.read
	k.read = func(n *Network, v *node) *Error {
		if n.Mode.Supported() && n.Mode != m {
			return problem("%s network has no use for the key", n.Mode.article())
		}
		return read(n, v)
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

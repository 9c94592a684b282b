package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/nat"
)

// Forward is one [[network.NAME.forward]] table: what comes for ports of the
// external address goes to a guest. It is comparable.
type Forward struct {
	Listen nat.Listen
	To     Target
}

// Target is the guest that a forward goes to: an address, or the name of a
// [[network.NAME.host]].
type Target struct {
	Addr netip.Addr // zero: Name has it
	Name string
	Port uint16 // 0: that of Listen
}

func (t Target) String() string {
	who := t.Name
	if t.Addr.IsValid() {
		who = t.Addr.String()
	}
	if t.Port == 0 {
		return who
	}
	return fmt.Sprintf("%s:%d", who, t.Port)
}

// ParseTarget reads what the key to of a forward takes: "10.20.0.10:80", "web1:80",
// or one without a port. The error is an *Error.
func ParseTarget(s string) (Target, error) {
	t, e := parseTarget(s)
	if e != nil {
		return Target{}, e
	}
	return t, nil
}

func parseTarget(s string) (Target, *Error) {
	const example = `as in "10.20.0.10:80" or "web1:80"`
	who, port, hasPort := strings.Cut(s, ":")
	var t Target
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || port[0] == '+' {
			return Target{}, problem("%s has no port behind the colon: want 1 to 65535", quote(s)).hint(example)
		}
		t.Port = uint16(n)
	}
	if a, err := netip.ParseAddr(who); err == nil {
		if !a.Is4() {
			return Target{}, problem("%s is no IPv4 address", quote(who)).hint(example)
		}
		t.Addr = a
		return t, noStation(a, who)
	}
	if e := validHostName(who); e != nil {
		return Target{}, problem("%s is neither an IPv4 address nor a guest's name", quote(who)).hint(example)
	}
	t.Name = who
	return t, nil
}

// Resolve is the address of a forward's target, which must be one of the network.
func (n Network) Resolve(t Target) (netip.Addr, error) {
	a, e := n.resolve(t)
	if e != nil {
		return netip.Addr{}, e
	}
	return a, nil
}

func (n *Network) resolve(t Target) (netip.Addr, *Error) {
	a := t.Addr
	if !a.IsValid() {
		for _, h := range n.Hosts {
			if h.Name != t.Name {
				continue
			}
			for _, ip := range h.IP {
				if ip.Is4() {
					a = ip
				}
			}
			if !a.IsValid() {
				return a, problem("host %s of network %s has no IPv4 address", word(t.Name), word(n.Name)).
					hint("give it an ip in its [[%s]]", keyPath("network", n.Name, "host"))
			}
		}
		if !a.IsValid() {
			return a, problem("network %s has no host %s", word(n.Name), word(t.Name)).
				hint("add a table [[%s]] with its name and ip, or write its address", keyPath("network", n.Name, "host"))
		}
	}
	switch inside := n.Address.Masked(); {
	case !inside.Contains(a):
		return a, problem("%s is outside %s, the network's addresses", a, inside).hint("a forward leads to a guest of the network")
	case a == n.Address.Addr():
		return a, problem("%s is the gateway's own address", a).hint("the host's own services need no forward")
	case inside.Bits() < 31 && (a == inside.Addr() || !inside.Contains(a.Next())):
		return a, problem("%s is no guest's: it is the first or the last of %s", a, inside)
	}
	return a, nil
}

// CheckForwards holds a network's forwards to each other and to the network.
func (n Network) CheckForwards(all []Forward) error {
	n.Forwards = all
	for i := range all {
		if e := n.forwardFits(i); e != nil {
			return e
		}
	}
	return nil
}

func (n *Network) forwardFits(i int) *Error {
	f := n.Forwards[i]
	if _, e := n.resolve(f.To); e != nil {
		return e
	}
	first := f.To.Port
	if first == 0 {
		first = f.Listen.First
	}
	if last := int(first) + int(f.Listen.Last) - int(f.Listen.First); last > 65535 {
		return problem("%s to %s would end at port %d, which there is not", f.Listen, f.To, last)
	}
	for _, o := range n.Forwards[:i] {
		if o.Listen.Overlaps(f.Listen) {
			return problem("%s is forwarded already: %s to %s", f.Listen, o.Listen, o.To).hint("one port leads to one guest")
		}
	}
	return nil
}

func forwardKeys() []key[Forward] {
	return []key[Forward]{
		field("listen", func(f *Forward) *nat.Listen { return &f.Listen }, worded[nat.Listen]{parseListen, "tcp/8080"}, required),
		field("to", func(f *Forward) *Target { return &f.To }, worded[Target]{parseTarget, "10.20.0.10:80"}, required),
	}
}

func parseListen(s string) (nat.Listen, *Error) {
	l, err := nat.ParseListen(s)
	if err != nil {
		return l, problem("%v", err)
	}
	return l, nil
}

// forwardKey is the list of tables that a network's forwards are.
func forwardKey() key[Network] {
	return key[Network]{
		name: "forward",
		asks: "address",
		read: func(n *Network, list *node) (errs Errors) {
			if list.kind != unstable.Array {
				return problem("want tables [[network.NAME.forward]], not %s", describe(list)).hint("in two brackets it begins an entry").alone()
			}
			for i, c := range list.list {
				step := strconv.Itoa(i)
				if c.kind != unstable.Table {
					errs = append(errs, problem("want a table, not %s", describe(c)).hint(`as in forward = [{ listen = "tcp/8080", to = "10.20.0.10:80" }]`).below(step, ""))
					continue
				}
				var f Forward
				bad, _ := readTable(c, forwardKeys(), &f)
				for _, e := range bad {
					errs = append(errs, e.below(step, ""))
				}
				n.Forwards = append(n.Forwards, f)
			}
			return errs
		},
		check: func(n *Network) (errs Errors) {
			for i := range n.Forwards {
				bad := checkTable(forwardKeys(), &n.Forwards[i], nil)
				if bad == nil {
					bad = n.forwardFits(i).alone()
				}
				for _, e := range bad {
					errs = append(errs, e.below(strconv.Itoa(i), ""))
				}
			}
			return errs
		},
		inherit: func(n, from *Network) { n.Forwards = from.Forwards },
		show: func(n, _ *Network) string {
			if len(n.Forwards) == 0 {
				return ""
			}
			var all []string
			for i := range n.Forwards {
				all = append(all, "\n  "+showTable(forwardKeys(), &n.Forwards[i]))
			}
			return "[" + strings.Join(all, ",") + ",\n]"
		},
	}
}

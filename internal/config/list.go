package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// list is an array of values that are each there once.
type list[V comparable] struct {
	of      kind[V]
	example string // of a value, as TOML
}

func (k list[V]) read(n *node) ([]V, *Error) {
	if n.kind != unstable.Array {
		e := problem("want an array, not %s", describe(n))
		if _, bad := k.of.read(n); bad == nil {
			return nil, e.hint("write [%s]", quote(n.text))
		}
		return nil, e.hint("as in [%s]", k.example)
	}
	var vs []V
	for _, c := range n.list {
		v, e := k.of.read(c)
		if e != nil {
			return nil, e
		}
		vs = append(vs, v)
	}
	return vs, nil
}

func (k list[V]) check(vs []V) *Error {
	for i, v := range vs {
		if e := k.of.check(v); e != nil {
			return e
		}
		if slices.Contains(vs[:i], v) {
			return problem("%s is there twice", k.of.show(v))
		}
	}
	return nil
}

func (k list[V]) show(vs []V) string {
	var all []string
	for _, v := range vs {
		all = append(all, k.of.show(v))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// guestAddress is an address a guest may have, without prefix length.
type guestAddress struct{}

func (guestAddress) read(n *node) (netip.Addr, *Error) {
	s, e := text[string]{}.read(n)
	if e != nil {
		return netip.Addr{}, e
	}
	a, err := netip.ParseAddr(s)
	if err == nil && a.Zone() == "" {
		return a, nil
	}
	if err == nil {
		return netip.Addr{}, problem("%s has a zone, which means something to one host alone", quote(s)).hint("write %q", a.WithZone(""))
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return netip.Addr{}, problem("%s has a prefix length", quote(s)).hint("write %q", p.Addr())
	}
	return netip.Addr{}, problem("%s is not an IP address", quote(s)).hint(`as in "10.0.0.5" or "fd00::5"`)
}

func (guestAddress) check(a netip.Addr) *Error {
	switch {
	case !a.IsValid():
		return problem("the address is not valid")
	case a.Zone() != "":
		return problem("%s has a zone, which means something to one host alone", a).hint("write %q", a.WithZone(""))
	case a.Is4In6():
		return problem("%s is an IPv4 address in IPv6's clothes", a).hint("write %q", a.Unmap())
	}
	return noStation(a, a.String())
}

func (guestAddress) show(a netip.Addr) string { return `"` + a.String() + `"` }

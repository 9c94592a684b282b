package config

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/internal/lease"
)

// worded is a text with a grammar of its own. What String says is what parse
// takes.
type worded[V fmt.Stringer] struct {
	parse   func(string) (V, *Error)
	example string
}

func (k worded[V]) read(n *node) (V, *Error) {
	s, e := text[string]{}.read(n)
	if e != nil {
		var zero V
		return zero, e.hint("as in %s", quote(k.example))
	}
	return k.parse(s)
}

func (k worded[V]) check(v V) *Error {
	_, e := k.parse(v.String())
	return e
}

func (worded[V]) show(v V) string { return tomlString(v.String()) }

// ParseRange reads what the key range of dhcp takes, "192.168.60.100-192.168.60.199".
// The error is an *Error.
func ParseRange(s string) (Range, error) {
	r, e := parseRange(s)
	if e != nil {
		return Range{}, e
	}
	return r, nil
}

func parseRange(s string) (Range, *Error) {
	const example = `as in "192.168.60.100-192.168.60.199"`
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		return Range{}, problem("%s is not a range of addresses", quote(s)).hint(example)
	}
	var r Range
	for _, end := range []struct {
		text string
		at   *netip.Addr
	}{{first, &r.First}, {last, &r.Last}} {
		a, err := netip.ParseAddr(end.text)
		if err != nil || !a.Is4() {
			return Range{}, problem("%s is not an IPv4 address", quote(end.text)).hint(example)
		}
		*end.at = a
	}
	if r.Last.Less(r.First) {
		return Range{}, problem("%s ends before it begins", r).hint(`write "%s-%s"`, r.Last, r.First)
	}
	if size := uint64(number4(r.Last)-number4(r.First)) + 1; size > lease.MaxRange {
		return Range{}, problem("%s has %d addresses, and at most %d fit", r, size, lease.MaxRange)
	}
	return r, nil
}

func number4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// ParseRoute reads what the key routes of dhcp takes, "10.0.0.0/8 via 192.168.60.2".
// The error is an *Error.
func ParseRoute(s string) (Route, error) {
	r, e := parseRoute(s)
	if e != nil {
		return Route{}, e
	}
	return r, nil
}

func parseRoute(s string) (Route, *Error) {
	const example = `as in "10.0.0.0/8 via 192.168.60.2"`
	f := strings.Fields(s)
	if len(f) != 3 || f[1] != "via" {
		return Route{}, problem("%s is not a route", quote(s)).hint(example)
	}
	to, err := netip.ParsePrefix(f[0])
	if err != nil || !to.Addr().Is4() {
		return Route{}, problem("%s is not an IPv4 network", quote(f[0])).hint(example)
	}
	if to != to.Masked() {
		return Route{}, problem("%s has bits behind its length", to).hint("write %s", to.Masked())
	}
	via, err := netip.ParseAddr(f[2])
	if err != nil || !via.Is4() {
		return Route{}, problem("%s is not an IPv4 address", quote(f[2])).hint(example)
	}
	return Route{to, via}, noStation(via, via.String())
}

// ipv4Address is guestAddress without IPv6, which DHCP can't tell of.
type ipv4Address struct{ guestAddress }

func (k ipv4Address) check(a netip.Addr) *Error {
	if a.IsValid() && !a.Is4() {
		return problem("%s is no IPv4 address, and DHCP tells of no other", a)
	}
	return k.guestAddress.check(a)
}

// router is an IPv4 address or "none".
type router struct{}

const noRouter = "none"

// ParseRouter reads what the key router of dhcp takes, an address or "none". The
// error is an *Error.
func ParseRouter(s string) (netip.Addr, error) {
	a, e := router{}.parse(s)
	if e != nil {
		return netip.Addr{}, e
	}
	return a, nil
}

func (router) read(n *node) (netip.Addr, *Error) {
	s, e := text[string]{}.read(n)
	if e != nil {
		return netip.Addr{}, e
	}
	return router{}.parse(s)
}

func (router) parse(s string) (netip.Addr, *Error) {
	if s == noRouter {
		return NoRouter(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, problem("%s is not an IPv4 address", quote(s)).hint(`as in "192.168.60.1", or "none"`)
	}
	if a == NoRouter() {
		return netip.Addr{}, problem("%s is not an address but the lack of one", s).hint(`write "none"`)
	}
	return a, router{}.check(a)
}

func (router) check(a netip.Addr) *Error {
	if a == NoRouter() {
		return nil
	}
	return ipv4Address{}.check(a)
}

func (router) show(a netip.Addr) string {
	if a == NoRouter() {
		return tomlString(noRouter)
	}
	return tomlString(a.String())
}

// oneOrMore is a value, or a list of such.
type oneOrMore[V comparable] struct{ list[V] }

func (k oneOrMore[V]) read(n *node) ([]V, *Error) {
	if n.kind == unstable.Array {
		return k.list.read(n)
	}
	v, e := k.of.read(n)
	if e != nil {
		return nil, e
	}
	return []V{v}, nil
}

func (k oneOrMore[V]) show(vs []V) string {
	if len(vs) == 1 {
		return k.of.show(vs[0])
	}
	return k.list.show(vs)
}

const maxDomain = 200 // leaves room for a host's name before it (RFC 1035, 2.3.4)

// validDomain holds a domain to what every resolver takes.
func validDomain(s string) *Error {
	const want = `as in "xen" or "lab.example.org"`
	switch {
	case s == "":
		return problem("the domain is empty").hint("leave the key out for none")
	case len(s) > maxDomain:
		return problem("the domain has %d characters, and at most %d fit", len(s), maxDomain)
	case strings.HasSuffix(s, "."):
		return problem("%s ends with a dot", quote(s)).hint("write %s", quote(strings.TrimRight(s, ".")))
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || lease.Label(label) != label {
			e := problem("%s is no domain: a label has 1 to 63 of a-z, 0-9 and hyphen, no hyphen first or last", quote(s)).hint(want)
			if l := strings.ToLower(s); l != s && validDomain(l) == nil {
				e = e.hint("write %s", quote(l))
			}
			return e
		}
	}
	if s == "localhost" || strings.HasSuffix(s, ".localhost") {
		return problem("%s is the machine itself, for every one (RFC 6761, 6.3)", s)
	}
	return nil
}

// validRebind is validDomain, or "." for all.
func validRebind(s string) *Error {
	if s == "." {
		return nil
	}
	return validDomain(s)
}

func validHostName(s string) *Error {
	const want = "1 to 63 of a-z, 0-9 and hyphen, no hyphen first or last"
	switch {
	case s == "":
		return problem("the name is empty").hint("leave the key out for a guest without one")
	case s == "localhost":
		return problem("localhost is the machine itself, for every one (RFC 6761, 6.3)")
	case lease.Label(s) == s:
		return nil
	}
	e := problem("%s is no host's name", quote(s)).hint(want)
	if before, _, dot := strings.Cut(s, "."); dot && validHostName(before) == nil {
		e = e.hint("write %s: the domain is the network's", quote(before))
	} else if l := strings.ToLower(s); l != s && validHostName(l) == nil {
		e = e.hint("write %s", quote(l))
	}
	return e
}

// validUpstream is about one of a DNS server's upstreams.
func validUpstream(s string) *Error {
	if s == SystemDNS || s == NoDNS {
		return nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		var p netip.AddrPort
		if p, err = netip.ParseAddrPort(s); err == nil && p.Port() == 0 {
			return problem("%s has port 0, which nobody has", quote(s))
		}
		a = p.Addr()
	}
	switch {
	case err != nil:
		return problem("%s is no DNS server", quote(s)).hint(`"system", "none", or an address as in "192.0.2.53" or "[2001:db8::53]:5353"`)
	case a.IsUnspecified():
		return problem("%s is not an address but the lack of one", s)
	case a.IsMulticast():
		return problem("%s is a multicast address, not a server's", s)
	}
	return nil
}

package gateway

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// scan is what ranges are, slowly.
func scan(spans []span, rest uint32, a uint32) uint32 {
	bits, value := -1, rest
	for _, s := range spans {
		if !s.prefix.Contains(addr4(a)) || s.prefix.Bits() <= bits {
			continue
		}
		bits, value = s.prefix.Bits(), s.value
		if last := lastOf(s.prefix); s.hasLast && a == last {
			value = s.last
		}
	}
	return value
}

func lastOf(p netip.Prefix) uint32 {
	return addressFrom(p.Masked().Addr()) | uint32(uint64(1)<<(32-p.Bits())-1)
}

// Prefixes are drawn from a few addresses, so that they nest, touch and repeat.
func drawSpans(t *rapid.T) []span {
	bases := []uint32{0, 0x0a000000, 0x0a00ff00, 0x0a010000, 0x0affffff, 0x7fffffff, 0x80000000, 0xc0a80100, 0xffffff00, 0xffffffff}
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) span {
		a := rapid.SampledFrom(bases).Draw(t, "base") ^ rapid.Uint32Range(0, 7).Draw(t, "low")
		return span{
			prefix:  netip.PrefixFrom(addr4(a), rapid.IntRange(0, 32).Draw(t, "bits")),
			value:   rapid.Uint32Range(0, 3).Draw(t, "value"),
			last:    9,
			hasLast: rapid.Bool().Draw(t, "has last"),
		}
	}), 0, 40).Draw(t, "spans")
}

func TestRangesFindTheLongestPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spans := drawSpans(t)
		r := newRanges(spans, 7)
		look := []uint32{0, 1, 0xffffffff, rapid.Uint32().Draw(t, "anywhere")}
		for _, s := range spans {
			first, last := addressFrom(s.prefix.Masked().Addr()), lastOf(s.prefix)
			look = append(look, first, first-1, first+1, last, last+1, last-1)
		}
		for _, a := range look {
			if got, want := r.lookup(a), scan(spans, 7, a); got != want {
				t.Fatalf("%v: %d, want %d", addr4(a), got, want)
			}
		}
		for i := 1; i < len(r.starts); i++ {
			if r.starts[i-1] >= r.starts[i] || r.values[i-1] == r.values[i] {
				t.Fatalf("ranges %x %v: out of order, or longer than they must be", r.starts, r.values)
			}
		}
	})
}

func TestRoutes(t *testing.T) {
	r := NewRoutes([]Route{
		via("0.0.0.0/0", "192.0.2.254"),
		via("192.0.2.0/24", ""),
		via("192.0.2.0/24", "192.0.2.1"), // a worse one to the same
		via("10.0.0.0/8", "192.0.2.3"),
		{To: prefix("10.1.0.0/16"), Unreachable: true},
		via("10.1.2.3/32", "192.0.2.4"),
		via("10.9.0.0/30", ""), via("10.9.0.4/31", ""), via("10.9.0.6/32", ""),
		via("198.51.100.7/24", "192.0.2.5"), // host bits
		via("10.8.0.0/16", "0.0.0.0"),
		via("10.7.0.0/16", "fe80::1"),
		via("fd00::/8", "fe80::1"),
		{},
	})
	for _, c := range []struct{ dst, next string }{
		{"8.8.8.8", "192.0.2.254"},
		{"192.0.2.9", "192.0.2.9"},
		{"192.0.2.0", "192.0.2.0"},
		{"192.0.2.255", ""},
		{"10.0.0.1", "192.0.2.3"},
		{"10.255.255.255", "192.0.2.3"},
		{"10.1.0.1", ""},
		{"10.1.2.3", "192.0.2.4"},
		{"10.1.2.4", ""},
		{"10.9.0.1", "10.9.0.1"}, {"10.9.0.3", ""},
		{"10.9.0.5", "10.9.0.5"}, {"10.9.0.6", "10.9.0.6"},
		{"198.51.100.200", "192.0.2.5"},
		{"10.8.1.1", "10.8.1.1"},
		{"10.7.1.1", ""},
		{"::ffff:10.9.0.1", ""}, {"fd00::1", ""},
	} {
		next, ok := r.Lookup(ip(c.dst))
		if got := next.String(); ok != (c.next != "") || ok && got != c.next {
			t.Errorf("%s: %v, %v; want %q", c.dst, next, ok, c.next)
		}
	}
	if _, ok := NewRoutes(nil).Lookup(ip("8.8.8.8")); ok {
		t.Error("a table of nothing has a route")
	}
}

// internet is a table that resembles the internet's: most prefixes of 24 bits, close
// to each other.
func internet(n int) []Route {
	random := rand.New(rand.NewPCG(1, 2))
	routes := []Route{via("0.0.0.0/0", "192.0.2.1")}
	for len(routes) < n {
		bits := 24
		if random.IntN(5) < 2 {
			bits = 12 + random.IntN(12)
		}
		a := uint32(1+random.IntN(222))<<24 | random.Uint32()>>8
		routes = append(routes, Route{netip.PrefixFrom(addr4(a), bits), addr4(0xc0000200 | random.Uint32N(40)), false})
	}
	return routes
}

func TestAMillionRoutes(t *testing.T) {
	routes := internet(1_000_000)
	r := NewRoutes(routes)
	if bytes := 4 * (cap(r.ranges.starts) + cap(r.ranges.values) + cap(r.ranges.index)); bytes > 32<<20 {
		t.Errorf("%d MiB, want 32 at most", bytes>>20)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		a := addr4(random.Uint32())
		bits, want := -1, netip.Addr{}
		for _, r := range routes {
			if r.To.Contains(a) && r.To.Bits() > bits {
				bits, want = r.To.Bits(), r.Via
			}
		}
		if got, _ := r.Lookup(a); got != want {
			t.Errorf("%v: %v, want %v", a, got, want)
		}
	}
}

func TestNeighboursAreStations(t *testing.T) {
	g := newGateway(t, func() Config {
		c := unnumbered()
		c.Neighbours[Outside] = NewNeighbours(map[netip.Addr]frame.MAC{
			ip("192.168.1.1"): {}, ip("192.168.1.2"): {1, 0, 0, 0, 0, 1}, ip("192.168.1.3"): routerMAC,
		})
		return c
	}())
	for dst, want := range map[string]bool{"192.168.1.1": false, "192.168.1.2": false, "192.168.1.3": true, "192.168.1.4": false} {
		v := g.Route(Inside, packetTo(Inside, "192.168.1.21", dst), 0, now)
		if v.To != ToOutside || v.Resolved != want {
			t.Errorf("to %s: %+v, want resolved %v", dst, v, want)
		}
	}
}

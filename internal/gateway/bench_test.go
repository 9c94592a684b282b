package gateway

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

func BenchmarkLookup(b *testing.B) {
	for _, n := range []int{10, 1_000_000} {
		r := NewRoutes(internet(n))
		random := rand.New(rand.NewPCG(5, 6))
		var dst [1 << 12]netip.Addr
		for i := range dst {
			dst[i] = addr4(random.Uint32())
		}
		b.Run(fmt.Sprintf("%droutes", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r.Lookup(dst[i%len(dst)])
			}
		})
	}
}

func BenchmarkNewRoutes(b *testing.B) {
	routes := internet(1_000_000)
	for b.Loop() {
		NewRoutes(routes)
	}
}

func BenchmarkRoute(b *testing.B) {
	for _, c := range []struct {
		name   string
		config Config
		from   Side
		raw    []byte
	}{
		{"out", routed(), Inside, packetTo(Inside, guestA, remote, ttl(255))},
		{"in", routed(), Outside, packetTo(Outside, remote, guestA, ttl(255))},
		{"nat", natted(b), Inside, packetTo(Inside, guestA, remote, ttl(255))},
	} {
		g, raw := newGateway(b, c.config), make([]byte, len(c.raw))
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				copy(raw, c.raw)
				if v := g.Route(c.from, raw, 0, now); v.To == Dropped {
					b.Fatal(v.Reason)
				}
			}
		})
	}
}

func BenchmarkAppendError(b *testing.B) {
	g, raw, buf := newGateway(b, routed()), sized(Inside, guestA, remote, 1500, true), make([]byte, 0, ErrorLen)
	b.ReportAllocs()
	for nanos := int64(0); b.Loop(); nanos += 1000 * millisec {
		g.AppendError(buf, Inside, raw, tooBig(1400).Error, nanos)
	}
}

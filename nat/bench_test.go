package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// BenchmarkEstablished is a packet of a session, out and in by turns, among few
// sessions and in a full table. The copy makes the packet again what it was, and
// takes 2 ns.
func BenchmarkEstablished(b *testing.B) {
	for _, c := range []struct {
		name     string
		sessions int
	}{{"1", 1}, {"1000", 1000}, {"65536", 65536}} {
		b.Run("sessions="+c.name, func(b *testing.B) {
			n := newTable(b, func(c *Config) { c.GuestLimit = DefaultLimit })
			out, in := make([][]byte, c.sessions), make([][]byte, c.sessions)
			for i := range out {
				g, r := end{guestA, uint16(i)}, end{remote, uint16(1 + i>>11)}
				e := open(b, n, numberA, synSegment.build, g, r, at)
				inbound(b, n, synAckSegment.build(r, e), at)
				out[i], in[i] = ackSegment.build(g, r), segment{flags: ack, seq: 901, ack: 101, length: 6}.build(r, e)
			}
			order := rand.Perm(c.sessions)
			raw := make([]byte, 80)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				s := order[i/2%c.sessions]
				var v Verdict
				if i%2 == 0 {
					v = n.Outbound(raw[:copy(raw, out[s])], numberA, at)
				} else {
					v = n.Inbound(raw[:copy(raw, in[s])], at)
				}
				if v.To == Dropped || v.To == Host {
					b.Fatal(v)
				}
			}
		})
	}
}

// BenchmarkOpen is the first packet of a session: in a table with room, with the
// sessions' end by Expire; and by a guest at its limit, where each takes the place
// of another.
func BenchmarkOpen(b *testing.B) {
	raw := make([]byte, 80)
	syn := synSegment.build(end{guestA, 0}, end{remote, 443})
	next := func(i int) []byte {
		copy(raw, syn)
		binary.BigEndian.PutUint16(raw[testL3+ipLen:], uint16(i))
		binary.BigEndian.PutUint16(raw[testL3+18:], uint16(i>>10))
		return raw[:len(syn)]
	}
	b.Run("room", func(b *testing.B) {
		n := newTable(b, func(c *Config) { c.GuestLimit = DefaultLimit })
		now := at
		b.ReportAllocs()
		for i := range b.N {
			if i%60000 == 59999 {
				now += 241
				n.Expire(now)
			}
			if v := n.Outbound(next(i), numberA, now); v.To != Outside {
				b.Fatal(v)
			}
		}
	})
	b.Run("limit", func(b *testing.B) {
		n := newTable(b, nil)
		b.ReportAllocs()
		for i := range b.N {
			if v := n.Outbound(next(i), numberA, at); v.To != Outside {
				b.Fatal(v)
			}
		}
	})
	b.Run("one remote port", func(b *testing.B) {
		n := newTable(b, nil)
		b.ReportAllocs()
		for i := range b.N {
			copy(raw, syn)
			binary.BigEndian.PutUint16(raw[testL3+ipLen:], uint16(i))
			if v := n.Outbound(raw[:len(syn)], numberA, at); v.To != Outside {
				b.Fatal(v)
			}
		}
	})
}

// BenchmarkDecline is a packet to a port that nobody has asked at.
func BenchmarkDecline(b *testing.B) {
	n := newTable(b, nil)
	scan := synSegment.build(end{remote, 443}, end{external, 62000})
	for b.Loop() {
		if v := n.Inbound(scan, at); v.To != Dropped {
			b.Fatal(v)
		}
	}
}

// BenchmarkExpire reads a full table and finds nothing.
func BenchmarkExpire(b *testing.B) {
	n := newTable(b, func(c *Config) { c.GuestLimit = DefaultLimit })
	for i := range DefaultLimit {
		raw := udp(0)(end{guestA, uint16(i)}, end{remote, uint16(1 + i>>11)})
		n.Outbound(raw, numberA, at)
	}
	for b.Loop() {
		n.Expire(at)
	}
}

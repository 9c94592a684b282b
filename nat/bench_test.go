package nat

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkEstablished is a packet of a session, out and in by turns, among few
// sessions and in a full table. What makes the packet takes 5 ns of it.
func BenchmarkEstablished(b *testing.B) {
	for _, sessions := range []int{1, 1000, DefaultLimit} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			n := newTable(b, func(c *Config) { c.GuestLimit = DefaultLimit })
			type ends struct{ addrs, ports uint64 }
			endsOf := func(raw []byte) ends {
				return ends{binary.BigEndian.Uint64(raw[testL3+12:]), uint64(binary.BigEndian.Uint32(raw[testL3+ipLen:]))}
			}
			l := make([][2]ends, sessions)
			for i := range l {
				g, r := end{guestA, uint16(i)}, end{remote, uint16(1 + i>>11)}
				e := establish(b, n, numberA, g, r, at)
				l[i] = [2]ends{endsOf(ackSegment.build(g, r)), endsOf(ackSegment.build(r, e))}
			}
			rand.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
			raw := ackSegment.build(end{guestA, 1}, end{remote, 1})
			at := at // a variable, as time is
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				e := &l[i/2%sessions][i&1]
				binary.BigEndian.PutUint64(raw[testL3+12:], e.addrs)
				binary.BigEndian.PutUint32(raw[testL3+ipLen:], uint32(e.ports))
				var v Verdict
				if i%2 == 0 {
					v = n.Outbound(raw, numberA, at)
				} else {
					v = n.Inbound(raw, at)
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

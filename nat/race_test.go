package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// Workers open sessions and answer them in a table that is far too small, while an
// operator changes everything. A session that stays always passes, and no answer
// ever reaches another guest than the one that asked: guests write their address
// into what they send.
func TestWorkersAgainstEachOther(t *testing.T) {
	const rounds = 20_000
	n := newTable(t, func(c *Config) { c.Limit, c.GuestLimit, c.FirstPort, c.LastPort = 60, 20, 61000, 61049 })
	kept, keptTo := end{"10.20.0.99", 1}, end{remote2, 443}
	e := establish(t, n, 99, kept, keptTo, at)

	var workers sync.WaitGroup
	var done atomic.Bool
	for w := range uint64(3) {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(w, 0))
			for i := range rounds {
				g := end{addr4(addressFrom(netip.MustParseAddr("10.20.0.2")) + uint32(r.IntN(8))).String(), uint16(r.IntN(50))}
				to := end{remote, uint16(443 + r.IntN(3))}
				raw := udp(4)(g, to)
				raw[testL3+ipLen+6], raw[testL3+ipLen+7] = 0, 0
				copy(raw[testL3+ipLen+udpLen:], ip(g))
				now := at + int64(i/100)
				if v := n.Outbound(raw, Guest(ip(g)[3]), now); v.To != Outside {
					continue
				}
				answer := make([]byte, len(raw))
				copy(answer, raw)
				d, s := answer[testL3:], raw[testL3:]
				copy(d[12:16], s[16:20])
				copy(d[16:20], s[12:16])
				copy(d[ipLen:], s[ipLen+2:ipLen+4])
				copy(d[ipLen+2:], s[ipLen:ipLen+2])
				if v := n.Inbound(answer, now); v.To == Inside && v.Dst != netip.AddrFrom4([4]byte(answer[testL3+ipLen+udpLen:])) {
					// Between the two the session may have gone, and its port to another.
					if v.Dst == kept.addrPort().Addr() {
						t.Errorf("an answer to %v reached %v", g, v.Dst)
					}
				}
			}
		})
	}
	workers.Go(func() {
		for i := 0; !done.Load(); i++ {
			out := ackSegment.build(kept, keptTo)
			if v := n.Outbound(out, 99, at+int64(i%100)); v.To != Outside || binary.BigEndian.Uint16(out[testL3+ipLen:]) != e.port {
				t.Errorf("a session that stays: %v, %v", v.To, v.Reason)
				return
			}
			in := segment{flags: ack, seq: 901, ack: 101}.build(keptTo, e)
			if v := n.Inbound(in, at+int64(i%100)); v.To != Inside || v.Dst != kept.addrPort().Addr() {
				t.Errorf("its answer: %v, %v", v.To, v.Reason)
				return
			}
		}
	})
	var operator sync.WaitGroup
	operator.Go(func() {
		for i := range rounds / 50 {
			switch i % 5 {
			case 0:
				forwardTo(t, n, "udp/61000-61010", end{server, 1})
			case 1:
				n.Sessions(at)
			case 2:
				n.Expire(at + int64(i/10))
			case 3:
				n.Inbound(udp(0)(end{remote, uint16(i)}, end{external, 61003}), at)
			case 4:
				n.DeleteForward(Listen{UDP, 61000, 61010})
			}
			n.Outbound(fragmentOf(udp(100)(end{guestA, 1}, end{remote, 443}), 0, 16, true), 5, at)
		}
		done.Store(true)
	})
	operator.Wait()
	workers.Wait()
	checkIntegrity(t, n)
}

func TestExternalAddressChangesUnderTraffic(t *testing.T) {
	n := newTable(t, nil)
	var workers sync.WaitGroup
	var done atomic.Bool
	for w := range Guest(2) {
		workers.Go(func() {
			for i := 0; !done.Load(); i++ {
				n.Outbound(udp(0)(end{guestA, uint16(i)}, end{remote, 443}), w, at)
			}
		})
	}
	for i := range 200 {
		a := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i%2)})
		if err := n.SetExternal(a); err != nil {
			t.Error(err)
		}
		for _, s := range n.Sessions(at) {
			if s.External.Addr() != a {
				t.Errorf("%v is of %v", s, a)
			}
		}
	}
	done.Store(true)
	workers.Wait()
	checkIntegrity(t, n)
}

func TestNoAllocation(t *testing.T) {
	n := newTable(t, func(c *Config) { c.Limit = 400 })
	forwardTo(t, n, "udp/80", end{server, 80})
	g, r := end{guestA, 40000}, end{remote, 443}
	e := establish(t, n, numberA, g, r, at)
	port, now := uint16(0), at
	for name, c := range map[string]struct {
		raw  []byte
		call func(raw []byte)
		want Place
	}{
		"session, out": {ackSegment.build(g, r), func(raw []byte) { n.Outbound(raw, numberA, at) }, Outside},
		"session, in":  {ackSegment.build(r, e), func(raw []byte) { n.Inbound(raw, at) }, Inside},
		"new session": {udp(9)(g, r), func(raw []byte) {
			port++
			binary.BigEndian.PutUint16(raw[testL3+ipLen:], port)
			n.Outbound(raw, numberA, at)
		}, Outside},
		"new session by a forward": {udp(9)(r, end{external, 80}), func(raw []byte) {
			port++
			binary.BigEndian.PutUint16(raw[testL3+ipLen:], port)
			n.Inbound(raw, at)
		}, Inside},
		"hairpin":      {udp(9)(g, end{external, 80}), func(raw []byte) { n.Outbound(raw, numberA, at) }, Inside},
		"error":        {errorOf(router, external, icmpUnreachable, 4, ackSegment.build(e, r), 20, 1400), func(raw []byte) { n.Inbound(raw, at) }, Inside},
		"fragment":     {fragmentOf(udp(100)(g, r), 0, 16, true), func(raw []byte) { n.Outbound(raw, numberA, at) }, Outside},
		"for the host": {udp(9)(r, end{external, 22}), func(raw []byte) { n.Inbound(raw, at) }, Host},
		"dropped":      {ackSegment.build(g, end{remote, 1}), func(raw []byte) { n.Outbound(raw, numberA, at) }, Dropped},
		"expire":       {nil, func([]byte) { now += 100; n.Expire(now) }, 0},
	} {
		raw := make([]byte, len(c.raw))
		if allocs := testing.AllocsPerRun(1000, func() { copy(raw, c.raw); c.call(raw) }); allocs != 0 {
			t.Errorf("%s allocates %v times", name, allocs)
		}
	}
}

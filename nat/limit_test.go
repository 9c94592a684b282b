package nat

import (
	"testing"

	"gxswitch/internal/frame"
)

// flood opens n sessions to ever new ports of a remote.
func flood(t *testing.T, table *Table, from Guest, guest string, n int, now int64) {
	t.Helper()
	for i := range n {
		outbound(t, table, from, synSegment.build(end{guest, uint16(i)}, end{remote2, uint16(i >> 2)}), Outside, now)
	}
}

// establish opens a TCP connection of a guest.
func establish(t testing.TB, n *Table, from Guest, g, r end, now int64) end {
	t.Helper()
	e := open(t, n, from, synSegment.build, g, r, now)
	inbound(t, n, synAckSegment.build(r, e), now)
	return e
}

func TestSYNFloodLeavesOthersAlone(t *testing.T) {
	n := newTable(t, func(c *Config) { c.Limit = 1000 })
	b := end{guestB, 40000}
	e := establish(t, n, numberB, b, end{remote, 443}, at)
	flood(t, n, numberA, guestA, 5000, at)
	if n.Len() != 251 {
		t.Errorf("%d sessions, want a quarter of 1000 and one", n.Len())
	}
	if _, dst := inbound(t, n, ackSegment.build(end{remote, 443}, e), at); dst != b {
		t.Errorf("answer to %v went to %v", b, dst)
	}
	establish(t, n, numberB, end{guestB, 40001}, end{remote, 443}, at)
}

func TestGuestAtItsLimitLosesItsOwnIdlestThatIsNoConnection(t *testing.T) {
	n := newTable(t, func(c *Config) { c.Limit, c.GuestLimit = 100, 3 })
	r := end{remote, 443}
	kept := establish(t, n, numberA, end{guestA, 1}, r, at)
	first := open(t, n, numberA, udp(0), end{guestA, 2}, r, at)
	second := open(t, n, numberA, udp(0), end{guestA, 3}, r, at+1)
	open(t, n, numberA, udp(0), end{guestA, 2}, r, at+2) // the first has a packet again
	open(t, n, numberA, udp(0), end{guestA, 4}, r, at+3)
	inbound(t, n, ackSegment.build(r, kept), at+3)
	inbound(t, n, udp(0)(r, first), at+3)
	dropped(t, "answer to the idlest", func(raw []byte) Verdict { return n.Inbound(raw, at+3) }, udp(0)(r, second), frame.NATNoSession)
}

func TestGuestWithConnectionsOnlyIsRefusedMore(t *testing.T) {
	n := newTable(t, func(c *Config) { c.Limit, c.GuestLimit = 100, 3 })
	for port := range uint16(3) {
		establish(t, n, numberA, end{guestA, port}, end{remote, 443}, at)
	}
	dropped(t, "a fourth", func(raw []byte) Verdict { return n.Outbound(raw, numberA, at) },
		synSegment.build(end{guestA, 9}, end{remote, 443}), frame.NATExhausted)
}

func TestFullTableTakesFromTheLargest(t *testing.T) {
	n := newTable(t, func(c *Config) { c.Limit, c.GuestLimit = 11, 9 })
	for port := range uint16(8) {
		establish(t, n, numberA, end{guestA, port}, end{remote, 443}, at)
	}
	for port := range uint16(3) {
		establish(t, n, numberB, end{guestB, port}, end{remote, 443}, at)
	}
	count := func(ip string) (c int) {
		for _, s := range n.Sessions(at) {
			if s.Guest.Addr().String() == ip {
				c++
			}
		}
		return c
	}
	for port := range uint16(9) {
		raw := synSegment.build(end{guestB, 100 + port}, end{remote, 443})
		if v := n.Outbound(raw, numberB, at); v.To == Outside {
			e, _ := packetOf(t, raw)
			inbound(t, n, synAckSegment.build(end{remote, 443}, e), at)
		}
	}
	if a, b := count(guestA), count(guestB); a != 6 || b != 5 {
		t.Errorf("A has %d, B %d; want 6 and 5", a, b)
	}
}

func TestFloodToOneResolverLeavesOthersToIt(t *testing.T) {
	n := newTable(t, func(c *Config) { c.FirstPort, c.LastPort = 61000, 61999 })
	r := end{remote, 53}
	for port := range uint16(3000) {
		outbound(t, n, numberA, udp(0)(end{guestA, port}, r), Outside, at)
	}
	if n.Len() < 900 {
		t.Fatalf("%d sessions hold the ports", n.Len())
	}
	b := end{guestB, 5353}
	e := open(t, n, numberB, udp(0), b, r, at)
	for port := range uint16(3000) {
		outbound(t, n, numberA, udp(0)(end{guestA, 3000 + port}, r), Outside, at)
	}
	if _, dst := inbound(t, n, udp(0)(r, e), at); dst != b {
		t.Errorf("answered to %v", dst)
	}
}

func TestPortsOfAgreedSessionsAreNotTaken(t *testing.T) {
	n := newTable(t, func(c *Config) { c.FirstPort, c.LastPort = 61000, 61001 })
	r := end{remote, 443}
	establish(t, n, numberA, end{guestA, 1}, r, at)
	establish(t, n, numberB, end{guestB, 1}, r, at)
	dropped(t, "a third", func(raw []byte) Verdict { return n.Outbound(raw, numberB, at) },
		synSegment.build(end{guestB, 2}, r), frame.NATExhausted)
	establish(t, n, numberB, end{guestB, 2}, end{remote2, 443}, at)
	dropped(t, "a third, of who has no less", func(raw []byte) Verdict { return n.Outbound(raw, numberB, at) },
		synSegment.build(end{guestB, 3}, r), frame.NATExhausted)

	other := end{server, 1}
	dropped(t, "a third, of who has one less than the largest", func(raw []byte) Verdict {
		establish(t, n, numberS, other, end{remote2, 443}, at)
		return n.Outbound(raw, numberS, at)
	}, synSegment.build(other, r), frame.NATExhausted)
	establish(t, n, numberB, end{guestB, 4}, end{remote2, 444}, at)
	establish(t, n, numberS, other, r, at) // of who has two less
}

func TestFloodByAForwardCountsForTheForward(t *testing.T) {
	n := newTable(t, func(c *Config) { c.Limit = 400 })
	forwardTo(t, n, "tcp/80", end{server, 80})
	for port := range uint16(1000) {
		inbound(t, n, synSegment.build(end{remote, port}, end{external, 80}), at)
	}
	if n.Len() != 100 {
		t.Errorf("%d sessions", n.Len())
	}
	for port := range uint16(100) {
		establish(t, n, numberS, end{server, 1000 + port}, end{remote2, 443}, at)
	}
	if n.Len() != 200 {
		t.Errorf("%d sessions", n.Len())
	}
}

func TestEmptiedTableIsAsNew(t *testing.T) {
	n := newTable(t, func(c *Config) { c.Limit, c.GuestLimit = 4000, 4000 })
	for range 3 {
		flood(t, n, numberA, guestA, 6000, at)
		checkIntegrity(t, n)
		if ended := n.Expire(at + 241); ended != 4000 {
			t.Errorf("%d ended", ended)
		}
		checkIntegrity(t, n)
	}
}

func TestPortsAreFoundWhileAThirdIsFree(t *testing.T) {
	n := newTable(t, nil)
	for port := range uint16(3000) {
		establish(t, n, numberA, end{guestA, port}, end{remote, 443}, at)
	}
}

func TestEveryPortOfASmallRangeIsFound(t *testing.T) {
	for size := uint16(1); size <= 46; size++ {
		n := newTable(t, func(c *Config) { c.FirstPort, c.LastPort = 62000, 62000+size-1 })
		for port := range size {
			establish(t, n, numberA, end{guestA, port}, end{remote, 443}, at)
		}
	}
}

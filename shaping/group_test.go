package shaping

import "testing"

// crowd offers each member of a group its own rate for a while, and says what
// of it passed and was dropped.
func crowd(g *Group[int], members []*Shaper[int], offers []uint64, bytes []int, until int64) (passed []int) {
	passed = make([]int, len(members))
	owed := make([]uint64, len(members))
	emit := func(i int) { passed[i] += bytes[i] }
	const tick = 100_000
	for now := int64(0); now < until; now += tick {
		for i, s := range members {
			for owed[i] += bytesIn(tick, offers[i]); owed[i] >= uint64(bytes[i]); owed[i] -= uint64(bytes[i]) {
				if s.Pass(bytes[i], now) {
					emit(i)
				} else {
					s.Enqueue(i, uint32(owed[i]), bytes[i], now)
				}
			}
		}
		for g.Due(now) <= now {
			if g.Drain(now, 64, emit) == 0 && g.Due(now) <= now {
				panic("due, and nothing drained")
			}
		}
	}
	return passed
}

func TestGroupSharesByTurns(t *testing.T) {
	const mbit = 125_000
	for _, c := range []struct {
		name   string
		group  string
		limits []string
		offers []uint64
		bytes  []int
		want   []float64 // Mb/s
	}{
		{"all want more", "30Mb/s", []string{"none", "none", "none"},
			[]uint64{100 * mbit, 40 * mbit, 20 * mbit}, []int{1514, 1514, 1514}, []float64{10, 10, 10}},
		{"one wants less", "30Mb/s", []string{"none", "none", "none"},
			[]uint64{100 * mbit, 100 * mbit, 4 * mbit}, []int{1514, 1514, 1514}, []float64{13, 13, 4}},
		{"one has a limit", "30Mb/s", []string{"5Mb/s", "none", "none"},
			[]uint64{100 * mbit, 100 * mbit, 100 * mbit}, []int{1514, 1514, 1514}, []float64{5, 12.5, 12.5}},
		{"short frames and super-frames", "30Mb/s", []string{"none", "none", "none"},
			[]uint64{60 * mbit, 60 * mbit, 60 * mbit}, []int{200, 1514, 65_000}, []float64{10, 10, 10}},
		{"the group has no limit", "none", []string{"5Mb/s", "none"},
			[]uint64{100 * mbit, 100 * mbit}, []int{1514, 1514}, []float64{5, 100}},
		{"the group is wider than its members", "100Mb/s", []string{"5Mb/s", "10Mb/s"},
			[]uint64{100 * mbit, 100 * mbit}, []int{1514, 1514}, []float64{5, 10}},
	} {
		g := NewGroup[int](mustParse(c.group), 0)
		var members []*Shaper[int]
		for _, l := range c.limits {
			members = append(members, newTestShaper(l))
			g.Join(members[len(members)-1])
		}
		const seconds = 10
		passed := crowd(g, members, c.offers, c.bytes, seconds*sec)
		for i, s := range members {
			got := float64(passed[i]) / seconds / mbit
			if got < c.want[i]*0.97 || got > c.want[i]*1.03 {
				t.Errorf("%s: member %d of %v gets %.2f Mb/s, want %.2f", c.name, i, c.limits, got, c.want[i])
			}
			if n := s.Counters(0); n.PassedBytes != uint64(passed[i]) {
				t.Errorf("%s: member %d passed %d bytes and counts %d", c.name, i, passed[i], n.PassedBytes)
			}
		}
	}
}

func TestFullMemberCostsNoOtherAFrame(t *testing.T) {
	g := NewGroup[int](mustParse("10Mb/s"), 0)
	flood, quiet := newTestShaper("none"), newTestShaper("none")
	g.Join(flood)
	g.Join(quiet)
	crowd(g, []*Shaper[int]{flood, quiet}, []uint64{100e6, 125_000}, []int{1514, 300}, 5*sec)
	if c := quiet.Counters(0); c.DroppedFrames > 0 {
		t.Errorf("the quiet member lost %d frames", c.DroppedFrames)
	}
	if c := flood.Counters(0); c.DroppedFrames == 0 {
		t.Error("there was no flood")
	}
}

// TestShortFramesDoNotStarveALongOne: what the group earns is for the member
// whose turn it is, not for the one that asks most often.
func TestShortFramesDoNotStarveALongOne(t *testing.T) {
	g := NewGroup[int](mustParse("1Mb/s"), 0)
	long, short := newTestShaper("none"), newTestShaper("none")
	g.Join(long)
	g.Join(short)
	for long.Pass(1000, 0) {
	}
	long.Enqueue(0, 1, 1000, 0)
	g.Drain(0, 64, func(int) {})
	now, queued := int64(0), 0
	for ; long.Counters(now).QueuedFrames > 0 && now < sec; now += 600_000 { // 64 bytes are 512 µs
		if !short.Pass(64, now) {
			short.Enqueue(0, 1, 64, now)
			queued++
		}
		g.Drain(now, 64, func(int) {})
	}
	if now > 10*ms || queued == 0 {
		t.Errorf("a frame of 8 ms takes %d ms beside short ones; %d of those waited", now/ms, queued)
	}
}

func TestMembersComeAndGo(t *testing.T) {
	g := NewGroup[int](mustParse("1Mb/s"), 0)
	a, b := newTestShaper("none"), newTestShaper("none")
	g.Join(a)
	g.Join(b)
	for n := range 10 {
		for _, s := range []*Shaper[int]{a, b} {
			if !s.Pass(1500, 0) {
				s.Enqueue(n, 1, 1500, 0)
			}
		}
	}
	left := a.Counters(0).QueuedFrames
	g.Leave(a)
	if got := a.Drain(0, 100, func(int) {}); got != left || left == 0 {
		t.Errorf("%d of %d frames go when their shaper has no limit any more", got, left)
	}
	b.Flush(0)
	if g.Due(0) != Never || g.Drain(sec, 100, func(int) {}) != 0 {
		t.Error("something waits in a group of empty queues")
	}
	g.SetLimit(Limit{}, sec)
	if !b.Pass(1<<20, sec) || g.Limit() != (Limit{}) {
		t.Error("a lifted limit holds")
	}
}

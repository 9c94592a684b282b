package shaping

import (
	"testing"
	"time"
)

func newTestShaper(rate string) *Shaper[int] { return NewShaper(mustParse(rate), 0, func(int) {}) }

func TestNothingPassesByWhatWaits(t *testing.T) {
	s := newTestShaper("1Mb/s")
	for s.Pass(1000, 0) {
	}
	s.Enqueue(1, 1, 1000, 0)
	if s.Pass(64, sec) {
		t.Error("a frame passes by another")
	}
	var got []int
	emit := func(i int) { got = append(got, i) }
	due := s.Due(0)
	if s.Drain(due-1, 64, emit) != 0 || s.Drain(due, 64, emit) != 1 || got[0] != 1 {
		t.Errorf("due at %d, drained %v", due, got)
	}
	if s.Due(due) != Never || !s.Pass(64, sec) {
		t.Error("an empty queue holds frames up")
	}
}

func TestCountersTellEverything(t *testing.T) {
	dropped := 0
	s := NewShaper(mustParse("1Mb/s"), 0, func(bytes int) { dropped += bytes })
	offered := 0
	for range 200 {
		offered += 1000
		if !s.Pass(1000, 0) {
			s.Enqueue(1000, 1, 1000, 0)
		}
	}
	s.Drain(80*ms, 1000, func(int) {})
	c := s.Counters(80 * ms)
	if sum := c.PassedBytes + c.DroppedBytes + uint64(c.QueuedBytes); sum != uint64(offered) || c.DroppedBytes != uint64(dropped) || dropped == 0 {
		t.Errorf("%d bytes offered, %d dropped: %+v", offered, dropped, c)
	}
	if sum := c.PassedFrames + c.DroppedFrames + uint64(c.QueuedFrames); sum != 200 {
		t.Errorf("200 frames offered: %+v", c)
	}
	if c.Throttled != 80*time.Millisecond {
		t.Errorf("throttled for %v", c.Throttled)
	}
	s.Flush(100 * ms)
	if c := s.Counters(sec); c.QueuedFrames != 0 || c.QueuedBytes != 0 || c.Throttled != 100*time.Millisecond ||
		c.PassedBytes+c.DroppedBytes != uint64(offered) || s.Due(sec) != Never {
		t.Errorf("after a flush: %+v", c)
	}
}

func TestLiftedLimitLetsTheQueueGo(t *testing.T) {
	s := newTestShaper("1Mb/s")
	s.Pass(65_000, 0)
	for n := range 10 {
		s.Enqueue(n, 1, 1514, 0)
	}
	s.SetLimit(Limit{}, ms)
	if s.Due(ms) != ms {
		t.Errorf("due at %d", s.Due(ms))
	}
	var got []int
	for s.Drain(ms, 4, func(i int) { got = append(got, i) }) > 0 {
	}
	if len(got) != 10 || got[0] != 0 || got[9] != 9 || !s.Pass(1<<20, ms) {
		t.Errorf("drained %v", got)
	}
}

func TestSuperFrameIsCutWhereItWouldHoldOthersUp(t *testing.T) {
	for _, c := range []struct {
		rate  string
		bytes int
		want  bool // with a full credit, and with an empty one
		empty bool
	}{
		{"none", 65_536, false, false},
		{"1Gb/s", 65_536, false, false}, // 0.5 ms
		{"500Mb/s", 65_536, false, true},
		{"10Mb/s", 60_000, false, true},
		{"10Mb/s", 65_536, true, true}, // the credit is 62500
		{"10Mb/s@1ms", 9000, true, true},
		{"1Mb/s", 65_536, true, true},
		{"1Mb/s", 1514, false, false},
	} {
		s := newTestShaper(c.rate)
		if got := s.Cut(c.bytes, 0); got != c.want {
			t.Errorf("%s, full: %d bytes: %v", c.rate, c.bytes, got)
		}
		s.bucket.charge(int(s.limit.Credit()))
		if got := s.Cut(c.bytes, 0); got != c.empty {
			t.Errorf("%s, empty: %d bytes: %v", c.rate, c.bytes, got)
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	s := newTestShaper("100Mb/s")
	now, sent := int64(0), 0
	emit := func(int) { sent++ }
	step := func() {
		for n := range 40 {
			if !s.Pass(1514, now) {
				s.Enqueue(n, uint32(n%5), 1514, now)
			}
		}
		now += ms
		if s.Due(now) <= now {
			s.Drain(now, 64, emit)
		}
	}
	for range 1000 { // the queues grow to their bounds
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 || sent == 0 {
		t.Errorf("%v allocations in 80 frames offered, %d drained", n, sent)
	}
}

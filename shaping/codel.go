package shaping

import (
	"math"
	"time"
)

// codel decides which frames of one flow have waited too long (RFC 8289): when frames have waited for more than the target all through an interval,
// the queue is not a burst but a standing one, and from then on frames are
// dropped, ever faster, until the wait is below the target.
//
//	state     sees                              does, becomes
//	idle      wait above target for interval    drop, dropping
//	dropping  wait below target                 deliver, idle
//	dropping  time of the next drop             drop; next one interval/√count later
//
// The RFC's dequeue drops in a loop; here each head of the queue is asked about
// in its turn, since the frame behind it may have to wait for its bytes.
type codel struct {
	firstAbove int64 // when the wait will have been above the target for an interval; 0: it is not
	dropNext   int64
	count      uint32 // drops since dropping began
	lastCount  uint32 // count when dropping began
	dropping   bool
}

// delays are CoDel's two settings, in ns.
type delays struct{ target, interval int64 }

// The interval is the longest usual RTT. RFC 8289 wants the target at 5 to 10 %
// of it; we take the upper end. A flow's queue delays itself alone, and at 10 ms
// CUBIC fills 97 % of a pipe with an RTT of 50 ms, at 5 ms 93 % (TestTCPFillsTheLimit).
const (
	codelTarget   = int64(10 * time.Millisecond)
	codelInterval = int64(100 * time.Millisecond)
)

// delaysFor suits slow rates: the target has to be more than a frame takes, or
// frames are dropped that nothing is before (RFC 8290, section 5.2). One and a
// half frames, and the interval longer by as much, is what CAKE uses
// (net/sched/sch_cake.c, cake_set_rate).
func delaysFor(bytesPerSecond uint64) delays {
	target := max(codelTarget, timeOf(mtu*3/2, bytesPerSecond))
	return delays{target, max(codelInterval+target-codelTarget, 2*target)}
}

// drop reports whether the frame at the head is to be dropped: it has waited for
// wait ns. alone is whether its flow holds no more than one frame's worth.
func (c *codel) drop(wait int64, alone bool, d delays, now int64) bool {
	high := c.tooLong(wait, alone, d, now)
	switch {
	case !c.dropping && high:
		c.dropping = true
		// Soon after the last time: begin where the drop rate was right.
		count := c.count - c.lastCount
		if count <= 1 || now-c.dropNext >= 16*d.interval {
			count = 1
		}
		c.count, c.lastCount = count, count
		c.dropNext = now + d.spacing(count)
		return true
	case c.dropping && !high:
		c.dropping = false
	case c.dropping && now >= c.dropNext:
		c.count++
		c.dropNext += d.spacing(c.count)
		return true
	}
	return false
}

// tooLong reports whether frames have waited for more than the target during the
// whole of the last interval.
func (c *codel) tooLong(wait int64, alone bool, d delays, now int64) bool {
	if wait < d.target || alone {
		c.firstAbove = 0
		return false
	}
	if c.firstAbove == 0 {
		c.firstAbove = now + d.interval
		return false
	}
	return now >= c.firstAbove
}

// spacing is the time to the next drop: TCP's throughput goes with the inverse
// root of its loss rate, so this lowers it in equal steps.
func (d delays) spacing(count uint32) int64 {
	return int64(float64(d.interval) / math.Sqrt(float64(count)))
}

package shaping

import (
	"math/bits"
	"time"
)

// Shaper holds a port to a limit in one direction. T is what waits: a frame's
// copy, or whatever leads to one.
type Shaper[T any] struct {
	bucket Bucket
	limit  Limit
	queue  queue[T]

	cutAbove    int // bytes; see Cut
	passed      uint64
	passedBytes uint64
	since       int64 // when something began to wait
	throttled   int64 // ns before that
}

// Counters are what a Shaper has done. A frame is what was offered as one: a
// super-frame that is not cut is one.
type Counters struct {
	PassedFrames, PassedBytes   uint64
	DroppedFrames, DroppedBytes uint64
	QueuedFrames, QueuedBytes   int
	Throttled                   time.Duration // while something waited
}

// NewShaper is a Shaper with an empty queue and a full credit. drop is handed
// every frame that waited, or was to wait, and will not pass; it must not call
// the Shaper.
func NewShaper[T any](l Limit, now int64, drop func(T)) *Shaper[T] {
	s := &Shaper[T]{bucket: NewBucket(l, now), limit: l, queue: newQueue(drop)}
	s.fit()
	return s
}

// SetLimit changes the limit from now on. What waits still waits, as far as the
// new limit has room for it.
func (s *Shaper[T]) SetLimit(l Limit, now int64) {
	if l == s.limit {
		return
	}
	s.limit = l
	s.bucket.SetLimit(l, now)
	s.fit()
}

// Limit is the limit in force.
func (s *Shaper[T]) Limit() Limit { return s.limit }

// Pass reports whether a frame passes at once, and charges it. If it does not,
// it is for Enqueue. Nothing passes by frames that wait.
func (s *Shaper[T]) Pass(bytes int, now int64) bool {
	if s.queue.length > 0 {
		return false
	}
	if !s.bucket.Take(bytes, now) {
		return false
	}
	s.passed++
	s.passedBytes += uint64(bytes)
	return true
}

// Cut reports whether a super-frame is to be cut into the frames of the wire,
// and those be offered one by one, since it is longer than 1 ms of the rate and
// not covered by the credit. In one piece it would keep all others waiting for
// as long as it takes, and be dropped as one. CAKE does the same below 1 Gb/s
// (net/sched/sch_cake.c, split_gso).
func (s *Shaper[T]) Cut(bytes int, now int64) bool {
	return bytes > s.cutAbove && (s.queue.length > 0 || !s.bucket.covers(bytes, now))
}

// Enqueue lets a frame wait. hash tells its flow from others: any 32 bits that
// are the same for all frames that must not overtake each other. It may drop
// this frame or others.
func (s *Shaper[T]) Enqueue(item T, hash uint32, bytes int, now int64) {
	if s.queue.length == 0 {
		s.since = now
	}
	s.queue.push(item, hash, bytes, now)
}

// Due is the time from which Drain has something to do, Never if nothing waits.
// Enqueue may bring it forward.
func (s *Shaper[T]) Due(now int64) int64 {
	_, bytes, ok := s.queue.head()
	if !ok {
		return Never
	}
	return s.bucket.When(bytes, now)
}

// Drain calls emit for what may pass now, at most most frames of it, and returns
// how many they were. emit must not call the Shaper.
func (s *Shaper[T]) Drain(now int64, most int, emit func(T)) int {
	sent := 0
	for sent < most {
		i, bytes, ok := s.queue.head()
		if !ok || !s.bucket.has(bytes, now) {
			break
		}
		if item, ok := s.pop(i, bytes, now); ok {
			emit(item)
			sent++
		}
	}
	return sent
}

// Flush drops everything that waits.
func (s *Shaper[T]) Flush(now int64) {
	if s.queue.length == 0 {
		return
	}
	s.queue.flush()
	s.rest(now)
}

// Counters returns the counters.
func (s *Shaper[T]) Counters(now int64) Counters {
	c := Counters{
		PassedFrames: s.passed, PassedBytes: s.passedBytes,
		DroppedFrames: s.queue.dropped, DroppedBytes: s.queue.droppedBytes,
		QueuedFrames: s.queue.length, QueuedBytes: s.queue.bytes,
		Throttled: time.Duration(s.throttled),
	}
	if s.queue.length > 0 {
		c.Throttled += time.Duration(max(0, now-s.since))
	}
	return c
}

// pop takes the frame that head named and charges it, or drops it.
func (s *Shaper[T]) pop(i int32, bytes int, now int64) (item T, ok bool) {
	if item, ok = s.queue.pop(i, now); ok {
		s.bucket.charge(bytes)
		s.passed++
		s.passedBytes += uint64(bytes)
	}
	if s.queue.length == 0 {
		s.rest(now)
	}
	return item, ok
}

// rest ends a time in which something waited.
func (s *Shaper[T]) rest(now int64) { s.throttled += max(0, now-s.since) }

// fit adapts the queue to the limit.
func (s *Shaper[T]) fit() {
	rate := s.limit.BytesPerSecond()
	const longest = int64(time.Millisecond)
	s.cutAbove = int(max(mtu, min(bytesIn(longest, rate), 1<<30)))
	if rate == 0 {
		s.cutAbove = 1 << 30
		return // what waits goes at the next Drain
	}
	s.queue.setRate(rate)
}

// bytesIn is what a rate comes to in ns nanoseconds.
func bytesIn(ns int64, bytesPerSecond uint64) uint64 {
	hi, lo := bits.Mul64(uint64(ns), bytesPerSecond)
	if hi >= nano {
		return 1<<64 - 1
	}
	n, _ := bits.Div64(hi, lo, nano)
	return n
}

// timeOf is how many ns bytes take at a rate, 0 at no rate.
func timeOf(bytes, bytesPerSecond uint64) int64 {
	if bytesPerSecond == 0 {
		return 0
	}
	return int64(bytes * nano / bytesPerSecond)
}

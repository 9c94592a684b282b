package shaping

import (
	"math"
	"math/bits"
)

// Never is a time that does not come.
const Never = math.MaxInt64

// Bucket is a token bucket without rounding. Its unit is the nanobyte: a rate of
// r bytes a second is r nanobytes each nanosecond, so time and bytes meet in
// whole numbers and nothing drifts, at 1 B/s or at 100 Gb/s.
//
// It begins full, with one credit. A frame passes if it is covered, and pays for
// itself. One larger than half the credit, as a GSO super-frame may be, passes
// when the bucket is half full; where that does not cover it, it leaves a debt,
// which is paid off before anything else passes. So in any time t no more passes
// than credit + rate × t, and one frame where frames are that large.
//
// The half that a frame need not wait for is what a drain may be late by without
// losing a part of the rate. That every frame might pass on credit, as soon as a
// single byte is there, would keep the rate too, but a ping would then find the
// debt of 64 KiB before it.
//
// The zero Bucket has no limit. Frames are at most 1 GiB.
type Bucket struct {
	rate    uint64 // nanobytes per nanosecond; 0: no limit
	depth   int64  // the credit in nanobytes
	balance int64  // in nanobytes as of last, at most depth
	last    int64  // in ns
}

// nano is a byte in nanobytes.
const nano = 1_000_000_000

// maxDepth is 4 GiB, which is a third of a second at 100 Gb/s: a larger credit
// would not fit, and no queue in front of us has as much to let go at once.
const maxDepth = 1 << 32 * nano

// NewBucket is a full bucket.
func NewBucket(l Limit, now int64) Bucket {
	depth := int64(min(l.Credit(), maxDepth/nano)) * nano
	return Bucket{rate: l.BytesPerSecond(), depth: depth, balance: depth, last: now}
}

// SetLimit changes the limit. Credit and debt are carried over, but neither is
// more than the new credit: what 64 KiB cost at 1 Gb/s is not half a second of
// silence at 1 Mb/s.
func (b *Bucket) SetLimit(l Limit, now int64) {
	fresh := NewBucket(l, now)
	if b.rate != 0 {
		b.fill(now)
		fresh.balance = max(-fresh.depth, min(b.balance, fresh.depth))
		fresh.last = max(b.last, now)
	}
	*b = fresh
}

// Take passes a frame and charges it, or reports false and charges nothing.
func (b *Bucket) Take(bytes int, now int64) bool {
	if b.rate == 0 {
		return true
	}
	b.fill(now)
	cost := int64(bytes) * nano
	if b.balance < min(cost, b.depth/2) {
		return false
	}
	b.balance -= cost
	return true
}

// When is the time, now or later, from which Take passes a frame if none passes
// before it.
func (b *Bucket) When(bytes int, now int64) int64 {
	if b.rate == 0 {
		return now
	}
	b.fill(now)
	missing := min(int64(bytes)*nano, b.depth/2) - b.balance
	if missing <= 0 {
		return now
	}
	wait := (uint64(missing)-1)/b.rate + 1
	if wait > uint64(Never-max(b.last, 0)) {
		return Never
	}
	return max(b.last, now) + int64(wait)
}

// has reports whether a frame would pass.
func (b *Bucket) has(bytes int, now int64) bool {
	if b.rate == 0 {
		return true
	}
	b.fill(now)
	return b.balance >= min(int64(bytes)*nano, b.depth/2)
}

// covers reports whether a frame would pass without debt.
func (b *Bucket) covers(bytes int, now int64) bool {
	if b.rate == 0 {
		return true
	}
	b.fill(now)
	return b.balance >= int64(bytes)*nano
}

// charge is for a frame that has passed.
func (b *Bucket) charge(bytes int) {
	if b.rate != 0 {
		b.balance -= int64(bytes) * nano
	}
}

// fill earns what the time since last is worth. A clock that steps back earns
// nothing until it is past last again.
func (b *Bucket) fill(now int64) {
	if now <= b.last {
		return
	}
	// 128 bits, so that years of idle do not overflow.
	hi, lo := bits.Mul64(uint64(now)-uint64(b.last), b.rate)
	b.last = now
	if hi != 0 || lo >= uint64(b.depth-b.balance) {
		b.balance = b.depth
		return
	}
	b.balance += int64(lo)
}

package shaping

import (
	"fmt"
	"testing"
)

func BenchmarkBucketTake(b *testing.B) {
	bucket, now := NewBucket(mustParse("100Gb/s"), 0), int64(0)
	for b.Loop() {
		now += 1000
		if !bucket.Take(1514, now) {
			b.Fatal("it does not pass")
		}
	}
}

// BenchmarkPass is the usual path: the limit is not reached.
func BenchmarkPass(b *testing.B) {
	for _, rate := range []string{"none", "100Gb/s"} {
		b.Run(rate, func(b *testing.B) {
			s, now := newTestShaper(rate), int64(0)
			for b.Loop() {
				now += 1000
				if !s.Pass(1514, now) {
					b.Fatal("it does not pass")
				}
			}
		})
	}
}

// BenchmarkWait is a frame that has to wait: Enqueue, and its part of a Drain.
func BenchmarkWait(b *testing.B) {
	for _, flows := range []uint32{1, 8, 64} {
		b.Run(fmt.Sprintf("%dflows", flows), func(b *testing.B) {
			s, now, n := newTestShaper("1Gb/s"), int64(0), uint32(0)
			for s.Pass(1514, 0) {
			}
			emit := func(int) {}
			for b.Loop() {
				s.Enqueue(1, n%flows, 1514, now)
				if n++; n%16 == 0 {
					now += timeOf(16*1514, 125_000_000)
					s.Drain(now, 64, emit)
				}
			}
		})
	}
}

// BenchmarkOverflow is a flood into a full queue: each frame costs one.
func BenchmarkOverflow(b *testing.B) {
	for _, flows := range []uint32{1, 64, 100_000} {
		b.Run(fmt.Sprintf("%dflows", flows), func(b *testing.B) {
			s, n := newTestShaper("100Mb/s"), uint32(0)
			for b.Loop() {
				s.Enqueue(1, n%flows, 64, 0)
				n++
			}
		})
	}
}

func BenchmarkParseLimit(b *testing.B) {
	for b.Loop() {
		if _, err := ParseLimit("100Mb/s@20ms"); err != nil {
			b.Fatal(err)
		}
	}
}

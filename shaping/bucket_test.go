package shaping

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const (
	ms  = int64(time.Millisecond)
	sec = int64(time.Second)
)

// exact is Bucket in rational numbers of bytes.
type exact struct {
	rate, depth, balance *big.Rat // bytes per ns, bytes
	last                 int64
}

func newExact(l Limit, now int64) *exact {
	depth := new(big.Rat).SetInt(new(big.Int).SetUint64(l.Credit()))
	rate := new(big.Rat).SetFrac(new(big.Int).SetUint64(l.BytesPerSecond()), big.NewInt(1e9))
	return &exact{rate, depth, depth, now}
}

func (e *exact) take(bytes int, now int64) bool {
	if now > e.last {
		earned := new(big.Rat).Mul(e.rate, new(big.Rat).SetInt64(now-e.last))
		e.balance = new(big.Rat).Add(e.balance, earned)
		if e.balance.Cmp(e.depth) > 0 {
			e.balance = e.depth
		}
		e.last = now
	}
	cost := new(big.Rat).SetInt64(int64(bytes))
	half := new(big.Rat).Quo(e.depth, big.NewRat(2, 1))
	if e.balance.Cmp(cost) < 0 && e.balance.Cmp(half) < 0 {
		return false
	}
	e.balance = new(big.Rat).Sub(e.balance, cost)
	return true
}

func anyLimit(t *rapid.T) Limit {
	l := Limit{
		bytesPerSecond: uint64(math.Exp(rapid.Float64Range(0, math.Log(12.5e9)).Draw(t, "log rate"))),
		intervalUsec:   rapid.Uint32Range(1, 2_000_000).Draw(t, "µs"),
	}
	if l.Credit() == 0 || l.Credit() > maxDepth/nano {
		t.Skip("no credit, or more than a bucket holds")
	}
	return l
}

// anyStep is a time between frames: none, about a frame's, long, years.
func anyStep(t *rapid.T, l Limit) int64 {
	switch rapid.IntRange(0, 20).Draw(t, "step") {
	case 0:
		return 0
	case 1:
		return rapid.Int64Range(0, 20*365*24*3600*sec).Draw(t, "years")
	case 2:
		return -rapid.Int64Range(0, sec).Draw(t, "back")
	}
	return rapid.Int64Range(0, 2*timeOf(1514, l.BytesPerSecond())).Draw(t, "ns")
}

func TestBucketIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimit(t)
		now := rapid.Int64Range(-1e18, 1e18).Draw(t, "start")
		b, model := NewBucket(l, now), newExact(l, now)
		for i := range rapid.IntRange(1, 200).Draw(t, "frames") {
			now += anyStep(t, l)
			if now > 4e18 {
				break
			}
			bytes := rapid.IntRange(1, 70_000).Draw(t, "bytes")
			when := b.When(bytes, now)
			got := b.Take(bytes, now)
			if want := model.take(bytes, now); got != want {
				t.Fatalf("frame %d of %d bytes at %d: passes %v, exactly %v", i, bytes, now, got, want)
			}
			if got != (when == now) && now >= model.last {
				t.Fatalf("When is %d at %d, yet Take is %v", when, now, got)
			}
			if !got && when != Never && when < 4e18 {
				early, due := b, b
				if early.Take(bytes, when-1) && when-1 >= now || !due.Take(bytes, when) {
					t.Fatalf("at %d, When for %d bytes is %d, which is not the first moment", now, bytes, when)
				}
			}
		}
	})
}

// TestNoWindowHoldsMoreThanItMay compares each stretch of what passed, from any
// frame to any other, with credit + rate × time, and a frame where it is large.
func TestNoWindowHoldsMoreThanItMay(t *testing.T) {
	type pass struct{ at, bytes int64 }
	rapid.Check(t, func(t *rapid.T) {
		l := anyLimit(t)
		largest := rapid.SampledFrom([]int{64, 1514, 70_000}).Draw(t, "largest")
		b, now := NewBucket(l, 0), int64(0)
		var passed []pass
		for range 300 {
			now += max(0, anyStep(t, l)) % (100 * sec)
			bytes := rapid.IntRange(1, largest).Draw(t, "bytes")
			if b.Take(bytes, now) {
				passed = append(passed, pass{now, int64(bytes)})
			}
		}
		for i := range passed {
			sum := int64(0)
			for _, p := range passed[i:] {
				sum += p.bytes
				most := l.Credit() + bytesIn(p.at-passed[i].at, l.BytesPerSecond()) + 1
				if uint64(largest) > l.Credit()/2 {
					most += uint64(largest)
				}
				if uint64(sum) > most {
					t.Fatalf("%v: %d bytes in %d ns, may be %d", l, sum, p.at-passed[i].at, most)
				}
			}
		}
	})
}

func TestSaturatedSourceGetsTheRate(t *testing.T) {
	for _, rate := range []string{"8b/s@1s", "56Kb/s", "1Mb/s", "1Mb/s@1ms", "10Mb/s@20ms", "100Mb/s", "3333333B/s", "1Gb/s", "100Gb/s"} {
		for _, bytes := range []int{64, 1514, 65_000} {
			l := mustParse(rate)
			b, now, passed := NewBucket(l, 0), int64(0), uint64(0)
			const frames = 20_000
			for range frames {
				now = b.When(bytes, now)
				if !b.Take(bytes, now) {
					t.Fatalf("%s: a frame of %d is not due at %d", rate, bytes, now)
				}
				passed += uint64(bytes)
			}
			// Without the credit that it began with, and the debt it ends with.
			want, credit := bytesIn(now, l.BytesPerSecond()), l.Credit()+uint64(bytes)
			if passed > want+credit || passed+credit < want {
				t.Errorf("%s, frames of %d: %d bytes in %v, want %d", rate, bytes, passed, time.Duration(now), want)
			}
		}
	}
}

// TestNothingDrifts asks a million times within a second, at a rate that does
// not divide it, and finds every nanobyte.
func TestNothingDrifts(t *testing.T) {
	l := Limit{bytesPerSecond: 1_234_567, intervalUsec: 50_000}
	b, r, now := NewBucket(l, 0), rand.New(rand.NewPCG(1, 2)), int64(0)
	b.charge(1 << 30) // so that it never is full
	start := b.balance
	for range 1_000_000 {
		now += r.Int64N(2000)
		if b.Take(1, now) {
			t.Fatal("a frame passes a debt")
		}
	}
	if want := start + now*int64(l.bytesPerSecond); b.balance != want {
		t.Errorf("after %v: %d nanobytes, want %d", time.Duration(now), b.balance, want)
	}
}

func TestBurstAfterIdleIsOneCredit(t *testing.T) {
	for _, bytes := range []int{100, 1514} {
		l := mustParse("10Mb/s")
		b, burst := NewBucket(l, 0), 0
		for b.Take(bytes, 0) {
		}
		for b.Take(bytes, 2*sec) {
			burst += bytes
		}
		if credit := int(l.Credit()); burst > credit || burst < credit-bytes {
			t.Errorf("frames of %d: a burst of %d, the credit is %d", bytes, burst, credit)
		}
	}
}

func TestFrameLargerThanTheCreditPassesAndIsPaidFor(t *testing.T) {
	l := mustParse("1Mb/s") // 6250 bytes
	b := NewBucket(l, 0)
	if !b.Take(65_536, 0) {
		t.Fatal("a super-frame does not pass a full bucket")
	}
	debt := int64(65_536-6250) * 8000 // ns
	if b.Take(64, debt) || !b.Take(64, debt+64*8000) {
		t.Errorf("64 bytes do not pass when the debt is paid and they are covered")
	}
}

func TestChangeKeepsNoMoreThanOneCredit(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to string
		take     int
		balance  int64 // bytes afterwards
	}{
		{"slower, full", "100Mb/s", "10Mb/s", 0, 62_500},
		{"slower, some left", "100Mb/s", "10Mb/s", 600_000, 25_000},
		{"slower, debt", "1Gb/s@1ms", "1Mb/s", 180_000, -6250},
		{"faster, debt", "1Mb/s", "100Mb/s", 56_250, -50_000},
		{"faster, full", "10Mb/s", "100Mb/s", 0, 62_500},
		{"from none", "none", "10Mb/s", 1_000_000, 62_500},
	} {
		b := NewBucket(mustParse(c.from), 0)
		b.charge(c.take)
		b.SetLimit(mustParse(c.to), 0)
		if b.balance != c.balance*nano {
			t.Errorf("%s: %d bytes, want %d", c.name, b.balance/nano, c.balance)
		}
	}
	b := NewBucket(mustParse("1Mb/s"), 0)
	b.charge(1 << 30)
	b.SetLimit(Limit{}, 0)
	if !b.Take(1<<30, 0) || b.When(1<<30, 5) != 5 {
		t.Error("no limit is still a limit")
	}
}

func TestYearsOfIdleDoNotOverflow(t *testing.T) {
	for _, rate := range []string{"8b/s@1s", "100Gb/s", "4294967295GB/s@4us", "100Gb/s@10s"} {
		l := mustParse(rate)
		b := NewBucket(l, -1<<62)
		b.charge(1 << 30)
		if b.fill(1 << 62); b.balance != b.depth {
			t.Errorf("%s: after 292 years %d of %d nanobytes", rate, b.balance, b.depth)
		}
	}
}

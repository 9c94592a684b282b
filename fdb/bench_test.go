package fdb

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// twin is what the table is measured against: the obvious ways to share a map,
// without limits, fairness or ageing.
type twin interface {
	Lookup(Key) (PortID, bool)
	Learn(Key, PortID, int64) Verdict
}

type heard struct {
	port  PortID
	stamp int64
}

type mutexMap struct {
	mu sync.RWMutex
	m  map[Key]heard
}

func (t *mutexMap) Lookup(k Key) (PortID, bool) {
	t.mu.RLock()
	h, ok := t.m[k]
	t.mu.RUnlock()
	return h.port, ok
}

func (t *mutexMap) Learn(k Key, p PortID, now int64) Verdict {
	t.mu.RLock()
	h, ok := t.m[k]
	t.mu.RUnlock()
	if ok && h == (heard{p, now}) {
		return Refreshed
	}
	t.mu.Lock()
	t.m[k] = heard{p, now}
	t.mu.Unlock()
	return Learned
}

type syncMap struct{ m sync.Map }

func (t *syncMap) Lookup(k Key) (PortID, bool) {
	h, ok := t.m.Load(k)
	if !ok {
		return 0, false
	}
	return h.(heard).port, true
}

func (t *syncMap) Learn(k Key, p PortID, now int64) Verdict {
	if h, ok := t.m.Load(k); ok && h.(heard) == (heard{p, now}) {
		return Refreshed
	}
	t.m.Store(k, heard{p, now})
	return Learned
}

// benchTwins runs f with each twin, holding size stations in random order.
func benchTwins(b *testing.B, f func(b *testing.B, t twin, keys []Key)) {
	for _, size := range []int{10, 8192, 65536} {
		r := rand.New(rand.NewPCG(1, uint64(size)))
		keys := make([]Key, size)
		for i := range keys {
			keys[i] = stranger(r)
		}
		for _, c := range []struct {
			name string
			t    twin
		}{
			{"table", New(Config{Limit: size})},
			{"syncmap", &syncMap{}},
			{"mutexmap", &mutexMap{m: map[Key]heard{}}},
		} {
			for _, k := range keys {
				c.t.Learn(k, PortID(k%64), 1)
			}
			shuffled := append([]Key(nil), keys...)
			r.Shuffle(size, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			b.Run(fmt.Sprintf("%s/%d", c.name, size), func(b *testing.B) { f(b, c.t, shuffled) })
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	benchTwins(b, func(b *testing.B, t twin, keys []Key) {
		i := 0
		for b.Loop() {
			if _, ok := t.Lookup(keys[i]); !ok {
				b.Fatal("a station is missing")
			}
			if i++; i == len(keys) {
				i = 0
			}
		}
	})
}

func BenchmarkLookupParallel(b *testing.B) {
	benchTwins(b, func(b *testing.B, t twin, keys []Key) {
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(keys)); pb.Next(); {
				t.Lookup(keys[i])
				if i++; i == len(keys) {
					i = 0
				}
			}
		})
	})
}

// BenchmarkLearn is the hot path: the station is known, its stamp is of this
// second.
func BenchmarkLearn(b *testing.B) {
	benchTwins(b, func(b *testing.B, t twin, keys []Key) {
		i := 0
		for b.Loop() {
			t.Learn(keys[i], PortID(keys[i]%64), 1)
			if i++; i == len(keys) {
				i = 0
			}
		}
	})
}

func BenchmarkLearnParallel(b *testing.B) {
	benchTwins(b, func(b *testing.B, t twin, keys []Key) {
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(keys)); pb.Next(); {
				t.Learn(keys[i], PortID(keys[i]%64), 1)
				if i++; i == len(keys) {
					i = 0
				}
			}
		})
	})
}

// BenchmarkLookupUnderFlood is Lookup while another worker learns new addresses
// as fast as it can.
func BenchmarkLookupUnderFlood(b *testing.B) {
	tb := New(Config{})
	for n := range 1000 {
		tb.Learn(station(n), 0, 0)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for r := rand.New(rand.NewPCG(1, 1)); !stop.Load(); {
			tb.Learn(stranger(r), 1, 0)
		}
	})
	for n := 1; b.Loop(); n = n%999 + 1 {
		if _, ok := tb.Lookup(station(n)); !ok {
			b.Fatal("a station is missing")
		}
	}
	stop.Store(true)
	wg.Wait()
}

// BenchmarkLearnNew is a flood from one port of a network of 64, into a table
// that is full of it.
func BenchmarkLearnNew(b *testing.B) {
	for _, limit := range []int{8192, 65536} {
		b.Run(fmt.Sprint(limit), func(b *testing.B) {
			tb, r := New(Config{Limit: limit}), rand.New(rand.NewPCG(1, 1))
			for n := range limit {
				tb.Learn(stranger(r), PortID(min(n, 63)), 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				tb.Learn(stranger(r), 63, 1)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "addresses/s")
		})
	}
}

// BenchmarkFill is a flood into an empty table, growth included.
func BenchmarkFill(b *testing.B) {
	const limit = 65536
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		tb := New(Config{Limit: limit})
		for range limit {
			tb.Learn(stranger(r), 0, 1)
		}
	}
	b.ReportMetric(float64(b.N)*limit/b.Elapsed().Seconds(), "addresses/s")
}

// BenchmarkAge is one call on a table of 65536 entries: none of them is due, or
// they all are.
func BenchmarkAge(b *testing.B) {
	const limit = 65536
	fill := func() *Table {
		tb, r := New(Config{Limit: limit}), rand.New(rand.NewPCG(1, 1))
		for range limit {
			tb.Learn(stranger(r), 0, 1)
		}
		return tb
	}
	b.Run("none", func(b *testing.B) {
		for tb := fill(); b.Loop(); {
			tb.Age(1)
		}
	})
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			tb := fill()
			b.StartTimer()
			tb.Age(1000)
		}
	})
}

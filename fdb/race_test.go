package fdb

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Readers look up while learners, an operator and a flusher fight over a table
// that is far too small, so that slots change hands all the time. A reader never
// gets a port at which the station never was, and always finds a station that
// stays.
func TestReadersAgainstWriters(t *testing.T) {
	const keys, pinned, rounds = 600, 20, 60_000
	tb := New(Config{Limit: 100})
	// Station n lives at ports 2n and 2n+1, so a port tells whose it is.
	for n := range pinned {
		if err := tb.Add(station(keys+n), PortID(2*(keys+n)), Static); err != nil {
			t.Fatal(err)
		}
	}
	var writers, readers sync.WaitGroup
	var done atomic.Bool
	for w := range uint64(2) {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(w, 0))
			for i := range rounds {
				n := 1 + r.IntN(keys-1)
				tb.Learn(station(n), PortID(2*n+r.IntN(2)), int64(i/1000))
			}
		})
	}
	writers.Go(func() {
		r := rand.New(rand.NewPCG(7, 0))
		for i := range rounds / 100 {
			n := 1 + r.IntN(keys-1)
			switch i % 8 {
			case 0:
				tb.Flush()
			case 1:
				tb.SetLimit(50 + r.IntN(300)) // grows and shrinks the index
			case 2:
				tb.Age(int64(i / 10))
			case 3:
				tb.RemovePort(PortID(2 * n))
			case 4:
				tb.Entries(0)
			case 5:
				tb.FlushPort(PortID(2 * n))
			case 6:
				_ = tb.Add(station(n), PortID(2*n), Static) // ErrExists and ErrFull are fine
			case 7:
				tb.Delete(station(n))
			}
		}
	})
	for w := range uint64(2) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(w, 1))
			for !done.Load() {
				n := 1 + r.IntN(keys+pinned-1)
				p, ok := tb.Lookup(station(n))
				if ok && int(p)/2 != n {
					t.Errorf("station %d is at port %d, where it never was", n, p)
					return
				}
				if !ok && n >= keys {
					t.Errorf("static station %d was not found", n)
					return
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	checkInvariants(t, tb)
}

// Two slots, which a handful of stations take from each other every hundred
// nanoseconds: a reader that is between key and value, and a learner that is
// between value and stamp, then meet another station's, or their own come back.
// With more threads than processors the kernel stops many of them just there.
func TestSlotsThatChangeHands(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4 * runtime.NumCPU()))
	const stations, duration = 4, time.Second
	tb := New(Config{Limit: 2})
	var workers sync.WaitGroup
	var done atomic.Bool
	for w := range 2 * uint64(runtime.NumCPU()) {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(w, 2))
			for now := int64(0); !done.Load(); now++ {
				n := r.IntN(stations)
				tb.Learn(station(n+1), PortID(n), now)
				tb.Learn(station(n+1), PortID(n), now+1)
			}
		})
		workers.Go(func() {
			for n := 0; !done.Load(); n = (n + 1) % stations {
				if p, ok := tb.Lookup(station(n + 1)); ok && p != PortID(n) {
					t.Errorf("station %d is at port %d, where it never was", n, p)
					done.Store(true)
				}
			}
		})
	}
	time.AfterFunc(duration, func() { done.Store(true) })
	workers.Wait()
	for _, e := range tb.Entries(0) {
		if e.Key != station(int(e.Port)+1) {
			t.Errorf("%v is at port %d, where it never was", e.Key.MAC(), e.Port)
		}
	}
	checkInvariants(t, tb)
}

// The same in slow motion: a reader has seen its key in a slot, and only then
// reads the rest.
func TestReadNoticesThatTheSlotChangedHands(t *testing.T) {
	x := newIndex(minBuckets)
	a, b := station(1), station(2)
	for x.home(b) != x.home(a) {
		b++
	}
	at := x.place(a, makeValue(1, Dynamic, 0))
	bk, i := &x.buckets[at/slotsPerBucket], uint(at%slotsPerBucket)
	first := bk.read(i, a)
	x.clear(at)
	if v := bk.read(i, a); v.kind() != 0 {
		t.Errorf("free slot reads %#x", uint64(v))
	}
	x.place(b, makeValue(2, Dynamic, 0))
	if v := bk.read(i, a); v.kind() != 0 {
		t.Errorf("slot of another station reads %#x", uint64(v))
	}
	x.clear(at)
	x.place(a, makeValue(1, Dynamic, 0))
	if v := bk.read(i, a); v.port() != 1 || v.kind() != Dynamic || v&generationMask == first&generationMask {
		t.Errorf("value was %#x and, after the station came back, is %#x", uint64(first), uint64(v))
	}
}

// Several workers learn the same stations at the same ports: they all get in,
// once each.
func TestWorkersLearnTheSameStations(t *testing.T) {
	const keys = 5000
	tb := New(Config{})
	var wg sync.WaitGroup
	var learned atomic.Int64
	for range 4 {
		wg.Go(func() {
			for n := range keys {
				switch v := tb.Learn(station(n+1), PortID(n%8), int64(n)); v {
				case Learned:
					learned.Add(1)
				case Refreshed:
				default:
					t.Errorf("station %d: %v", n, v)
				}
			}
		})
	}
	wg.Wait()
	if learned.Load() != keys || tb.Len() != keys {
		t.Errorf("learned %d times, %d entries, want %d", learned.Load(), tb.Len(), keys)
	}
	checkInvariants(t, tb)
}

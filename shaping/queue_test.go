package shaping

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type item struct {
	flow, number, bytes int
}

// TestQueueLosesNothingAndKeepsOrder: every frame comes out once, popped or
// dropped, each flow's in the order they went in; the bound holds, and who is
// dropped for want of room is the first of a flow that holds the most.
func TestQueueLosesNothingAndKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var held [8][]item // the model: what each flow has waiting
		sizeOf := func(flow int) (sum int) {
			for _, i := range held[flow] {
				sum += max(i.bytes, 512)
			}
			return sum
		}
		pushing := false
		q := newQueue(func(i item) {
			if len(held[i.flow]) == 0 || held[i.flow][0] != i {
				t.Fatalf("%v is dropped, the first of its flow is %v", i, held[i.flow])
			}
			for f := range held {
				if pushing && sizeOf(f) > sizeOf(i.flow) {
					t.Fatalf("flow %d of %d bytes pays for flow %d of %d", i.flow, sizeOf(i.flow), f, sizeOf(f))
				}
			}
			held[i.flow] = held[i.flow][1:]
		})
		q.setRate(uint64(rapid.SampledFrom([]int{1, 125_000, 12_500_000}).Draw(t, "rate")))
		salt, now := rapid.Uint32().Draw(t, "salt"), int64(0)
		for n := range rapid.IntRange(1, 400).Draw(t, "steps") {
			now += rapid.Int64Range(0, 5*ms).Draw(t, "ns")
			if rapid.IntRange(0, 2).Draw(t, "push") > 0 {
				i := item{rapid.IntRange(0, 7).Draw(t, "flow"), n, rapid.IntRange(60, 70_000).Draw(t, "bytes")}
				held[i.flow] = append(held[i.flow], i)
				pushing = true
				q.push(i, uint32(i.flow)*0x01234567^salt, i.bytes, now)
				pushing = false
			} else if f, bytes, ok := q.head(); ok {
				if i, ok := q.pop(f, now); ok {
					if held[i.flow][0] != i || i.bytes != bytes {
						t.Fatalf("%v overtakes %v; its length was said to be %d", i, held[i.flow][0], bytes)
					}
					held[i.flow] = held[i.flow][1:]
				}
			}
			length, size := 0, 0
			for f := range held {
				length += len(held[f])
				size += sizeOf(f)
			}
			if q.length != length || q.size != size || q.size > q.bound && q.length > 1 {
				t.Fatalf("the queue has %d frames, size %d of %d; want %d, %d", q.length, q.size, q.bound, length, size)
			}
			if _, _, ok := q.head(); ok != (length > 0) {
				t.Fatalf("%d frames wait, and head says %v", length, ok)
			}
		}
		q.flush()
		if q.length != 0 || q.bytes != 0 || q.size != 0 || slices.ContainsFunc(held[:], func(h []item) bool { return len(h) > 0 }) {
			t.Fatalf("after a flush: %d frames, %v", q.length, held)
		}
	})
}

func TestFlowsTakeTurnsByBytes(t *testing.T) {
	q := newQueue(func(item) { t.Fatal("dropped") })
	q.setRate(1 << 30)
	lengths := []int{64, 700, 1514, 9000, 65_000}
	var got [5]int
	for f, bytes := range lengths {
		for range 2_000_000/len(lengths)/max(bytes, leastSize) + 1 {
			q.push(item{flow: f}, uint32(f), bytes, 0)
		}
	}
	for sum := 0; sum < 200_000; {
		f, bytes, _ := q.head()
		i, _ := q.pop(f, 0)
		got[i.flow] += bytes
		sum += bytes
	}
	for f := range got {
		// Shreedhar, Varghese: "Efficient Fair Queuing Using Deficit Round
		// Robin", 1995, lemma 2: never more apart than a frame and two quanta.
		if d := got[f] - got[0]; f > 0 && (d > 65_000+2*mtu || d < -65_000-2*mtu) {
			t.Errorf("frames of %d got %d bytes, frames of %d got %d", lengths[f], got[f], lengths[0], got[0])
		}
	}
}

func TestBeginningFlowGoesFirstButNotForEver(t *testing.T) {
	q := newQueue(func(item) {})
	q.bound = 1 << 30
	for n := range 1000 {
		q.push(item{flow: 0, number: n}, 0, 1514, 0)
	}
	pop := func() int {
		f, _, _ := q.head()
		i, _ := q.pop(f, 0)
		q.head() // as Drain does, to see what is next
		return i.flow
	}
	pop()
	q.push(item{flow: 1}, 1, 100, 0)
	if pop() != 1 {
		t.Fatal("a flow that begins waits behind one that sends")
	}
	// From now on it sends a frame whenever it has none waiting.
	turns := [2]int{}
	for range 90 {
		if q.flows.flow[q.flows.find(1)].length == 0 {
			q.push(item{flow: 1}, 1, 100, 0)
		}
		turns[pop()]++
	}
	if turns[0] < 30 {
		t.Errorf("%d turns of the one, %d of the other", turns[0], turns[1])
	}
}

func TestEightFlowsOfOneSetDoNotShare(t *testing.T) {
	q := newQueue(func(item) {})
	used := map[int32]bool{}
	first := newFlowTable().find(0)
	for hash, n := uint32(0), 0; n < numWays; hash++ {
		if newFlowTable().find(hash)/numWays != first/numWays {
			continue
		}
		q.push(item{}, hash, 100, 0)
		used[q.flows.find(hash)] = true
		n++
	}
	if len(used) != numWays {
		t.Errorf("%d flows are in %d queues", numWays, len(used))
	}
}

// TestCoDelDropsEverFaster: in a standing queue the first drop comes after an
// interval, the next after 1, 1/√2, 1/√3 … intervals, until the wait is short.
func TestCoDelDropsEverFaster(t *testing.T) {
	d, c := delaysFor(1<<30), codel{}
	var drops []int64
	for now := int64(0); now < sec; now += ms {
		if c.drop(30*ms, false, d, now) {
			drops = append(drops, now/ms)
		}
	}
	if want := []int64{100, 200, 271, 329, 379, 424, 464, 502, 538, 571}; !slices.Equal(drops[:10], want) {
		t.Errorf("dropped at %v ms, want %v", drops[:10], want)
	}
	for _, c := range []struct {
		name  string
		wait  int64
		alone bool
	}{{"a short wait", 9 * ms, false}, {"a single frame", 300 * ms, true}} {
		for now, codel := int64(0), (codel{}); now < sec; now += ms {
			if codel.drop(c.wait, c.alone, d, now) {
				t.Fatalf("%s is dropped for", c.name)
			}
		}
	}
}

func TestCoDelSuitsSlowRates(t *testing.T) {
	for _, c := range []struct {
		rate             string
		target, interval int64
	}{
		{"100Mb/s", 10 * ms, 100 * ms},
		{"1Mb/s", 18_168_000, 108_168_000},
		{"64Kb/s", 283_875_000, 567_750_000},
	} {
		if d := delaysFor(mustParse(c.rate).BytesPerSecond()); d.target != c.target || d.interval != c.interval {
			t.Errorf("%s: %+v, want %d, %d", c.rate, d, c.target, c.interval)
		}
	}
}

func TestQueueHolds40msWithinReason(t *testing.T) {
	for rate, want := range map[string]int{
		"8b/s@1s": 24 << 10, "1Mb/s": 24 << 10, "100Mb/s": 500_000, "1Gb/s": 5_000_000, "100Gb/s": 8 << 20, "4294967295GB/s@4us": 8 << 20,
	} {
		q := newQueue(func(item) {})
		q.setRate(mustParse(rate).BytesPerSecond())
		if q.bound != want {
			t.Errorf("%s: %d bytes, want %d", rate, q.bound, want)
		}
	}
}

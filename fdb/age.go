package fdb

// ageStride is how many buckets Age looks at before it lets go of the mutex: 5 µs
// of work when nothing is due, 25 when everything is.
const ageStride = 256

// Age removes the dynamic entries that have been silent for longer than the
// ageing time, and returns how many. It is meant to be called about once a
// second, and reads the whole table, which takes 0.3 ms for 65536 entries; a
// learner waits for one stride of it, never for the whole.
//
// An entry that a growing table moves past the scan is found the next time.
func (t *Table) Age(now int64) int {
	removed := 0
	for b, more := 0, true; more; b += ageStride {
		var n int
		n, more = t.ageSome(b, now)
		removed += n
	}
	return removed
}

func (t *Table) ageSome(from int, now int64) (removed int, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.index.Load()
	to := min(from+ageStride, len(x.buckets))
	for b := from; b < to; b++ {
		for i := range x.buckets[b].values {
			v := value(x.buckets[b].values[i].Load())
			if v.kind() == Dynamic && v.age(now) > t.ageing {
				t.remove(uint32(b)*slotsPerBucket + uint32(i))
				removed++
			}
		}
	}
	return removed, to < len(x.buckets)
}

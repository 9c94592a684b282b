package nat

import "sync/atomic"

const (
	wordsPerBucket = 7

	// wordsAtMost is the fill that the index has when the table is full.
	wordsAtMost = 4
)

// bucket is one cache line of references to sessions. A reference lives in the
// bucket its key hashes to, its home, or where that is full in the first after it
// that has room. overflow counts those that passed this bucket on the way from
// their home; a search ends at the first bucket that none has passed. Nothing
// moves, so that a reader never misses what stays.
//
//	63 upper half of the hash 32 | 31 slot 2 | direction | 1
type bucket struct {
	words    [wordsPerBucket]atomic.Uint64
	overflow atomic.Uint64
}

func newIndex(sessions int) []bucket {
	n := 1
	for n*wordsAtMost < 2*sessions {
		n *= 2
	}
	return make([]bucket, n)
}

func reference(hash uint64, at uint32, d direction) uint64 {
	return hash>>32<<32 | uint64(at)<<2 | uint64(d)<<1 | 1
}

// find sets m to the session that has k as a key, be it overdue or not, and
// reports whether there is one. It takes no lock, and no more steps than there are
// buckets.
func (t *Table) find(k key, m *match) bool {
	h := t.seed.hash(k)
	b := h & uint64(len(t.buckets)-1)
	for range t.buckets {
		bk := &t.buckets[b]
		for i := range bk.words {
			if w := bk.words[i].Load(); w>>32 == h>>32 && w != 0 && t.read(uint32(w), k, m) {
				return true
			}
		}
		if bk.overflow.Load() == 0 {
			break
		}
		b = (b + 1) & uint64(len(t.buckets)-1)
	}
	return false
}

// refer enters a reference. The caller holds the table's mutex, and there is room.
func (t *Table) refer(k key, at uint32, d direction) {
	h := t.seed.hash(k)
	for b := h & uint64(len(t.buckets)-1); ; b = (b + 1) & uint64(len(t.buckets)-1) {
		bk := &t.buckets[b]
		for i := range bk.words {
			if bk.words[i].Load() == 0 {
				bk.words[i].Store(reference(h, at, d))
				return
			}
		}
		bk.overflow.Add(1)
	}
}

// unrefer is refer, backwards.
func (t *Table) unrefer(k key, at uint32, d direction) {
	h := t.seed.hash(k)
	w := reference(h, at, d)
	for b := h & uint64(len(t.buckets)-1); ; b = (b + 1) & uint64(len(t.buckets)-1) {
		bk := &t.buckets[b]
		for i := range bk.words {
			if bk.words[i].Load() == w {
				bk.words[i].Store(0)
				return
			}
		}
		bk.overflow.Add(^uint64(0))
	}
}

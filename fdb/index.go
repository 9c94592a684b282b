package fdb

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

const (
	slotsPerBucket = 7
	minBuckets     = 8

	// entriesPerBucket is the fill at which an index is full, 4 of 7. See bucket
	// for what a fuller one would cost.
	entriesPerBucket = 4
)

// bucket is two cache lines: one that every search reads, and one that only
// those read that have found their key, and where the stamps are written. A slot
// is a key and the value beside it, key 0 and a value of no kind where free.
//
// An entry lives in the bucket its key hashes to, its home, or where that is
// full in the first after it that has a slot free. overflow counts the entries
// that live beyond this bucket and passed it on the way from their home; a
// search ends at the first bucket that none has passed. So a removal leaves no
// tombstone: it frees the slot and counts down along the way.
//
// Nothing ever moves to a slot that is freed nearer its home, as a reader could
// miss what moves. Constant churn therefore settles at longer searches than a
// fresh table has, and wide, half empty buckets keep that small. Measured in a
// full table, a miss reads 1.1 key lines when fresh and 1.4 under churn. Buckets
// of three slots, filled to two thirds, take 1.7 and 4.7.
type bucket struct {
	keys     [slotsPerBucket]atomic.Uint64
	overflow atomic.Uint32
	_        [4]byte
	values   [slotsPerBucket]atomic.Uint64
	_        [8]byte
}

// index finds slots by key. Readers share it with the one goroutine that holds
// the table's mutex. An entry never changes its slot: to grow, the table fills a
// larger index and publishes that.
type index struct {
	buckets []bucket // a power of two of them
	links   []link   // of slot i/slotsPerBucket, i%slotsPerBucket; guarded by the table's mutex

	// seed keys the hash. Without a secret, a guest could choose addresses that
	// share a home, fill a stretch of buckets with them, and make every lookup
	// that crosses it walk the whole stretch.
	seed [4]uint64
}

func newIndex(buckets int) *index {
	return &index{
		buckets: make([]bucket, buckets),
		links:   make([]link, buckets*slotsPerBucket),
		// The runtime's ChaCha8, seeded from the kernel: not to be foreseen.
		seed: [4]uint64{rand.Uint64(), rand.Uint64() | 1, rand.Uint64(), rand.Uint64() | 1},
	}
}

// home is the number of k's first bucket: two rounds of multiplication to 128
// bits, folded to 64 as wyhash does, with secret operands throughout. One round
// is so linear that a run of addresses clusters under an unlucky seed.
func (x *index) home(k Key) uint64 {
	hi, lo := bits.Mul64(uint64(k)^x.seed[0], x.seed[1])
	hi, lo = bits.Mul64(hi^lo^x.seed[2], x.seed[3])
	return (hi ^ lo) & uint64(len(x.buckets)-1)
}

func (x *index) next(b uint64) uint64 { return (b + 1) & uint64(len(x.buckets)-1) }

func (x *index) key(at uint32) *atomic.Uint64 {
	return &x.buckets[at/slotsPerBucket].keys[at%slotsPerBucket]
}

func (x *index) value(at uint32) *atomic.Uint64 {
	return &x.buckets[at/slotsPerBucket].values[at%slotsPerBucket]
}

// find returns where k is and its value, or a value of no kind. It takes no
// lock, and no more steps than there are buckets, whatever writers do.
func (x *index) find(k Key) (at uint32, v value) {
	b := x.home(k)
	for range x.buckets {
		bk := &x.buckets[b]
		if i := bk.match(k); i < slotsPerBucket {
			if v := bk.read(i, k); v.kind() != 0 {
				return uint32(b)*slotsPerBucket + uint32(i), v
			}
		}
		if bk.overflow.Load() == 0 {
			break
		}
		b = x.next(b)
	}
	return 0, 0
}

// match returns the slot whose key is k, or slotsPerBucket. Which it will be
// can't be predicted, so there is no branch: the compiler makes conditional
// moves of this form, and of this form only. A loop, with an early end or
// without, takes 30 ns a lookup among 65536 stations where this takes 20.
func (b *bucket) match(k Key) uint {
	i := uint(slotsPerBucket)
	if Key(b.keys[0].Load()) == k {
		i = 0
	}
	if Key(b.keys[1].Load()) == k {
		i = 1
	}
	if Key(b.keys[2].Load()) == k {
		i = 2
	}
	if Key(b.keys[3].Load()) == k {
		i = 3
	}
	if Key(b.keys[4].Load()) == k {
		i = 4
	}
	if Key(b.keys[5].Load()) == k {
		i = 5
	}
	if Key(b.keys[6].Load()) == k {
		i = 6
	}
	return i
}

// read returns the value of k in slot i, where match has seen k, or a value of no
// kind if k was removed since. It reads the value, the key and the value again:
// if both values are of one generation, then the slot held one key from the
// first read to the second, and the key read between them is that key.
func (b *bucket) read(i uint, k Key) value {
	before := value(b.values[i].Load())
	holder := Key(b.keys[i].Load())
	v := value(b.values[i].Load())
	if holder != k || (v^before)&generationMask != 0 {
		return 0
	}
	return v
}

// place enters k, which is not there, and returns where. The caller holds the
// table's mutex and has seen to it that a slot is free.
//
// The overflow counts come first and the value last: a reader that finds the
// value finds it whole, and one that comes too early finds nothing.
func (x *index) place(k Key, v value) uint32 {
	for b := x.home(k); ; b = x.next(b) {
		bk := &x.buckets[b]
		for i := range bk.keys {
			if bk.keys[i].Load() == 0 {
				bk.keys[i].Store(uint64(k))
				bk.values[i].Store(uint64(v.inNextGeneration(value(bk.values[i].Load()))))
				return uint32(b)*slotsPerBucket + uint32(i)
			}
		}
		bk.overflow.Add(1)
	}
}

// clear frees a slot: place, backwards. The caller holds the table's mutex.
func (x *index) clear(at uint32) {
	key, val := x.key(at), x.value(at)
	home := x.home(Key(key.Load()))
	val.Store(uint64(value(0).inGenerationOf(value(val.Load()))))
	key.Store(0)
	for b := home; b != uint64(at/slotsPerBucket); b = x.next(b) {
		x.buckets[b].overflow.Add(^uint32(0))
	}
}

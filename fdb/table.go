package fdb

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds and defaults.
const (
	DefaultLimit  = 8192              // entries
	DefaultAgeing = 300 * time.Second // IEEE 802.1Q-2018, table 8-6

	// MaxLimit keeps the memory of a mistyped limit around 1 GiB.
	MaxLimit = 1 << 24
)

var (
	// ErrExists means that a static or local entry names another port.
	ErrExists = errors.New("entry exists at another port")
	// ErrFull means that only static and local entries are left to evict.
	ErrFull = errors.New("forwarding database is full")
)

// Config is what a Table starts with. Zero values stand for the defaults.
type Config struct {
	Limit  int           // entries of all kinds
	Ageing time.Duration // silence after which a dynamic entry goes
}

// Table maps stations to ports. Make one with New.
//
// Its memory follows what it has held, up to what its limit needs: 53 bytes an
// entry when it is full, twice that when it has just doubled.
type Table struct {
	index atomic.Pointer[index]

	// Every reader loads index, and a flood takes the mutex a million times a
	// second: apart, so that the one does not take the other's cache line away.
	_ [64]byte

	// mu guards the fields below, the slots of index except for the stamps of
	// dynamic entries, and what the slots' links say.
	mu     sync.Mutex
	ports  []port   // by PortID
	bySize []PortID // every port, a heap: the one with the most dynamic entries first
	len    int      // entries of all kinds
	limit  int
	ageing int32 // seconds

	follower func(Key) // of Follow; nil: there is none
}

// New returns an empty table.
func New(c Config) *Table {
	t := &Table{limit: limitFrom(c.Limit), ageing: ageingFrom(c.Ageing)}
	t.index.Store(newIndex(minBuckets))
	return t
}

func limitFrom(n int) int {
	if n <= 0 {
		return DefaultLimit
	}
	return min(n, MaxLimit)
}

// ageingFrom rounds up, as entries are stamped to the second.
func ageingFrom(d time.Duration) int32 {
	if d <= 0 {
		d = DefaultAgeing
	}
	return int32(min((d-1)/time.Second+1, 1<<30))
}

// Lookup returns the port behind which the station is.
func (t *Table) Lookup(k Key) (PortID, bool) {
	_, v := t.index.Load().find(k)
	return v.port(), v.kind() != 0
}

// Add enters a static or local entry; a dynamic one for the same station gives
// way to it. In a full table it takes the place of a dynamic entry, chosen as
// for a newcomer.
//
// A station that already is static or local at this port stays, and is local
// from then on if either is: the operator asks for no more than the switch
// needs. Add panics where kind is neither, and for the zero Key.
func (t *Table) Add(k Key, p PortID, kind Kind) error {
	if kind != Static && kind != Local || k == 0 {
		panic("fdb: Add of something that is no static or local entry")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, v := t.index.Load().find(k)
	switch v.kind() {
	case 0:
		if _, ok := t.makeRoom(p); !ok {
			return ErrFull
		}
		t.insert(k, makeValue(p, kind, 0))
		return nil
	case Static, Local:
		if v.port() != p {
			return ErrExists
		}
		kind = max(kind, v.kind())
	}
	t.replace(at, makeValue(p, kind, 0))
	return nil
}

// Delete removes an entry of any kind and reports whether there was one.
func (t *Table) Delete(k Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, v := t.index.Load().find(k)
	if v.kind() == 0 {
		return false
	}
	t.remove(at)
	return true
}

// insert enters a station that is not there. The caller has made room.
func (t *Table) insert(k Key, v value) {
	if n := len(t.index.Load().buckets); t.len >= n*entriesPerBucket {
		t.rebuild(2 * n)
	}
	t.link(t.index.Load().place(k, v), v)
	t.len++
	t.tell(k)
}

// replace gives the station in a slot another port, kind or stamp.
func (t *Table) replace(at uint32, v value) {
	slot := t.index.Load().value(at)
	old := value(slot.Load())
	t.unlink(at, old)
	slot.Store(uint64(v.inGenerationOf(old)))
	t.link(at, v)
	t.tell(Key(t.index.Load().key(at).Load()))
}

func (t *Table) remove(at uint32) {
	x := t.index.Load()
	t.unlink(at, value(x.value(at).Load()))
	k := Key(x.key(at).Load())
	x.clear(at)
	t.len--
	t.tell(k)
}

// rebuild moves everything into an index of so many buckets. Readers go on in
// the old one, which stays as it was, until they next load the pointer. A stamp
// that a worker writes there after its entry has been copied is lost, and the
// station's next frame writes it again.
func (t *Table) rebuild(buckets int) {
	old, x := t.index.Load(), newIndex(buckets)
	for i := range t.ports {
		for _, l := range []*list{&t.ports[i].dynamic, &t.ports[i].pinned} {
			moved := emptyList()
			for at := l.first; at != none; at = old.links[at].next {
				to := x.place(Key(old.key(at).Load()), value(old.value(at).Load()))
				x.links[to].seen = old.links[at].seen
				moved.append(x.links, to)
			}
			*l = moved
		}
	}
	t.index.Store(x)
}

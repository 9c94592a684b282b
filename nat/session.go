package nat

import "sync/atomic"

// slot holds one session. It is two cache lines: one that every packet of the
// session reads, and one that TCP's acknowledgements write.
//
// Readers take no lock, so a slot has a generation, odd while it holds a session
// and even while it is free or being filled. What is read between two looks at
// one odd generation belongs together. keys change in even generations only;
// state and stamp also change while the session lives.
type slot struct {
	keys       [2]sharedKey
	generation atomic.Uint32
	stamp      atomic.Uint32    // seconds, of the last packet
	state      atomic.Uint32    // state | owner<<8
	bypass     atomic.Uint32    // the session's number in the Bypass; 0: it is not there
	ways       [2]atomic.Uint64 // see News; below 2^32 it is a count

	tracks [2]atomic.Uint64 // of the opener and of the other end
	link                    // guarded by the table's mutex
	_      [36]byte
}

type sharedKey struct{ addrs, ends atomic.Uint64 }

func (k *sharedKey) load() key { return key{k.addrs.Load(), k.ends.Load()} }

func (k *sharedKey) store(v key) {
	k.addrs.Store(v.addrs)
	k.ends.Store(v.ends)
}

// match is a session, as it was when a packet was found to be of it. In the path
// of a packet it is not copied: that would take longer than finding it.
type match struct {
	slot       *slot
	at         uint32 // the slot's number
	generation uint32
	dir        direction // of the packet
	reply      key       // of packets of the other direction
	word       uint32    // slot.state
}

func (m *match) state() state  { return state(m.word) }
func (m *match) owner() uint32 { return m.word >> 8 }

// age is the seconds since the session's last packet. It is negative where
// another worker, with a later now, has already stamped the session. Stamps wrap
// after 136 years, and the difference is right for 68.
func (s *slot) age(now int64) int32 { return int32(uint32(now) - s.stamp.Load()) }

func (t *Table) overdue(m *match, now int64) bool {
	return m.slot.age(now) > t.timeouts[m.state()]
}

// read sets m to the session that an index word refers to, and reports whether k
// is its key. Where it is not, m is anything.
func (t *Table) read(ref uint32, k key, m *match) bool {
	s := &t.slots[ref>>2]
	m.slot, m.at, m.dir, m.generation = s, ref>>2, direction(ref>>1&1), s.generation.Load()
	if s.keys[m.dir].load() != k {
		return false
	}
	m.reply, m.word = s.keys[m.dir^1].load(), s.state.Load()
	return m.generation&1 != 0 && s.generation.Load() == m.generation
}

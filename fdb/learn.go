package fdb

// Verdict is what came of a Learn. Its word is the name of the counter.
type Verdict uint8

// What a Learn can come to.
const (
	Refreshed Verdict = iota // known at this port
	Learned                  // new, and there was room
	Moved                    // was dynamic at another port, is at this one now
	Evicted                  // new, in the place of another
	Full                     // not learned: no dynamic entry to evict (or the zero Key)
	Pinned                   // not learned: static or local at another port
)

func (v Verdict) String() string {
	return [...]string{"refreshed", "learned", "moved", "evicted", "full", "pinned"}[v]
}

// Learn notes that a frame with k as its source came in at port p at now, in
// seconds. The caller has dropped frames whose source no station may have.
//
// A station that is known here costs a lookup, and a write once a second: a
// second is all that ageing needs, and a cache line that every frame writes
// would travel from worker to worker. One that is pinned elsewhere costs no
// more, so that spoofing its address does not load the mutex.
func (t *Table) Learn(k Key, p PortID, now int64) Verdict {
	x := t.index.Load()
	at, v := x.find(k)
	switch {
	case v.kind() == 0 || v.kind() == Dynamic && v.port() != p:
		return t.learn(k, p, now)
	case v.port() != p:
		return Pinned
	case v.kind() == Dynamic && v.age(now) > 0:
		// Where the swap fails another worker has stamped the entry, which is as
		// good, or has removed it, which this frame then came just before.
		x.value(at).CompareAndSwap(uint64(v), uint64(v.restamped(now)))
	}
	return Refreshed
}

// learn is Learn for what needs the mutex. Between the caller's look and the
// lock another worker may have learned the same station, so it looks again.
func (t *Table) learn(k Key, p PortID, now int64) Verdict {
	if k == 0 {
		return Full
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, v := t.index.Load().find(k)
	switch {
	case v.kind() == 0:
		// Below.
	case v.port() == p:
		return Refreshed
	case v.kind() != Dynamic:
		return Pinned
	default:
		t.makeRoomAt(p)
		t.replace(at, makeValue(p, Dynamic, now))
		return Moved
	}

	evicted, ok := t.makeRoomAt(p), true
	if !evicted {
		evicted, ok = t.makeRoom(p)
	}
	if !ok {
		return Full
	}
	t.insert(k, makeValue(p, Dynamic, now))
	if evicted {
		return Evicted
	}
	return Learned
}

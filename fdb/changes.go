package fdb

// maxChanged bounds what is noted between two calls of Changes. A follower that
// misses some compares all, which is cheaper than so many one by one.
const maxChanged = 4096

// Follow makes the table note which stations are entered, moved and removed, for
// a copy of it that somebody keeps. wake is called when the first is noted since
// the last Changes. moved is called at once when a station has another port, and
// before Learn or Add returns: what is sent to it next must not go where it was.
// Both are called with the table's mutex held and may call nothing of it but
// Lookup.
func (t *Table) Follow(wake func(), moved func(Key)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wake, t.moved = wake, moved
}

// Changes appends to keys the stations whose entries changed since the last call,
// and what became of each is to be looked up. all says that they were too many to
// note.
func (t *Table) Changes(keys []Key) (_ []Key, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys = append(keys, t.changed...)
	all = t.missed
	t.changed, t.missed = t.changed[:0], false
	return keys, all
}

// note is called with t.mu held.
func (t *Table) note(k Key) {
	switch {
	case t.wake == nil || t.missed:
		return
	case len(t.changed) == maxChanged:
		t.missed = true
		return
	}
	t.changed = append(t.changed, k)
	if len(t.changed) == 1 {
		t.wake()
	}
}

// Refresh stamps a dynamic entry that is at p and was last heard before at, in
// seconds: who else forwards frames of the station has seen one then. It enters
// nothing.
func (t *Table) Refresh(k Key, p PortID, at int64) {
	x := t.index.Load()
	slot, v := x.find(k)
	if v.kind() == Dynamic && v.port() == p && v.age(at) > 0 {
		x.value(slot).CompareAndSwap(uint64(v), uint64(v.restamped(at)))
	}
}

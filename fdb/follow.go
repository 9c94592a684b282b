package fdb

// Follow makes the table tell of each station that is entered, replaced or removed,
// for a copy of it that somebody keeps: changed is called before Learn, Add or
// whatever else it was returns, so that what is sent to a station that has moved
// does not go where it was. It is called with the table's mutex held and may call
// nothing of the table but Lookup, which says what became of the station.
func (t *Table) Follow(changed func(Key)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follower = changed
}

// tell is called with t.mu held.
func (t *Table) tell(k Key) {
	if t.follower != nil {
		t.follower(k)
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

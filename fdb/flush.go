package fdb

// Flush removes all dynamic entries and returns how many there were.
func (t *Table) Flush() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	removed := 0
	for p := range t.ports {
		removed += t.drain(&t.ports[p].dynamic)
	}
	return removed
}

// FlushPort removes p's dynamic entries and returns how many there were. It is
// for a port that lost its link or, under spanning tree, its role: static
// entries outlive both.
func (t *Table) FlushPort(p PortID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int(p) >= len(t.ports) {
		return 0
	}
	return t.drain(&t.ports[p].dynamic)
}

// RemovePort removes p's entries of every kind and its limit, and returns how
// many entries there were. The number may then stand for another port. The
// caller has made sure that no worker still learns at p.
func (t *Table) RemovePort(p PortID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int(p) >= len(t.ports) {
		return 0
	}
	r := &t.ports[p]
	r.limit = 0
	return t.drain(&r.dynamic) + t.drain(&r.pinned)
}

// drain removes every entry of a list.
func (t *Table) drain(l *list) int {
	n := l.n
	for l.first != none {
		t.remove(l.first)
	}
	return n
}

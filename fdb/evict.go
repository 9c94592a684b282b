package fdb

// port is what the table knows of one port, whether it has entries or not.
type port struct {
	dynamic list // in the order in which they are up for eviction
	pinned  list // static and local, in no particular order
	limit   int  // of dynamic entries; 0 is none
	rank    int  // the port's place in Table.bySize
}

// port returns p's record, and makes it if need be. The heap stays one: a new
// port has no entries, and in a tie the higher number comes later.
func (t *Table) port(p PortID) *port {
	for n := len(t.ports); n <= int(p); n++ {
		t.ports = append(t.ports, port{dynamic: emptyList(), pinned: emptyList(), rank: n})
		t.bySize = append(t.bySize, PortID(n))
	}
	return &t.ports[p]
}

// link enters the slot, whose value is v, into its port's list as the last one
// that is up for eviction.
func (t *Table) link(at uint32, v value) {
	links, p := t.index.Load().links, t.port(v.port())
	links[at].seen = v.stamp()
	if v.kind() != Dynamic {
		p.pinned.append(links, at)
		return
	}
	p.dynamic.append(links, at)
	t.rerank(v.port())
}

func (t *Table) unlink(at uint32, v value) {
	links, p := t.index.Load().links, t.port(v.port())
	if v.kind() != Dynamic {
		p.pinned.cut(links, at)
		return
	}
	p.dynamic.cut(links, at)
	t.rerank(v.port())
}

// makeRoom evicts an entry if the table is full, for a newcomer at p, from the
// port that has the most; from p itself if no other has more. It reports whether
// it did, and whether there is room now.
func (t *Table) makeRoom(p PortID) (evicted, ok bool) {
	if t.len < t.limit {
		return false, true
	}
	own := t.port(p).dynamic.n // first: it may make the heap's only port
	largest := t.bySize[0]
	if own == t.ports[largest].dynamic.n {
		largest = p
	}
	if t.ports[largest].dynamic.n == 0 {
		return false, false
	}
	t.evict(largest)
	return true, true
}

// makeRoomAt evicts an entry of p if p is at its own limit, and reports whether
// it did.
func (t *Table) makeRoomAt(p PortID) bool {
	if r := t.port(p); r.limit == 0 || r.dynamic.n < r.limit {
		return false
	}
	t.evict(p)
	return true
}

// chances is how many entries one eviction may spare. It bounds the time that
// the mutex is held, to a few microseconds. A port gets there only while more
// of its stations than this are active, and then none of them is a good choice.
const chances = 128

// evict removes p's dynamic entry that is longest without a frame, nearly.
//
// An exact order would need every refresh to take the mutex. Instead the list is
// in the order of learning, and an entry that has a new stamp when its turn
// comes is spared and goes to the end: the second-chance approximation of LRU. A
// station pays for its chance with a frame, at most one a second, so sparing
// costs no more than a second refresh would.
func (t *Table) evict(p PortID) {
	x, l := t.index.Load(), &t.ports[p].dynamic
	for range chances {
		at := l.first
		stamp := value(x.value(at).Load()).stamp()
		if stamp == x.links[at].seen {
			break
		}
		x.links[at].seen = stamp
		l.cut(x.links, at)
		l.append(x.links, at)
	}
	t.remove(l.first)
}

// larger is the heap's order: more dynamic entries first, then the lower number.
func (t *Table) larger(p, q PortID) bool {
	n, m := t.ports[p].dynamic.n, t.ports[q].dynamic.n
	return n > m || n == m && p < q
}

// rerank puts p back in its place after its count of dynamic entries changed.
func (t *Table) rerank(p PortID) {
	h, i := t.bySize, t.ports[p].rank
	for i > 0 && t.larger(p, h[(i-1)/2]) {
		i = t.rank(i, h[(i-1)/2], (i-1)/2)
	}
	for {
		c := 2*i + 1
		if c+1 < len(h) && t.larger(h[c+1], h[c]) {
			c++
		}
		if c >= len(h) || !t.larger(h[c], p) {
			break
		}
		i = t.rank(i, h[c], c)
	}
	t.rank(i, p, i)
}

// rank puts p at i and returns free, the place that it leaves.
func (t *Table) rank(i int, p PortID, free int) int {
	t.bySize[i], t.ports[p].rank = p, i
	return free
}

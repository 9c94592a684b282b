package nat

// owner is who sessions count for: a guest, or a forward.
type owner struct {
	transitory list // sessions that may go when room is needed
	assured    list
	rank       int // the owner's place in Table.bySize
}

func (o *owner) n() int { return o.transitory.n + o.assured.n }

// newOwner returns the number of an owner without sessions. The heap stays one:
// in a tie the higher number comes later.
func (t *Table) newOwner() uint32 {
	if n := len(t.spare); n > 0 {
		o := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return o
	}
	o := uint32(len(t.owners))
	t.owners = append(t.owners, owner{transitory: emptyList(), assured: emptyList(), rank: int(o)})
	t.bySize = append(t.bySize, o)
	return o
}

func (t *Table) guest(g Guest) uint32 {
	for int(g) >= len(t.guests) {
		t.guests = append(t.guests, 0)
	}
	if t.guests[g] == 0 {
		t.guests[g] = t.newOwner() + 1
	}
	return t.guests[g] - 1
}

func (t *Table) listOf(o uint32, s state) *list {
	if s.assured() {
		return &t.owners[o].assured
	}
	return &t.owners[o].transitory
}

// refused reports whether o is at its limit and has nothing to give for one more
// session.
func (t *Table) refused(o uint32) bool {
	return t.owners[o].n() >= t.guestLimit && t.owners[o].transitory.n == 0
}

// makeRoom sees to it that o may have one more session, and reports whether it
// may. The caller holds the mutex.
func (t *Table) makeRoom(o uint32) bool {
	own := &t.owners[o]
	if t.refused(o) {
		return false
	}
	if own.n() >= t.guestLimit {
		t.evict(&own.transitory)
		return true
	}
	if t.len < t.limit {
		return true
	}
	largest := &t.owners[t.bySize[0]]
	if largest.n() == own.n() {
		largest = own
	}
	switch {
	case largest.transitory.n > 0:
		t.evict(&largest.transitory)
	case largest.n() > own.n()+1:
		t.evict(&largest.assured)
	default:
		return false
	}
	return true
}

// chances is how many sessions one eviction may spare. It bounds the time that
// the mutex is held.
const chances = 64

// evict ends the session of a list that is longest without a packet, nearly: the
// list is in the order in which sessions came to it, and one that had a packet
// since goes to the end instead of out.
func (t *Table) evict(l *list) {
	for range chances {
		s := &t.slots[l.first]
		stamp := s.stamp.Load()
		if stamp == s.seen {
			break
		}
		s.seen = stamp
		at := l.first
		l.cut(t.slots, at)
		l.append(t.slots, at)
	}
	t.remove(l.first)
}

// larger is the heap's order: more sessions first, then the lower number.
func (t *Table) larger(p, q uint32) bool {
	n, m := t.owners[p].n(), t.owners[q].n()
	return n > m || n == m && p < q
}

// rerank puts o back in its place after its number of sessions changed.
func (t *Table) rerank(o uint32) {
	h, i := t.bySize, t.owners[o].rank
	for i > 0 && t.larger(o, h[(i-1)/2]) {
		i = t.rank(i, h[(i-1)/2], (i-1)/2)
	}
	for {
		c := 2*i + 1
		if c+1 < len(h) && t.larger(h[c+1], h[c]) {
			c++
		}
		if c >= len(h) || !t.larger(h[c], o) {
			break
		}
		i = t.rank(i, h[c], c)
	}
	t.rank(i, o, i)
}

// rank puts o at i and returns free, the place that it leaves.
func (t *Table) rank(i int, o uint32, free int) int {
	t.bySize[i], t.owners[o].rank = o, i
	return free
}

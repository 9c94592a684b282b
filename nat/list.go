package nat

// none is the number of no slot.
const none = ^uint32(0)

// link is a slot's place in its owner's list, or in that of free slots.
type link struct {
	prev, next uint32
	seen       uint32 // the stamp when the session was last put at the end of the list
}

// list is a doubly linked list of slots.
type list struct {
	first, last uint32
	n           int
}

func emptyList() list { return list{first: none, last: none} }

func (l *list) append(slots []slot, at uint32) {
	slots[at].prev, slots[at].next = l.last, none
	if l.last == none {
		l.first = at
	} else {
		slots[l.last].next = at
	}
	l.last = at
	l.n++
}

func (l *list) cut(slots []slot, at uint32) {
	prev, next := slots[at].prev, slots[at].next
	if prev == none {
		l.first = next
	} else {
		slots[prev].next = next
	}
	if next == none {
		l.last = prev
	} else {
		slots[next].prev = prev
	}
	l.n--
}

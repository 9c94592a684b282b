package fdb

// none is the number of no slot.
const none = ^uint32(0)

// link is a slot's place in its port's list. Only the holder of the table's
// mutex touches it, so it lives apart from the slots that readers share.
type link struct {
	prev, next uint32
	seen       uint32 // the stamp when the entry was last put at the end of the list
}

// list is a doubly linked list of slots of one index.
type list struct {
	first, last uint32
	n           int
}

func emptyList() list { return list{first: none, last: none} }

func (l *list) append(links []link, at uint32) {
	links[at].prev, links[at].next = l.last, none
	if l.last == none {
		l.first = at
	} else {
		links[l.last].next = at
	}
	l.last = at
	l.n++
}

func (l *list) cut(links []link, at uint32) {
	prev, next := links[at].prev, links[at].next
	if prev == none {
		l.first = next
	} else {
		links[prev].next = next
	}
	if next == none {
		l.last = prev
	} else {
		links[next].prev = prev
	}
	l.n--
}

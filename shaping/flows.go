package shaping

// numFlows is how many queues there are for flows, numWays how many of them a
// flow may be in. A flow looks for its own, then for an unused one: with so many
// ways two flows that wait at once hardly ever share, which with plain hashing
// they would by birthdays (Høiland-Jørgensen, Täht, Morton: "Piece of CAKE",
// 2018, section III.C).
const (
	numFlows = 128
	numWays  = 8
)

// flow is the queue of one flow.
//
//	idle   nothing waits, and it is not on a list
//	fresh  it began to send: it goes before the others, for one quantum
//	stale  it takes its turn
//
//	idle ──push──► fresh ──quantum used, or empty──► stale ──empty at its turn──► idle
//
// An empty fresh flow becomes stale and not idle, or a flow that sends one frame
// at a time would always be fresh and starve the rest (RFC 8290, section 4.2).
type flow struct {
	hash       uint32 // whose it is, or was
	head, tail int32  // frames
	length     int
	size       int
	deficit    int32 // bytes it may send before the next one's turn
	next       int32 // on the list that it is on
	state      flowState
	codel      codel
}

type flowState uint8

const (
	idle flowState = iota
	fresh
	stale
)

// flowTable is the flows and the order of their turns.
type flowTable struct {
	flow  [numFlows]flow
	lists [2]list // of fresh and of stale flows
}

// list is flows in the order of their turns.
type list struct{ head, tail int32 }

func newFlowTable() *flowTable {
	return &flowTable{lists: [2]list{{nobody, nobody}, {nobody, nobody}}}
}

// find is the queue for the flow with this hash.
func (t *flowTable) find(hash uint32) int32 {
	// A caller's hash need not be good in its low bits. Knuth, volume 3, 6.4.
	const sets = numFlows / numWays
	set := int32(hash*0x9e3779b1>>16%sets) * numWays
	unused := int32(nobody)
	for i := set; i < set+numWays; i++ {
		if t.flow[i].hash == hash {
			return i
		}
		if unused == nobody && t.flow[i].state == idle {
			unused = i
		}
	}
	if unused == nobody {
		return set + int32(hash%numWays)
	}
	t.flow[unused] = flow{hash: hash}
	return unused
}

// wake puts a flow that has something to send on a list.
func (t *flowTable) wake(i int32) {
	if f := &t.flow[i]; f.state == idle {
		f.deficit = mtu
		t.append(i, fresh)
	}
}

// turn is the flow whose turn it is, nobody if nothing waits.
func (t *flowTable) turn() int32 {
	for {
		l := &t.lists[0]
		if l.head == nobody {
			if l = &t.lists[1]; l.head == nobody {
				return nobody
			}
		}
		i := l.head
		f := &t.flow[i]
		if f.length > 0 && f.deficit > 0 {
			return i
		}
		if l.head = f.next; l.head == nobody {
			l.tail = nobody
		}
		switch {
		case f.length == 0 && (f.state == stale || t.lists[1].head == nobody):
			f.state = idle
		case f.length == 0:
			t.append(i, stale)
		default:
			f.deficit += mtu
			t.append(i, stale)
		}
	}
}

func (t *flowTable) append(i int32, s flowState) {
	f, l := &t.flow[i], &t.lists[s-fresh]
	f.state, f.next = s, nobody
	if l.tail == nobody {
		l.head = i
	} else {
		t.flow[l.tail].next = i
	}
	l.tail = i
}

// fattest is the flow that holds the most.
func (t *flowTable) fattest() int32 {
	best, most := int32(nobody), 0
	for _, l := range t.lists {
		for i := l.head; i != nobody; i = t.flow[i].next {
			if t.flow[i].size > most {
				best, most = i, t.flow[i].size
			}
		}
	}
	return best
}

package shaping

import "time"

const (
	// queueTime is how much of the rate waits at most. With the credit of the
	// default interval it stays below 1 % of 10 s, for who counts what was still
	// waiting at the end.
	queueTime = int64(40 * time.Millisecond)
	// Sixteen frames, however low the rate.
	leastQueue = 24 << 10
	// 40 ms of more than 1.6 Gb/s: TCP fills a pipe without it, and it is memory.
	mostQueue = 8 << 20

	// mtu is a frame of the usual MTU, and the quantum by which flows take turns
	// (RFC 8290, section 5.2).
	mtu = 1514
	// leastSize is what a frame counts in the queue's bound at least, since a
	// short one needs memory too.
	leastSize = 512
)

// queue holds what waits, in the order of FQ-CoDel (RFC 8290). See the package
// comment.
type queue[T any] struct {
	give  func(item T) // takes back what is dropped
	flows *flowTable   // nil until something waits
	nodes []node[T]    // grows to the bound once
	free  int32        // list of unused nodes

	bound  int // of size
	delays delays

	length       int
	bytes        int // on the wire
	size         int // bytes, and what short frames count more
	dropped      uint64
	droppedBytes uint64
}

// node is a frame that waits. Nodes are linked by their index.
type node[T any] struct {
	item  T
	since int64
	bytes int32
	next  int32
}

const nobody = -1

// newQueue is an empty queue. give gets each frame that is dropped, and does not
// call back.
func newQueue[T any](give func(T)) queue[T] {
	return queue[T]{give: give, free: nobody, bound: leastQueue, delays: delaysFor(0)}
}

// setRate fits the bound and CoDel to a rate. What is over a lower bound is
// dropped.
func (q *queue[T]) setRate(bytesPerSecond uint64) {
	q.bound = int(min(max(bytesIn(queueTime, bytesPerSecond), leastQueue), mostQueue))
	q.delays = delaysFor(bytesPerSecond)
	q.shed()
}

// push appends a frame to its flow, and drops others if that is more than the
// bound. A single frame has room however large it is.
func (q *queue[T]) push(item T, hash uint32, bytes int, now int64) {
	if q.flows == nil {
		q.flows = newFlowTable()
	}
	n := q.free
	if n == nobody {
		q.nodes = append(q.nodes, node[T]{})
		n = int32(len(q.nodes) - 1)
	} else {
		q.free = q.nodes[n].next
	}
	q.nodes[n] = node[T]{item: item, since: now, bytes: int32(bytes), next: nobody}

	i := q.flows.find(hash)
	f := &q.flows.flow[i]
	if f.length == 0 {
		f.head = n
	} else {
		q.nodes[f.tail].next = n
	}
	f.tail = n
	f.length++
	f.size += size(bytes)
	q.length++
	q.bytes += bytes
	q.size += size(bytes)
	q.flows.wake(i)
	q.shed()
}

// head is the flow whose turn it is, and the length of its next frame.
func (q *queue[T]) head() (i int32, bytes int, ok bool) {
	if q.flows == nil {
		return 0, 0, false
	}
	if i = q.flows.turn(); i == nobody {
		return 0, 0, false
	}
	return i, int(q.nodes[q.flows.flow[i].head].bytes), true
}

// pop takes the next frame of flow i, which is the one that head named. It
// reports false if CoDel dropped it instead.
func (q *queue[T]) pop(i int32, now int64) (item T, ok bool) {
	f := &q.flows.flow[i]
	n := &q.nodes[f.head]
	alone := f.size <= mtu || f.length == 1
	if f.codel.drop(now-n.since, alone, q.delays, now) {
		q.drop(i)
		return item, false
	}
	f.deficit -= n.bytes
	return q.remove(i), true
}

// shed drops the oldest frame of the flow that holds the most until the queue is
// within its bound (RFC 8290, section 4.1). At the head TCP hears of it soonest.
func (q *queue[T]) shed() {
	for q.size > q.bound && q.length > 1 {
		q.drop(q.flows.fattest())
	}
}

// flush drops everything.
func (q *queue[T]) flush() {
	for i, _, ok := q.head(); ok; i, _, ok = q.head() {
		q.drop(i)
	}
}

func (q *queue[T]) drop(i int32) {
	q.dropped++
	q.droppedBytes += uint64(q.nodes[q.flows.flow[i].head].bytes)
	q.give(q.remove(i))
}

// remove takes the first frame of flow i out.
func (q *queue[T]) remove(i int32) T {
	f := &q.flows.flow[i]
	n := &q.nodes[f.head]
	item, bytes := n.item, int(n.bytes)
	var none T
	n.item = none // or the garbage collector would keep it
	q.free, f.head, n.next = f.head, n.next, q.free
	f.length--
	f.size -= size(bytes)
	q.length--
	q.bytes -= bytes
	q.size -= size(bytes)
	return item
}

func size(bytes int) int { return max(bytes, leastSize) }

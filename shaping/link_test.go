package shaping

import (
	"container/heap"
	"time"
)

// world is a simulation: events in the order of their time, no clock.
type world struct {
	now    int64
	events events
	number int
}

type event struct {
	at     int64
	number int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

func (w *world) at(t int64, do func()) {
	w.number++
	heap.Push(&w.events, event{max(t, w.now), w.number, do})
}

func (w *world) after(d int64, do func()) { w.at(w.now+d, do) }

func (w *world) run(until int64) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
}

// packet is a frame on the way through a link.
type packet struct {
	flow    uint32
	bytes   int
	arrive  func() // at the other end of the link
	lost    func() // nil: nobody cares
	segment []*packet
}

// link is a Shaper with the timer that a dataplane has: it wakes when something
// is due, and late by up to slack.
type link struct {
	*world
	shaper *Shaper[*packet]
	delay  int64 // behind the shaper
	slack  int64
	whole  bool // super-frames are never cut
	timer  int64
	passed []arrival
}

type arrival struct {
	at    int64
	bytes int
}

func newLink(w *world, l Limit, delay int64) *link {
	k := &link{world: w, delay: delay, slack: 100_000, timer: Never}
	k.shaper = NewShaper(l, w.now, func(p *packet) {
		if p.lost != nil {
			p.lost()
		}
	})
	return k
}

// send does what a dataplane does with a frame.
func (k *link) send(p *packet) {
	if len(p.segment) > 0 && !k.whole && k.shaper.Cut(p.bytes, k.now) {
		for _, s := range p.segment {
			k.offer(s)
		}
		return
	}
	k.offer(p)
}

func (k *link) offer(p *packet) {
	if k.shaper.Pass(p.bytes, k.now) {
		k.forward(p)
		return
	}
	k.shaper.Enqueue(p, p.flow, p.bytes, k.now)
	k.arm()
}

func (k *link) forward(p *packet) {
	k.passed = append(k.passed, arrival{k.now, p.bytes})
	k.after(k.delay, func() {
		if len(p.segment) == 0 {
			p.arrive()
		}
		for _, s := range p.segment {
			s.arrive()
		}
	})
}

func (k *link) arm() {
	due := k.shaper.Due(k.now)
	if due == Never || k.timer <= due+k.slack {
		return
	}
	at := due + int64(k.number*7919)%(k.slack+1)
	k.timer = at
	k.at(at, func() {
		if k.timer == at {
			k.timer = Never
			k.shaper.Drain(k.now, 64, k.forward)
			k.arm()
		}
	})
}

func (k *link) setLimit(l Limit) {
	k.shaper.SetLimit(l, k.now)
	k.timer = Never
	k.arm()
}

// bytes is what passed in a stretch of time.
func (k *link) bytes(from, to time.Duration) int {
	sum := 0
	for _, a := range k.passed {
		if a.at >= int64(from) && a.at < int64(to) {
			sum += a.bytes
		}
	}
	return sum
}

// udp sends frames at a rate, whatever becomes of them.
func udp(k *link, flow uint32, bytes int, bytesPerSecond uint64, until int64) {
	gap := timeOf(uint64(bytes), bytesPerSecond)
	var next func()
	next = func() {
		k.send(&packet{flow: flow, bytes: bytes, arrive: func() {}})
		if k.now+gap < until {
			k.after(gap, next)
		}
	}
	k.after(0, next)
}

// ping sends a small frame every so often, and has how long each took.
func ping(k *link, flow uint32, every, until int64) *[]time.Duration {
	took := new([]time.Duration)
	var next func()
	next = func() {
		sent := k.now
		k.send(&packet{flow: flow, bytes: 98,
			arrive: func() { *took = append(*took, time.Duration(k.now-sent)) },
			lost:   func() { *took = append(*took, time.Hour) }})
		if k.now+every < until {
			k.after(every, next)
		}
	}
	k.after(every, next)
	return took
}

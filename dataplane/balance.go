package dataplane

import "slices"

// Interfaces are divided between workers by number when they come (leastLoaded),
// and by load from then on: where one worker never rests while another could take
// some of its interfaces, one of them moves.
const (
	overloaded = 0.9  // share of the time that a worker does not rest
	atLeisure  = 0.5  // and that one which takes more still works
	worthwhile = 0.05 // of the time: how much lower the higher of both loads must get
)

// balancer is what one call of balance leaves for the next.
type balancer struct {
	at       int64     // when it was called, as Switch.nanos tells
	rested   []int64   // by worker
	load     []float64 // by worker: share of the time since the last call in which it did not rest
	overload bool      // of one of them
	of       []*wire   // scratch: of the busiest worker
	frames   []uint64  // by of
}

// readOf is the same of an interface.
type readOf struct {
	at            int64
	taken, lately uint64 // frames, ever and since the last call
}

// balance is called each tick. Where a worker was overloaded for two in a row it
// moves one interface at most, so that what that did is seen before the next.
func (s *Switch) balance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &s.balancer
	now := s.nanos()
	was, full := b.overload, s.losing.Load()
	b.rested, b.load = append(b.rested, make([]int64, len(s.workers)-len(b.rested))...), b.load[:0]
	for i, w := range s.workers {
		rested := w.rested.Load()
		load := 1 - float64(rested-b.rested[i])/float64(max(now-b.at, 1))
		b.rested[i], b.load = rested, append(b.load, load)
		full = full || load >= overloaded
	}
	b.at, b.overload = now, full
	if !full || s.closed {
		return
	}
	for _, a := range s.attached {
		if a == nil || a.port.read.at == now {
			continue
		}
		on, taken := a.port.wire, a.port.taken.Load()
		on.read = readOf{now, taken, taken - on.read.taken}
		if on.losing.Load() {
			b.load[on.worker.index] = 1 // on a busy CPU it rests longer than it means to
		}
	}
	if !was {
		return // what was read lately is since long
	}
	busiest, idlest := slices.Index(b.load, slices.Max(b.load)), slices.Index(b.load, slices.Min(b.load))
	b.of, b.frames = b.of[:0], b.frames[:0]
	for _, a := range s.attached {
		if a == nil || a.port.worker != s.workers[busiest] || a.port.read.lately == 0 || s.puntOf(a.port.io) != nil {
			continue
		}
		if a.port.members == 1 || !slices.Contains(b.of, a.port.wire) {
			b.of, b.frames = append(b.of, a.port.wire), append(b.frames, a.port.read.lately)
		}
	}
	if i := toMove(b.load[busiest], b.load[idlest], b.frames); i >= 0 {
		s.move(b.of[i], s.workers[idlest])
	}
}

// toMove chooses which of the busiest worker's interfaces, with these numbers of
// frames, goes to the idlest; -1 for none.
func toMove(busiest, idlest float64, frames []uint64) int {
	if busiest < overloaded || idlest > atLeisure {
		return -1
	}
	var all uint64
	for _, n := range frames {
		all += n
	}
	best, lowest := -1, busiest-worthwhile
	for i, n := range frames {
		part := busiest * float64(n) / float64(all)
		if higher := max(busiest-part, idlest+part); higher < lowest {
			best, lowest = i, higher
		}
	}
	return best
}

// move makes another worker read the interface. Its frames keep their order: the
// one is done with what it took before the other takes more.
func (s *Switch) move(on *wire, to *worker) {
	from := on.worker
	from.call(func() { from.remove(on) })
	on.worker = to
	to.call(func() { to.add(on) })
}

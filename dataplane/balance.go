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

// readOf is what Switch.tick remembers of an interface, for its share of the
// worker's load.
type readOf struct{ taken, lately uint64 }

// balance is called each tick. Where a worker was overloaded for two in a row it
// moves one interface at most, so that what that did is seen before the next.
func (s *Switch) balance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.nanos()
	span := max(now-s.balanced, 1)
	s.balanced = now
	full := s.losing.Load()
	for i, w := range s.workers {
		rested := w.rested.Load()
		s.load[i] = 1 - float64(rested-s.rested[i])/float64(span)
		s.rested[i] = rested
		full = full || s.load[i] >= overloaded
	}
	was := s.overload
	s.overload = full
	if !full || s.closed {
		return
	}
	open := s.open()
	for on := range open {
		taken := on.taken.Load()
		on.read = readOf{taken, taken - on.read.taken}
		if on.losing.Load() {
			s.load[on.worker.index] = 1 // on a busy CPU it rests longer than it means to
		}
	}
	if !was {
		return // what was read lately is since long
	}
	busiest := slices.Index(s.load, slices.Max(s.load))
	idlest := slices.Index(s.load, slices.Min(s.load))
	var of []*wire
	var frames []uint64
	for on := range open {
		if on.worker == s.workers[busiest] && on.read.lately > 0 && s.puntOf(on.io) == nil {
			of, frames = append(of, on), append(frames, on.read.lately)
		}
	}
	if i := toMove(s.load[busiest], s.load[idlest], frames); i >= 0 {
		s.move(of[i], s.workers[idlest])
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

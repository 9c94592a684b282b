package dataplane

import (
	"time"

	"gxswitch/ports"
)

// Receive rings are short, so that a port costs little, and grow where bursts
// overflow them: a worker that must wait for its turn on a busy CPU finds
// thousands of frames. They shrink again when the port has been quiet.
const (
	longRing = 4096             // slots: 8 MiB
	maxLong  = 32               // ports that may have one at a time: 256 MiB
	quietFor = 60 * time.Second // without loss and nearly without frames
	quiet    = 1000             // frames a second

	lossTick = 50 * time.Millisecond // how soon a loss is noticed
)

// ringWatch is what Switch.tick remembers of a port's ring, a second ago.
type ringWatch struct {
	lost, read uint64
	quiet      time.Duration // since when the port is
	short      int           // slots the ring had before it grew, 0 if it did not
}

// verdict is what is to be done about a ring.
type verdict uint8

const (
	keep verdict = iota
	renew
	grow
	shrink
)

// judge is called each second, and soon after a loss, with the port's counters.
func (r *ringWatch) judge(lost, read uint64) verdict {
	losing, frames := lost != r.lost, read-r.read
	r.lost, r.read = lost, read
	if losing || frames > quiet {
		r.quiet = 0
	} else {
		r.quiet += time.Second
	}
	switch {
	case losing && frames == 0:
		return renew // the worker reads what there is: the ring has stopped working
	case losing && r.short == 0:
		return grow
	case r.short != 0 && r.quiet >= quietFor:
		return shrink
	}
	return keep
}

// watchRing looks after one interface's ring; s.mu is held. name is for the log.
func (s *Switch) watchRing(on *wire, name string, read uint64) {
	what := on.ring.judge(on.io.Lost(), read)
	io, ok := on.io.(ports.Resizer)
	if what == keep || !ok || s.closed {
		return
	}
	was := io.Slots()
	slots, short := was, on.ring.short
	switch what {
	case grow:
		if was >= longRing || s.longRings() >= maxLong {
			return
		}
		slots, short = longRing, was
	case shrink:
		slots, short = short, 0
	}
	if err := s.exchange(on, io, slots); err != nil {
		s.log.Error("make another receive ring", "port", name, "slots", slots, "err", err)
		return
	}
	on.ring.short = short
	switch what {
	case renew:
		s.log.Warn("the receive ring was stuck and is made anew; the guest sent a frame of a GSO kind that the kernel can't hand over",
			"port", name)
	case grow:
		s.log.Info("frames came faster than they were taken: the port has a longer receive ring", "port", name, "slots", slots)
	}
}

func (s *Switch) longRings() int {
	long := map[*wire]bool{}
	for _, a := range s.attached {
		if a != nil && a.port.ring.short != 0 {
			long[a.port.wire] = true
		}
	}
	return len(long)
}

// exchange gives the interface another ring, and sends on what the old one holds.
func (s *Switch) exchange(on *wire, io ports.Resizer, slots int) error {
	ex, err := io.Resize(slots)
	if err != nil {
		return err
	}
	w := on.worker
	w.call(func() {
		if err = ex.Redirect(); err != nil {
			return
		}
		w.drain(on)
		w.remove(on)
		ex.Swap()
		w.add(on)
	})
	s.closing.Go(func() { _ = ex.Dispose() })
	return err
}

package dataplane

import (
	"sync"
	"sync/atomic"
	"time"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
	"gxswitch/ports"
	"gxswitch/shaping"
)

// pacer holds a port to a rate in one direction. What may not pass at once is
// copied out of the ring and waits in the shaper's queue.
//
// Several workers may send to one port. While something waits, one of them owns
// the pacer: the one that found its queue empty. It alone drains it, and all
// others let their frames wait too, so that no frame overtakes another of its
// flow.
type pacer struct {
	id    fdb.PortID
	of    *port
	from  bool           // frames that came from the port, else those on their way to it
	drops *atomic.Uint64 // frame.Rate of the port

	mu     sync.Mutex
	shaper *shaping.Shaper[*held]
	owner  *worker // nil: nothing waits
}

// held is a copy of a frame that waits.
type held struct {
	f        frame.Frame
	vid      uint16
	isolated bool // it came from an isolated port
	mem      []byte
}

// Copies come in two sizes: most frames fit the first.
const smallHeld = 2048

var (
	smallPool = sync.Pool{New: func() any { return &held{mem: make([]byte, smallHeld)} }}
	largePool = sync.Pool{New: func() any { return &held{mem: make([]byte, frame.VNetLen+frame.MaxLen)} }}
)

// hold copies a frame that Parse let pass.
func hold(raw []byte, f *frame.Frame) *held {
	pool := &largePool
	if len(raw) <= smallHeld {
		pool = &smallPool
	}
	h := pool.Get().(*held)
	h.f.Reset(h.mem[:copy(h.mem, raw)])
	h.f.TCI, h.f.Tagged = f.TCI, f.Tagged
	h.f.Parse()
	return h
}

func (h *held) free() {
	if len(h.mem) == smallHeld {
		smallPool.Put(h)
	} else {
		largePool.Put(h)
	}
}

func newPacer(id fdb.PortID, of *port, from bool, limit shaping.Limit, now int64) *pacer {
	p := &pacer{id: id, of: of, from: from, drops: &of.counters.txDrops[frame.Rate]}
	if from {
		p.drops = &of.counters.rxDrops[frame.Rate]
	}
	p.shaper = shaping.NewShaper(limit, now, func(h *held) {
		p.drops.Add(uint64(h.f.Segments))
		h.free()
	})
	return p
}

// setLimit changes the limit while frames pass.
func (p *pacer) setLimit(l shaping.Limit, now int64) {
	p.mu.Lock()
	p.shaper.SetLimit(l, now)
	p.mu.Unlock()
}

// read returns the counters, nil without a limit.
func (p *pacer) read(now int64) *shaping.Counters {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shaper.Limit().IsZero() {
		return nil
	}
	c := p.shaper.Counters(now)
	return &c
}

// flush drops what waits, once the port is gone.
func (p *pacer) flush(now int64) {
	p.mu.Lock()
	p.shaper.Flush(now)
	p.mu.Unlock()
}

// pace reports whether the frame passes at once. If not, the frame is taken care
// of: a copy of it waits, or it was dropped and counted. A super-frame that would
// keep others waiting for long is cut first.
func (w *worker) pace(p *pacer, in *member, f *frame.Frame, vid uint16, tagged bool) bool {
	bytes := f.WireBytes(tagged)
	p.mu.Lock()
	if (p.owner == nil || p.owner == w) && (!f.IsGSO() || !p.shaper.Cut(bytes, w.nanos)) && p.shaper.Pass(bytes, w.nanos) {
		p.mu.Unlock()
		return true
	}
	w.wait(p, in, f, vid, tagged)
	p.mu.Unlock()
	return false
}

// wait copies the frame, or the frames that it is on the wire, to the shaper's
// queue; p.mu is held.
func (w *worker) wait(p *pacer, in *member, f *frame.Frame, vid uint16, tagged bool) {
	if p.owner == nil {
		p.owner = w
		w.pacing = append(w.pacing, p)
	}
	hash := f.FlowHash()
	enqueue := func(raw []byte) {
		h := hold(raw, f)
		h.vid, h.isolated = vid, in.cfg.Isolated
		p.shaper.Enqueue(h, hash, h.f.WireBytes(tagged), w.nanos)
	}
	if f.IsGSO() && p.shaper.Cut(f.WireBytes(tagged), w.nanos) {
		if w.segment == nil {
			w.segment = make([]byte, frame.VNetLen+frame.TagLen+frame.MaxLen)
		}
		if f.Segment(false, 0, w.segment, enqueue) {
			return
		}
	}
	enqueue(f.Raw)
}

// recheck asks again what may have changed while the frame waited.
func (p *pacer) recheck(m *member, h *held) frame.DropReason {
	switch {
	case !m.carries(h.vid):
		return frame.VLANDenied
	case p.from:
		return frame.Pass // where it may go is decided now
	case m.unwraps(&h.f, h.vid):
		return frame.VLANDenied
	case m.cfg.Isolated && h.isolated:
		return frame.Isolated
	}
	return frame.Pass
}

// drainBatch is how many frames of one pacer go at a time: others get their turn.
const drainBatch = ports.BatchSize

// drainPacers sends on what may pass by now, of the pacers that this worker owns,
// and returns how many frames that were. due is when there is more to do, 0 if
// nothing waits.
func (w *worker) drainPacers() (frames int, due time.Duration) {
	v := w.sw.view.Load()
	for i := 0; i < len(w.pacing); {
		p := w.pacing[i]
		n, next := w.drainPacer(v, p)
		frames += n
		if next == shaping.Never {
			w.pacing[i] = w.pacing[len(w.pacing)-1]
			w.pacing = w.pacing[:len(w.pacing)-1]
			continue
		}
		if due == 0 || time.Duration(next) < due {
			due = time.Duration(next)
		}
		i++
	}
	return frames, due
}

func (w *worker) drainPacer(v *view, p *pacer) (frames int, next int64) {
	var m *member
	if int(p.id) < len(v.ports) {
		m = v.ports[p.id]
	}
	p.mu.Lock()
	if m == nil || m.port != p.of { // the port is gone
		p.shaper.Flush(w.nanos)
		p.owner = nil
		p.mu.Unlock()
		return 0, shaping.Never
	}
	w.released = w.released[:0]
	p.shaper.Drain(w.nanos, drainBatch, func(h *held) { w.released = append(w.released, h) })
	p.mu.Unlock()

	var t tally
	for _, h := range w.released {
		switch reason := p.recheck(m, h); {
		case reason != frame.Pass && p.from:
			m.port.counters.rxDrops[reason].Add(uint64(h.f.Segments))
		case reason != frame.Pass:
			m.port.counters.txDrops[reason].Add(uint64(h.f.Segments))
		case p.from:
			w.pass(v, m, &h.f, h.vid, &t)
		default:
			w.enqueue(m, &h.f, h.vid)
		}
	}
	if p.from {
		t.count(m)
	}
	w.flush()
	for _, h := range w.released {
		h.free()
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if next = p.shaper.Due(w.nanos); next == shaping.Never {
		p.owner = nil // all that it had is written
	}
	return len(w.released), next
}

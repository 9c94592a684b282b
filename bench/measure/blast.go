package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"gxswitch/bench/machine"
	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// mix stands for IMIX among frame sizes.
const mix = 0

// lengths is a frame size (with FCS) as a generator wants it.
func lengths(size int) []int {
	if size == mix {
		return traffic.IMIX()
	}
	return []int{size - traffic.FCS}
}

func sizeName(size int) string {
	if size == mix {
		return "imix"
	}
	return strconv.Itoa(size)
}

func sizeWords(size int) string {
	if size == mix {
		return "frames of the simple IMIX"
	}
	return fmt.Sprintf("frames of %d bytes", size)
}

// blast is streams at full speed for a while.
type blast struct {
	offered   float64 // frames a second
	delivered float64
	bits      float64 // delivered, layer 2 without FCS, a second
	loss      float64 // share of all that were sent, the warm-up's too
	busy      float64 // processor seconds a frame delivered, the whole machine's
	outside   float64 // share of its time that the busiest generator spent on itself
}

// full sends each stream from a core of its own and counts at receivers.
func (s *Stand) full(ctx context.Context, streams []traffic.Stream, receivers []rig.Endpoint) (b blast, err error) {
	var gens []*traffic.Generator
	stop := func() error {
		var errs []error
		for _, g := range gens {
			errs = append(errs, g.Stop())
		}
		return errors.Join(errs...)
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, st := range streams {
		g, err := traffic.NewGenerator(st)
		if err != nil {
			return b, err
		}
		gens = append(gens, g)
	}
	read := func() (r reading, err error) {
		for _, g := range gens {
			r.offered += g.Offered()
		}
		r.count, err = s.count(receivers)
		if err != nil {
			return r, err
		}
		r.at = time.Now()
		r.clock, err = machine.Now()
		return r, err
	}
	first, err := read()
	if err != nil {
		return b, err
	}
	for i, g := range gens {
		g.Start(traffic.Load{Core: core(i), Drag: s.Drag})
	}
	if err := sleep(ctx, s.Warmup); err != nil {
		return b, err
	}
	from, err := read()
	if err != nil {
		return b, err
	}
	if err := sleep(ctx, s.Window); err != nil {
		return b, err
	}
	to, err := read()
	if err != nil {
		return b, err
	}
	if err := stop(); err != nil {
		return b, err
	}
	var sent uint64
	for _, g := range gens {
		sent += g.Offered()
		b.outside = max(b.outside, g.Outside())
	}
	end, err := s.settle(ctx, receivers, first.count.Frames+sent)
	if err != nil {
		return b, err
	}
	d := to.at.Sub(from.at).Seconds()
	frames := float64(to.count.Frames - from.count.Frames)
	b.offered = float64(to.offered-from.offered) / d
	b.delivered = frames / d
	b.bits = 8 * float64(to.count.Bytes-from.count.Bytes) / d
	b.loss = lossOf(sent, end.Frames-first.count.Frames)
	if frames > 0 {
		b.busy = machine.Busy(from.clock, to.clock).Seconds() / frames
	}
	return b, nil
}

type reading struct {
	at      time.Time
	offered uint64
	count   traffic.Count
	clock   machine.Clock
}

func lossOf(sent, received uint64) float64 {
	if sent == 0 || received >= sent {
		return 0
	}
	return float64(sent-received) / float64(sent)
}

// count is what has arrived at any of the endpoints.
func (s *Stand) count(endpoints []rig.Endpoint) (all traffic.Count, err error) {
	return s.Counter.Count(endpoints...)
}

// settleTime is how long nothing must arrive until everything has.
const settleTime = 50 * time.Millisecond

// settle waits until so many frames have arrived, or no more come.
func (s *Stand) settle(ctx context.Context, endpoints []rig.Endpoint, want uint64) (traffic.Count, error) {
	last, since := traffic.Count{}, time.Now()
	for {
		c, err := s.count(endpoints)
		if err != nil || c.Frames >= want {
			return c, err
		}
		if c != last {
			last, since = c, time.Now()
		} else if time.Since(since) > settleTime {
			return c, nil
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return c, err
		}
	}
}

// paced sends so many frames of a stream at a rate. It returns the share lost
// at the stream's receiver, and how long the sending took.
func (s *Stand) paced(ctx context.Context, st traffic.Stream, rate float64, frames uint64) (loss float64, took time.Duration, err error) {
	receiver := []rig.Endpoint{st.Lane.To}
	before, err := s.count(receiver)
	if err != nil {
		return 0, 0, err
	}
	g, err := traffic.NewGenerator(st)
	if err != nil {
		return 0, 0, err
	}
	unhook := context.AfterFunc(ctx, g.Halt)
	defer unhook()
	start := time.Now()
	g.Start(traffic.Load{Core: core(0), Rate: rate, Frames: frames, Yield: true, Drag: s.Drag})
	err = g.Wait()
	took = time.Since(start)
	if err := errors.Join(err, ctx.Err()); err != nil {
		return 0, 0, err
	}
	after, err := s.settle(ctx, receiver, before.Frames+frames)
	return lossOf(frames, after.Frames-before.Frames), took, err
}

// watch counts at those of the endpoints where nobody counts yet.
func (s *Stand) watch(a rig.Arrival, endpoints ...rig.Endpoint) error {
	var fresh []rig.Endpoint
	for _, e := range endpoints {
		if !s.Counter.Watches(e) {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return s.Counter.WatchFor(a, fresh...)
}

// announce lets the switch learn where every end of the lanes is.
func (s *Stand) announce() error {
	for _, l := range s.Lanes {
		if err := traffic.Announce(l.From, l.To); err != nil {
			return err
		}
	}
	return nil
}

// core is where sender i belongs.
func core(i int) int { return i % runtime.NumCPU() }

// sleep waits, or returns early with the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

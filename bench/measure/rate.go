package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// hold is a limit on lane 0, set while the arm is up: on what goes to the
// receiver, or on what comes from the sender.
type hold struct {
	mbit int // a second
	from bool
}

func (h hold) bits() float64 { return float64(h.mbit) * 1e6 }

func (h hold) String() string {
	s := fmt.Sprintf("%dMb", h.mbit)
	if h.mbit >= 1000 {
		s = fmt.Sprintf("%dGb", h.mbit/1000)
	}
	if h.from {
		s += "-from"
	}
	return s
}

func (h hold) words() string {
	if h.from {
		return fmt.Sprintf("a limit of %d Mb/s on what comes from the sender", h.mbit)
	}
	return fmt.Sprintf("a limit of %d Mb/s on what goes to the receiver", h.mbit)
}

// set holds the lane's port.
func (h hold) set(ctx context.Context, s *Stand) error {
	e := s.Lanes[0].To
	if h.from {
		e = s.Lanes[0].From
	}
	return s.Limit(ctx, e, rig.Limit{BitsPerSecond: uint64(h.mbit) * 1e6, From: h.from})
}

// excess is how many times the limit a sender offers.
const excess = 3

// drain is how long a sender goes on before figures are taken: in it three
// times the rate use up the credit, 50 ms of the rate, several times over.
const drain = 200 * time.Millisecond

// singly is the most, in bits a second, that is sent as single frames. More than
// that one sender offers as super-frames only, as fast as they go.
const singly = 4e9

// overrun offers more than the limit until Stop.
type overrun interface {
	Offered() uint64 // frames of traffic.MaxLen
	Stop() error
}

func (h hold) overrun(s *Stand) (overrun, error) {
	if excess*h.bits() > singly {
		return traffic.StartSegmented(s.Lanes[0], core(0), true)
	}
	g, err := traffic.NewGenerator(traffic.Stream{Lane: s.Lanes[0], Flow: 1, Len: lengths(1518)})
	if err != nil {
		return nil, err
	}
	g.Start(traffic.Load{Core: core(0), Rate: excess * h.bits() / (8 * traffic.MaxLen), Yield: true, Flood: true, Drag: s.Drag})
	return g, nil
}

// limitedUDP is how exact a limit is that a sender runs over, in bytes on the
// wire: layer 2 without FCS, as tc counts too.
type limitedUDP struct{ hold }

func (m limitedUDP) Plan() Plan {
	p := Plan{
		Name:  "rate-udp-" + m.String(),
		About: fmt.Sprintf("%s, UDP offers %d times as much: the worst error over any second, and over 10 s (without -quick)", m.words(), excess),
		Metrics: []Metric{
			{Name: "error 1 s", Unit: Share, Goal: Goal{At: 0.05, Of: OfFigure, Most: true}},
			{Name: "error 10 s", Unit: Share, Goal: Goal{At: 0.01, Of: OfFigure, Most: true}},
			{Name: "passed", Unit: Share},  // of the limit, the whole time
			{Name: "offered", Unit: Share}, // of the limit
		},
		Once: true, SwitchOnly: true, Quick: m.hold == quickHold, Cost: 12 * time.Second,
	}
	if m.fast() {
		p.Metrics = append(p.Metrics, Metric{Name: "unlimited", Unit: Share}) // what the arm carries of the same
	}
	return p
}

// fast reports whether an arm might not carry as much as the limit lets pass.
func (h hold) fast() bool { return h.mbit >= 1000 }

// quickHold is the limit that is measured with -quick.
var quickHold = hold{mbit: 100}

func (m limitedUDP) Run(ctx context.Context, s *Stand) (r Result, err error) {
	if err := s.announce(); err != nil {
		return r, err
	}
	to := []rig.Endpoint{s.Lanes[0].To}
	arrived := func() (float64, error) {
		c, err := s.count(to)
		return 8 * float64(c.Bytes), err
	}
	if err := m.set(ctx, s); err != nil { // first, for an arm that can't
		return r, err
	}
	load, err := m.overrun(s)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, load.Stop()) }()
	if err := sleep(ctx, max(drain, s.Warmup)); err != nil {
		return r, err
	}
	offered, start := load.Offered(), time.Now()
	w, err := s.windows(ctx, m.bits(), arrived)
	if err != nil {
		return r, err
	}
	r.Values = map[string]float64{"error 1 s": w.worst, "passed": w.mean}
	if s.Long > 0 {
		r.Values["error 10 s"] = math.Abs(w.mean - 1)
	}
	sent := 8 * traffic.MaxLen * float64(load.Offered()-offered)
	r.Values["offered"] = sent / time.Since(start).Seconds() / m.bits()
	if m.fast() {
		r.Values["unlimited"], err = m.unlimited(ctx, s, arrived)
	}
	return r, err
}

// unlimited lifts the limit under the load and returns what passes then, as a
// share of the limit.
func (h hold) unlimited(ctx context.Context, s *Stand, arrived func() (float64, error)) (float64, error) {
	if err := (hold{from: h.from}).set(ctx, s); err != nil {
		return 0, err
	}
	if err := sleep(ctx, max(drain, s.Warmup)); err != nil {
		return 0, err
	}
	w, err := s.windows(ctx, h.bits(), arrived)
	return w.mean, err
}

// windowed is what passed, as shares of a limit.
type windowed struct {
	mean   float64
	lowest float64 // of any window
	worst  float64 // the largest difference from 1 of any window
}

// windows reads a counter of bits at the ends of windows that follow each other
// for s.Long: what passed in each, and in all together.
func (s *Stand) windows(ctx context.Context, limit float64, bits func() (float64, error)) (windowed, error) {
	w := windowed{lowest: math.Inf(1)}
	first, err := bits()
	if err != nil {
		return w, err
	}
	start := time.Now()
	last, at := first, start
	for {
		if err := sleep(ctx, s.Short-time.Since(at)); err != nil {
			return w, err
		}
		n, err := bits()
		if err != nil {
			return w, err
		}
		now := time.Now()
		share := (n - last) / now.Sub(at).Seconds() / limit
		w.lowest, w.worst = min(w.lowest, share), max(w.worst, math.Abs(share-1))
		last, at = n, now
		if now.Sub(start) >= s.Long-s.Short/2 {
			w.mean = (n - first) / now.Sub(start).Seconds() / limit
			return w, nil
		}
	}
}

// limitedTCP is how much of a limit a connection gets. Headers take 4.4 % of
// full frames with timestamps.
type limitedTCP struct{ hold }

func (m limitedTCP) Plan() Plan {
	return Plan{
		Name:  "rate-tcp-" + m.String(),
		About: fmt.Sprintf("%s, one TCP flow with offloads: payload as a share of the limit, over 10 s (-quick: 1 s) and the worst second of them", m.words()),
		Metrics: []Metric{
			{Name: "payload", Unit: Share, Better: Higher, Goal: Goal{At: 0.93, Of: OfFigure}},
			{Name: "lowest 1 s", Unit: Share, Better: Higher},
		},
		Once: true, SwitchOnly: true, Quick: m.hold == quickHold, Cost: 12 * time.Second,
	}
}

func (m limitedTCP) Run(ctx context.Context, s *Stand) (r Result, err error) {
	if err := s.announce(); err != nil {
		return r, err
	}
	if err := m.set(ctx, s); err != nil {
		return r, err
	}
	b, err := traffic.StartBulk(s.Lanes[0], 1)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	if err := sleep(ctx, s.Short); err != nil { // the window opens, and closes after the first loss
		return r, err
	}
	w, err := s.windows(ctx, m.bits(), func() (float64, error) { return 8 * float64(b.Received()), nil })
	if err != nil {
		return r, err
	}
	r.Values = map[string]float64{"payload": w.mean, "lowest 1 s": w.lowest}
	return r, nil
}

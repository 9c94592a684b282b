package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// pinged is a round trip through a limit that a flow of the same sender fills.
type pinged struct {
	hold
	tcp bool
}

// pingRate is requests a second: few, so that they take next to nothing of the
// limit.
const pingRate = 100

func (m pinged) Plan() Plan {
	kind, flow := "udp", fmt.Sprintf("UDP that offers %d times as much", excess)
	if m.tcp {
		kind, flow = "tcp", "one TCP flow"
	}
	p := Plan{
		Name:  fmt.Sprintf("rate-ping-%s-%s", kind, m),
		About: fmt.Sprintf("%s, request and response of 64 bytes, UDP, open loop, beside %s; a lost one counts as one second", m.words(), flow),
		Metrics: []Metric{
			{Name: "p99", Unit: Seconds, Better: Lower},
			{Name: "p50", Unit: Seconds, Better: Lower},
			{Name: "added", Unit: Seconds, Better: Lower}, // to the median, by the flow
			{Name: "lost", Unit: Share},
		},
		SwitchOnly: true, Cost: 5 * time.Second,
	}
	if m.mbit == 10 {
		p.Metrics[0].Goal = Goal{At: 0.060, Of: OfFigure, Most: true}
	}
	return p
}

func (m pinged) Run(ctx context.Context, s *Stand) (r Result, err error) {
	if err := s.announce(); err != nil {
		return r, err
	}
	if err := m.set(ctx, s); err != nil {
		return r, err
	}
	alone, err := traffic.Probe(ctx, s.Lanes[0], s.Window, pingRate)
	if err != nil {
		return r, err
	}
	stop, err := m.fill(s)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := sleep(ctx, max(drain, 5*s.Warmup)); err != nil {
		return r, err
	}
	beside, err := traffic.Probe(ctx, s.Lanes[0], 2*s.Window, pingRate)
	if err != nil {
		return r, err
	}
	beside.CountLost()
	r = latencyResult(beside)
	r.Values["added"] = r.Values["p50"] - latencyResult(alone).Values["p50"]
	return r, nil
}

// fill starts what the limit has to hold back.
func (m pinged) fill(s *Stand) (stop func() error, err error) {
	if m.tcp {
		b, err := traffic.StartBulk(s.Lanes[0], 1)
		if err != nil {
			return nil, err
		}
		return b.Stop, nil
	}
	load, err := m.overrun(s)
	if err != nil {
		return nil, err
	}
	return load.Stop, nil
}

// bystander is what a limit costs ports that have none: one sender at full speed
// on lane 1, alone, beside a paced stream on lane 0, and beside the same stream
// when a limit holds two thirds of it back.
type bystander struct{ hold }

func (m bystander) Plan() Plan {
	return Plan{
		Name: "rate-others-" + m.String(),
		About: fmt.Sprintf("64-byte frames between ports without a limit, as fast as they go, beside UDP between two others of which one has %s, %d times overrun",
			m.words(), excess),
		Metrics: []Metric{
			{Name: "delivered", Unit: FramesPerSecond, Better: Higher, Generated: true},
			{Name: "of unlimited", Unit: Share}, // of what passes beside the same UDP without the limit
			{Name: "of alone", Unit: Share},     // of what passes without the UDP
		},
		SwitchOnly: true, Cost: 5 * time.Second,
	}
}

func (m bystander) Run(ctx context.Context, s *Stand) (r Result, err error) {
	if err := s.announce(); err != nil {
		return r, err
	}
	if err := m.set(ctx, s); err != nil { // first, for an arm that can't
		return r, err
	}
	free := func() (float64, error) {
		l := s.Lanes[1]
		b, err := s.full(ctx, []traffic.Stream{{Lane: l, Len: lengths(64)}}, []rig.Endpoint{l.To})
		return b.delivered, err
	}
	alone, err := free()
	if err != nil {
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
	limited, err := free()
	if err != nil {
		return r, err
	}
	if err := (hold{from: m.from}).set(ctx, s); err != nil {
		return r, err
	}
	unlimited, err := free()
	if err != nil {
		return r, err
	}
	r.Values = map[string]float64{"delivered": limited}
	if unlimited > 0 && alone > 0 {
		r.Values["of unlimited"], r.Values["of alone"] = limited/unlimited, limited/alone
	}
	return r, nil
}

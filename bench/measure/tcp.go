package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gxswitch/bench/machine"
	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// bulk is TCP from one guest to another, through their real stacks.
type bulk struct {
	flows    int
	offloads bool
}

func (m bulk) Plan() Plan {
	p := Plan{
		Metrics: []Metric{
			{Name: "payload", Unit: BitsPerSecond, Better: Higher},
			{Name: "cpu", Unit: SecondsPerGigabyte, Better: Lower},
		},
		Cost: 2 * time.Second,
	}
	if m.offloads {
		p.Name, p.About = fmt.Sprintf("tcp-%d", m.flows), fmt.Sprintf("TCP bulk, %d flows, guests with segmentation and checksum offload", m.flows)
		p.Metrics[0].Goal = ToBridge(0.95)
		p.Quick = m.flows == 1
	} else {
		p.Name, p.About = fmt.Sprintf("tcp-%d-plain", m.flows), fmt.Sprintf("TCP bulk, %d flows, guests without offloads", m.flows)
	}
	return p
}

func (m bulk) Run(ctx context.Context, s *Stand) (Result, error) { return m.on(ctx, s, s.Lanes[0]) }

func (m bulk) on(ctx context.Context, s *Stand, l rig.Lane) (r Result, err error) {
	if err := s.announce(); err != nil {
		return r, err
	}
	if !m.offloads {
		for _, e := range []rig.Endpoint{l.From, l.To} {
			defer func() { err = errors.Join(err, rig.SetOffloads(e, true)) }()
			if err := rig.SetOffloads(e, false); err != nil {
				return r, err
			}
		}
	}
	b, err := traffic.StartBulk(l, m.flows)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	if err := sleep(ctx, 2*s.Warmup); err != nil { // windows open
		return r, err
	}
	bytes, busy, d, err := s.window(ctx, b.Received)
	if err != nil {
		return r, err
	}
	r.Values = map[string]float64{"payload": 8 * bytes / d.Seconds()}
	if bytes > 0 {
		r.Values["cpu"] = busy.Seconds() / bytes * 1e9
	}
	return r, nil
}

// window watches a counter, and the machine, for a while.
func (s *Stand) window(ctx context.Context, counter func() uint64) (grown float64, busy, d time.Duration, err error) {
	from, err := machine.Now()
	if err != nil {
		return 0, 0, 0, err
	}
	start, before := time.Now(), counter()
	if err := sleep(ctx, s.Window); err != nil {
		return 0, 0, 0, err
	}
	d, grown = time.Since(start), float64(counter()-before)
	to, err := machine.Now()
	return grown, machine.Busy(from, to), d, err
}

// segmented is UDP whose sender leaves the segmentation to whoever must do it.
type segmented struct{}

func (segmented) Plan() Plan {
	return Plan{
		Name: "udp-gso", About: "UDP with GSO (UDP_SEGMENT), datagrams of 1472 bytes, one sender",
		Metrics: []Metric{
			{Name: "wire", Unit: BitsPerSecond, Better: Higher},
			{Name: "loss", Unit: Share},
		},
		Cost: 1500 * time.Millisecond,
	}
}

func (segmented) Run(ctx context.Context, s *Stand) (r Result, err error) {
	l := s.Lanes[0]
	if err := s.announce(); err != nil {
		return r, err
	}
	to := []rig.Endpoint{l.To}
	first, err := s.count(to)
	if err != nil {
		return r, err
	}
	g, err := traffic.StartSegmented(l, core(0), false)
	if err != nil {
		return r, err
	}
	running := true
	stop := func() error {
		if !running {
			return nil
		}
		running = false
		return g.Stop()
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := sleep(ctx, s.Warmup); err != nil {
		return r, err
	}
	from, err := s.count(to)
	if err != nil {
		return r, err
	}
	start := time.Now()
	if err := sleep(ctx, s.Window); err != nil {
		return r, err
	}
	until, err := s.count(to)
	if err != nil {
		return r, err
	}
	d := time.Since(start)
	if err := stop(); err != nil {
		return r, err
	}
	end, err := s.settle(ctx, to, first.Frames+g.Offered())
	r.Values = map[string]float64{
		"wire": 8 * float64(until.Bytes-from.Bytes) / d.Seconds(),
		"loss": lossOf(g.Offered(), end.Frames-first.Frames),
	}
	return r, err
}

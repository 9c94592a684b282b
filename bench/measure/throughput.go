package measure

import (
	"context"
	"time"

	"gxswitch/bench/rig"
	"gxswitch/bench/stat"
	"gxswitch/bench/traffic"
)

// throughput is one sender at full speed: what arrives, and what it costs.
type throughput struct{ size int }

func (m throughput) Plan() Plan {
	p := Plan{
		Name: "throughput-" + sizeName(m.size), About: "one sender, " + sizeWords(m.size) + ", as fast as it goes",
		Metrics: []Metric{
			{Name: "delivered", Unit: FramesPerSecond, Better: Higher, Generated: true},
			{Name: "loss", Unit: Share},
			{Name: "cpu", Unit: SecondsPerFrame, Better: Lower},
			{Name: "wire", Unit: BitsPerSecond},
		},
		Series: "throughput", X: float64(m.size), Quick: m.size == 64 || m.size == 1518, Cost: 1500 * time.Millisecond,
	}
	switch m.size {
	case 64:
		p.Metrics[0].Goal, p.Metrics[2].Goal = ToBridge(1.5), ToBridge(1.25)
	case 1518:
		p.Metrics[0].Goal = ToBridge(1.4)
	case mix:
		p.Series = ""
	}
	return p
}

func (m throughput) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announce(); err != nil {
		return Result{}, err
	}
	return m.send(ctx, s, traffic.Stream{Lane: s.Lanes[0]})
}

func (m throughput) send(ctx context.Context, s *Stand, st traffic.Stream) (Result, error) {
	st.Len = lengths(m.size)
	b, err := s.full(ctx, []traffic.Stream{st}, []rig.Endpoint{st.Lane.To})
	return b.result(), err
}

func (b blast) result() Result {
	return Result{Values: map[string]float64{"delivered": b.delivered, "loss": b.loss, "cpu": b.busy, "wire": b.bits}}
}

// saturated is a sender on every core, each with a receiver of its own: the
// senders leave the switch no core to itself.
type saturated struct{ size int }

func (m saturated) Plan() Plan {
	p := Plan{
		Name: "saturated-" + sizeName(m.size), About: "a sender on every core, " + sizeWords(m.size) + ", as fast as it goes, all together",
		Metrics: throughput(m).Plan().Metrics, Quick: m.size == 64, Cost: 1500 * time.Millisecond,
	}
	for i := range p.Metrics {
		p.Metrics[i].Goal = Goal{}
	}
	if m.size == 64 {
		p.Metrics[0].Goal = ToBridge(0.65)
	}
	return p
}

func (m saturated) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announce(); err != nil {
		return Result{}, err
	}
	var streams []traffic.Stream
	var receivers []rig.Endpoint
	for i, l := range s.Lanes {
		streams = append(streams, traffic.Stream{Lane: l, Flow: uint16(i), Len: lengths(m.size)})
		receivers = append(receivers, l.To)
	}
	b, err := s.full(ctx, streams, receivers)
	return b.result(), err
}

// lossless is the throughput of RFC 2544, 26.1: the highest rate without loss,
// and with hardly any.
type lossless struct{ size int }

func (m lossless) Plan() Plan {
	p := Plan{
		Name: "rfc2544-" + sizeName(m.size), About: "one sender, " + sizeWords(m.size) + ", the highest rate that loses nothing (RFC 2544) or 0.5 %",
		Metrics: []Metric{
			{Name: "no loss", Unit: FramesPerSecond, Better: Higher, Generated: true},
			{Name: "0.5 % loss", Unit: FramesPerSecond, Better: Higher, Generated: true},
		},
		Series: "rfc2544", X: float64(m.size), Cost: 8 * time.Second,
	}
	if m.size == mix {
		p.Series = ""
	}
	return p
}

func (m lossless) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announce(); err != nil {
		return Result{}, err
	}
	st := traffic.Stream{Lane: s.Lanes[0], Len: lengths(m.size)}
	b, err := s.full(ctx, []traffic.Stream{st}, []rig.Endpoint{st.Lane.To})
	if err != nil {
		return Result{}, err
	}
	rates, err := stat.Rates(b.offered, 0.02, []float64{0, 0.005}, func(rate float64) (float64, error) {
		loss, _, err := s.paced(ctx, st, rate, uint64(rate*s.Trial.Seconds()))
		return loss, err
	})
	if err != nil {
		return Result{}, err
	}
	return Result{Values: map[string]float64{"no loss": rates[0], "0.5 % loss": rates[1]}}, nil
}

// Prove sends the shortest frames at full speed and returns what arrived, and
// the share of its time that the generator spent on itself.
func Prove(ctx context.Context, s *Stand) (delivered, outside float64, err error) {
	if err := s.announce(); err != nil {
		return 0, 0, err
	}
	b, err := s.full(ctx, []traffic.Stream{{Lane: s.Lanes[0], Len: lengths(64)}}, []rig.Endpoint{s.Lanes[0].To})
	return b.delivered, b.outside, err
}

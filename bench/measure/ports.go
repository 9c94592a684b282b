package measure

import (
	"context"
	"fmt"
	"time"

	"gxswitch/bench/machine"
	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
	"gxswitch/internal/frame"
)

// idlePorts is throughput beside ports on which nothing happens.
type idlePorts struct{ n int }

func (m idlePorts) Plan() Plan {
	p := Plan{
		Name: fmt.Sprintf("ports-%d", m.n), About: fmt.Sprintf("throughput of 64-byte frames beside %d idle ports", m.n),
		Metrics: throughput{mix}.Plan().Metrics, Setup: rig.Setup{Crowd: m.n}, Series: "ports", X: float64(m.n), SwitchOnly: true,
		Cost: 2*time.Second + time.Duration(m.n)*10*time.Millisecond,
	}
	if m.n == 1000 {
		p.Metrics[0].Goal = Goal{At: 0.9, Of: OfMeasure, Measure: idlePorts{0}.Plan().Name}
	}
	return p
}

func (idlePorts) Run(ctx context.Context, s *Stand) (Result, error) {
	return throughput{64}.Run(ctx, s)
}

// broadcast is frames that go to everybody (RFC 2889, 5.9).
type broadcast struct{ receivers int }

func (m broadcast) Plan() Plan {
	return Plan{
		Name: fmt.Sprintf("broadcast-%d", m.receivers), About: fmt.Sprintf("one sender, broadcast frames of 64 bytes to %d ports, copies delivered", m.receivers),
		Metrics: []Metric{
			{Name: "delivered", Unit: FramesPerSecond, Better: Higher},
			{Name: "cpu", Unit: SecondsPerFrame, Better: Lower},
		},
		Setup: rig.Setup{Crowd: max(0, m.receivers-(2*rig.Lanes()-1))}, Series: "broadcast", X: float64(m.receivers), SwitchOnly: true,
		Cost: 2 * time.Second,
	}
}

func (m broadcast) Run(ctx context.Context, s *Stand) (Result, error) {
	receivers := append([]rig.Endpoint{}, s.Crowd...)
	for i, l := range s.Lanes {
		if i > 0 {
			receivers = append(receivers, l.From)
		}
		receivers = append(receivers, l.To)
	}
	if err := s.watch(rig.Arrival{}, receivers...); err != nil {
		return Result{}, err
	}
	st := traffic.Stream{Lane: s.Lanes[0], Len: lengths(64), DstMACs: []frame.MAC{frame.Broadcast}}
	b, err := s.full(ctx, []traffic.Stream{st}, receivers)
	return Result{Values: map[string]float64{"delivered": b.delivered, "cpu": b.busy}}, err
}

// memory is what a port costs.
type memory struct{}

const memoryPorts = 500

func (memory) Plan() Plan {
	return Plan{
		Name: "memory", About: fmt.Sprintf("memory with %d idle ports, whole cost divided by the ports", memoryPorts),
		Metrics: []Metric{
			{Name: "machine", Unit: BytesPerPort, Goal: Goal{At: 1 << 20, Of: OfFigure, Most: true}}, // MemAvailable
			{Name: "process", Unit: BytesPerPort},                                                    // PSS, mapped rings included
		},
		Setup: rig.Setup{Crowd: memoryPorts}, Once: true, SwitchOnly: true, Cost: 6 * time.Second,
	}
}

func (memory) Run(ctx context.Context, s *Stand) (Result, error) {
	now, err := machine.AvailableKiB()
	if err != nil {
		return Result{}, err
	}
	r := Result{Values: map[string]float64{}}
	ports := float64(len(s.Crowd) + 2*len(s.Lanes))
	if s.AvailableKiB > now {
		r.Values["machine"] = float64(s.AvailableKiB-now) * 1024 / ports
	}
	if len(s.PIDs) == 0 {
		return r, nil
	}
	var kib uint64
	for _, pid := range s.PIDs {
		n, err := machine.PSSKiB(pid)
		if err != nil {
			return r, err
		}
		kib += n
	}
	r.Values["process"] = float64(kib) * 1024 / ports
	return r, nil
}

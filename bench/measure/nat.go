package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
	"gxswitch/internal/frame"
)

var natSetup = rig.Setup{Kind: rig.NAT}

// outward is what the guest sends to the host outside, by way of its gateway.
func (s *Stand) outward() traffic.Stream {
	st := traffic.Stream{Lane: s.Lanes[0], Len: lengths(64)}
	if !s.Gateway.IsZero() {
		st.DstMACs = []frame.MAC{s.Gateway}
	}
	return st
}

// errNoWay ends a measure whose gateway lets nothing through.
var errNoWay = errors.New("nothing that has the gateway's address gets through")

// wayTime is how long a gateway may look for its neighbours.
const wayTime = 5 * time.Second

// way counts at the host outside what has the gateway's address, and returns when
// such a frame has come.
func (s *Stand) way(ctx context.Context) error {
	if err := s.announce(); err != nil {
		return err
	}
	st := s.outward()
	if err := s.watch(s.Arrival, st.Lane.To); err != nil {
		return err
	}
	for start := time.Now(); time.Since(start) < wayTime; {
		if loss, _, err := s.paced(ctx, st, calm, 1); err != nil || loss == 0 {
			return err
		}
	}
	return errNoWay
}

// natThroughput is throughput of one session.
type natThroughput struct{ size int }

func (m natThroughput) Plan() Plan {
	p := throughput(m).Plan()
	p.Name, p.About = "nat-"+p.Name, "from a guest through NAT to a host outside, one session, "+sizeWords(m.size)+", as fast as it goes"
	p.Setup, p.Series = natSetup, ""
	for i := range p.Metrics {
		p.Metrics[i].Goal = Goal{}
	}
	p.Metrics[0].Goal = ToBridge(1)
	return p
}

func (m natThroughput) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.way(ctx); err != nil {
		return Result{}, err
	}
	return throughput(m).send(ctx, s, s.outward())
}

// natBulk is TCP from a guest to a host outside.
type natBulk struct{ flows int }

func (m natBulk) Plan() Plan {
	p := bulk{flows: m.flows, offloads: true}.Plan()
	p.Name, p.About = "nat-"+p.Name, p.About+", from a guest through NAT to a host outside"
	p.Setup = natSetup
	p.Metrics[0].Goal = ToBridge(1)
	return p
}

func (m natBulk) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.way(ctx); err != nil {
		return Result{}, err
	}
	return bulk{flows: m.flows, offloads: true}.Run(ctx, s)
}

// natRoundtrip is latency-idle through NAT.
type natRoundtrip struct{}

func (natRoundtrip) Plan() Plan {
	return Plan{
		Name: "nat-latency", About: "request of a guest and response of a host outside through NAT, 64 bytes, UDP, one at a time",
		Metrics: latencyMetrics(), Setup: natSetup, Cost: 1500 * time.Millisecond,
	}
}

func (natRoundtrip) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.way(ctx); err != nil {
		return Result{}, err
	}
	return roundtrip{}.Run(ctx, s)
}

// natSessions is how fast sessions are opened, by a sender that offers as many as
// it can.
type natSessions struct{}

// sessionsTried is less than the kernel's nf_conntrack_max, 262144 where nobody
// has changed it, which a namespace can only lower.
const sessionsTried = 192 << 10

func (natSessions) Plan() Plan {
	return Plan{
		Name: "nat-sessions", About: fmt.Sprintf("one sender opens %d UDP sessions through NAT as fast as it goes: 64-byte frames, each with a port of its own", sessionsTried),
		Metrics: []Metric{
			{Name: "opened", Unit: SessionsPerSecond, Better: Higher, Generated: true, Goal: Goal{At: 50e3, Of: OfFigure}},
			{Name: "loss", Unit: Share},
		},
		Setup: natSetup, Cost: 2 * time.Second,
	}
}

func (natSessions) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.way(ctx); err != nil {
		return Result{}, err
	}
	st := s.outward()
	st.Sessions = true
	loss, took, err := s.paced(ctx, st, 0, sessionsTried)
	if err != nil {
		return Result{}, err
	}
	return Result{Values: map[string]float64{"opened": (1 - loss) * sessionsTried / took.Seconds(), "loss": loss}}, nil
}

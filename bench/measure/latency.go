package measure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// roundtrip is a request of 64 bytes and its response, one at a time, on a
// machine that does nothing else.
type roundtrip struct{}

func (roundtrip) Plan() Plan {
	m := latencyMetrics()
	m[0].Goal, m[1].Goal = ToBridge(1.1), ToBridge(1.5)
	return Plan{
		Name: "latency-idle", About: "request and response of 64 bytes, UDP, one at a time, nothing else on the machine",
		Metrics: m, Series: "latency", X: 0, Quick: true, Cost: 1500 * time.Millisecond,
	}
}

func latencyMetrics() []Metric {
	return []Metric{
		{Name: "p50", Unit: Seconds, Better: Lower},
		{Name: "p99", Unit: Seconds, Better: Lower},
		{Name: "p99.9", Unit: Seconds, Better: Lower},
		{Name: "max", Unit: Seconds, Better: Lower},
		{Name: "lost", Unit: Share},
	}
}

func (roundtrip) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announce(); err != nil {
		return Result{}, err
	}
	lat, err := traffic.RoundTrips(ctx, s.Lanes[0], s.Warmup+s.Window, [2]int{core(0), core(1)})
	return latencyResult(lat), err
}

// loaded is the same beside a stream on the other lane that takes a share of
// what this arm can carry (RFC 2544, 26.2, which wants latency at a share of the
// switch's own throughput). Requests go when they are meant to.
type loaded struct{ percent int }

func (m loaded) Plan() Plan {
	return Plan{
		Name: fmt.Sprintf("latency-load%d", m.percent),
		About: fmt.Sprintf("request and response of 64 bytes, UDP, open loop, beside a stream of 64-byte frames at %d %% of what this arm delivers at most",
			m.percent),
		Metrics: append(latencyMetrics(), Metric{Name: "background", Unit: FramesPerSecond}),
		Series:  "latency", X: float64(m.percent), Cost: 4 * time.Second,
	}
}

// probeRate is requests a second: few enough to be no load of their own.
const probeRate = 2000

func (m loaded) Run(ctx context.Context, s *Stand) (r Result, err error) {
	if err := s.announce(); err != nil {
		return r, err
	}
	beside := traffic.Stream{Lane: s.Lanes[1], Flow: 1, Len: lengths(64)}
	b, err := s.full(ctx, []traffic.Stream{beside}, []rig.Endpoint{beside.Lane.To})
	if err != nil {
		return r, err
	}
	rate := b.delivered * float64(m.percent) / 100
	g, err := traffic.NewGenerator(beside)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, g.Stop()) }()
	g.Start(traffic.Load{Core: core(1), Rate: rate, Yield: true, Drag: s.Drag})
	if err := sleep(ctx, s.Warmup); err != nil {
		return r, err
	}
	lat, err := traffic.Probe(ctx, s.Lanes[0], 2*s.Window, probeRate)
	r = latencyResult(lat)
	r.Values["background"] = rate
	return r, err
}

// quantiles are those that a report draws.
var quantiles = []float64{0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1}

func latencyResult(l traffic.Latency) Result {
	r := Result{Values: map[string]float64{}}
	if l.Times == nil || l.Times.TotalCount() == 0 {
		return r
	}
	at := func(share float64) float64 { return float64(l.Times.ValueAtQuantile(100*share)) / 1e9 }
	r.Values["p50"], r.Values["p99"], r.Values["p99.9"], r.Values["max"] = at(0.5), at(0.99), at(0.999), at(1)
	r.Values["lost"] = float64(l.Lost) / float64(l.Sent)
	for _, q := range quantiles {
		r.CDF = append(r.CDF, Quantile{q, at(q)})
	}
	return r
}

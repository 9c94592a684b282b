package measure

import (
	"context"
	"errors"
	"fmt"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// toTaps is a number of senders at full speed, each to a tap whose guest is a
// thread that reads one frame a system call, as an emulator's does.
type toTaps struct {
	size int
	all  bool // a sender on every core, else one
}

func (m toTaps) Plan() Plan {
	p := saturated{size: m.size}.Plan()
	if !m.all {
		p = throughput{size: m.size}.Plan()
	}
	p.Name, p.About = "tap-"+p.Name, fmt.Sprintf("%s, to taps that a thread each reads", p.About)
	p = plain(p, rig.Taps)
	if m.all {
		p.Metrics[0].Goal, p.Metrics[2].Goal = ToBridge(1.1), ToBridge(0.9)
	}
	p.SwitchOnly = true
	return p
}

func (m toTaps) Run(ctx context.Context, s *Stand) (res Result, err error) {
	var streams []traffic.Stream
	var receivers []rig.Endpoint
	var readers []*traffic.TapReader
	defer func() {
		for _, r := range readers {
			err = errors.Join(err, r.Stop())
		}
	}()
	for i, t := range s.Taps {
		l := rig.Lane{From: s.Lanes[i].From, To: t.Endpoint}
		if len(streams) == 0 || m.all {
			streams = append(streams, traffic.Stream{Lane: l, Flow: uint16(i), Len: lengths(m.size)})
			receivers = append(receivers, l.To)
		}
		r := s.Counter.ReadTap(t)
		readers = append(readers, r)
		if err := errors.Join(traffic.Announce(l.From), r.Announce()); err != nil {
			return res, err
		}
	}
	b, err := s.full(ctx, streams, receivers)
	return b.result(), err
}

package measure

import (
	"context"
	"fmt"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// vlanThroughput is throughput from an access port to a trunk: the switch gives
// every frame a tag.
type vlanThroughput struct{ size int }

func (m vlanThroughput) Plan() Plan {
	p := throughput(m).Plan()
	p.Name, p.About = "vlan-"+p.Name, fmt.Sprintf("from an access port of VLAN %d to a port that has it tagged, %s, as fast as it goes", rig.VID, sizeWords(m.size))
	return plain(p, rig.VLANs)
}

func (m vlanThroughput) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announceVLAN(); err != nil {
		return Result{}, err
	}
	return throughput(m).send(ctx, s, traffic.Stream{Lane: s.Lanes[0]})
}

// announceVLAN is announce, and counts what arrives tagged.
func (s *Stand) announceVLAN() error {
	if err := s.announce(); err != nil {
		return err
	}
	to := s.Lanes[0].To
	if vid := s.Arrival.VID; vid != 0 {
		if err := traffic.AnnounceTagged(to, vid); err != nil {
			return err
		}
	}
	return s.watch(s.Arrival, to)
}

// vlanBulk is TCP between two access ports.
type vlanBulk struct{}

var oneFlow = bulk{flows: 1, offloads: true}

func (vlanBulk) Plan() Plan {
	p := oneFlow.Plan()
	p.Name, p.About = "vlan-"+p.Name, fmt.Sprintf("%s, between two access ports of VLAN %d", p.About, rig.VID)
	return plain(p, rig.VLANs)
}

func (vlanBulk) Run(ctx context.Context, s *Stand) (Result, error) {
	return oneFlow.on(ctx, s, s.Lanes[1])
}

// policed is throughput between ports that are held to their addresses, with every
// guard and with limits that are not reached.
type policed struct{ size int }

func (m policed) Plan() Plan {
	p := throughput(m).Plan()
	goal := Goal{At: 0.9, Of: OfMeasure, Measure: p.Name}
	p.Name, p.About = "policy-"+p.Name, p.About+", between ports with antispoof = mac+ip, every guard, storm and mac_limit"
	p = plain(p, rig.Policed)
	p.Metrics[0].Goal, p.SwitchOnly = goal, true
	return p
}

func (m policed) Run(ctx context.Context, s *Stand) (Result, error) { return throughput(m).Run(ctx, s) }

// plain is a plan for a kind of arm, without goals, and not for -quick.
func plain(p Plan, k rig.Kind) Plan {
	p.Setup, p.Series, p.Quick = rig.Setup{Kind: k}, "", false
	for i := range p.Metrics {
		p.Metrics[i].Goal = Goal{}
	}
	return p
}

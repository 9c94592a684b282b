package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gxswitch/bench/measure"
	"gxswitch/bench/report"
	"gxswitch/bench/rig"
	"gxswitch/bench/stat"
	"gxswitch/bench/traffic"
)

// errRefused is the end of a run whose figures would say nothing.
var errRefused = errors.New("refused (-refuse=false measures all the same)")

// A generator is slow, by its own fault, if it spends more than this share of
// its time on itself instead of in the kernel. It is about a hundredth.
const outsideMost = 0.25

// verifiedRates are of the verifying stream: one that any switch bears; or, if
// frames are lost, one that it bears though the machine is busy. Who loses frames
// then does not lose them for want of time.
var verifiedRates = []float64{20000, 4000}

// check finds out which arms there are, that each is a switch, and that the
// generator is faster than what it shall measure.
func (b *bench) check(ctx context.Context) error {
	var present []rig.Arm
	var faults []error
	for _, a := range b.arms {
		row := report.Arm{Name: a.Name()}
		v, err := b.verify(ctx, a)
		switch {
		case errors.Is(err, rig.ErrNotInstalled) || errors.Is(err, rig.ErrNotInBuild):
			row.Problem = strings.TrimPrefix(err.Error(), a.Name()+": ")
		case err != nil:
			return err
		default:
			present = append(present, a)
			row.Verdict = &v
			if !v.Faultless() && !foreign(a.Name()) {
				faults = append(faults, fmt.Errorf("%s is faulty: %s", a.Name(), v))
			}
		}
		b.results.Arms = append(b.results.Arms, row)
		fmt.Fprintf(b.log, "verify %-9s %s\n", a.Name(), verdict(row))
	}
	if err := errors.Join(faults...); err != nil && b.refuse {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if b.arms = present; len(present) == 0 {
		return errors.New("none of the arms can be had here")
	}
	return b.checkGenerator(ctx)
}

// foreign reports whether an arm is another project's switch: its faults and
// failures are shown, and are no reason to measure nothing.
func foreign(arm string) bool { return arm == rig.OVS{}.Name() || arm == rig.VDE{}.Name() }

func verdict(a report.Arm) string {
	if a.Problem != "" {
		return a.Problem
	}
	return a.Verdict.String()
}

// verify looks at every frame that an arm forwards, on each lane.
func (b *bench) verify(ctx context.Context, a rig.Arm) (all traffic.Verdict, err error) {
	s, err := b.rig.Up(ctx, a, rig.Setup{})
	if err != nil {
		return all, err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
	for _, l := range s.Lanes {
		if err := traffic.Announce(l.From, l.To); err != nil {
			return all, err
		}
	}
	for i, l := range s.Lanes {
		v, err := b.verifyLane(ctx, traffic.Stream{Lane: l, Flow: uint16(i), Len: traffic.IMIX()})
		if err != nil {
			return all, fmt.Errorf("%s: %w", a.Name(), err)
		}
		all.Add(v)
		if !v.Faultless() {
			break
		}
	}
	return all, nil
}

// verifyLane gives every attempt a flow of its own: a slow switch still has
// frames of the one before.
func (b *bench) verifyLane(ctx context.Context, st traffic.Stream) (v traffic.Verdict, err error) {
	for _, rate := range verifiedRates {
		st.Flow += 0x100
		if ctx.Err() != nil {
			return v, ctx.Err()
		}
		v, err = traffic.Verify(st, b.timing.verified, rate)
		if err != nil || v.Faultless() {
			break
		}
	}
	return v, err
}

// proofRounds are of the generator's proof.
const proofRounds = 3

// checkGenerator sends the shortest frames as fast as they go, at each arm in
// turn. The generator is refused if it is slow by its own fault, or if it makes
// even the arm that all others are compared with look as fast as no switch:
// then every ratio would be the generator's. Where it is only another arm that
// comes near, that arm's figures are marked.
func (b *bench) checkGenerator(ctx context.Context) error {
	direct := slices.IndexFunc(b.arms, func(a rig.Arm) bool { return a.Name() == report.Limit })
	if direct < 0 || len(b.arms) < 2 {
		return nil
	}
	g := report.Generator{Delivered: map[string][]float64{}}
	for range proofRounds {
		for _, a := range b.arms {
			rate, outside, err := b.proof(ctx, a)
			if err != nil {
				return fmt.Errorf("%s: %w", a.Name(), err)
			}
			g.Delivered[a.Name()] = append(g.Delivered[a.Name()], rate)
			if a.Name() == report.Limit {
				g.Outside = max(g.Outside, outside)
			}
		}
	}
	b.results.Generator = g
	for _, a := range b.arms {
		fmt.Fprintf(b.log, "generator to %-9s %.3f Mframes/s\n", a.Name(), stat.Median(g.Delivered[a.Name()])/1e6)
	}
	fmt.Fprintf(b.log, "generator spends %.0f %% of its time on itself\n", 100*g.Outside)
	if err := judge(g); err != nil && b.refuse {
		return fmt.Errorf("%w: %w", errRefused, err)
	} else if err != nil {
		fmt.Fprintln(b.log, "gxbench: warning:", err)
	}
	return nil
}

// judge says what is wrong with a generator.
func judge(g report.Generator) error {
	limit := stat.Median(g.Delivered[report.Limit])
	against := report.Reference
	if g.Delivered[against] == nil { // the bridge does not take part: the slowest arm
		for arm, rates := range g.Delivered {
			if arm != report.Limit && (g.Delivered[against] == nil || stat.Median(rates) < stat.Median(g.Delivered[against])) {
				against = arm
			}
		}
	}
	room := stat.Median(stat.Ratios(g.Delivered[report.Limit], g.Delivered[against]))
	switch {
	case g.Outside > outsideMost:
		return fmt.Errorf("the generator is slow: it spends %.0f %% of its time on itself, %.0f %% would be too much; it reaches %.3f Mframes/s",
			100*g.Outside, 100*outsideMost, limit/1e6)
	case math.IsNaN(room):
		return errors.New("the generator reaches nobody")
	case room < report.GeneratorMargin:
		return fmt.Errorf("the generator is slow: without a switch it reaches %.3f Mframes/s, which is %.2f times what %s forwards of them; %.1f times are needed to tell a switch from the generator",
			limit/1e6, room, against, report.GeneratorMargin)
	}
	return nil
}

// proof is one short run at full speed.
func (b *bench) proof(ctx context.Context, a rig.Arm) (delivered, outside float64, err error) {
	s, err := b.rig.Up(ctx, a, rig.Setup{})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
	stand := b.stand(s)
	stand.Warmup, stand.Window = 50*time.Millisecond, b.timing.proof
	return measure.Prove(ctx, stand)
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"gxswitch/bench/machine"
	"gxswitch/bench/measure"
	"gxswitch/bench/report"
	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// bench is one run: every measure put to every arm, round by round.
//
//	for each stage             first without further ports, then with ever more
//	  for each round
//	    for each measure
//	      for each arm         one straight after the other, who begins changes
//
// So the figures that are divided by each other are seconds apart, and the
// rounds of one measure are spread over the whole run: what else the machine
// does, or its hypervisor, comes to light as spread instead of as a difference
// between arms.
type bench struct {
	rig    *rig.Rig
	arms   []rig.Arm
	plan   []measure.Measure
	rounds int
	refuse bool

	gxswitch string    // the binary, for the report
	deadline time.Time // no round is begun that would not end before; zero: none
	timing   timing
	log      io.Writer                  // progress
	save     func(report.Results) error // what there is after each round; nil: nothing is saved
	drag     time.Duration              // makes the generators slow, for tests

	counter *traffic.Counter
	results report.Results
	step    progress
}

func (b *bench) run(ctx context.Context) (res report.Results, err error) {
	if b.counter, err = traffic.NewCounter(); err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, b.counter.Close()) }()
	for _, e := range b.rig.Endpoints() {
		if err := b.counter.Watch(e); err != nil {
			return res, err
		}
	}
	b.results = report.Results{Machine: machine.Read(b.gxswitch), Command: os.Args}
	clock, err := machine.Now()
	if err != nil {
		return res, err
	}
	start := time.Now()
	if b.results.Busy, err = busyBefore(ctx); err != nil {
		return res, err
	}
	if b.results.Busy > report.Quiet {
		fmt.Fprintf(b.log, "gxbench: warning: something else takes %.0f %% of the processors\n", 100*b.results.Busy)
	}
	if err := b.check(ctx); err != nil {
		return b.results, err
	}
	err = b.ask(ctx)
	b.results.Complete = err == nil
	b.results.Finished = time.Now().UTC().Truncate(time.Second)
	if end, e := machine.Now(); e == nil {
		b.results.Stolen = machine.Stolen(clock, end).Seconds() / time.Since(start).Seconds() / float64(runtime.NumCPU())
	}
	for _, f := range b.results.Failures() {
		if !foreign(f.Arm) {
			err = errors.Join(err, fmt.Errorf("failed: %s", f))
		}
	}
	return b.results, err
}

// busyBefore is the share of the processors that others use.
func busyBefore(ctx context.Context) (float64, error) {
	const look = 500 * time.Millisecond
	from, err := machine.Now()
	if err != nil {
		return 0, err
	}
	t := time.NewTimer(look)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	to, err := machine.Now()
	return machine.Busy(from, to).Seconds() / look.Seconds() / float64(runtime.NumCPU()), err
}

// ask runs the stages.
func (b *bench) ask(ctx context.Context) error {
	for _, m := range b.plan {
		p := m.Plan()
		b.results.Measures = append(b.results.Measures, report.Measure{
			Name: p.Name, About: p.About, Series: p.Series, X: p.X, Metrics: p.Metrics,
		})
	}
	var stages []int
	for _, m := range b.plan {
		stages = append(stages, m.Plan().Setup.Crowd)
	}
	slices.Sort(stages)
	stages = slices.Compact(stages)
	b.step = newProgress(b.log, b.plan, b.arms, b.rounds)
	for _, crowd := range stages {
		var took time.Duration
		for round := range b.rounds {
			began := time.Now()
			if !b.deadline.IsZero() && began.Add(took).After(b.deadline) {
				fmt.Fprintf(b.log, "gxbench: warning: time is up after %d rounds\n", round)
				return nil
			}
			for i, m := range b.plan {
				p := m.Plan()
				if p.Setup.Crowd != crowd || p.Once && round > 0 {
					continue
				}
				if err := b.askArms(ctx, m, &b.results.Measures[i], round); err != nil {
					return err
				}
			}
			if b.save != nil {
				if err := b.save(b.results); err != nil {
					return err
				}
			}
			took = time.Since(began)
		}
	}
	return nil
}

// askArms is one round of one measure. An arm that fails does not end the run;
// the end of the context does.
func (b *bench) askArms(ctx context.Context, m measure.Measure, to *report.Measure, round int) error {
	runs := map[string]report.Run{}
	to.Rounds = append(to.Rounds, runs)
	for i := range b.arms {
		a := b.arms[(i+round)%len(b.arms)]
		if !concerns(m.Plan(), a) {
			continue
		}
		at, began := time.Now(), time.Now()
		res, err := b.askArm(ctx, a, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		run := report.Run{Result: res, At: at.UTC()}
		switch {
		case errors.Is(err, rig.ErrNoLimit):
			run.Without = rig.ErrNoLimit.Error()
		case errors.Is(err, rig.ErrLacks), errors.Is(err, rig.ErrNotInstalled):
			run.Without = strings.TrimPrefix(err.Error(), a.Name()+": ")
		case err != nil:
			run.Error = err.Error()
		}
		runs[a.Name()] = run
		b.step.done(m.Plan(), a.Name(), round, run, time.Since(began))
	}
	return nil
}

// foreignCrowd is for how many ports another project's switch is worth the
// minutes that it takes to have them.
const foreignCrowd = 100

// concerns reports whether there is anything to ask the arm.
func concerns(p measure.Plan, a rig.Arm) bool {
	switch a.(type) {
	case rig.Direct, rig.Redirect: // nothing learns
		if p.SwitchOnly {
			return false
		}
	}
	return !foreign(a.Name()) || p.Setup.Crowd <= foreignCrowd
}

// askArm gives the links to the arm for one run.
func (b *bench) askArm(ctx context.Context, a rig.Arm, m measure.Measure) (res measure.Result, err error) {
	setup := m.Plan().Setup
	if _, err := b.rig.Crowd(setup.Crowd); err != nil {
		return res, err
	}
	debug.FreeOSMemory() // while nothing is measured
	before, err := machine.AvailableKiB()
	if err != nil {
		return res, err
	}
	s, err := b.rig.Up(ctx, a, setup)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
	stand := b.stand(s)
	stand.AvailableKiB = before
	return m.Run(ctx, stand)
}

func (b *bench) stand(s *rig.Session) *measure.Stand {
	return &measure.Stand{
		Session: s, Counter: b.counter, Drag: b.drag,
		Warmup: b.timing.warmup, Window: b.timing.window, Trial: b.timing.trial,
		Short: b.timing.short, Long: b.timing.long,
	}
}

// progress says on the terminal how far the run is.
type progress struct {
	w     io.Writer
	start time.Time
	took  map[string]time.Duration // by measure and arm, the last time
	left  map[string]int           // runs
	guess map[string]time.Duration // before the first time
	total int
	n     int
}

func newProgress(w io.Writer, plan []measure.Measure, arms []rig.Arm, rounds int) progress {
	p := progress{w: w, start: time.Now(), took: map[string]time.Duration{}, left: map[string]int{}, guess: map[string]time.Duration{}}
	for _, m := range plan {
		pl := m.Plan()
		n := rounds
		if pl.Once {
			n = 1
		}
		for _, a := range arms {
			if !concerns(pl, a) {
				continue
			}
			key := pl.Name + " " + a.Name()
			p.left[key], p.guess[key] = n, pl.Cost
			p.total += n
		}
	}
	return p
}

func (p *progress) done(pl measure.Plan, arm string, round int, run report.Run, took time.Duration) {
	key := pl.Name + " " + arm
	p.took[key] = took
	p.left[key]--
	p.n++
	first := pl.Metrics[0]
	what := report.Figure(first, run.Values)
	switch {
	case run.Error != "":
		what = "failed: " + run.Error
	case run.Without != "":
		what = run.Without
	}
	fmt.Fprintf(p.w, "[%3d/%d] round %d  %-19s %-9s %s  (%s left)\n", p.n, p.total, round+1, pl.Name, arm, what, p.eta().Round(time.Second))
}

func (p *progress) eta() time.Duration {
	var d time.Duration
	for key, n := range p.left {
		d += time.Duration(n) * cmp.Or(p.took[key], p.guess[key])
	}
	return d
}

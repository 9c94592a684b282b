package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/bench/measure"
	"gxswitch/bench/report"
	"gxswitch/bench/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // a second Ctrl-C ends it without manners
		fmt.Fprintln(os.Stderr, "gxbench: cleaning up")
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are the flags.
type settings struct {
	gxswitch string
	arms     string
	measures *regexp.Regexp
	rounds   int
	quick    bool
	refuse   bool
	list     bool
	out      string
	markdown string
	from     string // results.json to show instead of a run
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	f := flag.NewFlagSet("gxbench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.gxswitch, "gxswitch", "bin/gxswitch", "the gxswitch `binary`")
	f.StringVar(&s.arms, "arms", "", "the `arms` to compare, with commas (default "+strings.Join(armNames(), ",")+"; with -quick no other project's)")
	f.IntVar(&s.rounds, "rounds", 5, "how often every arm runs")
	f.BoolVar(&s.quick, "quick", false, "fewer measures, shorter runs: two minutes in total")
	f.BoolVar(&s.refuse, "refuse", true, "refuse to measure with a slow generator or a faulty arm")
	f.BoolVar(&s.list, "list", false, "list arms and measures, and end")
	f.StringVar(&s.out, "o", "bench-results", "`directory` for results.json and report.html")
	f.StringVar(&s.markdown, "markdown", "", "write the results into this `file`, between its markers")
	f.StringVar(&s.from, "from", "", "measure nothing, show an earlier `results.json`")
	f.Func("run", "measures whose names match the `regexp`", func(v string) (err error) {
		s.measures, err = regexp.Compile(v)
		return err
	})
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("gxbench takes no arguments, only flags: %s", f.Arg(0))
	case s.rounds < 1:
		return s, fmt.Errorf("-rounds %d: want 1 or more", s.rounds)
	}
	if s.arms == "" {
		s.arms = strings.Join(slices.DeleteFunc(armNames(), func(a string) bool { return s.quick && foreign(a) }), ",")
	}
	for name := range strings.SplitSeq(s.arms, ",") {
		if !slices.Contains(armNames(), name) {
			return s, fmt.Errorf("-arms %s: no such arm; there are %s", name, strings.Join(armNames(), ", "))
		}
	}
	if !s.list && s.from == "" && len(s.plan()) == 0 {
		return s, errors.New("no measure is left to run; -list shows those there are")
	}
	return s, nil
}

// run is the program: 0 done, 1 failed or refused, 2 wrong usage, 130
// interrupted.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(stderr, "gxbench: error:", err)
		return 2
	}
	switch {
	case s.list:
		err = list(s, stdout)
	case s.from != "":
		err = s.again(stdout, stderr)
	default:
		err = s.measure(ctx, stdout, stderr)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "gxbench: interrupted:", context.Cause(ctx))
		return 130
	case err != nil:
		fmt.Fprintln(stderr, "gxbench: error:", err)
		return 1
	}
	return 0
}

// everyArm lists those there are, in the order of reports. A new engine of
// gxswitch is a line here.
func everyArm(gxswitch string) []rig.Arm {
	return []rig.Arm{
		rig.Direct{},
		rig.Redirect{},
		rig.Bridge{},
		rig.Gxswitch{Binary: gxswitch, Engine: "afpacket"},
		rig.Gxswitch{Binary: gxswitch, Engine: "ebpf"},
		rig.OVS{},
		rig.VDE{},
	}
}

func armNames() []string {
	var names []string
	for _, a := range everyArm("") {
		names = append(names, a.Name())
	}
	return names
}

func (s settings) wantedArms() []rig.Arm {
	names := strings.Split(s.arms, ",")
	return slices.DeleteFunc(everyArm(s.gxswitch), func(a rig.Arm) bool { return !slices.Contains(names, a.Name()) })
}

// plan is the measures to run.
func (s settings) plan() []measure.Measure {
	return slices.DeleteFunc(measure.All(), func(m measure.Measure) bool {
		p := m.Plan()
		return s.quick && !p.Quick || s.measures != nil && !s.measures.MatchString(p.Name)
	})
}

func list(s settings, stdout io.Writer) error {
	for _, a := range s.wantedArms() {
		fmt.Fprintf(stdout, "arm      %s\n", a.Name())
	}
	for _, m := range s.plan() {
		p := m.Plan()
		if _, err := fmt.Fprintf(stdout, "measure  %-19s %s\n", p.Name, p.About); err != nil {
			return err
		}
	}
	return nil
}

// measure builds the rig, runs, and reports, also what an interrupted or failed
// run has given so far.
func (s settings) measure(ctx context.Context, stdout, stderr io.Writer) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to make network namespaces")
	}
	// Senders and receivers keep threads of their own; a collection in the
	// middle of a run would be somebody's latency.
	runtime.GOMAXPROCS(runtime.NumCPU() + 4)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(2 << 30)

	r, err := rig.New("bench", rig.Lanes())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b := &bench{rig: r, arms: s.wantedArms(), plan: s.plan(), rounds: s.rounds, refuse: s.refuse, gxswitch: s.gxswitch, timing: fullTiming, log: stderr}
	if s.quick {
		b.timing, b.deadline = quickTiming, time.Now().Add(quickTime)
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	b.save = func(res report.Results) error { return res.Save(s.file("results.json")) }
	res, err := b.run(ctx)
	if len(res.Measures) == 0 {
		return err
	}
	return errors.Join(err, s.show(res, stdout, stderr))
}

func (s settings) file(name string) string { return filepath.Join(s.out, name) }

// again shows earlier results.
func (s settings) again(stdout, stderr io.Writer) error {
	res, err := report.Load(s.from)
	if err != nil {
		return err
	}
	return s.show(res, stdout, stderr)
}

func (s settings) show(res report.Results, stdout, stderr io.Writer) error {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	json, html := s.file("results.json"), s.file("report.html")
	errs := []error{res.Save(json), res.WriteHTML(html), res.Table(stdout)}
	if s.markdown != "" {
		errs = append(errs, res.WriteMarkdown(s.markdown))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "gxbench: %s and %s are written\n", json, html)
	return nil
}

// quickTime is after what time -quick begins no round that it could not end in
// its two minutes.
const quickTime = 115 * time.Second

// timing is how long figures are taken.
type timing struct {
	warmup, window time.Duration
	trial          time.Duration // of one rate in a search
	short, long    time.Duration // of a limit's exactness; long 0: short only
	proof          time.Duration // of the generator
	verified       uint64        // frames that are looked at, each
}

var (
	fullTiming = timing{
		warmup: 200 * time.Millisecond, window: 1500 * time.Millisecond,
		trial: 500 * time.Millisecond, short: time.Second, long: 10 * time.Second, proof: 500 * time.Millisecond, verified: 5000,
	}
	quickTiming = timing{
		warmup: 100 * time.Millisecond, window: 700 * time.Millisecond,
		trial: 300 * time.Millisecond, short: time.Second, proof: 200 * time.Millisecond, verified: 5000,
	}
)

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gxswitch/bench/measure"
	"gxswitch/bench/report"
	"gxswitch/bench/rig"
	"gxswitch/bench/rig/rigtest"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testBench is a bench of two lanes with runs of a fraction of a second. Without
// the means the test is skipped; CI counts a skip as a failure.
func testBench(t *testing.T, arms ...rig.Arm) *bench {
	t.Helper()
	nettest.Require(t)
	r, err := rig.New("benchtest", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	short := timing{warmup: 10 * time.Millisecond, window: 50 * time.Millisecond, trial: 50 * time.Millisecond, short: 50 * time.Millisecond, proof: 50 * time.Millisecond, verified: 1000}
	return &bench{rig: r, arms: arms, rounds: 2, refuse: true, timing: short, log: io.Discard}
}

// named is a measure of the usual ones.
func named(t *testing.T, name string) measure.Measure {
	t.Helper()
	for _, m := range measure.All() {
		if m.Plan().Name == name {
			return m
		}
	}
	t.Fatalf("no measure %s", name)
	return nil
}

// absent is an arm that can't be had.
type absent struct{ why error }

func (absent) Name() string { return "absent" }

func (a absent) Up(context.Context, *rig.Rig, rig.Setup) (*rig.Session, error) { return nil, a.why }

func TestFaultySwitchesAreRefused(t *testing.T) {
	b := testBench(t, rig.Direct{}, rigtest.Switch{Label: "leaky", Drop: 100}, rigtest.Switch{Label: "echoing", Duplicate: 100})
	b.plan = []measure.Measure{named(t, "throughput-64")}
	res, err := b.run(t.Context())
	if !errors.Is(err, errRefused) {
		t.Fatalf("error %v, want a refusal", err)
	}
	for _, want := range []string{
		"leaky is faulty: of 1000 frames 10 lost",
		"echoing is faulty: of 1000 frames 10 duplicated",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
	if len(res.Measures) > 0 {
		t.Error("they were measured nevertheless")
	}
}

func TestSlowGeneratorIsRefused(t *testing.T) {
	b := testBench(t, rig.Direct{}, rig.Bridge{})
	b.plan = []measure.Measure{named(t, "throughput-64")}
	b.drag = time.Millisecond // for each 64 frames: 64000 a second at most
	res, err := b.run(t.Context())
	if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "the generator is slow") {
		t.Errorf("error %v, want a refusal that says the generator is slow", err)
	}
	if len(res.Measures) > 0 {
		t.Error("it was measured nevertheless")
	}
}

func TestGeneratorIsJudgedByTheReference(t *testing.T) {
	g := func(direct, bridge, ours, outside float64) report.Generator {
		return report.Generator{Outside: outside, Delivered: map[string][]float64{
			"direct": {direct, direct}, "bridge": {bridge, bridge}, "afpacket": {ours, ours}}}
	}
	for _, c := range []struct {
		what string
		g    report.Generator
		want string // "" if it will do
	}{
		{"usual", g(0.86e6, 0.40e6, 0.65e6, 0.05), ""},
		{"an arm comes near: its figures are marked, the run goes on", g(0.86e6, 0.40e6, 0.84e6, 0.05), ""},
		{"the bridge comes near", g(0.45e6, 0.40e6, 0.41e6, 0.05), "1.12 times what bridge forwards"},
		{"busy with itself", g(0.86e6, 0.40e6, 0.65e6, 0.5), "50 % of its time on itself"},
		{"nothing arrives", g(0, 0, 0, 0), "reaches nobody"},
	} {
		err := judge(c.g)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
	}
}

func TestEveryArmAnswersInEveryRound(t *testing.T) {
	t.Parallel()
	b := testBench(t, rig.Direct{}, rig.Bridge{}, absent{rig.ErrNotInBuild})
	b.refuse = false // the machine may be busy with other tests
	toAll := fmt.Sprintf("broadcast-%d", 2*rig.Lanes()-1)
	names := []string{"throughput-imix", "saturated-64", "latency-idle", "tcp-1-plain", "udp-gso", toAll}
	for _, n := range names {
		b.plan = append(b.plan, named(t, n))
	}
	saved := 0
	b.save = func(report.Results) error { saved++; return nil }
	res, err := b.run(t.Context())
	if err != nil || !res.Complete {
		t.Fatalf("complete %v, %v", res.Complete, err)
	}
	if saved != b.rounds {
		t.Errorf("saved %d times, want once a round, %d", saved, b.rounds)
	}
	if got := res.Running(); !slices.Equal(got, []string{"direct", "bridge"}) {
		t.Errorf("arms %v took part", got)
	}
	if a := res.Arms[2]; a.Problem != "not in this build" {
		t.Errorf("the absent arm: %+v", a)
	}
	for i, m := range res.Measures {
		if m.Name != names[i] || len(m.Rounds) != b.rounds {
			t.Errorf("%s: %d rounds, want %d of %s", m.Name, len(m.Rounds), b.rounds, names[i])
		}
		for _, arm := range []string{"direct", "bridge"} {
			if arm == "direct" && m.Name == toAll {
				continue // there is no switch to ask
			}
			first := m.Metrics[0].Name
			if s := m.Summary(arm, first); s.N != b.rounds || s.Min <= 0 {
				t.Errorf("%s, %s: %s is %+v", m.Name, arm, first, s)
			}
		}
	}
}

// The real daemon beside the bridge, at what is not plain switching.
func TestKindsHaveFiguresOrAReason(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "gxswitch")
	if out, err := exec.Command("go", "build", "-o", binary, "gxswitch/cmd/gxswitch").CombinedOutput(); err != nil {
		t.Fatalf("build gxswitch: %v: %s", err, out)
	}
	b := testBench(t, rig.Direct{}, rig.Bridge{}, rig.Gxswitch{Binary: binary, Engine: "afpacket"})
	b.refuse, b.rounds = false, 1
	for _, n := range []string{"nat-throughput-64", "nat-tcp-1", "nat-latency", "nat-sessions", "vlan-throughput-64", "vlan-tcp-1", "policy-throughput-64"} {
		b.plan = append(b.plan, named(t, n))
	}
	res, err := b.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range res.Measures {
		for _, arm := range []string{"direct", "bridge", "afpacket"} {
			run, asked := m.Rounds[0][arm]
			policy := strings.HasPrefix(m.Name, "policy-")
			switch v := run.Values[m.Metrics[0].Name]; {
			case arm == "direct" && policy:
				if asked {
					t.Errorf("%s: %s was asked", m.Name, arm)
				}
			case arm == "bridge" && policy:
				if run.Without == "" {
					t.Errorf("%s: %s is %v, want a reason for none", m.Name, arm, run)
				}
			case v <= 0 && (arm != "bridge" || run.Without == ""): // it may lack nft(8), or VLANs
				t.Errorf("%s: %s is %v", m.Name, arm, run)
			}
		}
	}
}

// Only arms of gxswitch's engines have goals, so the switch passes for one.
func TestSwitchThatDoesNotKeepItsLimitMissesTheGoal(t *testing.T) {
	for _, c := range []struct {
		what   string
		limits float64
		want   report.Verdict
	}{
		{"keeps the limit", 1, report.Reached},
		{"a tenth too little", 0.9, report.Missed},
		{"a tenth too much", 1.1, report.Missed},
		{"takes the limit and does not care", math.Inf(1), report.Missed},
		{"has no limits", 0, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel() // a limit of 10 Mb/s leaves the machine idle
			b := testBench(t, rigtest.Switch{Label: "afpacket", Limits: c.limits})
			b.plan = []measure.Measure{named(t, "rate-udp-10Mb")}
			b.timing.short = time.Second // the goal is for a second
			res, err := b.run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m := res.Measures[0]
			if got := res.Goal(m, "afpacket", m.Metrics[0]); got != c.want {
				t.Errorf("%q, want %q: %+v", got, c.want, m.Rounds)
			}
			if v := m.Values("afpacket", "error 10 s")[0]; !math.IsNaN(v) {
				t.Errorf("an error over 10 s of a run of one: %v", v)
			}
			without := m.Rounds[0]["afpacket"].Without
			if (without != "") != (c.limits == 0) {
				t.Errorf("without %q", without)
			}
		})
	}
}

// A run that Ctrl-C ends reports what it has and leaves no namespace behind.
func TestInterruptedRunIsCleanedUp(t *testing.T) {
	t.Parallel()
	b := testBench(t, rig.Direct{}, rig.Bridge{})
	b.refuse = false
	b.plan = []measure.Measure{named(t, "latency-idle")}
	b.rounds = 1000
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	b.log = writerFunc(func(p []byte) {
		if bytes.HasPrefix(p, []byte("[  3/")) {
			interrupt()
		}
	})
	res, err := b.run(ctx)
	if !errors.Is(err, context.Canceled) || res.Complete {
		t.Errorf("complete %v, error %v", res.Complete, err)
	}
	if m := res.Measures[0]; m.Summary("bridge", "p50").N == 0 {
		t.Error("what was measured before is gone")
	}
	if err := b.rig.Close(); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir("/run/netns")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), strings.TrimSuffix(b.rig.Switch.Name, "sw")) {
			t.Errorf("namespace %s is left", e.Name())
		}
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		want string
	}{
		{"-arms direct,router", "no such arm"},
		{"-rounds 0", "want 1 or more"},
		{"-run nothing-of-this-name", "no measure is left"},
		{"-run (", "error parsing regexp"},
		{"fast", "takes no arguments"},
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(c.args), &stdout, &stderr); code != 2 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("gxbench %s: exit %d, %q; want 2 and %q", c.args, code, stderr.String(), c.want)
		}
	}
}

func TestListShowsWhatWouldRun(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-list", "-quick", "-arms", "direct,bridge"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr.String())
	}
	for _, want := range []string{"arm      bridge\n", "measure  throughput-64 ", "measure  latency-idle "} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the list lacks %q:\n%s", want, stdout.String())
		}
	}
	if strings.Contains(stdout.String(), "rfc2544") || strings.Contains(stdout.String(), "afpacket") {
		t.Errorf("the list has what would not run:\n%s", stdout.String())
	}
}

func TestMeasuresHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range measure.All() {
		p := m.Plan()
		if seen[p.Name] || p.Name == "" || p.About == "" || len(p.Metrics) == 0 || p.Cost <= 0 {
			t.Errorf("measure %+v", p)
		}
		seen[p.Name] = true
	}
}

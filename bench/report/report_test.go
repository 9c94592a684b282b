package report

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gxswitch/bench/machine"
	"gxswitch/bench/measure"
	"gxswitch/bench/traffic"
)

// sample is a run of two arms beside the limit: afpacket is 1.6 times the
// bridge with short frames, and the machine is half as fast in round 2.
func sample() Results {
	r := Results{
		Machine:  machine.Facts{CPU: "Test", Cores: 2, Kernel: "6.18", Go: "go1.26", Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Revision: "abc"},
		Command:  []string{"gxbench", "-quick"},
		Complete: true,
		Arms: []Arm{
			{Name: "direct", Verdict: &traffic.Verdict{Sent: 5, Received: 5}},
			{Name: "bridge", Verdict: &traffic.Verdict{Sent: 5, Received: 5}},
			{Name: "afpacket", Verdict: &traffic.Verdict{Sent: 5, Received: 5}},
			{Name: "ebpf", Problem: "not in this build"},
		},
	}
	for i, size := range []float64{64, 512, 1518} {
		m := Measure{
			Name: fmt.Sprintf("throughput-%.0f", size), About: "one sender", Series: "throughput", X: size,
			Metrics: []measure.Metric{{Name: "delivered", Unit: measure.FramesPerSecond, Better: measure.Higher, Generated: true, Goal: measure.ToBridge(1.5)}},
		}
		for _, speed := range []float64{1, 0.5, 1.1} {
			run := func(v float64) Run {
				return Run{Result: measure.Result{Values: map[string]float64{"delivered": v * speed * 1e6}}}
			}
			m.Rounds = append(m.Rounds, map[string]Run{
				"direct": run(0.86 - 0.03*float64(i)), "bridge": run(0.40), "afpacket": run(0.64 + 0.06*float64(i))})
		}
		r.Measures = append(r.Measures, m)
	}
	lat := Measure{Name: "latency-idle", About: "one at a time", Series: "latency",
		Metrics: []measure.Metric{{Name: "p50", Unit: measure.Seconds, Better: measure.Lower, Goal: measure.ToBridge(1.1)}}}
	round := map[string]Run{}
	for i, arm := range []string{"direct", "bridge", "afpacket"} {
		at := 50e-6 + float64(i)*5e-6
		res := measure.Result{Values: map[string]float64{"p50": at}}
		for _, q := range []float64{0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
			res.CDF = append(res.CDF, measure.Quantile{Share: q, Seconds: at * (1 + nines(min(q, 0.9999)))})
		}
		round[arm] = Run{Result: res}
	}
	lat.Rounds = []map[string]Run{round}
	r.Measures = append(r.Measures, lat)
	return r
}

func TestRatiosAreTakenWithinARound(t *testing.T) {
	got := sample().Measures[0].Ratio("afpacket", "bridge", "delivered")
	if math.Abs(got.Min-1.6) > 1e-9 || math.Abs(got.Max-1.6) > 1e-9 {
		t.Errorf("ratios %v to %v, want 1.6 in every round, however fast the machine was", got.Min, got.Max)
	}
}

func TestFigureNearTheLimitIsMarkedGeneratorBound(t *testing.T) {
	r := sample()
	for i, want := range []bool{false, true, true} { // 1.34, 1.19, 1.05 times
		m := r.Measures[i]
		if got := m.Bound("afpacket", m.Metrics[0]); got != want {
			t.Errorf("%s: bound %v, want %v", m.Name, got, want)
		}
		if m.Bound("bridge", m.Metrics[0]) || m.Bound("direct", m.Metrics[0]) {
			t.Errorf("%s: the bridge or the limit itself is marked", m.Name)
		}
	}
}

func TestGoalsAreJudged(t *testing.T) {
	r := sample()
	fast, lat := r.Measures[0], r.Measures[3]
	if v := r.Goal(fast, "afpacket", fast.Metrics[0]); v != Reached {
		t.Errorf("1.6 of at least 1.5: %q", v)
	}
	if v := r.Goal(lat, "afpacket", lat.Metrics[0]); v != Reached { // 60 of 55 µs
		t.Errorf("1.09 of at most 1.1: %q", v)
	}
	lat.Metrics[0].Goal = measure.ToBridge(1.05)
	if v := r.Goal(lat, "afpacket", lat.Metrics[0]); v != Missed {
		t.Errorf("1.09 of at most 1.05: %q", v)
	}
	other := measure.Metric{Name: "delivered", Goal: measure.Goal{At: 0.9, Of: measure.OfMeasure, Measure: "throughput-64"}, Better: measure.Higher}
	if v := r.Goal(r.Measures[2], "afpacket", other); v != Reached {
		t.Errorf("1.19 of throughput-64's: %q", v)
	}
	if v := r.Goal(fast, "bridge", fast.Metrics[0]); v != "" {
		t.Errorf("the bridge has a goal: %q", v)
	}
	if v := r.Goal(fast, "ebpf", fast.Metrics[0]); v != "" {
		t.Errorf("an arm that did not run: %q", v)
	}
}

func TestTableSaysWhatAReaderMustKnow(t *testing.T) {
	var b bytes.Buffer
	r := sample()
	r.Complete = false
	r.Measures[0].Rounds[1]["afpacket"] = Run{Error: "link down"}
	r.Measures[3].Rounds[0]["bridge"] = Run{Without: "it can't"}
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	if len(r.Failures()) != 1 {
		t.Errorf("what an arm can't do is no failure: %v", r.Failures())
	}
	for _, want := range []string{
		"bridge has no figures of latency-idle: it can't.",
		"AFPACKET/BRIDGE", "Mframes/s", "0.860", "1.60", "≥ 1.50", "afpacket reached", "1 runs failed",
		"generator-bound", "ebpf did not take part: not in this build", "link down", "interrupted", "Linux 6.18",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
}

func TestResultsSurviveTheirFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	r := sample()
	if err := r.Save(file); err != nil {
		t.Fatal(err)
	}
	back, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := r.Table(&a); err != nil {
		t.Fatal(err)
	}
	if err := back.Table(&b); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Errorf("before\n%s\nafter\n%s", a.String(), b.String())
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.html")
	if err := sample().WriteHTML(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(b), `xmlns="http://www.w3.org/2000/svg"`, "")
	page = strings.ReplaceAll(page, `xmlns:xlink="http://www.w3.org/1999/xlink"`, "")
	for _, outside := range []string{"http:", "https:", "<script", "<link", "@import", "<?xml"} {
		if strings.Contains(page, outside) {
			t.Errorf("the page has %q", outside)
		}
	}
	if n := strings.Count(page, "<svg"); n != 2 { // throughput, latency
		t.Errorf("%d plots, want 2", n)
	}
}

func TestPageOfAnInterruptedRunLacksOnlyWhatIsNotThere(t *testing.T) {
	r := sample()
	r.Complete = false
	for i := range r.Measures {
		r.Measures[i].Rounds = nil
	}
	r.Measures[3].Rounds = []map[string]Run{{"bridge": {Error: "interrupted"}}}
	if err := r.WriteHTML(filepath.Join(t.TempDir(), "report.html")); err != nil {
		t.Error(err)
	}
	if err := r.Table(io.Discard); err != nil {
		t.Error(err)
	}
}

func TestMarkdownReplacesTheResultsAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "benchmarks.md")
	before := "# Method\n\nWhat and how.\n\n" + beginMarker + "\nold\n" + endMarker + "\n\n# What is not good\n"
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // twice gives the same
		if err := sample().WriteMarkdown(file); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(file)
	text := string(b)
	if !strings.HasPrefix(text, "# Method\n\nWhat and how.\n\n") || !strings.HasSuffix(text, "\n\n# What is not good\n") ||
		strings.Contains(text, "old") || strings.Count(text, "| throughput-64 |") != 1 {
		t.Errorf("the file became\n%s", text)
	}
}

func TestMarkdownRefusesHalfAPairOfMarkers(t *testing.T) {
	for _, text := range []string{beginMarker, endMarker, endMarker + beginMarker} {
		if _, err := between(text, "x"); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

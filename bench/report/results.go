// Package report keeps what a run of the bench gave and shows it: results.json
// whole, a table on a terminal, an HTML page with plots, and a section of
// docs/benchmarks.md. It measures nothing and asks nothing of the machine.
package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"time"

	"gxswitch/bench/machine"
	"gxswitch/bench/measure"
	"gxswitch/bench/stat"
	"gxswitch/bench/traffic"
)

// The two arms that others are compared with.
const (
	Reference = "bridge"
	Limit     = "direct"
)

// GeneratorMargin is how much faster than an arm the generator must be for the
// arm's figure to be the arm's.
const GeneratorMargin = 1.2

// Quiet is the share of the processors that others may use on a machine whose
// figures are to be trusted.
const Quiet = 0.1

// Results is everything of one run, raw.
type Results struct {
	Machine  machine.Facts `json:"machine"`
	Command  []string      `json:"command"`
	Finished time.Time     `json:"finished"`
	Complete bool          `json:"complete"` // false: it was interrupted
	Busy     float64       `json:"busy"`     // share of processor time that others used before it began
	Stolen   float64       `json:"stolen"`   // share of processor time that the hypervisor took meanwhile
	Arms     []Arm         `json:"arms"`

	Generator Generator `json:"generator"`
	Measures  []Measure `json:"measures"`
}

// Arm is one that was asked for.
type Arm struct {
	Name    string           `json:"name"`
	Problem string           `json:"problem,omitempty"` // why it did not take part
	Verdict *traffic.Verdict `json:"verdict,omitempty"` // on a stream whose every frame was looked at
}

// Generator is the proof that the generator is not the bottleneck: what each arm
// delivered of the shortest frames, in each round, and the share of its time
// that the generator spent on itself.
type Generator struct {
	Delivered map[string][]float64 `json:"delivered"`
	Outside   float64              `json:"outside"`
}

// Measure is one question with all answers.
type Measure struct {
	Name    string           `json:"name"`
	About   string           `json:"about"`
	Series  string           `json:"series,omitempty"`
	X       float64          `json:"x"`
	Metrics []measure.Metric `json:"metrics"`
	Rounds  []map[string]Run `json:"rounds"` // by arm
}

// Run is one arm's answer in one round.
type Run struct {
	measure.Result
	At      time.Time `json:"at"`
	Error   string    `json:"error,omitempty"`
	Without string    `json:"without,omitempty"` // why the arm has no answer: it can't do that
}

// Load reads results.json.
func Load(file string) (Results, error) {
	var r Results
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read results: %w", err)
	}
	return r, nil
}

// Save writes results.json.
func (r Results) Save(file string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// Running lists the arms that took part.
func (r Results) Running() []string {
	var names []string
	for _, a := range r.Arms {
		if a.Problem == "" {
			names = append(names, a.Name)
		}
	}
	return names
}

// Failure is a run that ended in an error.
type Failure struct {
	Measure, Arm string
	Round        int // from 1
	Error        string
}

func (f Failure) String() string {
	return fmt.Sprintf("%s, round %d, %s: %s", f.Measure, f.Round, f.Arm, f.Error)
}

// Failures lists what went wrong in runs.
func (r Results) Failures() []Failure {
	var list []Failure
	for _, m := range r.Measures {
		for i, round := range m.Rounds {
			for _, arm := range r.Running() {
				if e := round[arm].Error; e != "" {
					list = append(list, Failure{m.Name, arm, i + 1, e})
				}
			}
		}
	}
	return list
}

// Values are a metric's of one arm, a round each; NaN where there is none.
func (m Measure) Values(arm, metric string) []float64 {
	v := make([]float64, len(m.Rounds))
	for i, round := range m.Rounds {
		v[i] = math.NaN()
		if x, ok := round[arm].Values[metric]; ok {
			v[i] = x
		}
	}
	return v
}

// Summary is what the rounds of one arm came to.
func (m Measure) Summary(arm, metric string) stat.Summary {
	return stat.Summarize(m.Values(arm, metric))
}

// Ratio is the arm's figure divided by another's of the same round.
func (m Measure) Ratio(arm, to, metric string) stat.Summary {
	return stat.Summarize(stat.Ratios(m.Values(arm, metric), m.Values(to, metric)))
}

// Bound reports whether the figure is the generator's rather than the arm's: the
// same generator, with no switch behind it, is hardly faster.
func (m Measure) Bound(arm string, metric measure.Metric) bool {
	if !metric.Generated || arm == Limit {
		return false
	}
	room := m.Ratio(Limit, arm, metric.Name).Median
	return room < GeneratorMargin // false where it is not known
}

// Verdict on a goal.
type Verdict string

// The verdicts; none where there is no goal or no figure.
const (
	Reached Verdict = "reached"
	Missed  Verdict = "missed"
)

// Goal says whether the arm reached the metric's goal.
func (r Results) Goal(m Measure, arm string, metric measure.Metric) Verdict {
	g := metric.Goal
	if g == (measure.Goal{}) || !goals(arm) {
		return ""
	}
	figure, most := math.NaN(), metric.Better == measure.Lower
	switch g.Of {
	case measure.OfBridge:
		figure = m.Ratio(arm, Reference, metric.Name).Median
	case measure.OfMeasure:
		for _, o := range r.Measures {
			if o.Name == g.Measure {
				figure = stat.Median(stat.Ratios(m.Values(arm, metric.Name), o.Values(arm, metric.Name)))
			}
		}
	case measure.OfFigure:
		figure, most = m.Summary(arm, metric.Name).Median, g.Most
	}
	switch {
	case math.IsNaN(figure):
		return ""
	case most && figure <= g.At, !most && figure >= g.At:
		return Reached
	}
	return Missed
}

// goals reports whether the arm is one that goals are meant for.
func goals(arm string) bool { return arm == "afpacket" || arm == "ebpf" }

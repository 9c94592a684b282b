package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"gxswitch/bench/measure"
)

// row is one line of a table: a metric of a measure.
type row []string

// header and rows are the comparison as a table: the median of each arm; for
// each arm that is compared, its ratio to the kernel bridge with the range of
// the rounds' ratios, and its ratio to the direct link.
func (r Results) header() row {
	h := row{"measure", "figure", "unit"}
	arms := r.Running()
	h = append(h, arms...)
	for _, a := range r.compared() {
		h = append(h, a+"/"+Reference, "range", a+"/"+Limit)
	}
	return append(h, "goal", "note")
}

func (r Results) compared() []string {
	var names []string
	for _, a := range r.Running() {
		if a != Reference && a != Limit {
			names = append(names, a)
		}
	}
	return names
}

func (r Results) rows() []row {
	var rows []row
	for _, m := range r.Measures {
		for _, metric := range m.Metrics {
			s := show(metric.Unit)
			line := row{m.Name, metric.Name, s.unit}
			var notes []string
			for _, a := range r.Running() {
				cell := s.value(m.Summary(a, metric.Name).Median)
				if m.Bound(a, metric) {
					cell += "*"
				}
				line = append(line, cell)
			}
			for _, a := range r.compared() {
				if v := r.Goal(m, a, metric); v != "" {
					notes = append(notes, a+" "+string(v))
				}
				if metric.Better == measure.Neither {
					line = append(line, "", "", "")
					continue
				}
				toBridge := m.Ratio(a, Reference, metric.Name)
				line = append(line, ratio(toBridge.Median), ratioSpread(toBridge), ratio(m.Ratio(a, Limit, metric.Name).Median))
			}
			line = append(line, goal(metric), strings.Join(notes, ", "))
			if n := m.failed(); n > 0 {
				line[len(line)-1] = strings.TrimPrefix(line[len(line)-1]+fmt.Sprintf(", %d runs failed", n), ", ")
			}
			rows = append(rows, line)
		}
	}
	return rows
}

func (m Measure) failed() int {
	n := 0
	for _, round := range m.Rounds {
		for _, run := range round {
			if run.Error != "" {
				n++
			}
		}
	}
	return n
}

// Table writes the results as plain columns, and what a reader must know.
func (r Results) Table(w io.Writer) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ToUpper(strings.Join(r.header(), "\t")))
	last := ""
	for _, line := range r.rows() {
		if line[0] == last {
			line = append(row{""}, line[1:]...)
		} else {
			last = line[0]
		}
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", strings.Join(r.notes(), "\n"))
	return err
}

// notes are what belongs under a table.
func (r Results) notes() []string {
	f := r.Machine
	kind := "hardware"
	if f.Virtual {
		kind = "a virtual machine"
	}
	notes := []string{
		fmt.Sprintf("%s, %d cores (%s), Linux %s, %s, gxswitch %s, %s.", f.CPU, f.Cores, kind, f.Kernel, f.Go, orUnknown(f.Revision), f.Date.Format("2006-01-02")),
		fmt.Sprintf("Medians of %d rounds; a ratio is the median of the rounds' own ratios, arms having run one after the other in each.", r.rounds()),
	}
	if r.bound() {
		notes = append(notes, fmt.Sprintf("* generator-bound: the direct link is less than %.1f times as fast, so the arm may be faster than the figure.", GeneratorMargin))
	}
	for _, a := range r.Arms {
		switch {
		case a.Problem != "":
			notes = append(notes, fmt.Sprintf("%s did not take part: %s.", a.Name, a.Problem))
		case a.Verdict != nil && !a.Verdict.Faultless():
			notes = append(notes, fmt.Sprintf("%s is faulty: %s.", a.Name, a.Verdict))
		}
	}
	if r.Busy > Quiet {
		notes = append(notes, fmt.Sprintf("Not to be trusted: something else used %.0f %% of the processors when the run began.", 100*r.Busy))
	}
	if r.Stolen > 0.01 {
		notes = append(notes, fmt.Sprintf("The hypervisor took %.1f %% of the processors meanwhile: absolute figures are low.", 100*r.Stolen))
	}
	for _, a := range r.Running() {
		names, why := r.without(a)
		for _, w := range why {
			notes = append(notes, fmt.Sprintf("%s has no figures of %s: %s.", a, strings.Join(names[w], ", "), w))
		}
	}
	for _, f := range r.Failures() {
		notes = append(notes, "Failed: "+f.String()+".")
	}
	if !r.Complete {
		notes = append(notes, "The run was interrupted: rounds are missing.")
	}
	return notes
}

// without lists the measures that the arm lacks what it takes for, by the reason,
// and the reasons.
func (r Results) without(arm string) (names map[string][]string, why []string) {
	names = map[string][]string{}
	for _, m := range r.Measures {
		for _, round := range m.Rounds {
			w := round[arm].Without
			if w == "" {
				continue
			}
			if names[w] == nil {
				why = append(why, w)
			}
			names[w] = append(names[w], m.Name)
			break
		}
	}
	return names, why
}

func orUnknown(s string) string {
	if s == "" {
		return "of unknown revision"
	}
	return s
}

func (r Results) rounds() int {
	n := 0
	for _, m := range r.Measures {
		n = max(n, len(m.Rounds))
	}
	return n
}

func (r Results) bound() bool {
	for _, m := range r.Measures {
		for _, metric := range m.Metrics {
			for _, a := range r.Running() {
				if m.Bound(a, metric) {
					return true
				}
			}
		}
	}
	return false
}

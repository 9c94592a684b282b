package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
)

//go:embed report.html.tmpl
var page string

// WriteHTML writes the report as one page that needs no other file and no
// network.
func (r Results) WriteHTML(file string) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	figures, err := r.figures()
	if err != nil {
		return err
	}
	facts, err := json.MarshalIndent(r.Machine, "", "  ")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Results
		Facts   string
		Header  row
		Lines   []line
		Notes   []string
		Figures []figure
	}{r, string(facts), r.header(), r.lines(), r.notes(), figures})
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// line is a row with what the page says beside it.
type line struct {
	Cells  row
	About  string    // of the measure; "" if the row above says it
	Rounds []rounded // what the medians were made of
}

type rounded struct {
	Arm    string
	Range  string
	Values []string
}

func (r Results) lines() []line {
	rows := r.rows()
	var lines []line
	for _, m := range r.Measures {
		for i, metric := range m.Metrics {
			l := line{Cells: rows[len(lines)]}
			if i == 0 {
				l.About = m.About
			}
			for _, arm := range r.Running() {
				var values []string
				s := show(metric.Unit)
				for _, v := range m.Values(arm, metric.Name) {
					values = append(values, s.value(v))
				}
				l.Rounds = append(l.Rounds, rounded{arm, s.spread(m.Summary(arm, metric.Name)), values})
			}
			lines = append(lines, l)
		}
	}
	return lines
}

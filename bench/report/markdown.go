package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// The markers of docs/benchmarks.md between which a run's results stand.
const (
	beginMarker = "<!-- gxbench: results begin, written by -markdown -->"
	endMarker   = "<!-- gxbench: results end -->"
)

// WriteMarkdown puts the results between the markers of a file, at its end if
// it has none. What else is in the file stays.
func (r Results) WriteMarkdown(file string) error {
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	merged, err := between(string(b), r.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(merged), 0o644)
}

func between(text, results string) (string, error) {
	section := beginMarker + "\n\n" + results + "\n" + endMarker
	begin, end := strings.Index(text, beginMarker), strings.Index(text, endMarker)
	switch {
	case begin < 0 && end < 0:
		return strings.TrimLeft(strings.TrimRight(text, "\n")+"\n\n"+section+"\n", "\n"), nil
	case begin < 0 || end < begin:
		return "", errors.New("one marker of the results is missing, or they are the wrong way round")
	}
	return text[:begin] + section + text[end+len(endMarker):], nil
}

// markdown is the table, what a reader must know, and how to get it again.
func (r Results) markdown() string {
	var b bytes.Buffer
	for _, n := range r.notes() {
		fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(n, "*", `\*`))
	}
	fmt.Fprintf(&b, "- Command: `%s`\n\n", strings.Join(r.Command, " "))
	header := r.header()
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat(" --- |", 3)+strings.Repeat(" ---: |", len(header)-4)+" --- |")
	for _, cells := range r.rows() {
		fmt.Fprintf(&b, "| %s |\n", strings.ReplaceAll(strings.Join(cells, " | "), "*", `\*`))
	}
	return b.String()
}

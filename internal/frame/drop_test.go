package frame_test

import (
	"os"
	"strings"
	"testing"

	"gxswitch/internal/frame"
)

// Each reason is a row of what administrators read, and of what developers do.
func TestEveryDropReasonIsDocumented(t *testing.T) {
	for _, file := range []string{"../../README.md", "../../docs/architecture.md"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rows := map[string]bool{}
		for line := range strings.Lines(string(b)) {
			cells := strings.Split(line, "|")
			if len(cells) < 3 {
				continue
			}
			for word := range strings.SplitSeq(cells[1], ",") {
				rows[strings.Trim(word, " `")] = true
			}
		}
		for r := frame.Pass + 1; int(r) < frame.NumReasons; r++ {
			if !rows[r.String()] {
				t.Errorf("%s: no row for %s", file, r)
			}
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/control"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"web 1 é 中 🐟":  "web 1 é 中 🐟",
		"\x1b[2J":      `\x1b[2J`,
		"a\nb\tc\x00":  `a\nb\tc\x00`,
		"\u009b31m":    `\u009b31m`,
		"\u202e\u200b": `\u202e\u200b`,
		"\xff\xfe":     `\xff\xfe`,
		"\ufffd":       "\ufffd",
		"\x7f":         `\x7f`,
		"\U000e0041":   `\U000e0041`,
		`back\slash "`: `back\slash "`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzPrintableAndJSON(f *testing.F) {
	f.Add("a\x1b[2J\u009b\u202e\U000e0041\xff")
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range printable(s) {
			if r < ' ' || r >= 0x7f && r < 0xa0 {
				t.Errorf("printable(%q) has %q", s, r)
			}
		}
		var buf bytes.Buffer
		if err := writeJSON(&buf, s, ""); err != nil {
			t.Fatal(err)
		}
		var got, want string
		plain, _ := json.Marshal(s)
		if json.Unmarshal(plain, &want) != nil || json.Unmarshal(buf.Bytes(), &got) != nil || got != want {
			t.Errorf("writeJSON(%q) = %q, read as %q", s, buf.String(), got)
		}
		for _, r := range bytes.TrimSuffix(buf.Bytes(), []byte("\n")) {
			if r < ' ' || r == 0x7f {
				t.Errorf("writeJSON(%q) has %q", s, r)
			}
		}
	})
}

func TestSI(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.4: "0", 1: "1", 999: "999", 999.4: "999", 999.6: "1.00k", 1000: "1.00k", 12345: "12.3k",
		99949: "99.9k", 99950: "100k", 812_000: "812k", 999_600: "1.00M", 941e6: "941M", 10e9: "10.0G", 2.5e12: "2.50T", 3e15: "3000T",
	} {
		if got := si(v); got != want {
			t.Errorf("si(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestRatesAreDifferencesOfWhatIsStillThere(t *testing.T) {
	port := func(name string, n uint64) control.PortStats {
		return control.PortStats{Port: name, Network: "n", RxPackets: n, RxBytes: 100 * n, TxPackets: 2 * n, TxBytes: 200 * n, RxDropped: n, TxDropped: n}
	}
	before := control.Stats{Ports: []control.PortStats{port("stays", 10), port("goes", 5), port("again", 9)}}
	now := control.Stats{Ports: []control.PortStats{port("stays", 30), port("again", 1), port("new", 7)}}
	want := []rate{{Port: "stays", Network: "n", RxPPS: 10, RxBPS: 8000, RxDrops: 10, TxPPS: 20, TxBPS: 16000, TxDrops: 10}}
	if diff := cmp.Diff(want, difference(before, now, 2)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

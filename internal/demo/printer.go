package demo

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"gxswitch/internal/control"
)

// printer prints the demo, line by line as it happens.
type printer struct {
	w   io.Writer
	err error // of the first write that failed; nothing is written after it
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) head() {
	p.printf("Namespaces play a host, its %d guests and the outside. Each pair that may talk gets %d pings and %d MB\n"+
		"of TCP, every other %d pings. RTT is the least and the mean.\n",
		guests, talkPings, transferBytes/1_000_000, blockedPings)
}

// model prints what the model is and its configuration.
func (p *printer) model(m model) {
	p.printf("\n%s: %s\n\n", m.mode, m.says)
	for line := range strings.Lines(m.toml) {
		if strings.TrimSpace(line) == "" {
			p.printf("\n")
			continue
		}
		p.printf("    %s", line)
	}
	p.printf("\n")
}

// layout is the columns of the table. Their widths are fixed, so that each row
// can be printed as soon as it is known.
const layout = "%-8s %-8s %-6s %-5s %-16s %-11s %s\n"

func (p *printer) header() {
	p.printf(layout, "FROM", "TO", "PINGS", "LOSS", "RTT", "TCP", "VERDICT")
}

func (p *printer) row(pr pair, r result) {
	rtt, rate, verdict := "-", "-", "ok"
	if r.received > 0 {
		rtt = fmt.Sprintf("%.3f/%.3f ms", milliseconds(r.least), milliseconds(r.mean()))
	}
	if r.bitsPerSecond > 0 {
		rate = fmt.Sprintf("%.2f Gb/s", r.bitsPerSecond/1e9)
	}
	if !pr.mayTalk {
		verdict = "blocked, as it should be"
	}
	if r.fault != "" {
		verdict = "WRONG: " + r.fault
	}
	p.printf(layout, pr.from, pr.to, fmt.Sprintf("%d/%d", r.received, r.sent), loss(r.pings), rtt, rate, verdict)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// loss is in whole percent, but never 0% where something was lost, nor 100%
// where something was not.
func loss(p pings) string {
	lost := p.sent - p.received
	percent := lost * 100 / max(p.sent, 1)
	if lost > 0 {
		percent = max(percent, 1)
	}
	return fmt.Sprintf("%d%%", percent)
}

// counters prints what the ports counted, and what the drops mean if there are
// any.
func (p *printer) counters(st control.Stats, meaning string) {
	const layout = "%-8s %-9v %-9v %s\n"
	p.printf("\n"+layout, "PORT", "RX", "TX", "DROPS")
	dropped := false
	for _, s := range st.Ports {
		dropped = dropped || len(s.Drops) > 0
		p.printf(layout, s.Port, s.RxPackets, s.TxPackets, drops(s.Drops))
	}
	if dropped && meaning != "" {
		p.printf("%s\n", meaning)
	}
}

// drops is each reason and its count, or that there are none.
func drops(by map[string]uint64) string {
	var words []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		if by[reason] > 0 {
			words = append(words, fmt.Sprintf("%s=%d", reason, by[reason]))
		}
	}
	if len(words) == 0 {
		return "no frame dropped"
	}
	return strings.Join(words, " ")
}

// next tells how it went and how to go on.
func (p *printer) next(pairs int, took time.Duration) {
	p.printf("\nAll %d pairs behaved, in %.1f s.\n"+
		"Next: write such a file to /etc/gxswitch/gxswitch.toml, start `gxswitch daemon`, look with `gxswitch show`.\n", pairs, took.Seconds())
}

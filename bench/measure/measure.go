// Package measure is the questions that the bench puts to every arm, one small
// type a file, after RFC 2544 (throughput, latency), RFC 2889 (addresses,
// broadcast) and RFC 8204 (what a virtual switch needs besides).
//
// A measure knows how to take its figures from an arm that is up. Which arms
// there are, how often and in what order it is asked, and what becomes of the
// figures is not its business. A new one is a file here and a line in All.
package measure

import (
	"context"
	"time"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
)

// Measure is one question. A value of it keeps nothing between runs.
type Measure interface {
	Plan() Plan
	Run(context.Context, *Stand) (Result, error)
}

// Plan is what is to be known of a measure before it runs.
type Plan struct {
	Name    string // unique, as in "throughput-64"
	About   string // one line
	Metrics []Metric
	Setup   rig.Setup

	// A measure of a series differs from the others in one number. Reports
	// draw the series.
	Series string
	X      float64

	Quick      bool // also with -quick
	Once       bool // chance has no part in it: one round will do
	SwitchOnly bool // without a switch in the way there is nothing to ask
	Cost       time.Duration
}

// Metric is one figure of a measure. The first of a Plan is the one that counts.
type Metric struct {
	Name   string `json:"name"`
	Unit   Unit   `json:"unit"`
	Better Better `json:"better"`

	// The generator is what limits the direct arm: where another comes near
	// to that, the figure is the generator's.
	Generated bool `json:"generated,omitempty"`

	Goal Goal `json:"goal,omitzero"`
}

// Goal is what gxswitch is meant to reach. The zero value is none.
type Goal struct {
	At      float64 `json:"at"`
	Of      Of      `json:"of"`
	Measure string  `json:"measure,omitempty"` // with OfMeasure
	Most    bool    `json:"most,omitempty"`    // with OfFigure: at most, not at least
}

// Of says what a goal is about.
type Of string

// What goals are about: the ratio to the kernel bridge of the same round; the
// ratio to another measure of the same arm; the figure itself.
const (
	OfBridge  Of = "ratio to bridge"
	OfMeasure Of = "ratio to measure"
	OfFigure  Of = "figure"
)

// ToBridge is the usual goal. At least or at most is as the metric is better.
func ToBridge(ratio float64) Goal { return Goal{At: ratio, Of: OfBridge} }

// Unit of a figure, base units without prefixes.
type Unit string

// The units.
const (
	FramesPerSecond    Unit = "frames/s"
	BitsPerSecond      Unit = "bit/s"
	Seconds            Unit = "s"
	SecondsPerFrame    Unit = "s/frame"
	SecondsPerGigabyte Unit = "s/GB"
	AddressesPerSecond Unit = "addresses/s"
	SessionsPerSecond  Unit = "sessions/s"
	Addresses          Unit = "addresses"
	BytesPerPort       Unit = "B/port"
	Share              Unit = "share" // 0 to 1
)

// Better says which way a figure should go.
type Better string

// The directions. Neither is for what only explains another figure.
const (
	Higher  Better = "higher"
	Lower   Better = "lower"
	Neither Better = ""
)

// Result is what one run gave. A figure that could not be taken is not in it.
type Result struct {
	Values map[string]float64 `json:"values"`
	CDF    []Quantile         `json:"cdf,omitempty"` // of latency
}

// Quantile is a point of a distribution.
type Quantile struct {
	Share   float64 `json:"share"`
	Seconds float64 `json:"seconds"`
}

// Stand is an arm that is up, with all that measures share.
type Stand struct {
	*rig.Session
	Counter *traffic.Counter // watches every lane's ends

	Warmup time.Duration // before a figure is taken
	Window time.Duration // over which it is taken
	Trial  time.Duration // of one rate in a search
	Short  time.Duration // over which a limit must be exact: a second, but in tests
	Long   time.Duration // over which it must be more so: ten of them; 0: not asked

	AvailableKiB uint64        // memory, before the arm came up
	Drag         time.Duration // makes the generators slow, for tests
}

// All lists the measures in the order of reports.
func All() []Measure {
	var all []Measure
	for _, size := range []int{64, 128, 256, 512, 1024, 1280, 1518, mix} {
		all = append(all, throughput{size: size})
	}
	for _, size := range []int{64, 128, 256, 512, 1024, 1280, 1518, mix} {
		all = append(all, lossless{size: size})
	}
	for _, size := range []int{64, 1518, mix} {
		all = append(all, saturated{size: size})
	}
	for _, flows := range []int{1, 16} {
		all = append(all, bulk{flows: flows, offloads: true}, bulk{flows: flows})
	}
	all = append(all, segmented{}, roundtrip{})
	for _, percent := range []int{50, 90} {
		all = append(all, loaded{percent: percent})
	}
	all = append(all, capacity{}, learning{})
	for _, n := range []int{10, 100, 1000, 10000, 65536} {
		all = append(all, addresses{n: n})
	}
	lanes := 2*rig.Lanes() - 1 // all ends but the sender's
	all = append(all, broadcast{receivers: lanes})
	for _, n := range []int{16, 64} {
		if n > lanes {
			all = append(all, broadcast{receivers: n})
		}
	}
	for _, n := range []int{0, 10, 100, 1000} {
		all = append(all, idlePorts{n: n})
	}
	all = append(append(all, memory{}), rates()...)
	return append(all, kinds()...)
}

// kinds are the measures of what an arm does besides switching.
func kinds() []Measure {
	return []Measure{
		natThroughput{size: 64}, natBulk{flows: 1}, natBulk{flows: 16}, natRoundtrip{}, natSessions{},
		vlanThroughput{size: 64}, vlanBulk{}, policed{size: 64},
		toTaps{size: 64}, toTaps{size: 64, all: true},
	}
}

// rates are the measures of limits.
func rates() []Measure {
	var udp, tcp []Measure
	for _, mbit := range []int{1, 10, 100, 1000, 5000} {
		udp = append(udp, limitedUDP{hold{mbit: mbit}})
		tcp = append(tcp, limitedTCP{hold{mbit: mbit}})
	}
	for _, mbit := range []int{100, 1000} {
		udp = append(udp, limitedUDP{hold{mbit: mbit, from: true}})
		tcp = append(tcp, limitedTCP{hold{mbit: mbit, from: true}})
	}
	all := append(udp, tcp...)
	for _, mbit := range []int{10, 100} {
		all = append(all, pinged{hold: hold{mbit: mbit}}, pinged{hold: hold{mbit: mbit}, tcp: true})
	}
	return append(all, bystander{hold{mbit: 100}})
}

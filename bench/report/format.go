package report

import (
	"fmt"
	"math"

	"gxswitch/bench/measure"
	"gxswitch/bench/stat"
)

// shown is how a unit is shown: a figure is divided by the scale.
type shown struct {
	scale float64
	unit  string
	digit int
}

func show(u measure.Unit) shown {
	switch u {
	case measure.FramesPerSecond:
		return shown{1e6, "Mframes/s", 3}
	case measure.BitsPerSecond:
		return shown{1e9, "Gb/s", 2}
	case measure.Seconds:
		return shown{1e-6, "µs", 1}
	case measure.SecondsPerFrame:
		return shown{1e-9, "ns/frame", 0}
	case measure.SecondsPerGigabyte:
		return shown{1, "cpu-s/GB", 2}
	case measure.AddressesPerSecond:
		return shown{1e6, "Maddr/s", 3}
	case measure.BytesPerPort:
		return shown{1 << 10, "KiB/port", 0}
	case measure.Share:
		return shown{0.01, "%", 2}
	default:
		return shown{1, string(u), 0}
	}
}

const none = "–"

func (s shown) value(v float64) string {
	if math.IsNaN(v) {
		return none
	}
	return fmt.Sprintf("%.*f", s.digit, v/s.scale)
}

// Figure is a metric's value of one run, with its unit.
func Figure(m measure.Metric, values map[string]float64) string {
	v, ok := values[m.Name]
	if !ok {
		return none
	}
	s := show(m.Unit)
	return s.value(v) + " " + s.unit
}

// spread is the range of the rounds.
func (s shown) spread(sum stat.Summary) string {
	if sum.N < 2 {
		return none
	}
	return s.value(sum.Min) + "–" + s.value(sum.Max)
}

func ratio(v float64) string {
	if math.IsNaN(v) {
		return none
	}
	return fmt.Sprintf("%.2f", v)
}

func ratioSpread(sum stat.Summary) string {
	if sum.N < 2 {
		return none
	}
	return ratio(sum.Min) + "–" + ratio(sum.Max)
}

// goal is the goal in words.
func goal(m measure.Metric) string {
	g := m.Goal
	sign := "≥"
	if m.Better == measure.Lower || g.Most {
		sign = "≤"
	}
	switch g.Of {
	case measure.OfBridge:
		return fmt.Sprintf("%s %.2f", sign, g.At)
	case measure.OfMeasure:
		return fmt.Sprintf("%s %.2f of %s", sign, g.At, g.Measure)
	case measure.OfFigure:
		s := show(m.Unit)
		return sign + " " + s.value(g.At) + " " + s.unit
	}
	return ""
}

// Package stat is the arithmetic of the bench: medians, ratios of runs that
// belong together, and the search for a rate. It measures nothing itself.
package stat

import (
	"math"
	"slices"
)

// Summary is what is said of one figure that was taken several times. With no
// values, every field is NaN but N.
type Summary struct {
	Median, Min, Max float64
	N                int
}

// Summarize leaves out what is NaN: a round that failed.
func Summarize(values []float64) Summary {
	v := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(v) == 0 {
		return Summary{math.NaN(), math.NaN(), math.NaN(), 0}
	}
	slices.Sort(v)
	return Summary{Median: median(v), Min: v[0], Max: v[len(v)-1], N: len(v)}
}

// Median of the values that are not NaN; NaN if there are none.
func Median(values []float64) float64 { return Summarize(values).Median }

func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Ratios divides round by round: value i belongs with reference i, for the two
// ran one after the other. Where one is missing (NaN), or the reference is
// nought, the ratio is NaN.
func Ratios(values, reference []float64) []float64 {
	r := make([]float64, min(len(values), len(reference)))
	for i := range r {
		r[i] = math.NaN()
		if reference[i] != 0 {
			r[i] = values[i] / reference[i]
		}
	}
	return r
}

package stat

import "slices"

// Trial offers a rate for a while and returns the share that was lost, 0 to 1.
type Trial func(rate float64) (loss float64, err error)

// Rates finds, for each tolerated share of loss, the highest rate that loses no
// more (RFC 2544, 26.1): by halving the interval between a rate that passed and
// one that did not, until it is narrower than resolution × highest. It returns
// 0 where nothing passes.
//
// A trial that was made for one tolerance counts for the others. Loss is
// expected to grow with the rate; where chance breaks that, the answer is one
// of the edges.
func Rates(highest, resolution float64, tolerated []float64, try Trial) ([]float64, error) {
	type trial struct{ rate, loss float64 }
	var done []trial
	found := make([]float64, len(tolerated))
	// From the most to the least tolerant: each search ends the next one's
	// interval.
	order := make([]int, len(tolerated))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case tolerated[a] > tolerated[b]:
			return -1
		case tolerated[a] < tolerated[b]:
			return 1
		}
		return 0
	})
	for _, i := range order {
		passed, failed := 0.0, -1.0 // -1: nothing failed yet
		for _, t := range done {
			if t.loss > tolerated[i] && (failed < 0 || t.rate < failed) {
				failed = t.rate
			}
		}
		for _, t := range done {
			if t.loss <= tolerated[i] && t.rate > passed && (failed < 0 || t.rate < failed) {
				passed = t.rate
			}
		}
		for failed < 0 && passed < highest || failed >= 0 && failed-passed > resolution*highest {
			rate := highest
			if failed >= 0 {
				rate = (passed + failed) / 2
			}
			loss, err := try(rate)
			if err != nil {
				return nil, err
			}
			done = append(done, trial{rate, loss})
			if loss <= tolerated[i] {
				passed = rate
			} else {
				failed = rate
			}
		}
		found[i] = passed
	}
	return found, nil
}

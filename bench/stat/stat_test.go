package stat

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

var nan = math.NaN()

func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestSummarizeIsMedianAndRange(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{nan, nan, nan, 0}},
		{[]float64{nan, nan}, Summary{nan, nan, nan, 0}},
		{[]float64{7}, Summary{7, 7, 7, 1}},
		{[]float64{3, 1, 2}, Summary{2, 1, 3, 3}},
		{[]float64{4, 1, 3, 2}, Summary{2.5, 1, 4, 4}},
		{[]float64{5, nan, 1, 1000, 2}, Summary{3.5, 1, 1000, 4}},
	} {
		got := Summarize(c.values)
		if !same(got.Median, c.want.Median) || !same(got.Min, c.want.Min) || !same(got.Max, c.want.Max) || got.N != c.want.N {
			t.Errorf("Summarize(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestSummarizeLeavesItsArgumentAlone(t *testing.T) {
	v := []float64{3, nan, 1}
	Summarize(v)
	if v[0] != 3 || v[2] != 1 {
		t.Errorf("the values became %v", v)
	}
}

// A machine that is half as fast in every other round changes no ratio.
func TestRatiosAreThoseOfOneRound(t *testing.T) {
	bridge := []float64{400, 200, 400, 200, 400}
	ours := []float64{600, 300, 600, 300, 600}
	if r := Summarize(Ratios(ours, bridge)); r.Median != 1.5 || r.Min != 1.5 || r.Max != 1.5 {
		t.Errorf("ratios %v, want 1.5 in each round", r)
	}
	got := Ratios([]float64{1, nan, 3, 4}, []float64{2, 2, 0, nan})
	for i, want := range []float64{0.5, nan, nan, nan} {
		if !same(got[i], want) {
			t.Errorf("ratio %d is %v, want %v", i, got[i], want)
		}
	}
}

// cliff loses nothing up to the knee, then everything above it.
func cliff(knee float64) func(rate float64) float64 {
	return func(rate float64) float64 { return max(0, (rate-knee)/rate) }
}

func TestRatesFindTheKnee(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		highest := 1e5 + r.Float64()*1e6
		knee := r.Float64() * 1.2 * highest
		loss := cliff(knee)
		trials := 0
		got, err := Rates(highest, 0.01, []float64{0, 0.005}, func(rate float64) (float64, error) {
			if rate > highest {
				t.Fatalf("tried %v, above %v", rate, highest)
			}
			trials++
			return loss(rate), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{knee, knee / 0.995} {
			want = min(want, highest)
			if got[i] > want || got[i] < want-0.01*highest {
				t.Fatalf("knee %v of %v: found %v, want at most %v, and at least that less 1 %%", knee, highest, got[i], want)
			}
		}
		if trials > 15 {
			t.Errorf("%d trials for two rates", trials)
		}
	}
}

func TestRatesTakeOneTrialWhereNothingIsLost(t *testing.T) {
	trials := 0
	got, err := Rates(1e6, 0.01, []float64{0, 0.005}, func(float64) (float64, error) { trials++; return 0, nil })
	if err != nil || got[0] != 1e6 || got[1] != 1e6 || trials != 1 {
		t.Errorf("found %v (%v) in %d trials, want the highest rate in one", got, err, trials)
	}
}

func TestRatesAreNoughtWhereEverythingIsLost(t *testing.T) {
	got, err := Rates(1e6, 0.01, []float64{0}, func(float64) (float64, error) { return 1, nil })
	if err != nil || got[0] != 0 {
		t.Errorf("found %v (%v), want 0", got, err)
	}
}

func TestRatesEndWithTheTrialsError(t *testing.T) {
	broken := errors.New("link down")
	if _, err := Rates(1, 0.01, []float64{0}, func(float64) (float64, error) { return 0, broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

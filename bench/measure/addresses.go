package measure

import (
	"context"
	"fmt"
	"time"

	"gxswitch/bench/rig"
	"gxswitch/bench/stat"
	"gxswitch/bench/traffic"
	"gxswitch/internal/frame"
)

// calm is a rate at which hardly an arm loses anything. What must not be lost is
// sent again at half of it, and so on, down to a sixteenth.
const calm = 100000

// errLossy ends a measure that can't tell forgotten addresses from lost frames.
var errLossy = fmt.Errorf("frames are lost even at %d a second", calm/16)

func calmly(send func(rate float64) (loss float64, err error)) error {
	for rate := float64(calm); rate >= calm/16; rate /= 2 {
		if loss, err := send(rate); err != nil || loss == 0 {
			return err
		}
	}
	return errLossy
}

// stations makes n addresses that no endpoint has, others for each generation.
func stations(generation, n int) []frame.MAC {
	macs := make([]frame.MAC, n)
	for i := range macs {
		macs[i] = frame.MAC{0x06, 0x67, byte(generation), byte(i >> 16), byte(i >> 8), byte(i)}
	}
	return macs
}

// learn makes the stations heard behind lane 0's receiver. It returns what was
// lost of their frames, and how long the sending took.
func (s *Stand) learn(ctx context.Context, macs []frame.MAC, rate float64) (loss float64, took time.Duration, err error) {
	l := s.Lanes[0]
	st := traffic.Stream{Lane: rig.Lane{From: l.To, To: l.From}, Len: lengths(64), SrcMACs: macs}
	return s.paced(ctx, st, rate, uint64(len(macs)))
}

// teach is learn for as long as it takes.
func (s *Stand) teach(ctx context.Context, macs []frame.MAC) error {
	return calmly(func(rate float64) (float64, error) {
		loss, _, err := s.learn(ctx, macs, rate)
		return loss, err
	})
}

// unknown sends a frame to each station and counts how many of them were flooded,
// at a port that has nothing to do with them (RFC 2889, 5.7).
func (s *Stand) unknown(ctx context.Context, macs []frame.MAC) (flooded int, err error) {
	monitor := []rig.Endpoint{s.Lanes[1].To}
	st := traffic.Stream{Lane: s.Lanes[0], Len: lengths(64), DstMACs: macs}
	err = calmly(func(rate float64) (float64, error) {
		before, err := s.count(monitor)
		if err != nil {
			return 0, err
		}
		loss, _, err := s.paced(ctx, st, rate, uint64(len(macs)))
		if err != nil {
			return 0, err
		}
		after, err := s.count(monitor)
		flooded = int(after.Frames - before.Frames)
		return loss, err
	})
	return flooded, err
}

// capacity is the address caching capacity of RFC 2889, 5.7.
type capacity struct{}

const capacityTried = 128 << 10

func (capacity) Plan() Plan {
	return Plan{
		Name: "address-capacity", About: fmt.Sprintf("of %d addresses, how many are known afterwards (gxswitch: fdb_limit = 65536)", capacityTried),
		Metrics: []Metric{{Name: "known", Unit: Addresses, Better: Higher}},
		Setup:   rig.Setup{FDBLimit: 65536}, Once: true, SwitchOnly: true, Cost: 4 * time.Second,
	}
}

func (capacity) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announce(); err != nil {
		return Result{}, err
	}
	macs := stations(0, capacityTried)
	if err := s.teach(ctx, macs); err != nil {
		return Result{}, err
	}
	flooded, err := s.unknown(ctx, macs)
	if err != nil {
		return Result{}, err
	}
	return Result{Values: map[string]float64{"known": float64(capacityTried - flooded)}}, nil
}

// learning is the address learning rate of RFC 2889, 5.8: how fast new
// addresses may come for all of them to be learned.
type learning struct{}

const learnedAtOnce = 32 << 10

func (learning) Plan() Plan {
	return Plan{
		Name: "learning-rate", About: fmt.Sprintf("the highest rate at which %d new addresses are all learned", learnedAtOnce),
		Metrics: []Metric{{Name: "learned", Unit: AddressesPerSecond, Better: Higher, Generated: true}},
		Setup:   rig.Setup{FDBLimit: 1 << 20}, SwitchOnly: true, Cost: 5 * time.Second,
	}
}

func (learning) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announce(); err != nil {
		return Result{}, err
	}
	const highest = 1.5e6 // above any generator's
	best, generation := 0.0, 0
	_, err := stat.Rates(highest, 0.04, []float64{0}, func(rate float64) (float64, error) {
		generation++
		macs := stations(generation, learnedAtOnce)
		_, took, err := s.learn(ctx, macs, rate)
		if err != nil {
			return 0, err
		}
		flooded, err := s.unknown(ctx, macs)
		if err == nil && flooded == 0 {
			best = max(best, float64(len(macs))/took.Seconds())
		}
		return float64(flooded) / float64(len(macs)), err
	})
	if err != nil {
		return Result{}, err
	}
	return Result{Values: map[string]float64{"learned": best}}, nil
}

// addresses is throughput while frames come from many stations and go to many.
type addresses struct{ n int }

func (m addresses) Plan() Plan {
	return Plan{
		Name: fmt.Sprintf("addresses-%d", m.n), About: fmt.Sprintf("throughput of 64-byte frames between %d stations, half on each side", m.n),
		Metrics: throughput{mix}.Plan().Metrics, Setup: rig.Setup{FDBLimit: 2 * 65536}, Series: "addresses", X: float64(m.n), Cost: 2 * time.Second,
	}
}

func (m addresses) Run(ctx context.Context, s *Stand) (Result, error) {
	if err := s.announce(); err != nil {
		return Result{}, err
	}
	here, there := stations(1, m.n/2), stations(2, m.n/2)
	if s.Switch {
		if err := s.teach(ctx, there); err != nil {
			return Result{}, err
		}
	}
	l := s.Lanes[0]
	st := traffic.Stream{Lane: l, Len: lengths(64), SrcMACs: here, DstMACs: there}
	b, err := s.full(ctx, []traffic.Stream{st}, []rig.Endpoint{l.To})
	return b.result(), err
}

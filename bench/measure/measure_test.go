package measure

import (
	"errors"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func bridged(t *testing.T, setup rig.Setup) *Stand {
	t.Helper()
	_, s := onBridge(t, setup)
	return s
}

// onBridge is the kernel bridge, up. Without the means the test is skipped; CI
// counts a skip as a failure.
func onBridge(t *testing.T, setup rig.Setup) (*rig.Rig, *Stand) {
	t.Helper()
	nettest.Require(t)
	r, err := rig.New("measure", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := traffic.NewCounter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, e := range r.Endpoints() {
		if err := c.Watch(e); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.Up(t.Context(), rig.Bridge{}, setup)
	if errors.Is(err, rig.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(); err != nil {
			t.Error(err)
		}
	})
	return r, &Stand{Session: s, Counter: c, Warmup: 10 * time.Millisecond, Window: 50 * time.Millisecond, Trial: 50 * time.Millisecond,
		Short: 100 * time.Millisecond, Long: 300 * time.Millisecond}
}

// What the address measures rest on: a switch that knows a station floods
// nothing for it, and one that does not floods every frame.
func TestUnknownStationsAreThoseThatWereNotTaught(t *testing.T) {
	s := bridged(t, rig.Setup{})
	if err := s.announce(); err != nil {
		t.Fatal(err)
	}
	taught, strangers := stations(1, 500), stations(2, 300)
	if err := s.teach(t.Context(), taught); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		n    int
		want int
	}{{"taught", 0, 0}, {"strangers", 300, 300}} {
		macs := taught
		if c.n > 0 {
			macs = append(append(macs[:0:0], taught...), strangers...)
		}
		if got, err := s.unknown(t.Context(), macs); err != nil || got != c.want {
			t.Errorf("%s: %d flooded (%v), want %d", c.what, got, err, c.want)
		}
	}
}

func TestBroadcastReachesTheCrowd(t *testing.T) {
	m := broadcast{receivers: 8}
	s := bridged(t, rig.Setup{Crowd: 5}) // and three ends of the lanes
	res, err := m.Run(t.Context(), s)
	if err != nil || res.Values["delivered"] <= 0 {
		t.Errorf("%v (%v)", res, err)
	}
}

func TestIdlePortsAreIdle(t *testing.T) {
	s := bridged(t, rig.Setup{Crowd: 4})
	if err := s.Counter.Watch(s.Crowd...); err != nil {
		t.Fatal(err)
	}
	res, err := idlePorts{4}.Run(t.Context(), s)
	if err != nil || res.Values["delivered"] <= 0 {
		t.Errorf("%v (%v)", res, err)
	}
	if c, err := s.Counter.Count(s.Crowd...); err != nil || c.Frames > 0 {
		t.Errorf("%d test frames came to idle ports (%v)", c.Frames, err)
	}
}

func TestLossIsAShareOfWhatWasSent(t *testing.T) {
	for _, c := range []struct {
		sent, received uint64
		want           float64
	}{{0, 0, 0}, {100, 100, 0}, {100, 99, 0.01}, {100, 0, 1}, {100, 101, 0}} {
		if got := lossOf(c.sent, c.received); got < c.want-1e-12 || got > c.want+1e-12 {
			t.Errorf("%d of %d: %v, want %v", c.received, c.sent, got, c.want)
		}
	}
}

// The bridge's tbf holds the limit within what a busy machine may cost so short
// a run; without it three times as much would pass.
func TestLimitsHoldOnTheBridge(t *testing.T) {
	h := hold{mbit: 20}
	for _, c := range []struct {
		m         Measure
		figure    string
		low, high float64
	}{
		{limitedUDP{h}, "passed", 0.8, 1.1},
		{limitedUDP{h}, "offered", 1.5, 3.5},
		{limitedTCP{h}, "payload", 0.5, 1.1},
		{pinged{hold: h}, "p50", 5e-3, 1}, // behind tbf's full queue
		{pinged{hold: h, tcp: true}, "p50", 1e-6, 0.5},
		{bystander{h}, "delivered", 1, math.Inf(1)},
	} {
		t.Run(c.m.Plan().Name+" "+c.figure, func(t *testing.T) {
			s := bridged(t, rig.Setup{})
			s.Window = 200 * time.Millisecond // for some requests at a hundred a second
			res, err := c.m.Run(t.Context(), s)
			v, ok := res.Values[c.figure]
			if err != nil || !ok || v < c.low || v > c.high {
				t.Errorf("%v (%v), want %v to %v", v, err, c.low, c.high)
			}
		})
	}
}

func TestGatewaysAreMeasured(t *testing.T) {
	_, s := onBridge(t, natSetup)
	for _, c := range []struct {
		m         Measure
		figure    string
		low, high float64
	}{
		{natThroughput{64}, "delivered", 1, math.Inf(1)},
		{natThroughput{64}, "loss", 0, 0.5},
		{natBulk{flows: 2}, "payload", 1, math.Inf(1)},
		{natRoundtrip{}, "p50", 1e-6, 0.5},
		{natRoundtrip{}, "lost", 0, 0.01},
		{natSessions{}, "opened", 1, math.Inf(1)},
		{natSessions{}, "loss", 0, 0.5},
	} {
		res, err := c.m.Run(t.Context(), s)
		v, ok := res.Values[c.figure]
		if err != nil || !ok || v < c.low || v > c.high {
			t.Errorf("%s: %s is %v (%v), want %v to %v", c.m.Plan().Name, c.figure, v, err, c.low, c.high)
		}
	}
}

// A gateway that forwards but translates nothing delivers nothing.
func TestUntranslatedFramesAreNotDelivered(t *testing.T) {
	r, s := onBridge(t, natSetup)
	if err := s.way(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := s.outward()
	st.Sessions = true // which the kernel decides about anew
	for _, want := range []float64{0, 1} {
		if loss, _, err := s.paced(t.Context(), st, calm/10, 500); err != nil || loss != want {
			t.Errorf("%v lost (%v), want %v", loss, err, want)
		}
		if out, err := r.Switch.Command(t.Context(), "nft", "flush chain ip gxbench post; delete chain ip gxbench post; add chain ip gxbench post").CombinedOutput(); err != nil {
			t.Fatalf("nft: %v: %s", err, out)
		}
	}
}

func TestArmWithoutTheLimitSaysSo(t *testing.T) {
	s := bridged(t, rig.Setup{})
	for _, m := range []Measure{limitedUDP{hold{mbit: 10, from: true}}, limitedTCP{hold{mbit: 10, from: true}}} {
		if res, err := m.Run(t.Context(), s); !errors.Is(err, rig.ErrNoLimit) || len(res.Values) > 0 {
			t.Errorf("%s: %v (%v), want %v", m.Plan().Name, res.Values, err, rig.ErrNoLimit)
		}
	}
}

// A counter that is read when a limit has let pass exactly what it may, but in
// one window.
func TestWindowsFindTheWorst(t *testing.T) {
	s := &Stand{Short: 20 * time.Millisecond, Long: 100 * time.Millisecond}
	start, reads := time.Now(), 0
	w, err := s.windows(t.Context(), 1e6, func() (float64, error) {
		reads++
		bits := 1e6 * time.Since(start).Seconds()
		if reads > 3 { // from the third window on twice the rate of one is there
			bits += 20e3
		}
		return bits, nil
	})
	if err != nil || reads != 6 {
		t.Fatalf("%d reads, want one before and one after each of five windows (%v)", reads, err)
	}
	if w.worst < 0.5 || w.worst > 1.2 || w.lowest < 0.9 || w.mean < 1.05 || w.mean > 1.3 {
		t.Errorf("%+v, want about 1 at worst, 1 at least and 1.2 on average", w)
	}
}

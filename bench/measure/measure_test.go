package measure

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"gxswitch/bench/rig"
	"gxswitch/bench/traffic"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bridged is the kernel bridge, up. Without the means the test is skipped; CI
// counts a skip as a failure.
func bridged(t *testing.T, setup rig.Setup) *Stand {
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
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(); err != nil {
			t.Error(err)
		}
	})
	return &Stand{Session: s, Counter: c, Warmup: 10 * time.Millisecond, Window: 50 * time.Millisecond, Trial: 50 * time.Millisecond}
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

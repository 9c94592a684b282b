package traffic

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
	"gxswitch/bench/rig/rigtest"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testRig builds one lane. Without the means the test is skipped; CI counts a
// skip as a failure.
func testRig(t *testing.T) *rig.Rig {
	t.Helper()
	nettest.Require(t)
	r, err := rig.New("traffic", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func up(t *testing.T, r *rig.Rig, a rig.Arm) rig.Lane {
	t.Helper()
	s, err := r.Up(t.Context(), a, rig.Setup{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(); err != nil {
			t.Error(err)
		}
	})
	return s.Lanes[0]
}

func TestVerifyTellsEachFault(t *testing.T) {
	r := testRig(t)
	const n = 2000
	for _, c := range []struct {
		arm  rig.Arm
		want Verdict
	}{
		{rig.Direct{}, Verdict{Sent: n, Received: n}},
		{rig.Bridge{}, Verdict{Sent: n, Received: n}},
		{rigtest.Switch{Label: "sound"}, Verdict{Sent: n, Received: n}},
		{rigtest.Switch{Label: "drops 1 %", Drop: 100}, Verdict{Sent: n, Received: n - 20, Lost: 20}},
		{rigtest.Switch{Label: "duplicates 1 %", Duplicate: 100}, Verdict{Sent: n, Received: n, Duplicated: 20}},
		{rigtest.Switch{Label: "swaps 1 %", Swap: 99}, Verdict{Sent: n, Received: n, Reordered: 20}},
		{rigtest.Switch{Label: "corrupts 1 %", Corrupt: 100}, Verdict{Sent: n, Received: n - 20, Lost: 20, Corrupted: 20}},
	} {
		t.Run(c.arm.Name(), func(t *testing.T) {
			lane := up(t, r, c.arm)
			got, err := Verify(Stream{Lane: lane, Flow: 3, Len: IMIX()}, n, 20000)
			if err != nil || got != c.want {
				t.Errorf("%s (%+v, %v), want %+v", got, got, err, c.want)
			}
		})
	}
}

// settled waits until so many frames have been counted.
func settled(t *testing.T, c *Counter, e rig.Endpoint, frames uint64) Count {
	t.Helper()
	var got Count
	nettest.Wait(t, "the frames to be counted", func() (bool, error) {
		var err error
		got, err = c.Count(e)
		return got.Frames >= frames, err
	})
	return got
}

func watch(t *testing.T, e rig.Endpoint) *Counter {
	t.Helper()
	c, err := NewCounter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Watch(e); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCounterCountsWhatWasSent(t *testing.T) {
	r := testRig(t)
	lane := up(t, r, rig.Direct{})
	c := watch(t, lane.To)
	g, err := NewGenerator(Stream{Lane: lane, Len: IMIX()})
	if err != nil {
		t.Fatal(err)
	}
	const frames = 1200 // a hundred mixes
	g.Start(Load{Core: 0, Frames: frames})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if g.Offered() != frames || g.Refused() != 0 {
		t.Errorf("offered %d, refused %d, want %d and none", g.Offered(), g.Refused(), frames)
	}
	want := Count{Frames: frames, Bytes: 100 * (7*60 + 4*590 + 1514)}
	if got := settled(t, c, lane.To, frames); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestCounterLeavesOtherFramesToTheGuest(t *testing.T) {
	r := testRig(t)
	lane := up(t, r, rig.Direct{})
	c := watch(t, lane.To)
	lat, err := RoundTrips(t.Context(), lane, 20*time.Millisecond, [2]int{0, 0})
	if err != nil || lat.Lost != 0 || lat.Times.TotalCount() == 0 {
		t.Errorf("%d of %d requests lost (%v)", lat.Lost, lat.Sent, err)
	}
	if got, err := c.Count(lane.To); err != nil || got != (Count{}) {
		t.Errorf("counted %+v (%v), want nothing", got, err)
	}
}

// A super-frame counts as the frames that the wire would carry.
func TestCounterCountsSegments(t *testing.T) {
	r := testRig(t)
	lane := up(t, r, rig.Direct{})
	c := watch(t, lane.To)
	g, err := StartSegmented(lane, AnyCore, false)
	if err != nil {
		t.Fatal(err)
	}
	settled(t, c, lane.To, 10*segments)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	got := settled(t, c, lane.To, g.Offered())
	if want := (Count{g.Offered(), g.Offered() * MaxLen}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Of frames that differ in source and tag, those are counted that have what was
// asked for.
func TestCounterCountsWhatArrivedSo(t *testing.T) {
	r := testRig(t)
	lane := up(t, r, rig.Direct{})
	other := lane
	other.From.Addr = netip.MustParseAddr("192.0.2.1")
	tagged := func(vid uint16) []byte {
		f := Stream{Lane: lane}.build(MinLen)
		return slices.Insert(f, 12, 0x81, 0x00, 0xe0|byte(vid>>8), byte(vid)) // of priority 7
	}
	frames := [][]byte{Stream{Lane: lane}.build(MinLen), Stream{Lane: other}.build(MinLen), tagged(10), tagged(11), tagged(10 + 1<<8)}
	for _, c := range []struct {
		what string
		a    rig.Arrival
		want Count
	}{
		{"a source", rig.Arrival{Source: other.From.Addr}, Count{1, MinLen}},
		{"a source above 127", rig.Arrival{Source: netip.MustParseAddr("192.0.2.2")}, Count{}},
		{"a tag", rig.Arrival{VID: 10}, Count{1, MinLen + 4}},
		{"any", rig.Arrival{}, Count{5, 5 * MinLen}},
	} {
		t.Run(c.what, func(t *testing.T) {
			counter, err := NewCounter()
			if err != nil {
				t.Fatal(err)
			}
			defer counter.Close()
			defer unwatch(t, lane.To)
			if err := counter.WatchFor(c.a, lane.To); err != nil {
				t.Fatal(err)
			}
			fd, err := packetSocket(lane.From, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			for _, f := range frames { // a veth has handed a frame over when write returns, all but the softirq
				if _, errno := write(fd, f); errno != 0 {
					t.Fatal(errno)
				}
			}
			settled(t, counter, lane.To, c.want.Frames)
			if got, err := counter.Count(lane.To); err != nil || got != c.want {
				t.Errorf("counted %+v (%v), want %+v", got, err, c.want)
			}
		})
	}
}

// unwatch takes the counter's filter away, for the next one.
func unwatch(t *testing.T, e rig.Endpoint) {
	t.Helper()
	err := e.NS.Do(func() error {
		return netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: e.Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}})
	})
	if err != nil {
		t.Error(err)
	}
}

func TestSessionsHavePortsOfTheirOwn(t *testing.T) {
	seen, each := map[[2]uint16]bool{}, map[uint16]int{}
	const n = 1 << 18
	for seq := range uint32(n) {
		src, dst := sessionPorts(seq)
		if src < 1024 || dst < 1024 {
			t.Fatalf("frame %d: port %d to %d is a well-known one", seq, src, dst)
		}
		seen[[2]uint16{src, dst}] = true
		each[dst]++
	}
	if len(seen) != n {
		t.Errorf("%d frames have %d different pairs of ports", n, len(seen))
	}
	for dst, k := range each {
		if k > 65535-61000 { // gxswitch's own ports for one remote port
			t.Fatalf("%d sessions want port %d", k, dst)
		}
	}
}

func TestGeneratorKeepsItsRate(t *testing.T) {
	r := testRig(t)
	lane := up(t, r, rig.Direct{})
	for _, yield := range []bool{false, true} {
		g, err := NewGenerator(Stream{Lane: lane, Len: []int{MinLen}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		g.Start(Load{Core: AnyCore, Rate: 20000, Frames: 4000, Yield: yield})
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		// It must never be early. How late it is, is the machine's to say.
		if d := time.Since(start); d < 195*time.Millisecond {
			t.Errorf("yield %v: 4000 frames at 20000 a second took %v", yield, d)
		}
	}
}

func TestProbeCountsWhatIsLost(t *testing.T) {
	r := testRig(t)
	lane := up(t, r, rigtest.Switch{Label: "drops half", Drop: 2})
	lat, err := Probe(t.Context(), lane, 200*time.Millisecond, 1000)
	if err != nil {
		t.Fatal(err)
	}
	answered := int(lat.Times.TotalCount())
	if lat.Sent < 100 || lat.Lost+answered != lat.Sent || lat.Lost < lat.Sent/2 {
		t.Errorf("%d sent, %d answered, %d lost", lat.Sent, answered, lat.Lost)
	}
}

func TestStreamRefusesWhatIsNoFrame(t *testing.T) {
	for _, lengths := range [][]int{nil, {59}, {1515}, make([]int, 65)} {
		if _, err := NewGenerator(Stream{Len: lengths}); err == nil {
			t.Errorf("lengths %v were taken", lengths)
		}
	}
}

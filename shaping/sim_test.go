package shaping

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// These run a link, with a dataplane's timer that is up to 100 µs late, in
// simulated time: see link_test.go and tcp_test.go.

func percent(bytes int, l Limit, d time.Duration) float64 {
	return 100 * float64(bytes) / (float64(l.BytesPerSecond()) * d.Seconds())
}

func TestUDPAtThreeTimesTheLimitGetsTheLimit(t *testing.T) {
	for _, rate := range []string{"1Mb/s", "10Mb/s", "10Mb/s@20ms", "10Mb/s@2ms", "100Mb/s", "100Mb/s@20ms", "1Gb/s"} {
		for _, bytes := range []int{64, 1514, 65_000} {
			l := mustParse(rate)
			if bytes == 64 && l.BytesPerSecond() > 2_000_000 {
				continue // millions of frames
			}
			w := &world{}
			k := newLink(w, l, 0)
			udp(k, 1, bytes, 3*l.BytesPerSecond(), 10*sec)
			w.run(10 * sec)
			if p := percent(k.bytes(0, 10*time.Second), l, 10*time.Second); p < 99 || p > 101+float64(bytes)/float64(l.BytesPerSecond())*10 {
				t.Errorf("%s, frames of %d: %.2f %% over 10 s", rate, bytes, p)
			}
			for s := range 10 {
				from, to := time.Duration(s)*time.Second, time.Duration(s+1)*time.Second
				slack := 5.01 + 100*float64(bytes)/float64(l.BytesPerSecond())
				if p := percent(k.bytes(from, to), l, time.Second); p < 100-slack || p > 100+slack {
					t.Errorf("%s, frames of %d: %.2f %% in second %d", rate, bytes, p, s+1)
				}
			}
		}
	}
}

func TestTCPFillsTheLimit(t *testing.T) {
	for _, c := range []struct {
		rate  string
		cubic bool
		rtt   time.Duration
		least float64
	}{
		{"1Mb/s", true, 200 * time.Microsecond, 95},
		{"1Mb/s", false, 10 * time.Millisecond, 95},
		{"10Mb/s", true, time.Millisecond, 97},
		{"10Mb/s", true, 50 * time.Millisecond, 96},
		{"10Mb/s", false, 20 * time.Millisecond, 97},
		{"10Mb/s@1ms", true, time.Millisecond, 97},
		{"10Mb/s@1ms", true, 50 * time.Millisecond, 95},
		{"100Mb/s", true, 200 * time.Microsecond, 98},
		{"100Mb/s", true, time.Millisecond, 98},
		{"100Mb/s", true, 50 * time.Millisecond, 96},
		{"100Mb/s", false, 20 * time.Millisecond, 96},
		// Reno needs a round trip of queue to fill a pipe; see codelTarget.
		{"100Mb/s", false, 50 * time.Millisecond, 87},
	} {
		for _, gso := range []int{1, 43} {
			l := mustParse(c.rate)
			w := &world{}
			k := newLink(w, l, int64(c.rtt)/2)
			conn := newTCP(k, 1, c.cubic, gso).start()
			w.run(20 * sec)
			if p := percent(conn.arrivals*segmentBytes, l, 20*time.Second); p < c.least || conn.timeouts > 0 {
				t.Errorf("%+v, %d segments a frame: %.1f %% of the rate, %d timeouts", c, gso, p, conn.timeouts)
			}
		}
	}
}

// TestPingPassesASaturatedPort: four TCP senders with super-frames, and a flood.
func TestPingPassesASaturatedPort(t *testing.T) {
	for _, c := range []struct {
		rate  string
		whole bool // nobody cuts
		most  time.Duration
	}{
		{"1Mb/s", false, 61 * time.Millisecond}, // five frames of 12 ms, one of each flow
		{"10Mb/s", false, 5 * time.Millisecond},
		{"10Mb/s", true, 60 * time.Millisecond},
		{"10Mb/s@1ms", false, 5 * time.Millisecond},
		{"10Mb/s@1ms", true, 60 * time.Millisecond},
		{"100Mb/s", false, 2 * time.Millisecond},
		{"1Gb/s", false, 2 * time.Millisecond},
	} {
		l := mustParse(c.rate)
		w := &world{}
		k := newLink(w, l, 50_000)
		k.whole = c.whole
		for flow := range uint32(4) {
			newTCP(k, 100+flow, true, 43).start()
		}
		took := ping(k, 1, 97*ms, 5*sec)
		w.run(5 * sec)
		if worst := slices.Max(*took); worst > c.most || len(*took) < 50 {
			t.Errorf("%+v: %d pings, the slowest took %v", c, len(*took), worst)
		}
		if p := percent(k.bytes(0, 5*time.Second), l, 5*time.Second); p < 93 {
			t.Errorf("%+v: it was not saturated: %.1f %%", c, p)
		}
	}
}

func TestFloodOfOneFlowCostsNoOtherAFrame(t *testing.T) {
	l := mustParse("10Mb/s")
	w := &world{}
	k := newLink(w, l, 0)
	udp(k, 1, 64, 10*l.BytesPerSecond(), 5*sec)
	took := ping(k, 2, 5*ms, 5*sec)
	w.run(5 * sec)
	if worst := slices.Max(*took); worst > 5*time.Millisecond {
		t.Errorf("beside a flood of short frames a ping takes %v", worst)
	}
}

func TestBurstAfterTwoIdleSeconds(t *testing.T) {
	for _, bytes := range []int{64, 1514, 65_000} {
		l := mustParse("10Mb/s")
		w := &world{}
		k := newLink(w, l, 0)
		udp(k, 1, bytes, 3*l.BytesPerSecond(), sec)
		w.run(3 * sec)
		before := k.bytes(0, time.Hour)
		for range 200_000 / bytes {
			k.send(&packet{flow: 1, bytes: bytes, arrive: func() {}})
		}
		if burst := k.bytes(0, time.Hour) - before; burst > int(l.Credit())+bytes {
			t.Errorf("frames of %d: a burst of %d bytes, the credit is %d", bytes, burst, l.Credit())
		}
	}
}

func TestChangeIsInForceWithin100ms(t *testing.T) {
	for _, gso := range []int{1, 43} {
		fast, slow := mustParse("100Mb/s"), mustParse("10Mb/s")
		w := &world{}
		k := newLink(w, fast, ms/2)
		conn := newTCP(k, 1, true, gso).start()
		w.run(5 * sec)
		k.setLimit(slow)
		w.run(15 * sec)
		if p := percent(k.bytes(5100*time.Millisecond, 5600*time.Millisecond), slow, 500*time.Millisecond); p > 105 {
			t.Errorf("gso %d: %.1f %% of the new rate after 100 ms", gso, p)
		}
		if p := percent(k.bytes(6*time.Second, 15*time.Second), slow, 9*time.Second); p < 93 {
			t.Errorf("gso %d: %.1f %% of the new rate", gso, p)
		}
		k.setLimit(Limit{})
		w.run(15*sec + 200*ms)
		k.setLimit(fast)
		w.run(20 * sec)
		if p := percent(k.bytes(16*time.Second, 20*time.Second), fast, 4*time.Second); p < 93 || conn.timeouts > 0 {
			t.Errorf("gso %d: %.1f %% of the old rate, %d timeouts", gso, p, conn.timeouts)
		}
	}
}

// TestFlowsShareAlike: a connection that began late, or has a longer way, or
// sends longer frames, gets as much as the others.
func TestFlowsShareAlike(t *testing.T) {
	l := mustParse("50Mb/s")
	w := &world{}
	k := newLink(w, l, ms)
	var conns []*tcp
	for n, gso := range []int{1, 43, 1, 43} {
		conns = append(conns, newTCP(k, uint32(n), n < 2, gso).start())
	}
	w.run(10 * sec)
	for n, c := range conns {
		if p := percent(c.arrivals*segmentBytes, l, 10*time.Second); p < 22 || p > 28 {
			t.Errorf("connection %d of four: %.1f %%", n, p)
		}
	}
}

func ExampleLimit() {
	l, _ := ParseLimit("100Mb/s@20ms")
	fmt.Println(l.Credit(), l.Interval())
	_, err := ParseLimit("100Mbps")
	fmt.Println(err)
	// Output:
	// 250000 20ms
	// "100Mbps" is not a rate: at 6: want /s, not "ps"
}

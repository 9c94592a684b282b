package behaviour

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// rates is a network whose guest 1 has limits from and to it.
//
//	g1--p1 limited--+-- vault
//	g2--p2----------+
func rates(from, to string) string {
	text := "[network.vault]\nmode = \"isolated\"\n[[port]]\nname = \"p1\"\nnetwork = \"vault\"\n"
	for _, r := range [][2]string{{"rate_from", from}, {"rate_to", to}} {
		if r[1] != "" {
			text += fmt.Sprintf("%s = %q\n", r[0], r[1])
		}
	}
	return text + "[[port]]\nname = \"p*\"\nnetwork = \"vault\"\n"
}

const mbit = 1_000_000

// Three times what may pass is sent, and what passes is the rate: within 1 % in
// ten seconds and 5 % in each one. All four go on at once.
//
//	g1--p1 10 from, 100 to--+
//	g2--p2------------------+-- vault
//	g3--p3 100 from, 10 to--+
//	g4--p4------------------+
func TestRateIsKept(t *testing.T) { bothEnginesAlone(t, testRateIsKept) }
func testRateIsKept(t *testing.T, engine string) {
	l := newLab(t, engine)
	guests := map[int]*testnet.NS{}
	for i := 1; i <= 4; i++ {
		guests[i] = l.guest(i)
	}
	l.start(rates("10Mb/s", "100Mb/s"))
	l.must("port", "set", "p3", "--rate-from", "100Mb/s", "--rate-to", "10Mb/s")
	talk(t, guests[1], guestIP(2))
	talk(t, guests[3], guestIP(4))
	cases := []*struct {
		name          string
		from, to      int
		payload, rate int
		flow          *flow
	}{
		{name: "10 Mb/s from", from: 1, to: 2, payload: 1000, rate: 10 * mbit},
		{name: "100 Mb/s to", from: 2, to: 1, payload: 1472, rate: 100 * mbit},
		{name: "100 Mb/s from", from: 3, to: 4, payload: 1472, rate: 100 * mbit},
		{name: "10 Mb/s to", from: 4, to: 3, payload: 1472, rate: 10 * mbit},
	}
	for _, c := range cases {
		c.flow = newFlow(t, guests[c.from], guests[c.to], guestIP(c.to))
		c.flow.send(c.payload, 3*c.rate)
	}
	const whole = 10 * time.Second
	var start time.Time
	nettest.Wait(t, "all flows to be at their rates", func() (bool, error) {
		for _, c := range cases { // past the credit of the beginning
			if all := c.flow.all(); len(all) == 0 || time.Since(all[0].at) < 300*time.Millisecond {
				return false, nil
			}
		}
		start = time.Now()
		return true, nil
	})
	<-time.After(whole) // a rate takes its time
	for _, c := range cases {
		judge := func(from time.Time, d time.Duration, percent float64) {
			got := float64(c.flow.got(from, from.Add(d)))
			want := float64(c.rate) / 8 * d.Seconds()
			lost := float64(c.rate) / 8 * c.flow.stalled(from, from.Add(d)).Seconds()
			if low, high := want*(1-percent/100)-lost, want*(1+percent/100)+1514; got < low || got > high {
				t.Errorf("%s: %.3f Mb/s in %v, want within %.0f %% (%v stalled)", c.name, got*8/mbit/d.Seconds(), d, percent, c.flow.stalled(from, from.Add(d)))
			}
		}
		judge(start, whole, 1)
		for at := start; at.Before(start.Add(whole - time.Second + time.Millisecond)); at = at.Add(250 * time.Millisecond) {
			judge(at, time.Second, 5)
		}
		t.Logf("%s: %.3f Mb/s over %v, %v stalled", c.name, float64(c.flow.got(start, start.Add(whole)))*8/mbit/whole.Seconds(), whole, c.flow.stalled(start, start.Add(whole)))
	}

	// What the port says of it, as JSON and as text.
	c := cases[0]
	c.flow.end()
	p := l.port("p1")
	if p.RateFrom != "10Mb/s" || p.RateTo != "100Mb/s" || p.RateFromBy != "gxswitch" || p.ShaperFrom == nil || p.ShaperTo == nil {
		t.Fatalf("port list: %+v", p)
	}
	s := p.ShaperFrom
	if s.CreditBytes != 62500 || s.IntervalUS != 50000 || s.DroppedPackets == 0 || s.DroppedBytes == 0 || s.ThrottledMS < whole.Milliseconds()/2 {
		t.Errorf("shaper from: %+v", *s)
	}
	nettest.Wait(t, "the queue to be empty", func() (bool, error) {
		s := l.port("p1").ShaperFrom
		return s.QueuedPackets == 0 && s.QueuedBytes == 0, nil
	})
	st := l.stats("p1")
	if st.Drops["rate"] == 0 || st.RxPackets != st.Forwarded+st.Flooded+st.Consumed+st.RxDropped {
		t.Errorf("counters: %+v", st)
	}
	if text := l.must("port", "show", "p1"); !regexp.MustCompile(`(?m)^rate_from:? +10Mb/s \(62500 bytes each 50ms; passed \d+ packets, \d+ bytes; dropped \d+, `).MatchString(text) {
		t.Errorf("port show:\n%s", text)
	}
}

// iperf is the rate at which a TCP receiver gets its bytes, in bits a second,
// the first second left out.
func iperf(t *testing.T, from, to *testnet.NS, ip string, more ...string) float64 {
	t.Helper()
	end := iperfServer(t, to, ip)
	out := mustRun(t, from, append([]string{"iperf3", "-c", ip, "-J", "-O", "1", "-t", "2"}, more...)...)
	end()
	var result struct {
		End struct {
			SumReceived struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return result.End.SumReceived.BitsPerSecond
}

// iperfServer waits for one client; end is to be called when that is through.
func iperfServer(t *testing.T, to *testnet.NS, ip string) (end func()) {
	t.Helper()
	server := to.Command(t.Context(), "iperf3", "-s", "-1", "-B", ip, "--forceflush")
	log, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	for text := ""; !strings.Contains(text, "listening"); {
		n, err := log.Read(b)
		if err != nil {
			t.Fatalf("iperf3 -s: %v: %s", err, text)
		}
		text += string(b[:n])
	}
	go func() {
		for {
			if _, err := log.Read(b); err != nil {
				return
			}
		}
	}()
	return func() { _ = server.Wait() }
}

// TCP comes to what the rate leaves it after headers, and super-frames pass a
// rate that is less than one of them a second. Both directions go on at once.
//
//	g1--p1 from--+         +--to p3--g3
//	g2--p2-------+- vault -+-----p4--g4
func TestTCPUnderARate(t *testing.T) { bothEnginesAlone(t, testTCPUnderARate) }
func testTCPUnderARate(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2, g3, g4 := l.guest(1), l.guest(2), l.guest(3), l.guest(4)
	l.start(rates("100Mb/s", "100Mb/s"))
	l.must("port", "set", "p3", "--rate-from", "100Mb/s", "--rate-to", "100Mb/s")
	for _, c := range []struct {
		name     string
		from, to *testnet.NS
		ip, port string
	}{{"from", g1, g2, guestIP(2), "p1"}, {"to", g4, g3, guestIP(3), "p3"}} {
		t.Run(c.name, func(t *testing.T) { // beside the other
			t.Parallel()
			got := iperf(t, c.from, c.to, c.ip)
			t.Logf("TCP at %.2f Mb/s", got/mbit)
			if got < 93*mbit || got > 100*mbit {
				t.Errorf("TCP at %.2f Mb/s, want 93 to 100", got/mbit)
			}
			l.must("port", "set", c.port, "--rate-from", "1Mb/s", "--rate-to", "1Mb/s")
			start := time.Now()
			sendFile(t, c.from, c.to, c.ip, 100_000)
			// 0.8 s at the rate, 50 ms less for the credit, more for TCP's beginning.
			if d := time.Since(start); d < 700*time.Millisecond || d > 2*time.Second {
				t.Errorf("100 kB at 1 Mb/s took %v", d)
			}
		})
	}
}

var rtt = regexp.MustCompile(`= [\d.]+/[\d.]+/([\d.]+)/`)

// A ping finds its way past a queue that is full.
func TestPingThroughASaturatedPort(t *testing.T) { bothEnginesAlone(t, testPingThroughASaturatedPort) }
func testPingThroughASaturatedPort(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	l.start(rates("10Mb/s", "10Mb/s"))
	talk(t, g1, guestIP(2))
	for _, c := range []struct {
		name     string
		from, to *testnet.NS
		ip       string
	}{{"from", g1, g2, guestIP(2)}, {"to", g2, g1, guestIP(1)}} {
		f := newFlow(t, c.from, c.to, c.ip)
		f.send(1472, 30*mbit)
		nettest.Wait(t, "the queue to be full", func() (bool, error) { return l.stats("p1").Drops["rate"] > 0, nil })
		out, _ := run(t, g1, "ping", "-n", "-q", "-c", "50", "-i", "0.01", "-W", "1", guestIP(2))
		f.end()
		m := rtt.FindStringSubmatch(out)
		if m == nil || !strings.Contains(out, " 50 received") {
			t.Fatalf("rate_%s: %s", c.name, out)
		}
		if worst, _ := strconv.ParseFloat(m[1], 64); worst > 60 {
			t.Errorf("rate_%s: the slowest ping took %v ms, want 60 at most", c.name, worst)
		}
		t.Logf("rate_%s: slowest ping %s ms", c.name, m[1])
	}
}

// After a pause what the interval is worth passes at once, and no more.
func TestBurstAfterAPause(t *testing.T) { bothEnginesAlone(t, testBurstAfterAPause) }
func testBurstAfterAPause(t *testing.T, engine string) {
	const payload, credit = 1472, 62_500 // 10 Mb/s in 50 ms
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	l.start(rates("10Mb/s", ""))
	talk(t, g1, guestIP(2))
	best := time.Hour
	for range 5 {
		f, before := newFlow(t, g1, g2, guestIP(2)), l.stats("p1").Drops["rate"]
		<-time.After(100 * time.Millisecond) // twice what fills the credit
		const frames, first = 2 * credit / (payload + headers), credit / (payload + headers)
		f.burst(payload, frames)
		nettest.Wait(t, "the burst to pass", func() (bool, error) {
			lost := l.stats("p1").Drops["rate"] - before // where the machine kept the queue waiting
			return len(f.all())+int(lost) == frames, nil
		})
		all := f.all()
		f.end()
		best = min(best, all[first-1].at.Sub(all[0].at))
		// The rest of it takes its time, but for a moment that stamps are late.
		rest := time.Duration((len(all)-1)*(payload+headers)-credit) * 8 * time.Second / (10 * mbit)
		if d := all[len(all)-1].at.Sub(all[0].at); d < rest-5*time.Millisecond {
			t.Errorf("%d frames passed in %v, and their rate is %v", len(all), d, rest)
		}
	}
	if best > 20*time.Millisecond {
		t.Errorf("the credit passed in %v, want at once", best)
	}
}

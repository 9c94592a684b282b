package behaviour

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// stream is a TCP connection that always has something to send.
type stream struct {
	got   atomic.Int64 // bytes, of payload
	ended atomic.Bool
}

func newStream(t *testing.T, from, to *testnet.NS, ip string) *stream {
	t.Helper()
	out, in := connect(t, from, to, ip)
	s := &stream{}
	done := make(chan struct{}, 2)
	go func() {
		for b := make([]byte, 1<<16); ; {
			if _, err := out.Write(b); err != nil {
				break
			}
		}
		s.ended.Store(true)
		done <- struct{}{}
	}()
	go func() {
		for b := make([]byte, 1<<16); ; {
			n, err := in.Read(b)
			s.got.Add(int64(n))
			if err != nil {
				break
			}
		}
		s.ended.Store(true)
		_, _ = io.Copy(io.Discard, in)
		done <- struct{}{}
	}()
	t.Cleanup(func() {
		out.Close()
		in.Close()
		<-done
		<-done
	})
	return s
}

// rate is what arrives from now on, in bits a second.
func (s *stream) rate(d time.Duration) float64 {
	before, start := s.got.Load(), time.Now()
	<-time.After(d)
	return float64(s.got.Load()-before) * 8 / time.Since(start).Seconds()
}

// await waits until the rate is within bounds, in bits a second.
func (s *stream) await(t *testing.T, what string, low, high float64) {
	t.Helper()
	last := 0.0
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: at last %.2f Mb/s", what, last/mbit)
		}
	})
	nettest.Wait(t, what, func() (bool, error) {
		last = s.rate(300 * time.Millisecond)
		return last >= low && last <= high, nil
	})
}

// A limit holds soon after it is set, and the connection does not notice
// more than that.
func TestRateChangesUnderTraffic(t *testing.T) { bothEnginesAlone(t, testRateChangesUnderTraffic) }
func testRateChangesUnderTraffic(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	l.start(rates("100Mb/s", ""))
	s := newStream(t, g1, g2, guestIP(2))
	s.await(t, "100 Mb/s", 80*mbit, 105*mbit)
	// What leaves by p2 in the next second, in bits. What the receiver reads says
	// less: TCP holds back what came before, behind a lost segment.
	passes := func() float64 {
		before, start := l.stats("p2").TxBytes, time.Now()
		<-time.After(time.Second)
		return float64(l.stats("p2").TxBytes-before) * 8 / time.Since(start).Seconds()
	}
	l.must("port", "set", "p1", "--rate-from", "10Mb/s")
	if got := passes(); got > 11*mbit || got < 5*mbit {
		t.Errorf("%.2f Mb/s in the second after 100 became 10", got/mbit)
	}
	l.must("port", "set", "p1", "--rate-from", "none")
	s.await(t, "no limit", 200*mbit, 1e12)
	l.must("port", "set", "p1", "--rate-to", "50Mb/s") // the other way: ACKs alone
	s.await(t, "no limit this way", 200*mbit, 1e12)
	l.must("port", "set", "p2", "--rate-to", "50Mb/s")
	if got := passes(); got > 55*mbit || got < 25*mbit {
		t.Errorf("%.2f Mb/s in the second after 50 was set", got/mbit)
	}
	if s.ended.Load() {
		t.Error("the connection has ended")
	}
	if p := l.port("p1"); p.RateFrom != "" || p.ShaperFrom != nil || p.RateTo != "50Mb/s" {
		t.Errorf("port list: %+v", p)
	}
}

// All guests together have a rate out of their network and one into it.
//
//	g1--p1--+-- xenbr0 --eth0-- outside
//	g2--p2--+
func TestRateOfAnUplink(t *testing.T) { bothEnginesAlone(t, testRateOfAnUplink) }
func testRateOfAnUplink(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	outside := nettest.Namespace(t, l.net, "outside")
	mustRun(t, l.host, "ip", "link", "add", "eth0", "up", "type", "veth", "peer", "name", "eth0", "netns", outside.Name)
	mustRun(t, outside, "ip", "addr", "add", "10.9.0.200/24", "dev", "eth0")
	mustRun(t, outside, "ip", "link", "set", "eth0", "up")
	l.start("[network.xenbr0]\nmode = \"bridged\"\nuplink = \"eth0\"\nrate_up = \"10Mb/s\"\nrate_down = \"20Mb/s\"\n[[port]]\nname = \"p*\"\nnetwork = \"xenbr0\"\n")
	talk(t, g1, "10.9.0.200")
	talk(t, g2, "10.9.0.200")
	measure := func(d time.Duration, flows ...*flow) float64 {
		from := time.Now()
		<-time.After(d)
		to := time.Now()
		bytes := 0
		for _, f := range flows {
			bytes += f.got(from, to)
		}
		return float64(bytes) * 8 / to.Sub(from).Seconds()
	}
	up := []*flow{newFlow(t, g1, outside, "10.9.0.200"), newFlow(t, g2, outside, "10.9.0.200")}
	down := []*flow{newFlow(t, outside, g1, guestIP(1)), newFlow(t, outside, g2, guestIP(2))}
	for i := range up {
		up[i].send(1472, 15*mbit)
		down[i].send(1472, 30*mbit)
	}
	nettest.Wait(t, "both directions to be full", func() (bool, error) {
		p := l.port("eth0")
		return p.ShaperFrom != nil && p.ShaperTo != nil && p.ShaperFrom.DroppedPackets > 0 && p.ShaperTo.DroppedPackets > 0, nil
	})
	results := make(chan float64)
	go func() { results <- measure(2*time.Second, up...) }()
	if got := measure(2*time.Second, down...); got < 18.5*mbit || got > 21*mbit {
		t.Errorf("down: %.2f Mb/s, want 20", got/mbit)
	}
	if got := <-results; got < 9.2*mbit || got > 10.6*mbit {
		t.Errorf("up: %.2f Mb/s, want 10", got/mbit)
	}
	for i, f := range up { // none of them starves
		if all := f.all(); len(all) < 100 {
			t.Errorf("guest %d got %d datagrams out", i+1, len(all))
		}
	}
	if p := l.port("eth0"); p.RateTo != "10Mb/s" || p.RateFrom != "20Mb/s" {
		t.Errorf("port list: %+v", p)
	}

	// Another rate, and none.
	l.must("network", "set", "xenbr0", "--rate-up", "20Mb/s")
	nettest.Wait(t, "the new rate", func() (bool, error) {
		got := measure(300*time.Millisecond, up...)
		return got > 17*mbit && got < 23*mbit, nil
	})
	l.must("network", "set", "xenbr0", "--rate-up", "none")
	nettest.Wait(t, "all that is sent to arrive", func() (bool, error) { return measure(300*time.Millisecond, up...) > 27*mbit, nil })

	// Among themselves they had none all the while.
	s := newStream(t, g1, g2, guestIP(2))
	s.await(t, "guests without a limit", 50*mbit, 1e12)
}

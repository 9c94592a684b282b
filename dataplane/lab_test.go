package dataplane

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a switch whose ports are memory.
type lab struct {
	t     testing.TB
	sw    *Switch
	ports map[string]*ports.Memory // by the first port of the interface, as sent is
	sent  map[string]uint64        // wire frames that were injected
	of    map[string]string        // by port: the first one of its interface
}

// newLab starts a switch with a network "n" and the guest ports named, all in
// it. A burst of frames of one port is handled in order.
func newLab(t testing.TB, guests ...string) *lab {
	t.Helper()
	l := &lab{t: t, ports: map[string]*ports.Memory{}, sent: map[string]uint64{}, of: map[string]string{}}
	var err error
	if l.sw, err = New(Options{Workers: 2, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.sw.Close(); err != nil {
			t.Error(err)
		}
	})
	l.network(NetworkConfig{Name: "n"})
	for _, name := range guests {
		l.attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true})
	}
	return l
}

func (l *lab) network(cfg NetworkConfig) {
	l.t.Helper()
	if err := l.sw.AddNetwork(cfg); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) attach(cfg PortConfig) {
	l.t.Helper()
	m, err := ports.NewMemory()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.sw.Attach(cfg, m); err != nil {
		l.t.Fatal(err)
	}
	l.ports[cfg.Name], l.sent[cfg.Name], l.of[cfg.Name] = m, 0, cfg.Name
}

// share makes the interface of a port a port of another network too.
func (l *lab) share(cfg PortConfig, of string) {
	l.t.Helper()
	if err := l.sw.Share(cfg, of); err != nil {
		l.t.Fatal(err)
	}
	l.of[cfg.Name] = of
}

func (l *lab) update(port string, change func(*PortConfig)) {
	l.t.Helper()
	if err := l.sw.Update(port, change); err != nil {
		l.t.Fatal(err)
	}
}

// inject makes a frame arrive. n is how many frames of the wire it is.
func (l *lab) inject(port string, vnet, data []byte, n int) {
	l.ports[port].Inject(vnet, data)
	l.sent[port] += uint64(n)
}

// settle waits until the switch is done with all that was injected.
func (l *lab) settle() {
	l.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		received, waiting := map[string]uint64{}, ""
		for _, st := range l.sw.PortStats() {
			received[l.of[st.Name]] += st.RxPackets
		}
		for name, n := range l.sent {
			if _, there := received[name]; there && received[name] != n {
				waiting = name
			}
		}
		if waiting == "" {
			break
		}
		if time.Now().After(end) {
			l.t.Fatalf("port %s: of %d frames %d were received", waiting, l.sent[waiting], received[waiting])
		}
		runtime.Gosched()
	}
	// They are counted; now the batches that they came in end.
	for _, w := range l.sw.workers {
		w.call(func() {})
	}
}

func (l *lab) stats(port string) PortStats {
	l.t.Helper()
	for _, st := range l.sw.PortStats() {
		if st.Name == port {
			return st
		}
	}
	l.t.Fatalf("no counters of port %s", port)
	return PortStats{}
}

// send injects one frame, hex from the destination MAC on, and waits.
func (l *lab) send(port, data string) {
	l.t.Helper()
	l.inject(port, nil, unhex(l.t, data), 1)
	l.settle()
}

// expect wants the one frame at exactly these ports, once each, and nothing
// else anywhere.
func (l *lab) expect(what, data string, at ...string) {
	l.t.Helper()
	want := map[string]bool{}
	for _, p := range at {
		want[p] = true
	}
	for name, m := range l.ports {
		got := m.Sent()
		switch {
		case want[name] && len(got) != 1:
			l.t.Errorf("%s: %d frames left by %s, want 1", what, len(got), name)
		case want[name] && !bytes.Equal(got[0][frame.VNetLen:], unhex(l.t, data)):
			l.t.Errorf("%s: by %s left\n     %x\nwant %s", what, name, got[0][frame.VNetLen:], strings.ReplaceAll(data, " ", ""))
		case !want[name] && len(got) != 0:
			l.t.Errorf("%s: %d frames left by %s, want none; the first is %x", what, len(got), name, got[0][frame.VNetLen:])
		}
	}
}

// dropped wants the frame that send sends to be counted once under the reason,
// at the port it came from, and to go nowhere.
func (l *lab) dropped(what, port, data string, reason frame.DropReason) {
	l.t.Helper()
	before := l.stats(port).RxDrops
	l.send(port, data)
	after := l.stats(port).RxDrops
	before[reason]++
	if after != before {
		l.t.Errorf("%s: %v, want %v", what, reasons(after), reasons(before))
	}
	l.expect(what, "")
}

// reasons makes counters readable.
func reasons(c [frame.NumReasons]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for r, n := range c {
		if n != 0 {
			m[frame.DropReason(r).String()] = n
		}
	}
	return m
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mac(t testing.TB, s string) frame.MAC {
	t.Helper()
	return frame.MAC(unhex(t, s))
}

// checkSums wants every port's frames to be accounted for.
func (l *lab) checkSums() {
	l.t.Helper()
	for _, st := range l.sw.PortStats() {
		sum := st.Forwarded + st.Flooded + st.Consumed
		for _, n := range st.RxDrops {
			sum += n
		}
		if sum != st.RxPackets {
			l.t.Errorf("%s: %d frames in, but %d forwarded, %d flooded, %d consumed, dropped %v", st.Name, st.RxPackets,
				st.Forwarded, st.Flooded, st.Consumed, reasons(st.RxDrops))
		}
	}
}

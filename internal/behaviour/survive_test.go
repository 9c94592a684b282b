package behaviour

import (
	"encoding/json"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// sent is what iperf3 says of the sender's side.
type sent struct {
	Bits          float64 `json:"bits_per_second"`
	Bytes         float64
	Retransmitted int `json:"retransmits"`
}

// bulk is TCP for some seconds; wait returns what came of it.
func bulk(t *testing.T, from, to *testnet.NS, ip string, seconds int) (wait func() sent) {
	t.Helper()
	end, done := iperfServer(t, to, ip), make(chan string, 1)
	go func() {
		out, err := run(t, from, "iperf3", "-c", ip, "-J", "-t", strconv.Itoa(seconds))
		if err != nil {
			t.Errorf("iperf3: %v", err)
		}
		done <- out
	}()
	return func() sent {
		t.Helper()
		out := <-done
		end()
		var r struct {
			End struct {
				Sent sent `json:"sum_sent"`
			}
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return r.End.Sent
	}
}

// The daemon is killed, the next one takes over, and is restarted, under a ping a
// millisecond and TCP: nothing that was decided is lost, and no connection ends.
func TestTrafficOutlivesTheDaemon(t *testing.T) {
	l := newLab(t, "ebpf")
	g1, _, g3, g4 := l.guest(1), l.guest(2), l.guest(3), l.guest(4)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	talk(t, g3, guestIP(4))

	p := startPings(t, g1, guestIP(2), "0.001")
	flow := bulk(t, g3, g4, guestIP(4), 2)
	nettest.Wait(t, "traffic", func() (bool, error) { return l.stats("p3").Forwarded > 1000, nil })

	l.daemon.end(t, syscall.SIGKILL)
	l.start(isolated)
	if !strings.Contains(l.daemon.log.String(), "adopted") {
		t.Errorf("the next daemon adopted nothing:\n%s", l.daemon.log)
	}
	entries := len(list[[]control.FDBEntry](l, "fdb", "list"))
	if entries < 4 {
		t.Errorf("%d addresses were taken over, want those of four guests", entries)
	}
	l.daemon.end(t, syscall.SIGUSR1)
	l.start(isolated)
	p.lost(t, 0)
	if f := flow(); f.Bits < 1e8 {
		t.Errorf("TCP came to %.0f b/s", f.Bits)
	}
	talk(t, g1, guestIP(2))
}

// A normal stop, and --flush after a crash, leave nothing in the kernel; --flush
// refuses while a daemon runs.
func TestNothingStaysInTheKernel(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1 := l.guest(1)
	l.guest(2)
	flush := func() (string, error) {
		return run(t, l.host, binary, "daemon", "--flush", "--run-dir", l.path("run"))
	}
	left := func(when string) {
		t.Helper()
		if links := mustRun(t, l.host, "ip", "-o", "link"); strings.Contains(links, "gxp") {
			t.Errorf("%s: interfaces are left:\n%s", when, links)
		}
		if pins, _ := run(t, l.host, "find", l.path("run/bpf"), "-name", "gxswitch*"); pins != "" {
			t.Errorf("%s: pins are left:\n%s", when, pins)
		}
		silent(t, g1, guestIP(2))
	}
	l.start(isolated)
	talk(t, g1, guestIP(2))
	if out, err := flush(); err == nil {
		t.Errorf("flushed under a daemon that runs:\n%s", out)
	}
	talk(t, g1, guestIP(2))
	l.daemon.end(t, syscall.SIGTERM)
	left("stopped")

	l.start(isolated)
	talk(t, g1, guestIP(2))
	l.daemon.end(t, syscall.SIGKILL)
	talk(t, g1, guestIP(2))
	if out, err := flush(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	left("flushed")
}

// A daemon with the other engine ends what is left in the kernel: two may not
// forward the same frames.
func TestTheOtherEngineTakesOver(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1 := l.guest(1)
	l.guest(2)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	l.daemon.end(t, syscall.SIGKILL)
	l.engine = "afpacket"
	l.start(isolated)
	before := l.stats("p1").RxPackets
	talk(t, g1, guestIP(2))
	if n := l.stats("p1").RxPackets - before; n < 20 {
		t.Errorf("the daemon saw %d of 20 frames", n)
	}
	if links := mustRun(t, l.host, "ip", "-o", "link"); strings.Contains(links, "gxp") {
		t.Errorf("interfaces are left:\n%s", links)
	}
}

// Where the kernel refuses, ebpf is an error that says why, and auto goes without
// the engine.
func TestWithoutBPF(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	l.write("gxswitch.toml", "")
	command := func(engine string) []string { // bpf(2) wants one of the two
		return append([]string{"setpriv", "--bounding-set=-bpf,-sys_admin", "--inh-caps=-bpf,-sys_admin", binary, "daemon", "--engine", engine},
			"--config", l.path("gxswitch.toml"), "--run-dir", l.path("run"), "--state-dir", l.path("state"))
	}
	out, err := run(t, l.host, command("ebpf")...)
	if err == nil || !strings.Contains(out, "CAP_BPF") || !strings.Contains(out, "hint: --engine afpacket") {
		t.Errorf("%v: %s", err, out)
	}
	args := command("auto")
	d := l.host.Command(t.Context(), args[0], args[1:]...)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	nettest.Wait(t, "the daemon to answer", func() (bool, error) {
		_, _, code := l.cli("status")
		return code == 0, nil
	})
	if st := list[control.Status](l, "status"); st.Engine != "afpacket" {
		t.Errorf("engine %q", st.Engine)
	}
	_ = d.Process.Signal(unix.SIGTERM)
	if err := d.Wait(); err != nil {
		t.Error(err)
	}
}

// What the parts of an engine count adds up to what was sent, to the frame.
func TestEveryFrameIsCounted(t *testing.T) { bothEngines(t, testEveryFrameIsCounted) }
func testEveryFrameIsCounted(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	e, out := hear(t, g2, 2), rawSocket(t, g1, 1)
	before, to := l.stats("p1"), l.stats("p2")
	const each = 100 // both of them fit a ring
	for range each {
		out.send(t, ethernet(guestMAC(2), guestMAC(1), 0x88b5, 46))  // known: ebpf decides it in the kernel
		out.send(t, ethernet(guestMAC(77), guestMAC(1), 0x88b5, 46)) // flooded
	}
	heard := e.until(t, out)
	ours := 0
	for _, f := range heard {
		if len(f) == 60 && f[12] == 0x88 && f[13] == 0xb5 {
			ours++
		}
	}
	if ours != 2*each {
		t.Errorf("%d frames arrived, want %d", ours, 2*each)
	}
	after, got := l.stats("p1"), l.stats("p2")
	// With the sentinel, and what the guest's stack may say meanwhile.
	if n := after.RxPackets - before.RxPackets; n < 2*each+1 || n > 2*each+5 {
		t.Errorf("rx_packets %d, want %d", n, 2*each+1)
	}
	if sum := after.Forwarded + after.Flooded + after.Consumed + after.RxDropped; sum != after.RxPackets {
		t.Errorf("rx_packets %d, what became of them %d", after.RxPackets, sum)
	}
	if n := got.TxPackets - to.TxPackets; n < 2*each+1 || n > 2*each+5 {
		t.Errorf("tx_packets %d, want %d", n, 2*each+1)
	}
	if n := after.Flooded - before.Flooded; n < each || n > each+4 {
		t.Errorf("flooded %d, want %d", n, each)
	}
}

// Addresses that are forgotten under a bulk transfer cost it a detour, not a storm
// of retransmissions.
func TestTCPThroughTheTransition(t *testing.T) {
	l := newLab(t, "ebpf")
	g1, g2 := l.guest(1), l.guest(2)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	flow := bulk(t, g1, g2, guestIP(2), 3)
	nettest.Wait(t, "traffic", func() (bool, error) { return l.stats("p1").Forwarded > 1000, nil })
	const flushes = 10
	for range flushes {
		l.must("fdb", "flush", "--network", "vault")
		nettest.Wait(t, "the kernel to forward again", func() (bool, error) {
			before := l.stats("p1").Forwarded
			return l.stats("p1").Forwarded > before && len(list[[]control.FDBEntry](l, "fdb", "list")) == 2, nil
		})
	}
	f := flow()
	t.Logf("%.1f Gb/s, %d of %.0f segments sent again", f.Bits/1e9, f.Retransmitted, f.Bytes/1448)
	if float64(f.Retransmitted) > f.Bytes/1448/100 {
		t.Errorf("%d of %.0f segments were sent again", f.Retransmitted, f.Bytes/1448)
	}
}

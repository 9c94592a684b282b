package behaviour

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// session is the network's session with that remote or that external end; nil if
// there is none.
func (l *internet) session(end string) *control.Session {
	l.t.Helper()
	for _, s := range list[[]control.Session](l.lab, "nat", "list") {
		if s.Remote == end || s.External == end {
			return &s
		}
	}
	return nil
}

// converse speaks on a connection until the kernel translates it.
func (l *internet) converse(c net.Conn, end string) {
	l.t.Helper()
	nettest.Wait(l.t, "the kernel to translate "+end, func() (bool, error) {
		for range 10 {
			if _, err := say(c, "x"); err != nil {
				return false, err
			}
		}
		s := l.session(end)
		return s != nil && s.InKernel, nil
	})
}

// cut fails the test if an answer comes on a connection within a second.
func cut(t *testing.T, why string, c net.Conn) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(c, "y\n")
	b := make([]byte, 128)
	if n, err := c.Read(b); err == nil {
		t.Errorf("%s: still answered %q", why, b[:n])
	}
}

// Bulk data both ways at once through NAT in the kernel arrives whole; counters say
// what went, and the session is neither silent nor left behind.
func TestNATInTheKernel(t *testing.T) {
	t.Parallel()
	l := newMasquerade(t, "ebpf")
	l.start(masquerade)
	talk(t, l.g1, "198.51.100.7")
	const size = 64 << 20
	p1, eth0 := l.stats("p1"), l.stats("eth0")
	out, in := connect(t, l.g1, l.far, "198.51.100.7")
	var all sync.WaitGroup
	for i, ends := range [][2]net.Conn{{out, in}, {in, out}} {
		data := make([]byte, size)
		_, _ = rand.New(rand.NewSource(int64(i))).Read(data)
		all.Go(func() {
			if _, err := ends[0].Write(data); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			got := make([]byte, size)
			if _, err := io.ReadFull(ends[1], got); err != nil {
				t.Error(err)
			}
			if sha256.Sum256(got) != sha256.Sum256(data) {
				t.Errorf("direction %d: SHA-256 differs; equal %v", i, bytes.Equal(got, data))
			}
		})
	}
	all.Wait()
	remote := out.RemoteAddr().String()
	if s := l.session(remote); s == nil || !s.InKernel || s.AgeS > 2 {
		t.Errorf("the session is %+v", s)
	}
	for name, before := range map[string]control.PortStats{"p1": p1, "eth0": eth0} {
		st := l.stats(name)
		if st.RxPackets != st.Forwarded+st.Flooded+st.Consumed+st.RxDropped {
			t.Errorf("%s: counters don't add up: %+v", name, st)
		}
		rx, tx := st.RxBytes-before.RxBytes, st.TxBytes-before.TxBytes
		if rx < size || tx < size || rx > size*5/4 || tx > size*5/4 || st.RxPackets-before.RxPackets < size/1500 {
			t.Errorf("%s: %d bytes in and %d out, want a little more than %d", name, rx, tx, size)
		}
	}
	in.Close()
	out.Close()
	nettest.Wait(t, "the session to be closed", func() (bool, error) {
		s := l.session(remote)
		return s == nil || s.State == "closed" && !s.InKernel, nil
	})
}

// opened is a connection of which the kernel has taken over the session, whose
// remote end, as NAT sees it, is end.
func (l *internet) opened(from *testnet.NS, to, end string) net.Conn {
	l.t.Helper()
	c, answer, err := ask(from, "", to, "x")
	if err != nil {
		l.t.Fatalf("%s: %q, %v", to, answer, err)
	}
	l.t.Cleanup(func() { c.Close() })
	l.converse(c, end)
	return c
}

// What is decided in the kernel follows what the decision rests on.
func TestNATInTheKernelFollowsChanges(t *testing.T) {
	t.Parallel()
	l := newMasquerade(t, "ebpf")
	l.start(masquerade)
	serve(t, l.far, "198.51.100.7:7000")
	serve(t, l.g2, "10.20.0.11:80")
	goesOn := func(when string, c net.Conn) {
		t.Helper()
		if _, err := say(c, "x"); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	out := l.opened(l.g1, "198.51.100.7:7000", "198.51.100.7:7000")

	// It takes only one who hears of it: nobody else has the address.
	mustRun(t, l.router, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:99")
	mustRun(t, l.host, "ip", "neigh", "replace", "192.168.1.1", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
	goesOn("the router has another MAC", out)
	l.converse(out, "198.51.100.7:7000")

	mustRun(t, l.router, "ip", "addr", "add", "192.168.1.2/24", "dev", "eth0")
	mustRun(t, l.host, "ip", "route", "replace", "default", "via", "192.168.1.2")
	goesOn("another next hop", out)
	l.converse(out, "198.51.100.7:7000")

	in := l.opened(l.far, "192.168.1.20:8080", "192.168.1.20:8080")
	l.must("forward", "add", "--network", "nat0", "--listen", "tcp/8081", "--to", "10.20.0.11:80")
	goesOn("one more forward", in)
	l.converse(in, "192.168.1.20:8080")
	l.must("forward", "del", "--network", "nat0", "--listen", "tcp/8080")
	cut(t, "a forward that was removed", in)
	goesOn("beside a forward that was removed", out)

	l.must("port", "set", "p1", "--rate-to", "100Mb/s")
	goesOn("a limit to the guest", out)
	l.must("port", "set", "p1", "--rate-to", "none")
	l.converse(out, "198.51.100.7:7000")
	l.must("port", "del", "p1")
	cut(t, "a port that was detached", out)
	l.must("port", "add", "p1", "--network", "nat0")
	l.awaitPort("p1", "up")
	talk(t, l.g1, "198.51.100.7")

	again := l.opened(l.g1, "198.51.100.7:7000", "198.51.100.7:7000")
	l.must("nat", "flush")
	cut(t, "sessions were flushed", again)

	last := l.opened(l.g1, "198.51.100.7:7000", "198.51.100.7:7000")
	mustRun(t, l.host, "ip", "addr", "del", "192.168.1.20/24", "dev", "eth0")
	mustRun(t, l.host, "ip", "addr", "add", "192.168.1.30/24", "dev", "eth0")
	nettest.Wait(t, "NAT to have the new address", func() (bool, error) {
		return list[control.Network](l.lab, "network", "show", "nat0").NATAddress == "192.168.1.30", nil
	})
	cut(t, "another address outside", last)
}

// What the kernel translates goes on while the daemon is killed, and with the next
// one.
func TestNATInTheKernelOutlivesTheDaemon(t *testing.T) {
	l := newMasquerade(t, "ebpf")
	d := l.start(masquerade)
	serve(t, l.far, "198.51.100.7:7000")
	c, first, err := ask(l.g1, "", "198.51.100.7:7000", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	flow := bulk(t, l.g1, l.far, "198.51.100.7", 6)
	l.converse(c, "198.51.100.7:7000")
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR1} {
		nettest.Wait(t, "the sessions to be written", func() (bool, error) {
			b, _ := os.ReadFile(l.path("state/nat-nat0.json"))
			return strings.Count(string(b), `"State":"established"`) >= 3, nil // iperf3 has two
		})
		d.end(t, sig)
		for range 10 {
			if again, err := say(c, "x"); err != nil || again != first {
				t.Fatalf("after %v, without a daemon: %q, %v, want %q", sig, again, err, first)
			}
		}
		d = l.start(masquerade)
		l.converse(c, "198.51.100.7:7000")
	}
	if f := flow(); f.Bits < 1e8 {
		t.Errorf("TCP came to %.0f b/s", f.Bits)
	}
}

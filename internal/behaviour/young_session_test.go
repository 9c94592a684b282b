package behaviour

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// young is a NAT network with a connection out, one in by a forward, and datagrams,
// which the kernel translates, and which no file has heard of.
type young struct {
	*internet
	out, in, datagrams net.Conn
	file               string // of sessions, as it was before them
	kept               []byte
}

func newYoung(t *testing.T) *young {
	l := &young{internet: newMasquerade(t, "ebpf")}
	l.start(masquerade)
	l.file = l.path("state/nat-nat0.json")
	l.kept, _ = os.ReadFile(l.file)
	serve(t, l.far, "198.51.100.7:7000")
	serve(t, l.g2, "10.20.0.11:80")
	serveDatagrams(t, l.far, "198.51.100.7:7001")
	l.out = l.opened(l.g1, "198.51.100.7:7000", "198.51.100.7:7000")
	l.in = l.opened(l.far, "192.168.1.20:8080", "192.168.1.20:8080")
	l.datagrams = l.dial("198.51.100.7:7001")
	l.converse(l.datagrams, "198.51.100.7:7001")
	return l
}

// dial is a UDP socket of guest 1's.
func (l *young) dial(to string) (c net.Conn) {
	l.t.Helper()
	in(l.t, l.g1, func() (err error) {
		c, err = net.Dial("udp4", to)
		return err
	})
	l.t.Cleanup(func() { c.Close() })
	return c
}

// kill ends the daemon as if it had not come to write down any of the sessions.
func (l *young) kill() {
	l.t.Helper()
	l.daemon.end(l.t, syscall.SIGKILL)
	if l.kept == nil {
		_ = os.Remove(l.file)
	} else if err := os.WriteFile(l.file, l.kept, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// externals are where remotes take the guest to be, by session.
func (l *young) externals() map[string]string {
	l.t.Helper()
	is := map[string]string{}
	for _, s := range list[[]control.Session](l.lab, "nat", "list") {
		is[fmt.Sprintf("%s %s to %s, forward %v, %s", s.Proto, s.Guest, s.Remote, s.Forward, s.State)] = s.External
	}
	return is
}

// serveDatagrams is serve for UDP.
func serveDatagrams(t *testing.T, ns *testnet.NS, addr string) {
	t.Helper()
	var pc net.PacketConn
	in(t, ns, func() (err error) {
		pc, err = (&net.ListenConfig{}).ListenPacket(context.Background(), "udp4", addr)
		return err
	})
	var all sync.WaitGroup
	all.Go(func() {
		b := make([]byte, 64)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(fmt.Appendf(nil, "%s from %s\n", strings.TrimSpace(string(b[:n])), from), from)
		}
	})
	t.Cleanup(func() { pc.Close(); all.Wait() })
}

// Sessions that the kernel translates outlive a daemon that is killed before it has
// written them down, and one that is restarted, with their external ports, and no
// frame of theirs is lost. A ping finds the external identifier that it had.
func TestYoungSessionsOutliveTheDaemon(t *testing.T) {
	l := newYoung(t)
	echo := func() {
		t.Helper()
		if r, _ := ping(t, l.g1, "198.51.100.7", 3, "-e", "7"); r != 3 {
			t.Errorf("%d of 3 pings came back", r)
		}
	}
	echo()
	before := l.externals()
	if len(before) != 4 { // of TCP two
		t.Fatalf("sessions are %v", before)
	}
	serveDatagrams(t, l.far, "198.51.100.7:7002")
	steady := l.dial("198.51.100.7:7002")
	l.converse(steady, "198.51.100.7:7002")
	stop, said := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				said <- nil
				return
			default:
			}
			// A datagram is not sent again: one that is lost has no answer.
			if a, err := say(steady, fmt.Sprint(n)); err != nil || !strings.HasPrefix(a, fmt.Sprint(n, " ")) {
				said <- fmt.Errorf("datagram %d: %q, %w", n, a, err)
				return
			}
		}
	}()

	l.kill()
	goesOn := func(when string) {
		t.Helper()
		for name, c := range map[string]net.Conn{"TCP": l.out, "TCP by a forward": l.in, "UDP": l.datagrams} {
			for range 20 {
				if _, err := say(c, "x"); err != nil {
					t.Fatalf("%s, %s: %v", when, name, err)
				}
			}
		}
	}
	goesOn("without a daemon")
	l.start(masquerade)
	goesOn("with the next")
	l.daemon.end(t, syscall.SIGUSR1)
	goesOn("without a daemon that was restarted")
	l.start(masquerade)
	goesOn("with the third")
	echo()
	close(stop)
	if err := <-said; err != nil {
		t.Error(err)
	}
	after := l.externals()
	for session, external := range before {
		if after[session] != external {
			t.Errorf("%s was %s outside, is %q; of %v", session, external, after[session], after)
		}
	}
	for _, c := range []net.Conn{l.out, l.datagrams} {
		l.converse(c, c.RemoteAddr().String())
	}
}

// What the present configuration has no place for is not restored, though the kernel
// has it.
func TestYoungSessionsThatAreNotWanted(t *testing.T) {
	l := newYoung(t)
	l.kill()
	l.start(`
[network.vault]
mode = "isolated"
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[[port]]
name = "p1"
network = "vault"
[[port]]
name = "p2"
network = "nat0"
`)
	if all := l.externals(); len(all) != 0 {
		t.Errorf("without the forward, and with guest 1 in another network, there are %v", all)
	}
	cut(t, "the guest is in another network", l.out)
	cut(t, "the forward is no more", l.in)
	l.kill()
	l.start(masquerade)
	if r, _ := ping(t, l.g1, "198.51.100.7", 3); r != 3 {
		t.Errorf("%d of 3 pings came back", r)
	}
	for session := range l.externals() {
		if !strings.HasPrefix(session, "icmp") {
			t.Errorf("restored, two daemons later: %s", session)
		}
	}
	nettest.Wait(t, "a new connection", func() (bool, error) {
		c, _, err := ask(l.g1, "", "198.51.100.7:7000", "x")
		if err == nil {
			err = c.Close()
		}
		return err == nil, nil
	})
}

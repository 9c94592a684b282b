package behaviour

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// internet is what is outside of a host with a gateway:
//
//	g1, g2 ── host [eth0 192.168.1.20]──[.1 eth0] router [eth1 198.51.100.1]──[eth0 .7] far
type internet struct {
	*lab
	g1, g2, router, far *testnet.NS
}

// newInternet makes it. Guests have the addresses given, and via for their gateway.
func newInternet(t *testing.T, engine, ip1, ip2, via string) *internet {
	l := &internet{lab: newLab(t, engine)}
	l.g1, l.g2 = l.guest(1), l.guest(2)
	l.connect()
	for g, ip := range map[*testnet.NS]string{l.g1: ip1, l.g2: ip2} {
		mustRun(t, g, "ip", "addr", "flush", "dev", "eth0")
		mustRun(t, g, "ip", "addr", "add", ip, "dev", "eth0")
		mustRun(t, g, "ip", "route", "add", "default", "via", via)
	}
	return l
}

// connect makes all that is on the host's eth0.
func (l *internet) connect() {
	t := l.t
	t.Helper()
	l.router, l.far = nettest.Namespace(t, l.net, "router"), nettest.Namespace(t, l.net, "far")
	mustRun(t, l.host, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", l.router.Name)
	mustRun(t, l.router, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", l.far.Name)
	for _, a := range []struct {
		ns        *testnet.NS
		dev, addr string
	}{
		{l.host, "eth0", "192.168.1.20/24"}, {l.router, "eth0", "192.168.1.1/24"}, {l.router, "eth1", "198.51.100.1/24"},
		{l.far, "eth0", "198.51.100.7/24"},
	} {
		mustRun(t, a.ns, "ip", "link", "set", a.dev, "up")
		mustRun(t, a.ns, "ip", "addr", "add", a.addr, "dev", a.dev)
	}
	awaitOperational(t, l.host, "eth0")
	awaitOperational(t, l.router, "eth0")
	awaitOperational(t, l.router, "eth1")
	awaitOperational(t, l.far, "eth0")
	mustRun(t, l.far, "ip", "route", "add", "default", "via", "198.51.100.1")
	mustRun(t, l.host, "ip", "route", "add", "default", "via", "192.168.1.1")
	if err := l.router.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
}

const suse = `
[network.dmz]
mode = "routed"
uplink = "eth0"
[[port]]
name = "p1"
network = "dmz"
ip = ["192.168.1.21"]
[[port]]
name = "p2"
network = "dmz"
ip = ["192.168.1.22"]
`

// Guests in the LAN's own subnet behind a host that answers for them: the network
// needs no address of its own. It is the same whether the host forwards or not.
func TestRoutedWithoutAddress(t *testing.T) { bothEngines(t, testRoutedWithoutAddress) }
func testRoutedWithoutAddress(t *testing.T, engine string) {
	for _, forward := range []string{"0", "1"} {
		t.Run("ip_forward="+forward, func(t *testing.T) {
			t.Parallel()
			l := newInternet(t, engine, "192.168.1.21/24", "192.168.1.22/24", "192.168.1.20")
			if err := l.host.Sysctl("net.ipv4.ip_forward", forward); err != nil {
				t.Fatal(err)
			}
			before := footprint(t, l.host)
			routes := mustRun(t, l.host, "ip", "-4", "route", "show", "table", "all")
			d := l.start(suse)
			for _, to := range []string{"192.168.1.20", "192.168.1.1", "198.51.100.7", "192.168.1.22"} {
				talk(t, l.g1, to)
			}
			for _, from := range []*testnet.NS{l.host, l.router, l.far, l.g2} {
				talk(t, from, "192.168.1.21")
			}
			if out := mustRun(t, l.far, "ping", "-n", "-c", "1", "192.168.1.21"); !strings.Contains(out, "ttl=62") {
				t.Errorf("not two hops away:\n%s", out)
			}
			if out, _ := run(t, l.g1, "ping", "-n", "-c", "1", "-t", "1", "198.51.100.7"); !strings.Contains(out, "From 192.168.1.20 icmp_seq=1 Time to live exceeded") {
				t.Errorf("TTL 1:\n%s", out)
			}
			out, _ := run(t, l.g1, "ping", "-n", "-c", "1", "-W", "6", "192.168.1.99")
			if !strings.Contains(out, "Destination Host Unreachable") {
				t.Errorf("nobody has that address:\n%s", out)
			}
			if out := mustRun(t, l.router, "arping", "-c", "2", "-I", "eth0", "192.168.1.21"); !strings.Contains(out, "Received 2 response") {
				t.Errorf("one answer for each request:\n%s", out)
			}

			l.must("port", "set", "p2", "--ip", "192.168.1.23")
			mustRun(t, l.g2, "ip", "addr", "add", "192.168.1.23/24", "dev", "eth0")
			nettest.Wait(t, "the new address to be routed", func() (bool, error) {
				out, err := run(t, l.host, "ip", "route", "show", "dev", "dmz")
				return strings.Contains(out, "192.168.1.23") && !strings.Contains(out, "192.168.1.22"), err
			})
			talk(t, l.router, "192.168.1.23")
			d.end(t, syscall.SIGTERM)
			if after := footprint(t, l.host); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			if after := mustRun(t, l.host, "ip", "-4", "route", "show", "table", "all"); after != routes {
				t.Errorf("routes before:\n%s\nafter:\n%s", routes, after)
			}
		})
	}
}

// A subnet of the guests' own, which the router has a route to.
func TestRoutedSubnet(t *testing.T) { bothEngines(t, testRoutedSubnet) }
func testRoutedSubnet(t *testing.T, engine string) {
	l := newInternet(t, engine, "203.0.113.18/28", "203.0.113.19/28", "203.0.113.17")
	mustRun(t, l.router, "ip", "route", "add", "203.0.113.16/28", "via", "192.168.1.20")
	if err := l.host.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	l.start(`
[network.dmz]
mode = "routed"
uplink = "eth0"
address = "203.0.113.17/28"
[[port]]
name = "p*"
network = "dmz"
`)
	for _, to := range []string{"203.0.113.17", "192.168.1.20", "198.51.100.7", "203.0.113.19"} {
		talk(t, l.g1, to)
	}
	for _, from := range []*testnet.NS{l.host, l.router, l.far} {
		talk(t, from, "203.0.113.18")
	}
	talk(t, l.far, "203.0.113.17") // the host's own
	sendFile(t, l.g1, l.far, "198.51.100.7", 20<<20)
	sendFile(t, l.far, l.g1, "203.0.113.18", 20<<20)

	// Nobody speaks with an address that is not one of the network.
	mustRun(t, l.g1, "ip", "addr", "add", "203.0.113.99/32", "dev", "eth0")
	if r, _ := ping(t, l.g1, "198.51.100.7", 3, "-I", "203.0.113.99"); r != 0 {
		t.Errorf("%d replies to an address that is nobody's", r)
	}
	if n := l.stats("p1").Drops["spoof_ip"]; n == 0 {
		t.Error("nothing counted as spoof_ip")
	}
}

const masquerade = `
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[[network.nat0.forward]]
listen = "tcp/8080"
to = "10.20.0.11:80"
[[port]]
name = "p*"
network = "nat0"
`

func newMasquerade(t *testing.T, engine string) *internet {
	return newInternet(t, engine, "10.20.0.10/24", "10.20.0.11/24", "10.20.0.1")
}

func TestNAT(t *testing.T) { bothEngines(t, testNAT) }
func testNAT(t *testing.T, engine string) {
	for _, forward := range []string{"0", "1"} {
		t.Run("ip_forward="+forward, func(t *testing.T) {
			t.Parallel()
			l := newMasquerade(t, engine)
			if err := l.host.Sysctl("net.ipv4.ip_forward", forward); err != nil {
				t.Fatal(err)
			}
			mustRun(t, l.router, "ip", "route", "add", "10.20.0.0/24", "via", "192.168.1.20") // a LAN that tries
			before := footprint(t, l.host)
			ports := sysctl(t, l.host, "net/ipv4/ip_local_reserved_ports")
			d := l.start(masquerade)
			for _, to := range []string{"10.20.0.1", "192.168.1.20", "192.168.1.1", "198.51.100.7", "10.20.0.11"} {
				talk(t, l.g1, to)
			}
			talk(t, l.host, "10.20.0.10")
			talk(t, l.host, "198.51.100.7")
			silent(t, l.router, "10.20.0.10")
			silent(t, l.far, "10.20.0.10")
			sendFile(t, l.g1, l.far, "198.51.100.7", 20<<20)
			if sessions := list[[]control.Session](l.lab, "nat", "list"); len(sessions) == 0 {
				t.Error("no session is listed")
			}
			d.end(t, syscall.SIGTERM)
			if after := footprint(t, l.host); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			if after := sysctl(t, l.host, "net/ipv4/ip_local_reserved_ports"); after != ports {
				t.Errorf("ip_local_reserved_ports was %q, is %q", ports, after)
			}
		})
	}
}

// Without an address outside NAT waits for one, and says so from the first.
func TestNATWaitsForAnAddress(t *testing.T) { bothEngines(t, testNATWaitsForAnAddress) }
func testNATWaitsForAnAddress(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	mustRun(t, l.host, "ip", "addr", "flush", "dev", "eth0")
	d := l.start(masquerade)
	const why = "uplink has no IPv4 address, the network waits for one"
	nettest.Wait(t, "the log to say so", func() (bool, error) { return strings.Contains(d.log.String(), why), nil })
	if out := l.must("status"); !strings.Contains(out, "network nat0: uplink eth0 has no IPv4 address, the network waits for one") {
		t.Errorf("status:\n%s", out)
	}
	mustRun(t, l.host, "ip", "addr", "add", "192.168.1.20/24", "dev", "eth0")
	mustRun(t, l.host, "ip", "route", "add", "default", "via", "192.168.1.1")
	talk(t, l.g1, "198.51.100.7")
	if out := l.must("status"); strings.Contains(out, "problem") {
		t.Errorf("status:\n%s", out)
	}
	mustRun(t, l.host, "ip", "link", "del", "eth0")
	nettest.Wait(t, "status to miss the uplink", func() (bool, error) {
		return strings.Contains(l.must("status"), "network nat0: uplink eth0 is not there"), nil
	})
}

// What keeps an uplink from its work is told, and for as long as it does.
func TestUplinkHasAProblem(t *testing.T) {
	t.Parallel()
	l := newMasquerade(t, anyEngine)
	l.start("[network.dmz]\nmode = \"routed\"\nuplink = \"eth0\"\naddress = \"10.20.0.1/24\"\n")
	says := func(want string) {
		t.Helper()
		nettest.Wait(t, fmt.Sprintf("the problem %q", want), func() (bool, error) {
			return list[control.Network](l.lab, "network", "show", "dmz").Problem == want, nil
		})
	}
	says("")
	mustRun(t, l.host, "ip", "addr", "flush", "dev", "eth0")
	says("uplink eth0 has no IPv4 address, and no route leads out by it")
	mustRun(t, l.host, "ip", "route", "add", "192.168.1.1", "dev", "eth0")
	says("")
	mustRun(t, l.host, "ip", "link", "set", "eth0", "down")
	says("uplink eth0 is down")
	mustRun(t, l.host, "ip", "link", "set", "eth0", "up")
	mustRun(t, l.host, "ip", "addr", "add", "192.168.1.20/24", "dev", "eth0")
	says("")
}

// NAT networks divide the ports of their address as they come and go. Connections
// of the first live on, and both have new ones.
func TestNATNetworkComesBesideAnother(t *testing.T) { bothEngines(t, testNATNetworkComesBesideAnother) }
func testNATNetworkComesBesideAnother(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	mustRun(t, l.g2, "ip", "addr", "flush", "dev", "eth0")
	mustRun(t, l.g2, "ip", "addr", "add", "10.21.0.11/24", "dev", "eth0")
	mustRun(t, l.g2, "ip", "route", "add", "default", "via", "10.21.0.1")
	l.start(`
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[[port]]
name = "p1"
network = "nat0"
`)
	serve(t, l.far, "198.51.100.7:7")
	var all []net.Conn
	open := func(g *testnet.NS) {
		for range 20 {
			c, _, err := ask(g, "", "198.51.100.7:7", "hello")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			all = append(all, c)
		}
	}
	alive := func(all []net.Conn) {
		t.Helper()
		for i, c := range all {
			if _, err := say(c, "still"); err != nil {
				t.Fatalf("connection %d: %v", i, err)
			}
		}
	}
	open(l.g1)
	l.must("network", "add", "nat1", "--mode", "nat", "--uplink", "eth0", "--address", "10.21.0.1/24")
	l.must("port", "add", "p2", "--network", "nat1")
	talk(t, l.g2, "198.51.100.7")
	alive(all)
	open(l.g1)
	open(l.g2)
	alive(all)
	for _, c := range all[40:] {
		c.Close()
	}
	l.must("network", "del", "nat1")
	alive(all[:40])
	open(l.g1)
}

// Gateways of one uplink reach each other's guests: routed ones by their addresses,
// and NAT's by its forwards alone. Each way is one hop.
func TestGatewaysSideBySide(t *testing.T) { bothEngines(t, testGatewaysSideBySide) }
func testGatewaysSideBySide(t *testing.T, engine string) {
	l := newInternet(t, engine, "192.168.1.21/24", "192.168.1.22/24", "192.168.1.20")
	mustRun(t, l.router, "ip", "route", "add", "203.0.113.16/28", "via", "192.168.1.20")
	mustRun(t, l.g2, "ip", "addr", "flush", "dev", "eth0")
	mustRun(t, l.g2, "ip", "addr", "add", "203.0.113.18/28", "dev", "eth0")
	mustRun(t, l.g2, "ip", "route", "add", "default", "via", "203.0.113.17")
	g3 := l.guest(3)
	mustRun(t, g3, "ip", "addr", "flush", "dev", "eth0")
	mustRun(t, g3, "ip", "addr", "add", "10.20.0.10/24", "dev", "eth0")
	mustRun(t, g3, "ip", "route", "add", "default", "via", "10.20.0.1")
	l.start(`
[network.dmz]
mode = "routed"
uplink = "eth0"
[network.pub]
mode = "routed"
uplink = "eth0"
address = "203.0.113.17/28"
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[[network.nat0.forward]]
listen = "tcp/8080"
to = "10.20.0.10:80"
[[port]]
name = "p1"
network = "dmz"
ip = ["192.168.1.21"]
[[port]]
name = "p2"
network = "pub"
[[port]]
name = "p3"
network = "nat0"
`)
	talk(t, l.g1, "203.0.113.18")
	talk(t, l.g2, "192.168.1.21")
	if out := mustRun(t, l.g1, "ping", "-n", "-c", "1", "203.0.113.18"); !strings.Contains(out, "ttl=63") {
		t.Errorf("not one hop away:\n%s", out)
	}
	if out, _ := run(t, l.g1, "ping", "-n", "-c", "1", "-t", "1", "203.0.113.18"); !strings.Contains(out, "From 192.168.1.20 icmp_seq=1 Time to live exceeded") {
		t.Errorf("TTL 1:\n%s", out)
	}
	if out, _ := run(t, l.g1, "ping", "-n", "-c", "1", "-W", "6", "203.0.113.19"); !strings.Contains(out, "Destination Host Unreachable") {
		t.Errorf("nobody has that address:\n%s", out)
	}
	for _, to := range []string{"192.168.1.21", "203.0.113.18"} {
		talk(t, g3, to)
		if out, _ := run(t, g3, "ping", "-n", "-c", "1", "-t", "1", to); !strings.Contains(out, "From 10.20.0.1 icmp_seq=1 Time to live exceeded") {
			t.Errorf("TTL 1:\n%s", out)
		}
	}
	silent(t, l.g1, "10.20.0.10")
	silent(t, l.g2, "10.20.0.10")
	for _, to := range []string{"192.168.1.20", "192.168.1.1", "198.51.100.7"} {
		talk(t, l.g1, to)
		talk(t, l.g2, to)
		talk(t, g3, to)
	}

	serve(t, g3, "10.20.0.10:80")
	for from, want := range map[*testnet.NS]string{l.g1: "hello from 192.168.1.21:", l.g2: "hello from 203.0.113.18:"} {
		c, answer, err := ask(from, "", "192.168.1.20:8080", "hello")
		if err != nil || !strings.HasPrefix(answer, want) {
			t.Errorf("forward: %q, %v; want %s", answer, err, want)
			continue
		}
		c.Close()
	}
	serve(t, l.g1, "192.168.1.21:80")
	c, answer, err := ask(g3, "", "192.168.1.21:80", "hello")
	if err != nil || !strings.HasPrefix(answer, "hello from 192.168.1.20:6") {
		t.Fatalf("from NAT: %q, %v", answer, err)
	}
	c.Close()
}

func sysctl(t *testing.T, ns *testnet.NS, key string) (value string) {
	t.Helper()
	err := ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/" + key)
		value = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// in runs f in the namespace and fails the test on its error.
func in(t *testing.T, ns *testnet.NS, f func() error) {
	t.Helper()
	if err := ns.Do(f); err != nil {
		t.Fatal(err)
	}
}

// serve answers each connection with the line that it sends and the peer's address.
func serve(t *testing.T, ns *testnet.NS, addr string) {
	t.Helper()
	var ln net.Listener
	in(t, ns, func() (err error) {
		ln, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp4", addr)
		return err
	})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(t.Context(), func() { c.Close() })() // its other end may be gone without a word
				_ = c.SetDeadline(time.Now().Add(60 * time.Second))
				b := make([]byte, 64)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					fmt.Fprintf(c, "%s from %s\n", strings.TrimSpace(string(b[:n])), c.RemoteAddr())
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
}

// ask opens a connection, sends a word and returns it with the answer.
func ask(ns *testnet.NS, from, to, word string) (c net.Conn, answer string, err error) {
	err = ns.Do(func() error {
		d := net.Dialer{Timeout: 10 * time.Second}
		if from != "" {
			a, err := net.ResolveTCPAddr("tcp4", from)
			if err != nil {
				return err
			}
			d.LocalAddr = a
			d.Control = reuse
		}
		c, err = d.Dial("tcp4", to)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	answer, err = say(c, word)
	return c, answer, err
}

// reuse lets a port be bound again after a connection of an earlier test.
func reuse(_, _ string, c syscall.RawConn) (err error) {
	return errors.Join(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) }), err)
}

func say(c net.Conn, word string) (string, error) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, word+"\n"); err != nil {
		return "", err
	}
	b := make([]byte, 128)
	n, err := c.Read(b)
	return strings.TrimSpace(string(b[:n])), err
}

func TestNATSessions(t *testing.T) { bothEngines(t, testNATSessions) }
func testNATSessions(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	l.start(masquerade)
	serve(t, l.far, "198.51.100.7:7000")

	t.Run("500 connections side by side", func(t *testing.T) {
		var all sync.WaitGroup
		var mu sync.Mutex
		var conns []net.Conn
		for i := range 500 {
			all.Go(func() {
				word := fmt.Sprintf("hello%d", i)
				c, answer, err := ask(l.g1, "", "198.51.100.7:7000", word)
				if err != nil || !strings.HasPrefix(answer, word+" from 192.168.1.20:") {
					t.Errorf("%d: %q, %v", i, answer, err)
				}
				if c != nil {
					mu.Lock()
					conns = append(conns, c)
					mu.Unlock()
				}
			})
		}
		all.Wait()
		for _, c := range conns { // all at once, still
			if answer, err := say(c, "again"); err != nil || !strings.HasPrefix(answer, "again") {
				t.Errorf("%q, %v", answer, err)
			}
			c.Close()
		}
	})

	t.Run("two guests and the host with one source port", func(t *testing.T) {
		seen := map[string]bool{}
		for ns, from := range map[*testnet.NS]string{l.g1: "10.20.0.10:20000", l.g2: "10.20.0.11:20000", l.host: "192.168.1.20:20000"} {
			c, answer, err := ask(ns, from, "198.51.100.7:7000", "hello")
			if err != nil {
				t.Fatalf("from %s: %v", from, err)
			}
			defer c.Close()
			if seen[answer] {
				t.Errorf("two are %q", answer)
			}
			seen[answer] = true
			if ns == l.host && answer != "hello from 192.168.1.20:20000" {
				t.Errorf("the host's own connection is %q", answer)
			}
		}
	})

	t.Run("forward and hairpin", func(t *testing.T) {
		serve(t, l.g2, "10.20.0.11:80")
		for ns, want := range map[*testnet.NS]string{l.far: "x from 198.51.100.7:", l.g1: "x from 10.20.0.1:", l.g2: "x from 10.20.0.1:"} {
			c, answer, err := ask(ns, "", "192.168.1.20:8080", "x")
			if err != nil || !strings.HasPrefix(answer, want) {
				t.Errorf("from %s: %q, %v, want %q", ns.Name, answer, err, want)
			} else {
				c.Close()
			}
		}
		if _, _, err := ask(l.far, "", "192.168.1.20:8081", "x"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a port without forward: %v, want the host's refusal", err)
		}
		l.must("forward", "add", "--network", "nat0", "--listen", "tcp/8081", "--to", "10.20.0.11:80")
		c, answer, err := ask(l.far, "", "192.168.1.20:8081", "x")
		if err != nil {
			t.Fatalf("a forward of the command line: %q, %v", answer, err)
		}
		c.Close()
		l.must("forward", "del", "--network", "nat0", "--listen", "tcp/8080")
		if _, _, err := ask(l.far, "", "192.168.1.20:8080", "x"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a forward that was removed: %v, want the host's refusal", err)
		}
	})

	t.Run("path MTU", func(t *testing.T) {
		mustRun(t, l.router, "ip", "link", "set", "eth1", "mtu", "1400")
		mustRun(t, l.far, "ip", "link", "set", "eth0", "mtu", "1400")
		out, _ := run(t, l.g1, "ping", "-n", "-c", "2", "-M", "do", "-s", "1450", "198.51.100.7")
		if !strings.Contains(out, "mtu=1400") && !strings.Contains(out, "mtu = 1400") {
			t.Errorf("the guest does not learn of it:\n%s", out)
		}
		sendFile(t, l.g1, l.far, "198.51.100.7", 2<<20)
		if r, _ := ping(t, l.g1, "198.51.100.7", 5, "-M", "dont", "-s", "3000"); r != 5 {
			t.Errorf("%d of 5 replies in fragments", r)
		}
	})

	t.Run("the uplink's address changes", func(t *testing.T) {
		mustRun(t, l.host, "ip", "addr", "del", "192.168.1.20/24", "dev", "eth0")
		mustRun(t, l.host, "ip", "addr", "add", "192.168.1.30/24", "dev", "eth0")
		mustRun(t, l.host, "ip", "route", "replace", "default", "via", "192.168.1.1")
		nettest.Wait(t, "NAT to have the new address", func() (bool, error) {
			n := list[control.Network](l.lab, "network", "show", "nat0")
			return n.NATAddress == "192.168.1.30", nil
		})
		nettest.Wait(t, "the way out to be known again", func() (bool, error) { // the kernel tells of routes apart
			replies, _ := ping(t, l.g1, "198.51.100.7", 1)
			return replies == 1, nil
		})
		talk(t, l.g1, "198.51.100.7")
	})
}

// Connections outlive the daemon, be it killed.
func TestNATSessionsOutliveTheDaemon(t *testing.T) { bothEngines(t, testNATSessionsOutliveTheDaemon) }
func testNATSessionsOutliveTheDaemon(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	d := l.start(masquerade)
	serve(t, l.far, "198.51.100.7:7000")
	c, first, err := ask(l.g1, "", "198.51.100.7:7000", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if sig == syscall.SIGKILL { // which saves nothing: wait for what is saved now and then
			nettest.Wait(t, "the sessions to be written", func() (bool, error) {
				b, err := os.ReadFile(l.path("state/nat-nat0.json"))
				return strings.Contains(string(b), `"State":"established"`), err
			})
		}
		d.end(t, sig)
		d = l.start(masquerade)
		again, err := say(c, "x")
		if err != nil || again != first {
			t.Errorf("after %v: %q, %v, want %q", sig, again, err, first)
		}
	}
}

// One guest that opens sessions without end takes nothing from the others.
func TestNATFlood(t *testing.T) { bothEnginesAlone(t, testNATFlood) }
func testNATFlood(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	l.start(masquerade)
	serve(t, l.far, "198.51.100.7:7000")
	talk(t, l.g2, "198.51.100.7")
	raw := rawSocket(t, l.g2, 0)
	leg, err := l.host.Link("nat0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30000 {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: net.IPv4(10, 20, 0, 11), DstIP: net.IPv4(198, 51, 100, byte(i>>12|8))}
		tcp := &layers.TCP{SrcPort: layers.TCPPort(1024 + i), DstPort: layers.TCPPort(i&0xfff + 1), SYN: true, Window: 1000}
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		raw.send(t, forge(t, eth(leg.MAC, guestMAC(2), layers.EthernetTypeIPv4), ip, tcp))
	}
	for range 20 {
		c, _, err := ask(l.g1, "", "198.51.100.7:7000", "x")
		if err != nil {
			t.Fatalf("another guest's connection: %v", err)
		}
		c.Close()
	}
}

package behaviour

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

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
	awaitWay(t, l.g1, "198.51.100.7")
	talk(t, l.g1, "198.51.100.7")
	if out := l.must("status"); strings.Contains(out, "problem") {
		t.Errorf("status:\n%s", out)
	}
	mustRun(t, l.host, "ip", "link", "del", "eth0")
	nettest.Wait(t, "status to miss the uplink", func() (bool, error) {
		return strings.Contains(l.must("status"), "network nat0: uplink eth0 is not there"), nil
	})
}

// NAT networks divide the ports of their address as they come and go. Connections
// of the first live on, and both have new ones.
func TestNATNetworkComesBesideAnother(t *testing.T) { bothEngines(t, testNATNetworkComesBesideAnother) }
func testNATNetworkComesBesideAnother(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	readdress(t, l.g2, "10.21.0.11/24", "10.21.0.1")
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
		awaitWay(t, l.g1, "198.51.100.7")
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

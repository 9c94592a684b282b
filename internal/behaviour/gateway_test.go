package behaviour

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

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

// Gateways of one uplink reach each other's guests: routed ones by their addresses,
// and NAT's by its forwards alone. Each way is one hop.
func TestGatewaysSideBySide(t *testing.T) { bothEngines(t, testGatewaysSideBySide) }
func testGatewaysSideBySide(t *testing.T, engine string) {
	l := newInternet(t, engine, "192.168.1.21/24", "192.168.1.22/24", "192.168.1.20")
	mustRun(t, l.router, "ip", "route", "add", "203.0.113.16/28", "via", "192.168.1.20")
	readdress(t, l.g2, "203.0.113.18/28", "203.0.113.17")
	g3 := l.guest(3)
	readdress(t, g3, "10.20.0.10/24", "10.20.0.1")
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

package behaviour

import (
	"fmt"
	"strings"
	"testing"

	"gxswitch/internal/testnet/nettest"
)

const twoMasquerades = `
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[network.nat1]
mode = "nat"
uplink = "eth0"
address = "10.21.0.1/24"
[[port]]
name = "p1"
network = "nat0"
[[port]]
name = "p2"
network = "nat1"
`

// Networks that have one address outside divide the ports; one that leaves it, and
// comes back, gets no port that another has.
func TestNATNetworksShareAnAddress(t *testing.T) { bothEngines(t, testNATNetworksShareAnAddress) }
func testNATNetworksShareAnAddress(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	readdress(t, l.g2, "10.21.0.10/24", "10.21.0.1")
	mustRun(t, l.host, "ip", "addr", "add", "192.168.1.30/24", "dev", "eth0")
	l.start(twoMasquerades)
	serve(t, l.far, "198.51.100.7:7000")
	port := 20000 // both guests' own; another each time, for the last one is closing still
	both := func(first, second string) {
		t.Helper()
		port++
		for _, guest := range []struct{ from, as string }{{fmt.Sprintf("10.20.0.10:%d", port), first}, {fmt.Sprintf("10.21.0.10:%d", port), second}} {
			ns := l.g1
			if strings.HasPrefix(guest.from, "10.21") {
				ns = l.g2
			}
			c, answer, err := ask(ns, guest.from, "198.51.100.7:7000", "x")
			if err != nil || !strings.HasPrefix(answer, "x from "+guest.as+":") {
				t.Errorf("from %s: %q, %v, want it as %s", guest.from, answer, err, guest.as)
				continue
			}
			c.Close()
		}
	}
	both("192.168.1.20", "192.168.1.20")
	l.must("network", "set", "nat1", "--nat-address", "192.168.1.30")
	both("192.168.1.20", "192.168.1.30")
	l.must("network", "set", "nat1", "--nat-address", "none")
	both("192.168.1.20", "192.168.1.20")

	l.must("forward", "add", "--network", "nat0", "--listen", "tcp/8080", "--to", "10.20.0.10:80")
	if _, stderr, code := l.cli("forward", "add", "--network", "nat1", "--listen", "tcp/8000-8090", "--to", "10.21.0.10"); code != 1 ||
		!strings.Contains(stderr, "tcp/8000-8090 of eth0 is forwarded by network nat0 already") {
		t.Errorf("a port that another network forwards: %d, %s", code, stderr)
	}
}

// A network without NAT has no sessions and no forwards, and can be given none.
func TestListsOfANetworkWithoutNAT(t *testing.T) {
	t.Parallel()
	l := newLab(t, anyEngine)
	l.start("[network.vault]\nmode = \"isolated\"\n")
	for _, of := range []string{"nat", "forward"} {
		if out := l.must(of, "list", "--network", "vault", "-j"); strings.TrimSpace(out) != "[]" {
			t.Errorf("%s list: %s", of, out)
		}
	}
	for _, args := range [][]string{
		{"nat", "flush", "--network", "vault"},
		{"forward", "add", "--network", "vault", "--listen", "tcp/80", "--to", "10.20.0.10"},
		{"forward", "del", "--network", "vault", "--listen", "tcp/80"},
	} {
		if _, stderr, code := l.cli(args...); code != 1 || !strings.Contains(stderr, "network vault is isolated: it has no NAT") {
			t.Errorf("%v: %d, %s", args, code, stderr)
		}
	}
}

// What the command line took out of the configuration is back after a reload.
func TestForwardOfTheConfigurationComesBack(t *testing.T) {
	bothEngines(t, testForwardOfTheConfigurationComesBack)
}
func testForwardOfTheConfigurationComesBack(t *testing.T, engine string) {
	l := newMasquerade(t, engine)
	l.start(masquerade)
	serve(t, l.g2, "10.20.0.11:80")
	l.must("forward", "del", "--network", "nat0", "--listen", "tcp/8080")
	if out := l.must("forward", "list", "--no-header"); out != "" {
		t.Errorf("it is still there:\n%s", out)
	}
	l.must("reload")
	c, _, err := ask(l.far, "", "192.168.1.20:8080", "x")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// Who wants no proxy ARP wants no announcement of guests either.
func TestAnnouncementsGoWithProxyARP(t *testing.T) { bothEngines(t, testAnnouncementsGoWithProxyARP) }
func testAnnouncementsGoWithProxyARP(t *testing.T, engine string) {
	for _, c := range []struct {
		key  string
		told bool
	}{{"", true}, {"\nproxy_arp = false", false}} {
		t.Run(strings.TrimSpace(c.key), func(t *testing.T) {
			t.Parallel()
			l := newInternet(t, engine, "192.168.1.21/24", "192.168.1.22/24", "192.168.1.20")
			const elsewhere = "02:00:00:00:99:99"
			if err := l.router.Sysctl("net.ipv4.neigh.eth0.locktime", "0"); err != nil {
				t.Fatal(err)
			}
			mustRun(t, l.router, "ip", "neigh", "add", "192.168.1.21", "lladdr", elsewhere, "nud", "stale", "dev", "eth0")
			l.start(strings.Replace(suse, `uplink = "eth0"`, `uplink = "eth0"`+c.key, 1))
			told := func() bool {
				return !strings.Contains(mustRun(t, l.router, "ip", "neigh", "show", "192.168.1.21", "dev", "eth0"), elsewhere)
			}
			if c.told {
				nettest.Wait(t, "the router to be told", func() (bool, error) { return told(), nil })
				return
			}
			talk(t, l.g1, "192.168.1.20")
			if told() {
				t.Error("the router was told")
			}
		})
	}
}

package behaviour

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// guidesDir is where the guides are, whose configurations and commands are tried
// here as they stand.
const guidesDir = "../../docs/"

// recipe is a section of recipes.md, whose configurations are run, and what must
// then hold.
//
//	guests ── host [eth0 192.168.1.20]──[eth0 .1] outside
//	               [eth1]───────────────[eth1] a switch in outside:
//	                                     untagged 10.1.0.1, VLAN 4093 10.93.0.1, VLAN 4094 10.94.0.1
type recipe struct {
	section string
	guests  []string // "network address/length gateway flags…"; address and gateway may be "-"
	reach   []string // "from address", as g1, host or outside; after "!" what nobody answers
	also    func(*testing.T, *kitchen)
}

type kitchen struct {
	*lab
	outside *testnet.NS
	guests  []*testnet.NS
}

func TestRecipes(t *testing.T) { bothEngines(t, testRecipes) }
func testRecipes(t *testing.T, engine string) {
	for _, r := range []recipe{
		{"Five kinds of network",
			[]string{"lan 192.168.1.31/24 192.168.1.1", "lab 192.168.60.2/24 192.168.60.1", "dmz 203.0.113.18/28 203.0.113.17",
				"nat0 10.20.0.2/24 10.20.0.1", "vault 192.168.60.3/24 192.168.60.1", "vault 192.168.60.4/24 -"},
			[]string{"g1 192.168.1.1", "g1 192.168.1.20", "g2 192.168.60.1", "g3 192.168.1.1", "outside 203.0.113.18", "g4 192.168.1.1", "g5 192.168.60.4",
				"! g2 192.168.1.1", "! g2 192.168.60.4", "! outside 10.20.0.2", "! g5 192.168.60.1", "! outside 192.168.60.2"}, nil},
		{"Guests on the host's LAN",
			[]string{"br0 192.168.1.31/24 -", "br0 192.168.1.32/24 -"},
			[]string{"g1 192.168.1.32", "g1 192.168.1.1", "g1 192.168.1.20", "host 192.168.1.32", "outside 192.168.1.31", "outside 192.168.1.20"}, nil},
		{"Two NICs, two networks",
			[]string{"xenbr0 192.168.1.31/24 -", "xenbr1 10.1.0.31/24 -"},
			[]string{"g1 192.168.1.1", "g1 192.168.1.20", "g2 10.1.0.1", "outside 10.1.0.31", "! g2 10.1.0.20"}, nil},
		{"An inner network beside the outer one",
			[]string{"outer 192.168.1.31/24 192.168.1.1", "inner 10.5.0.2/24 10.5.0.1"},
			[]string{"g1 192.168.1.1", "! g1 192.168.1.20"}, firewall},
		{"A trunk: a network for each VLAN",
			[]string{"br0 10.94.0.31/24 -", "br1 10.93.0.31/24 -", "tagged0 10.1.0.31/24 -"},
			[]string{"g1 10.94.0.1", "g2 10.93.0.1", "g3 10.1.0.1", "outside 10.94.0.31", "! g1 10.93.0.31", "! g3 10.94.0.31"}, nil},
		{"A private network with DHCP and names",
			[]string{"priv - 192.168.0.254", "priv - 192.168.0.254"}, nil, named},
		{"Guests with addresses of the host's subnet, routed",
			[]string{"lan1 192.168.1.21/24 192.168.1.20 --ip 192.168.1.21 --antispoof mac+ip"},
			[]string{"g1 192.168.1.1", "g1 192.168.1.20", "outside 192.168.1.21", "host 192.168.1.21"}, nil},
		{"Guests behind the host's address",
			[]string{"nat0 192.168.100.1/24 192.168.100.254", "nat0 192.168.100.2/24 192.168.100.254"},
			[]string{"g1 192.168.1.1", "g2 192.168.1.1", "host 192.168.100.1", "! outside 192.168.100.1"}, forwarded},
	} {
		for i, toml := range sectionTOML(t, r.section) {
			t.Run(fmt.Sprintf("%s %d", r.section, i+1), func(t *testing.T) {
				t.Parallel()
				newKitchen(t, engine).serveUp(t, r, toml)
			})
		}
	}
}

// sectionTOML are the configurations of a section of recipes.md.
func sectionTOML(t *testing.T, section string) []string {
	t.Helper()
	text, err := os.ReadFile(guidesDir + "recipes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(text), "\n## "+section+"\n")
	body, _, _ = strings.Cut(body, "\n## ")
	var all []string
	for _, m := range regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(body, -1) {
		all = append(all, m[1])
	}
	if len(all) == 0 {
		t.Fatalf("recipes.md has no configuration below %q", section)
	}
	return all
}

func newKitchen(t *testing.T, engine string) *kitchen {
	k := &kitchen{lab: newLab(t, engine)}
	k.outside = nettest.Namespace(t, k.net, "outside")
	for _, nic := range []string{"eth0", "eth1"} {
		mustRun(t, k.host, "ip", "link", "add", nic, "type", "veth", "peer", "name", nic, "netns", k.outside.Name)
		mustRun(t, k.host, "ip", "link", "set", nic, "up")
		mustRun(t, k.outside, "ip", "link", "set", nic, "up")
	}
	k.trunk()
	for _, a := range []struct {
		ns   *testnet.NS
		what string
	}{
		{k.host, "addr add 192.168.1.20/24 dev eth0"},
		{k.host, "route add default via 192.168.1.1"},
		{k.outside, "addr add 192.168.1.1/24 dev eth0"},
		{k.outside, "addr add 10.1.0.1/24 dev untagged"},
		{k.outside, "addr add 10.93.0.1/24 dev vlan4093"},
		{k.outside, "addr add 10.94.0.1/24 dev vlan4094"},
		{k.outside, "route add 203.0.113.16/28 dev eth0"}, // proxy ARP answers
		{k.outside, "route add 192.168.0.0/24 via 192.168.1.20"},
		{k.outside, "route add 192.168.60.0/24 via 192.168.1.20"},
		{k.outside, "route add 10.20.0.0/24 via 192.168.1.20"},
		{k.outside, "route add 192.168.100.0/24 via 192.168.1.20"},
	} {
		mustRun(t, a.ns, append([]string{"ip"}, strings.Fields(a.what)...)...)
	}
	return k
}

// trunk is the switch that eth1 leads to. It is one of these too, as a kernel need
// not have VLANs; that the tags are right others say (TestTagsOnTheWire).
func (k *kitchen) trunk() {
	k.t.Helper()
	for port, nic := range map[string]string{"o1": "untagged", "o4093": "vlan4093", "o4094": "vlan4094"} {
		mustRun(k.t, k.outside, "ip", "link", "add", port, "up", "type", "veth", "peer", "name", nic)
		mustRun(k.t, k.outside, "ip", "link", "set", nic, "up")
	}
	k.write("trunk.toml", `
[network.trunk]
mode = "isolated"
[[port]]
name = "eth1"
network = "trunk"
[[port]]
name = "o1"
network = "trunk"
vlan = "1"
[[port]]
name = "o4093"
network = "trunk"
vlan = "4093"
[[port]]
name = "o4094"
network = "trunk"
vlan = "4094"
`)
	ctx, stop := context.WithCancel(context.Background())
	cmd := k.outside.Command(ctx, binary, "daemon", "--config", k.path("trunk.toml"), "--run-dir", k.path("trunk"), "--state-dir", k.path("trunk"))
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { stop(); _ = cmd.Wait() })
}

// serveUp runs the recipe with one of its configurations.
func (k *kitchen) serveUp(t *testing.T, r recipe, toml string) {
	t.Helper()
	before := footprint(t, k.host)
	k.start(toml)
	for i, spec := range r.guests {
		f := strings.Fields(spec)
		g := guestSpec(i+1, "")
		if f[1] != "-" {
			g.Addr = netip.MustParsePrefix(f[1])
		}
		ns := nettest.Guest(t, k.net, k.host, g)
		if f[2] != "-" {
			mustRun(t, ns, "ip", "route", "add", f[2]+"/32", "dev", "eth0")
			mustRun(t, ns, "ip", "route", "add", "default", "via", f[2])
		}
		k.guests = append(k.guests, ns)
		k.must(append([]string{"port", "add", g.Port, "--network", f[0]}, f[3:]...)...)
	}
	// What works comes first, since that can be waited for.
	slices.SortStableFunc(r.reach, func(a, b string) int { return strings.Count(a, "!") - strings.Count(b, "!") })
	for _, line := range r.reach {
		f := strings.Fields(line)
		if f[0] == "!" {
			silent(t, k.station(f[1]), f[2])
			continue
		}
		k.reaches(t, k.station(f[0]), f[1])
	}
	if r.also != nil {
		r.also(t, k)
	}
	k.daemon.end(t, 15)
	for _, g := range k.guests {
		mustRun(t, g, "ip", "link", "del", "eth0")
	}
	if after := footprint(t, k.host); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func (k *kitchen) station(name string) *testnet.NS {
	switch name {
	case "host":
		return k.host
	case "outside":
		return k.outside
	}
	i, _ := strconv.Atoi(strings.TrimPrefix(name, "g"))
	return k.guests[i-1]
}

func (k *kitchen) reaches(t *testing.T, from *testnet.NS, to string) {
	t.Helper()
	nettest.Wait(t, from.Name+" to reach "+to, func() (bool, error) {
		replies, _ := ping(t, from, to, 1)
		return replies > 0, nil
	})
}

// firewall gives the first guest its foot in the inner network.
func firewall(t *testing.T, k *kitchen) {
	g := k.guests[0]
	mustRun(t, k.host, "ip", "link", "add", "p9", "up", "type", "veth", "peer", "name", "eth1", "netns", g.Name)
	mustRun(t, g, "ip", "addr", "add", "10.5.0.1/24", "dev", "eth1")
	mustRun(t, g, "ip", "link", "set", "eth1", "up")
	if err := g.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	silent(t, k.guests[1], "192.168.1.31")
	k.must("port", "add", "p9", "--network", "inner")
	mustRun(t, k.outside, "ip", "route", "add", "10.5.0.0/24", "via", "192.168.1.31")
	k.reaches(t, k.guests[1], "192.168.1.1")
	mustRun(t, g, "ip", "link", "del", "eth1")
}

// named asks for addresses and names as guests and the LAN do.
func named(t *testing.T, k *kitchen) {
	mustRun(t, k.guests[0], "ip", "link", "set", "eth0", "address", "00:16:3e:00:00:01") // the host table's
	first, second := k.udhcpc(k.guests[0]), k.udhcpc(k.guests[1])
	mustRun(t, k.guests[1], "udhcpc", "-f", "-q", "-n", "-i", "eth0", "-x", "hostname:web2", "-s", "/bin/true")
	if reserved := strings.Contains(k.must("config", "show"), "192.168.0.10"); reserved != (first == "192.168.0.10") {
		t.Errorf("the guest of the host table has %s", first)
	}
	if got := strings.TrimSpace(mustRun(t, k.guests[0], "dig", "+short", "web2.xen", "@192.168.0.254")); got != second {
		t.Errorf("web2.xen is %q, want %s", got, second)
	}
	if got := strings.TrimSpace(mustRun(t, k.host, "dig", "+short", "web2.xen", "@192.168.0.254")); got != second {
		t.Errorf("to the host web2.xen is %q, want %s", got, second)
	}
	for _, ip := range []string{first, second} {
		k.reaches(t, k.outside, ip)
	}
}

// forwarded reaches the web server from outside and from the other guest.
func forwarded(t *testing.T, k *kitchen) {
	serve(t, k.guests[0], "192.168.100.1:80")
	for _, from := range []*testnet.NS{k.outside, k.guests[1]} {
		c, got, err := ask(from, "", "192.168.1.20:80", "hello")
		if err != nil || !strings.HasPrefix(got, "hello from ") {
			t.Errorf("from %s: %q, %v", from.Name, got, err)
			continue
		}
		c.Close()
	}
}

package behaviour

import (
	"regexp"
	"strings"
	"testing"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

const hostOnly = `
[network.lab]
mode = "host-only"
address = "10.9.0.254/24"
[[port]]
name = "p*"
network = "lab"
`

const isolated = `
[network.vault]
mode = "isolated"
[[port]]
name = "p*"
network = "vault"
`

// lan adds a machine outside, on the host's NIC eth0. The host is 10.9.0.100.
//
//	outside [eth0 10.9.0.200]----eth0 host
const bridged = `
[network.xenbr0]
mode = "bridged"
uplink = "eth0"
[[port]]
name = "p*"
network = "xenbr0"
`

func TestHostOnly(t *testing.T) { bothEngines(t, testHostOnly) }
func testHostOnly(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	l.start(hostOnly)
	talk(t, g1, guestIP(2))
	talk(t, g2, guestIP(1))
	talk(t, g1, "10.9.0.254")
	talk(t, l.host, guestIP(2))
}

// A host with ip_forward=1 and a NIC must not become a way out of, or into, a
// host-only network.
//
//	g1 (default via .254)---lab host eth0---outside 192.0.2.2 (route to 10.9.0.0/24)
func TestHostOnlyHasNoWayOut(t *testing.T) { bothEngines(t, testHostOnlyHasNoWayOut) }
func testHostOnlyHasNoWayOut(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	outside := nettest.Namespace(t, l.net, "outside")
	mustRun(t, l.host, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside.Name)
	mustRun(t, l.host, "ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
	mustRun(t, l.host, "ip", "link", "set", "eth0", "up")
	mustRun(t, outside, "ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
	mustRun(t, outside, "ip", "link", "set", "eth0", "up")
	mustRun(t, outside, "ip", "route", "add", "10.9.0.0/24", "via", "192.0.2.1")
	mustRun(t, g1, "ip", "route", "add", "default", "via", "10.9.0.254")
	l.start(hostOnly)
	if err := l.host.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	talk(t, outside, "192.0.2.1")
	talk(t, g1, "10.9.0.254")
	silent(t, g1, "192.0.2.2")
	silent(t, outside, guestIP(1))
	if n := l.stats("p1").Drops["no_route"]; n == 0 {
		t.Error("nothing counted as no_route at the guest")
	}
	if n := l.stats("lab").Drops["no_route"]; n == 0 {
		t.Error("nothing counted as no_route at the host's leg")
	}
}

func TestIsolated(t *testing.T) { bothEngines(t, testIsolated) }
func testIsolated(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	// An address that the host would answer ARP for on any interface.
	mustRun(t, l.host, "ip", "addr", "add", "10.9.0.99/32", "dev", "lo")
	l.start(isolated)
	talk(t, g1, guestIP(2))
	talk(t, g2, guestIP(1))
	if out, err := run(t, g1, "arping", "-c", "3", "-w", "1", "-I", "eth0", "10.9.0.99"); err == nil {
		t.Errorf("the host answers ARP on an isolated network:\n%s", out)
	}
	for _, g := range []*testnet.NS{g1, g2} { // until duplicate address detection is over
		nettest.Wait(t, "a link-local address", func() (bool, error) {
			out, err := run(t, g, "ip", "-6", "addr", "show", "dev", "eth0", "scope", "link", "-tentative")
			return strings.Contains(out, "fe80::"), err
		})
	}
	out, _ := run(t, g1, "ping", "-6", "-n", "-c", "3", "-i", "0.2", "-W", "1", "ff02::1%eth0")
	who := map[string]bool{}
	for _, m := range regexp.MustCompile(`bytes from (\S+?)%`).FindAllStringSubmatch(out, -1) {
		who[m[1]] = true
	}
	if len(who) != 2 { // the two guests
		t.Errorf("%d stations answer ff02::1, want the two guests:\n%s", len(who), out)
	}
	if ifs := mustRun(t, l.host, "ip", "-br", "link"); strings.Contains(ifs, "vault") {
		t.Errorf("an isolated network has a host interface:\n%s", ifs)
	}
}

func TestBridged(t *testing.T) { bothEngines(t, testBridged) }
func testBridged(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.guest(2)
	outside := nettest.Namespace(t, l.net, "outside")
	mustRun(t, l.host, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside.Name)
	mustRun(t, l.host, "ip", "addr", "add", "10.9.0.100/24", "dev", "eth0")
	mustRun(t, l.host, "ip", "link", "set", "eth0", "up")
	mustRun(t, outside, "ip", "addr", "add", "10.9.0.200/24", "dev", "eth0")
	mustRun(t, outside, "ip", "link", "set", "eth0", "up")
	l.start(bridged)
	talk(t, g1, guestIP(2))
	talk(t, g1, "10.9.0.200")
	talk(t, outside, guestIP(2))
	talk(t, outside, "10.9.0.100") // the host keeps its address on the NIC
	talk(t, l.host, "10.9.0.200")
	silent(t, g1, "10.9.0.100") // and guests get nothing from it without takeover

	// The host's own traffic is none of the guests' business.
	before := l.stats("p1").TxPackets
	if r, _ := ping(t, outside, "10.9.0.100", 200, "-i", "0.001"); r != 200 {
		t.Errorf("%d of 200 replies", r)
	}
	if n := l.stats("p1").TxPackets - before; n > 10 {
		t.Errorf("a guest was sent %d frames while outside and host talked", n)
	}
}

package behaviour

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// The host's connections go on while its NIC is taken over and given back; guests,
// host and LAN reach each other meanwhile; and in the end all is as it was.
func TestTakeover(t *testing.T) { bothEnginesAlone(t, testTakeover) }
func testTakeover(t *testing.T, engine string) {
	l := newLAN(t, engine)
	g1 := l.guest(1)
	before := l.config()
	talk(t, l.host, "10.9.0.200")
	talk(t, l.host, "192.0.2.2")
	talk(t, l.host, "2001:db8:2::2")
	in := startSession(t, l.host, l.beyond, "10.9.0.100")
	out := startSession(t, l.beyond, l.host, "192.0.2.2")
	in6 := startSession(t, l.host, l.beyond, "2001:db8:9::100")
	p := startPings(t, l.router, "10.9.0.100", "0.01")

	l.start(takeover)
	p.lost(t, 10)
	talk(t, l.host, "10.9.0.200")
	talk(t, l.host, "192.0.2.2")
	talk(t, l.host, "2001:db8:2::2")
	talk(t, l.router, "10.9.0.101")
	talk(t, g1, "10.9.0.100")
	talk(t, g1, "10.9.0.200")
	talk(t, l.host, guestIP(1))
	talk(t, l.router, guestIP(1))
	if text := l.config(); strings.Contains(text, "dev eth0") || !strings.Contains(text, "default via 10.9.0.200 dev xenbr0 proto static metric 100 mtu 1400") {
		t.Errorf("addresses or routes are not where they should be:\n%s", text)
	}
	if text := mustRun(t, l.host, "ip", "-o", "addr", "show", "dev", "eth0"); text != "" {
		t.Errorf("the NIC keeps:\n%s", text)
	}
	// It is pinned behind the leg, and no guest hears what is for the host.
	local := map[string]string{}
	for _, e := range list[[]control.FDBEntry](l.lab, "fdb", "list") {
		if e.Kind == "local" {
			local[e.MAC.String()] = e.Port
		}
	}
	if len(local) != 1 || local["02:00:00:00:01:00"] != "xenbr0" {
		t.Errorf("the host's own addresses: %v", local)
	}
	heard := l.stats("p1").TxPackets
	talk(t, l.router, "10.9.0.100")
	if n := l.stats("p1").TxPackets - heard; n > 5 {
		t.Errorf("a guest heard %d frames that were for the host", n)
	}
	n := list[control.Network](l.lab, "network", "show", "xenbr0")
	if !n.Takeover || n.MTU != 1500 {
		t.Errorf("network show: %+v", n)
	}

	p = startPings(t, l.router, "10.9.0.100", "0.01")
	l.daemon.end(t, syscall.SIGTERM)
	p.lost(t, 10)
	l.restored(before)
	talk(t, l.host, "192.0.2.2")
	for _, s := range []*session{in, out, in6} {
		s.survived(t, time.Second)
	}
}

// The command line and a reload take over and give back on the live network.
func TestTakeoverOfALiveNetwork(t *testing.T) { bothEngines(t, testTakeoverOfALiveNetwork) }
func testTakeoverOfALiveNetwork(t *testing.T, engine string) {
	l := newLAN(t, engine)
	g1 := l.guest(1)
	before := l.config()
	without := strings.Replace(takeover, "takeover = true\n", "", 1)
	l.start(without)
	s := startSession(t, l.host, l.beyond, "10.9.0.100")
	silent(t, g1, "10.9.0.100")
	l.must("network", "set", "xenbr0", "--takeover")
	talk(t, g1, "10.9.0.100")
	talk(t, l.beyond, "10.9.0.100")
	l.must("network", "set", "xenbr0", "--takeover=false")
	silent(t, g1, "10.9.0.100")
	l.restored(before)
	l.write("gxswitch.toml", takeover)
	l.must("reload")
	talk(t, g1, "10.9.0.100")
	l.must("reload")
	l.write("gxswitch.toml", without)
	l.must("reload")
	l.restored(before)
	l.write("gxswitch.toml", "")
	l.must("reload")
	l.must("network", "add", "xenbr0", "--mode", "bridged", "--uplink", "eth0", "--takeover")
	l.must("network", "add", "xenbr0", "--mode", "bridged", "--uplink", "eth0", "--takeover")
	talk(t, l.beyond, "10.9.0.100")
	l.daemon.end(t, syscall.SIGKILL) // the command line's network comes again
	l.start("")
	talk(t, l.beyond, "10.9.0.100")
	l.must("network", "del", "xenbr0")
	l.restored(before)
	s.survived(t, 5*time.Second)
}

// The leg stands for the uplink: it carries the same VLANs, untagged the one that is
// untagged there. Another network may have a VLAN of the NIC for itself.
//
//	g1--p1 VLAN 10--+
//	g2--p2 VLAN 20--+-- xenbr0: eth0 untagged in VLAN 10    br0: VLAN 30 of eth0 --p3--g3
func TestTakeoverWithVLANs(t *testing.T) { bothEngines(t, testTakeoverWithVLANs) }
func testTakeoverWithVLANs(t *testing.T, engine string) {
	l := newLAN(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	before := l.config()
	l.start(`
[network.xenbr0]
mode = "bridged"
uplink = "eth0"
takeover = true
vlan = "10p/20"
[network.br0]
mode = "bridged"
uplink = "eth0"
uplink_vlan = 30
[[port]]
name = "p1"
network = "xenbr0"
vlan = "10"
[[port]]
name = "p2"
network = "xenbr0"
vlan = "20"
[[port]]
name = "p3"
network = "br0"
`)
	talk(t, l.router, "10.9.0.100")
	talk(t, g1, "10.9.0.100")
	talk(t, l.host, guestIP(1))
	silent(t, g2, "10.9.0.100")
	silent(t, g3, "10.9.0.100")
	if p := list[control.Port](l.lab, "port", "show", "xenbr0"); p.VLAN != "10p/20" {
		t.Errorf("the leg carries %q", p.VLAN)
	}
	l.must("network", "set", "xenbr0", "--takeover=false")
	l.restored(before)
}

// Networks with a gateway go out by the uplink, whoever has its addresses: sessions go
// on, and no packet of a guest's is lost or refused while the addresses move.
//
//	g1--p1-- xenbr0, takeover of eth0
//	g2--p2-- nat0 by eth0
//	g3--p3-- dmz, routed, by eth0
func TestTakeoverBesideNAT(t *testing.T) { bothEngines(t, testTakeoverBesideNAT) }
func testTakeoverBesideNAT(t *testing.T, engine string) {
	l := newLAN(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	readdress(t, g2, "10.20.0.2/24", "10.20.0.1")
	readdress(t, g3, "10.21.0.2/24", "10.21.0.1")
	mustRun(t, l.router, "ip", "route", "add", "10.21.0.0/24", "via", "10.9.0.100")
	mustRun(t, g1, "ip", "route", "add", "default", "via", "10.9.0.200")
	before := l.config()
	text := takeover + `
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[network.dmz]
mode = "routed"
uplink = "eth0"
address = "10.21.0.1/24"
proxy_arp = false
`
	text = strings.Replace(text, "[[port]]", "[[port]]\nname = \"p2\"\nnetwork = \"nat0\"\n[[port]]\nname = \"p3\"\nnetwork = \"dmz\"\n[[port]]", 1)
	l.start(strings.Replace(text, "takeover = true\n", "", 1))
	var throughout []*pings
	for _, g := range []*testnet.NS{g1, g2, g3} {
		awaitWay(t, g, "192.0.2.2")
		throughout = append(throughout, startPings(t, g, "192.0.2.2", "0.002"))
	}
	s := startSession(t, l.beyond, g2, "192.0.2.2")
	own := startSession(t, l.beyond, l.host, "192.0.2.2")
	set := func(on bool) { l.must("network", "set", "xenbr0", fmt.Sprintf("--takeover=%t", on)) }
	reload := func(on bool) {
		l.write("gxswitch.toml", strings.Replace(text, "takeover = true", fmt.Sprintf("takeover = %t", on), 1))
		l.must("reload")
	}
	for i, change := range []func(on bool){set, set, reload, reload, set} {
		change(i%2 == 0)
		talk(t, g3, "192.0.2.2")
		talk(t, g2, "192.0.2.2")
		talk(t, g1, "192.0.2.2")
		talk(t, l.host, "192.0.2.2")
	}
	for _, p := range throughout {
		p.lost(t, 0)
	}
	talk(t, g2, "10.9.0.100")
	talk(t, g2, guestIP(1))
	s.survived(t, 5*time.Second)
	own.survived(t, 5*time.Second)
	l.must("network", "set", "xenbr0", "--takeover=false")
	l.daemon.end(t, syscall.SIGTERM)
	l.restored(before)
	if q := mustRun(t, l.host, "tc", "qdisc", "show", "dev", "eth0"); strings.Contains(q, "clsact") {
		t.Errorf("a guard's qdisc is left:\n%s", q)
	}
}

// A network waits for its uplink, keeps the addresses while it is out, and takes
// what somebody adds to it.
func TestTakeoverOfAnUplinkThatComesAndGoes(t *testing.T) {
	bothEngines(t, testTakeoverOfAnUplinkThatComesAndGoes)
}
func testTakeoverOfAnUplinkThatComesAndGoes(t *testing.T, engine string) {
	l := newLAN(t, engine)
	g1 := l.guest(1)
	mustRun(t, l.host, "ip", "link", "set", "eth0", "name", "later0")
	l.start(takeover)
	silent(t, g1, "10.9.0.100")
	mustRun(t, l.host, "ip", "link", "set", "later0", "down")
	mustRun(t, l.host, "ip", "link", "set", "later0", "name", "eth0")
	mustRun(t, l.host, "ip", "link", "set", "eth0", "up")
	nettest.Wait(t, "the NIC to be empty", func() (bool, error) {
		return mustRun(t, l.host, "ip", "-o", "addr", "show", "dev", "eth0") == "", nil
	})
	talk(t, g1, "10.9.0.100")
	talk(t, l.router, "10.9.0.100")

	for _, carrier := range []string{"down", "up"} {
		mustRun(t, l.router, "ip", "link", "set", "eth0", carrier)
		l.awaitPort("eth0", carrier)
	}
	talk(t, l.router, "10.9.0.100")

	mustRun(t, l.host, "ip", "addr", "add", "10.9.0.105/24", "dev", "eth0")
	l.onLeg("10.9.0.105/24")
	talk(t, l.router, "10.9.0.105")
	mustRun(t, l.host, "ip", "addr", "add", "10.9.0.105/24", "dev", "eth0") // as a DHCP client that renews
	nettest.Wait(t, "eth0 to be empty", func() (bool, error) {
		return mustRun(t, l.host, "ip", "-o", "addr", "show", "dev", "eth0") == "", nil
	})
	talk(t, l.router, "10.9.0.105")

	mustRun(t, l.host, "ip", "link", "del", "eth0")
	l.awaitPort("eth0", "absent")
	talk(t, g1, "10.9.0.100")
	l.plugNIC()
	mustRun(t, l.router, "ip", "addr", "add", "10.9.0.200/24", "dev", "eth0")
	l.awaitPort("eth0", "up")
	talk(t, l.router, "10.9.0.100")
	talk(t, l.router, "10.9.0.105")

	mustRun(t, l.host, "ip", "link", "del", "xenbr0") // by mistake
	l.awaitPort("xenbr0", "up")
	l.onLeg("10.9.0.105/24")
	talk(t, l.router, "10.9.0.100")
	talk(t, g1, "10.9.0.100")

	l.daemon.end(t, syscall.SIGTERM)
	mustRun(t, l.host, "ip", "link", "set", "eth0", "up") // it was down when it became a port
	for _, a := range []string{"10.9.0.100/24", "10.9.0.101/24", "10.9.0.105/24"} {
		if text := mustRun(t, l.host, "ip", "-o", "addr", "show", "dev", "eth0"); !strings.Contains(text, a) {
			t.Errorf("%s is not back:\n%s", a, text)
		}
	}
	talk(t, l.router, "10.9.0.100")
}

package behaviour

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// A guard learns what our own server gives, and another server on a guest's port
// is the guard's matter.
//
//	g1, mac+ip--p1--+-- lab
//	g2, a server--p2+
func TestGuardsLearnFromTheHostsServer(t *testing.T) {
	bothEngines(t, testGuardsLearnFromTheHostsServer)
}
func testGuardsLearnFromTheHostsServer(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.bare(1), l.bare(2)
	l.start(served + "[[port]]\nname = \"p1\"\nnetwork = \"lab\"\nantispoof = \"mac+ip\"\n" +
		"[[port]]\nname = \"p2\"\nnetwork = \"lab\"\nantispoof = \"mac\"\n")
	l.awaitPort("p1", "up")
	l.awaitPort("p2", "up")
	leased := l.udhcpc(g1)
	talk(t, g1, "10.9.0.254")
	mustRun(t, g1, "ip", "addr", "add", guestIP(1)+"/24", "dev", "eth0")
	noneTalk(t, []pair{{g1, "10.9.0.254", guestIP(1)}})
	nettest.Wait(t, "the lease to be written down", func() (bool, error) {
		b, err := os.ReadFile(l.path("state/state.json"))
		return strings.Contains(string(b), leased), err
	})
	l.daemon.end(t, syscall.SIGKILL)
	l.start(awaitFile(t, l.path("gxswitch.toml")))
	if r, _ := ping(t, g1, "10.9.0.254", 20, "-I", leased); r != 20 {
		t.Errorf("%d of 20 replies after the daemon was killed", r)
	}

	offer := udp4(t, guestMAC(2), guestIP(2), 67, 68, dhcp(2, guestMAC(1)))
	out := rawSocket(t, g2, 2)
	e := hear(t, g1, 1)
	e.until(t, out)
	out.send(t, offer)
	if n := times(e.until(t, out), offer); n != 0 || l.stats("p2").Drops["dhcp_guard"] != 1 {
		t.Errorf("a guest's offer was heard %d times: %v", n, l.stats("p2").Drops)
	}
}

// What guests of a network say to its DHCP server, no other network hears, nor
// does a NIC.
//
//	g1--p1--lab--host--other--+--q2--g2
//	                          +--q4--g4
//	g5--q5--lan--nic--world
func TestDHCPStaysInItsNetwork(t *testing.T) { bothEngines(t, testDHCPStaysInItsNetwork) }
func testDHCPStaysInItsNetwork(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.bare(1)
	beside := map[int]*testnet.NS{}
	for _, i := range []int{2, 4, 5} {
		beside[i] = nettest.Guest(t, l.net, l.host, testnet.GuestSpec{Name: fmt.Sprint("g", i), Port: fmt.Sprint("q", i), MAC: guestMAC(i)})
		awaitOperational(t, beside[i], "eth0")
	}
	world := nettest.Guest(t, l.net, l.host, testnet.GuestSpec{Name: "world", Port: "nic", MAC: guestMAC(3)})
	l.start(served + `
[network.other]
mode    = "host-only"
address = "10.10.0.254/24"
dhcp    = { range = "10.10.0.50-10.10.0.99" }
[network.lan]
mode   = "bridged"
uplink = "nic"
[[port]]
name    = "q5"
network = "lan"
[[port]]
name    = "q*"
network = "other"
` + allPorts)
	for _, p := range []string{"p1", "q2", "q4", "q5", "nic"} {
		l.awaitPort(p, "up")
	}
	if err := l.host.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	s1, s2, away := newStation(t, g1, "eth0"), newStation(t, beside[2], "eth0"), newStation(t, world, "eth0")
	another, lan := hear(t, beside[2], 2), hear(t, world, 3)
	first := s1.lease(guestMAC(1))
	if got := s2.lease(guestMAC(2)); !netip.MustParsePrefix("10.10.0.0/24").Contains(got) || !netip.MustParsePrefix("10.9.0.0/24").Contains(first) {
		t.Errorf("lab gave %s, other %s", first, got)
	}
	away.say(dhcpv4.MessageTypeDiscover, guestMAC(3), nil)
	if a, ok := away.next(time.Now().Add(time.Second)); ok {
		t.Errorf("the LAN was offered %s", a.addr)
	}
	client := guestMAC(1)
	for who, heard := range map[string][][]byte{
		"another network": another.until(t, rawSocket(t, beside[4], 4)),
		"the LAN":         lan.until(t, rawSocket(t, beside[5], 5)),
	} {
		if n := marked(heard, string(client[:])); n != 0 {
			t.Errorf("%s heard %d frames of it", who, n)
		}
	}
	for _, lease := range leases(l) {
		if lease.MAC == guestMAC(3) || (lease.Network == "lab") != (lease.MAC == guestMAC(1)) {
			t.Errorf("%+v", lease)
		}
	}
}

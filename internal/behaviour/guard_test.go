package behaviour

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet/nettest"
)

// A guest that speaks for others is heard while nothing holds it to its
// addresses, and not any more from the moment something does.
//
//	g1--p1--+-- vault --+--p3--g3, hostile
//	g2--p2--+           |
func TestHostileGuest(t *testing.T) { bothEngines(t, testHostileGuest) }
func testHostileGuest(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	l.start(isolated)
	talk(t, g2, guestIP(1))
	self, other, bridges := guestMAC(3), guestMAC(2), frame.MAC{1, 0x80, 0xc2}
	ad := func(f []byte) []byte { // behind an 802.1ad tag and an 802.1Q one
		f = tagged(f, 7, 8)
		f[12], f[13] = 0x88, 0xa8
		return f
	}
	hello := gopacket.Payload("hello")
	forged := []struct {
		name   string
		bytes  []byte
		reason string
	}{
		{"another's MAC", ethernet(guestMAC(1), other, 0x88b5, 46), "spoof_mac"},
		{"nobody's MAC", ethernet(guestMAC(1), guestMAC(99), 0x88b5, 46), "spoof_mac"},
		{"DHCP request of another", udp4(t, self, "0.0.0.0", 68, 67, dhcp(layers.DHCPMsgTypeRequest, other)), "spoof_mac"},
		{"another's IPv4 address", udp4(t, self, guestIP(2), 9, 9, hello), "spoof_ip"},
		{"nobody's IPv4 address", udp4(t, self, "192.0.2.1", 9, 9, hello), "spoof_ip"},
		{"another's IPv4 address behind two tags", ad(udp4(t, self, guestIP(2), 9, 9, hello)), "spoof_ip"},
		{"another's IPv6 address", udp6(t, self, linkLocal(2), 9, 9), "spoof_ip"},
		{"ARP of another's MAC", arp(t, self, other, guestIP(3)), "spoof_arp"},
		{"ARP for another's address", arp(t, self, self, guestIP(2)), "spoof_arp"},
		{"NA for another's address", nd(t, self, linkLocal(3), layers.ICMPv6TypeNeighborAdvertisement, advert(linkLocal(2), self)), "spoof_arp"},
		{"NA of another's MAC", nd(t, self, linkLocal(3), layers.ICMPv6TypeNeighborAdvertisement, advert(linkLocal(3), other)), "spoof_arp"},
		{"router advertisement", nd(t, self, linkLocal(3), layers.ICMPv6TypeRouterAdvertisement, &layers.ICMPv6RouterAdvertisement{HopLimit: 64, RouterLifetime: 1800}), "ra_guard"},
		{"redirect", nd(t, self, linkLocal(3), layers.ICMPv6TypeRedirect, gopacket.Payload(make([]byte, 36))), "ra_guard"},
		{"DHCP offer", udp4(t, self, guestIP(3), 67, 68, dhcp(layers.DHCPMsgTypeOffer, guestMAC(1))), "dhcp_guard"},
		{"DHCPv6 advertisement", udp6(t, self, linkLocal(3), 547, 546), "dhcp_guard"},
		{"BPDU", append(append(bridges[:], self[:]...), 0, 7, 0x42, 0x42, 3, 0, 0, 0, 0), "bpdu_guard"},
		{"PVST+ BPDU", ethernet(frame.MAC{1, 0, 0x0c, 0xcc, 0xcc, 0xcd}, self, 0x010b, 46), "bpdu_guard"},
	}
	honest := []struct {
		name  string
		bytes []byte
	}{
		{"any protocol", ethernet(guestMAC(1), self, 0x88b5, 46)},
		{"its IPv4 address", udp4(t, self, guestIP(3), 9, 9, hello)},
		{"its IPv6 address", udp6(t, self, linkLocal(3), 9, 9)},
		{"its ARP", arp(t, self, self, guestIP(3))},
		{"its NA", nd(t, self, linkLocal(3), layers.ICMPv6TypeNeighborAdvertisement, advert(linkLocal(3), self))},
		{"its DHCP request", udp4(t, self, "0.0.0.0", 68, 67, dhcp(layers.DHCPMsgTypeRequest, self))},
	}
	e, out := hear(t, g1, 1), rawSocket(t, g3, 3)
	e.until(t, out)
	sendAll := func(held bool) {
		t.Helper()
		want := 1
		if held {
			want = 0
		}
		for _, c := range forged {
			before := l.stats("p3").Drops[c.reason]
			out.send(t, c.bytes)
			if n := times(e.until(t, out), c.bytes); n != want {
				t.Errorf("held %v: %s was heard %d times, want %d", held, c.name, n, want)
			}
			if d := l.stats("p3").Drops[c.reason] - before; int(d) != 1-want {
				t.Errorf("held %v: %s: %d dropped as %s, want %d: %v", held, c.name, d, c.reason, 1-want, l.stats("p3").Drops)
			}
		}
		for _, c := range honest {
			out.send(t, c.bytes)
			if n := times(e.until(t, out), c.bytes); n != 1 {
				t.Errorf("held %v: %s was heard %d times, want 1: %v", held, c.name, n, l.stats("p3").Drops)
			}
		}
	}
	sendAll(false)
	l.must("port", "set", "p3", "--antispoof", "mac+ip", "--mac", self.String(), "--ip", guestIP(3)+","+linkLocal(3))
	sendAll(true)
	flushNeighbours(t, g1, g2)
	talk(t, g2, guestIP(1))
	l.must("port", "set", "p3", "--antispoof", "off")
	sendAll(false)

	// A guard by itself, and one that is off where antispoof is on.
	l.must("port", "set", "p3", "--ra-guard", "on")
	l.must("port", "set", "p2", "--antispoof", "mac", "--dhcp-guard", "off")
	out2 := rawSocket(t, g2, 2)
	for _, c := range []struct {
		from  raw
		bytes []byte
		want  int
	}{
		{out, nd(t, self, linkLocal(3), layers.ICMPv6TypeRouterAdvertisement, &layers.ICMPv6RouterAdvertisement{}), 0},
		{out, udp4(t, self, guestIP(3), 67, 68, dhcp(layers.DHCPMsgTypeOffer, guestMAC(1))), 1},
		{out2, nd(t, other, linkLocal(2), layers.ICMPv6TypeRouterAdvertisement, &layers.ICMPv6RouterAdvertisement{}), 0},
		{out2, udp4(t, other, guestIP(2), 67, 68, dhcp(layers.DHCPMsgTypeOffer, guestMAC(1))), 1},
		{out2, udp4(t, other, "192.0.2.1", 9, 9, hello), 1}, // mac alone
	} {
		c.from.send(t, c.bytes)
		if n := times(e.until(t, c.from), c.bytes); n != c.want {
			t.Errorf("%x: heard %d times, want %d", c.bytes, n, c.want)
		}
	}
}

// With arping and ping, as an administrator would try it.
//
//	g1--p1--+-- vault
//	g3--p3--+   antispoof = "mac+ip"
func TestAntispoofByHand(t *testing.T) { bothEngines(t, testAntispoofByHand) }
func testAntispoofByHand(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g3 := l.guest(1), l.guest(3)
	l.start("[network.vault]\nmode = \"isolated\"\n[[port]]\nname = \"p3\"\nnetwork = \"vault\"\nantispoof = \"mac+ip\"\nmac = \"" +
		guestMAC(3).String() + "\"\nip = [\"10.9.0.3\"]\n[[port]]\nname = \"p*\"\nnetwork = \"vault\"\n")
	talk(t, g3, guestIP(1))
	talk(t, g1, guestIP(3))

	// The other's address, which only a forger would bind.
	if err := g3.Sysctl("net.ipv4.ip_nonlocal_bind", "1"); err != nil {
		t.Fatal(err)
	}
	e, out := hear(t, g1, 1), rawSocket(t, g3, 3)
	before := l.stats("p3").Drops["spoof_arp"]
	forgedARP := func() (n int) {
		t.Helper()
		run(t, g3, "arping", "-q", "-U", "-c", "1", "-s", guestIP(1), "-I", "eth0", guestIP(1))
		self := guestMAC(3)
		return marked(e.until(t, out), string(self[:])+"\x0a\x09\x00\x01") // sender's MAC and address
	}
	if n := forgedARP(); n != 0 {
		t.Errorf("%d forged ARP messages were heard", n)
	}
	if n := l.stats("p3").Drops["spoof_arp"]; n == before {
		t.Error("nothing counted as spoof_arp")
	}

	mustRun(t, g3, "ip", "addr", "add", guestIP(33)+"/24", "dev", "eth0")
	noneTalk(t, []pair{{g3, guestIP(1), guestIP(33)}, {from: g1, to: guestIP(33)}}) // not the guest's

	// The address moves while the guest lives.
	l.must("port", "set", "p3", "--ip", guestIP(33))
	flushNeighbours(t, g1, g3)
	if r, _ := ping(t, g3, guestIP(1), 20, "-I", guestIP(33)); r != 20 {
		t.Errorf("%d of 20 replies to the new address", r)
	}
	noneTalk(t, []pair{{g3, guestIP(1), guestIP(3)}})
	// Another MAC, as after a guest's own change.
	mustRun(t, g3, "ip", "link", "set", "eth0", "address", guestMAC(77).String())
	noneTalk(t, []pair{{from: g3, to: guestIP(1)}})
	l.must("port", "set", "p3", "--antispoof", "off")
	flushNeighbours(t, g1)
	talk(t, g3, guestIP(1))
	mustRun(t, g3, "ip", "link", "set", "eth0", "address", guestMAC(3).String())
	if n := forgedARP(); n == 0 {
		t.Error("the forged ARP is not heard without antispoof either")
	}
	row := l.port("p3")
	if row.AntiSpoof != "off" || row.RAGuard || strings.Join(row.IP, ",") != guestIP(33) {
		t.Errorf("port list: %+v", row)
	}
}

// port is a port's row.
func (l *lab) port(name string) control.Port {
	l.t.Helper()
	for _, p := range list[[]control.Port](l, "port", "list") {
		if p.Name == name {
			return p
		}
	}
	l.t.Fatalf("no port %s", name)
	panic("unreachable")
}

// Nobody told the guest's address: it is what DHCP gives it.
//
//	g5 (udhcpc)--p5--+-- lab -- host 10.9.0.254 (dnsmasq)
//	g2--p2-----------+
func TestDHCPMakesAnAddressTheGuests(t *testing.T) { bothEngines(t, testDHCPMakesAnAddressTheGuests) }
func testDHCPMakesAnAddressTheGuests(t *testing.T, engine string) {
	l := newLab(t, engine)
	g2 := l.guest(2)
	g5 := nettest.Guest(t, l.net, l.host, guestSpec(5, ""))
	const config = "[network.lab]\nmode = \"host-only\"\naddress = \"10.9.0.254/24\"\n" +
		"[[port]]\nname = \"p5\"\nnetwork = \"lab\"\nantispoof = \"mac+ip\"\n[[port]]\nname = \"p*\"\nnetwork = \"lab\"\n"
	l.start(config)
	talk(t, g2, "10.9.0.254")
	l.dnsmasq("lab")

	// An address of its own making, before there is a lease.
	mustRun(t, g5, "ip", "addr", "add", guestIP(5)+"/24", "dev", "eth0")
	noneTalk(t, []pair{{from: g5, to: "10.9.0.254"}})
	mustRun(t, g5, "ip", "addr", "flush", "dev", "eth0")
	leased := l.udhcpc(g5)
	talk(t, g5, "10.9.0.254")
	talk(t, g5, guestIP(2))
	if got := strings.Join(l.port("p5").LearnedIP, ","); !strings.Contains(got, leased) {
		t.Errorf("learned_ip is %s, want %s in it", got, leased)
	}
	if p := l.port("p5"); p.LearnedMAC != guestMAC(5) || !p.MAC.IsZero() {
		t.Errorf("learned_mac is %s, want %s; mac is %s", p.LearnedMAC, guestMAC(5), p.MAC)
	}
	mustRun(t, g5, "ip", "addr", "add", guestIP(5)+"/24", "dev", "eth0")
	noneTalk(t, []pair{{g5, guestIP(2), guestIP(5)}}) // which DHCP did not give
	// What is told takes the place of what was learned, and gives it back.
	l.must("port", "set", "p5", "--ip", guestIP(5))
	noneTalk(t, []pair{{g5, guestIP(2), leased}})
	if r, _ := ping(t, g5, guestIP(2), 20, "-I", guestIP(5)); r != 20 {
		t.Errorf("%d of 20 replies to the address that was told", r)
	}
	l.must("port", "set", "p5", "--ip", "")
	lives := func(when string) {
		t.Helper()
		if r, _ := ping(t, g5, guestIP(2), 20, "-I", leased); r != 20 {
			t.Errorf("%s: %d of 20 replies to the lease", when, r)
		}
	}
	lives("told no more")

	// A guest does not ask again because the switch was started anew.
	nettest.Wait(t, "the lease to be written down", func() (bool, error) {
		b, err := os.ReadFile(l.path("state/state.json"))
		return strings.Contains(string(b), leased), err
	})
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		l.daemon.end(t, sig)
		l.start(config)
		lives("after " + sig.String())
	}
	noneTalk(t, []pair{{g5, guestIP(2), guestIP(5)}}) // which DHCP did not give

	// A port that was taken out comes back as a stranger's.
	l.must("port", "del", "p5")
	l.must("port", "add", "p5", "--network", "lab", "--antispoof", "mac+ip")
	noneTalk(t, []pair{{g5, guestIP(2), leased}})
	if got := l.port("p5").LearnedIP; len(got) != 0 {
		t.Errorf("learned_ip is %v after port del and port add", got)
	}
}

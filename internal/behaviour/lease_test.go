package behaviour

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// served is a network whose guests get addresses and names from the host.
const served = `
[network.lab]
mode    = "host-only"
address = "10.9.0.254/24"
dhcp    = { range = "10.9.0.50-10.9.0.99", lease = "1h" }
dns     = { domain = "xen", upstream = ["none"] }
`

const allPorts = `
[[port]]
name    = "p*"
network = "lab"
`

// bare hangs guest i on port pi, without an address, and waits until frames pass.
func (l *lab) bare(i int) *testnet.NS {
	l.t.Helper()
	g := nettest.Guest(l.t, l.net, l.host, guestSpec(i, ""))
	awaitOperational(l.t, g, "eth0")
	return g
}

func leases(l *lab) []control.Lease {
	l.t.Helper()
	return list[[]control.Lease](l, "lease", "list")
}

// leaseOf is guest i's, if it has one.
func leaseOf(l *lab, i int) (control.Lease, bool) {
	l.t.Helper()
	for _, lease := range leases(l) {
		if lease.MAC == guestMAC(i) {
			return lease, true
		}
	}
	return control.Lease{}, false
}

// hook is a client's script: in the states that match it gives eth0 the address,
// and then leaves its environment behind.
func (l *lab) hook(condition, addr string) (script, noted string) {
	l.t.Helper()
	script, noted = l.path("hook"), l.path("env")
	l.write("hook", fmt.Sprintf("#!/bin/sh\n%s || exit 0\nip addr replace %s dev eth0\nenv >%[3]s.new\nmv %[3]s.new %[3]s\n", condition, addr, noted))
	if err := os.Chmod(script, 0o755); err != nil {
		l.t.Fatal(err)
	}
	_ = os.Remove(noted)
	return script, noted
}

func awaitFile(t *testing.T, name string) string {
	t.Helper()
	var b []byte
	nettest.Wait(t, name, func() (bool, error) {
		var err error
		b, err = os.ReadFile(name)
		return err == nil, nil
	})
	return string(b)
}

// A guest has its address in less than a second, with offloads as they are, and
// is told of its network.
//
//	g1 (udhcpc)--p1--lab--host 10.9.0.254
func TestLeaseWithinASecond(t *testing.T) { bothEnginesAlone(t, testLeaseWithinASecond) }
func testLeaseWithinASecond(t *testing.T, engine string) {
	l := newLab(t, engine)
	g := l.bare(1)
	l.start(served + "mtu = 1400\n" + allPorts)
	l.awaitPort("p1", "up")
	awaitOperational(t, l.host, "lab")
	for ns, nic := range map[*testnet.NS]string{l.host: "lab", g: "eth0"} {
		if out := mustRun(t, ns, "ethtool", "-k", nic); !strings.Contains(out, "tx-checksumming: on") {
			t.Fatalf("%s does not leave checksums to others:\n%s", nic, out)
		}
	}
	script, noted := l.hook(`[ "$1" = bound ]`, "$ip/$mask")
	began := time.Now()
	mustRun(t, g, "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script, "-O", "mtu", "-x", "hostname:mail")
	took := time.Since(began)
	t.Logf("lease after %s", took)
	if took > time.Second {
		t.Errorf("took %s", took)
	}
	lease, _ := leaseOf(l, 1)
	if lease.Hostname != "mail" || lease.Port != "p1" || lease.Network != "lab" || time.Until(lease.Expires) > time.Hour || time.Until(lease.Expires) < 59*time.Minute {
		t.Errorf("%+v", lease)
	}
	env := awaitFile(t, noted)
	for _, want := range []string{"ip=" + lease.IP, "mask=24", "router=10.9.0.254", "dns=10.9.0.254", "domain=xen", "mtu=1400", "lease=3600"} {
		if !strings.Contains("\n"+env, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
	talk(t, g, "10.9.0.254")
	if info, err := os.Stat(l.path("state/dhcp-lab.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of leases: %v, %v", info, err)
	}
}

// dhclient runs until it is told to end. Its leases outlive it.
func (l *lab) dhclient(g *testnet.NS, log *logBuffer, script string) (end func(syscall.Signal)) {
	l.t.Helper()
	cmd := g.Command(context.Background(), "dhclient", "-d", "-v", "-sf", script, "-pf", l.path("dhclient.pid"), "-lf", l.path("dhclient.leases"), "eth0")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.t.Skip(err)
	}
	end = func(sig syscall.Signal) {
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
	}
	l.t.Cleanup(func() {
		end(syscall.SIGKILL)
		if l.t.Failed() {
			l.t.Logf("dhclient:\n%s", log)
		}
	})
	return end
}

// dhclient renews its lease, asks for the same address after a reboot, and gives
// it back.
func TestDhclientKeepsItsLease(t *testing.T) { bothEngines(t, testDhclientKeepsItsLease) }
func testDhclientKeepsItsLease(t *testing.T, engine string) {
	l := newLab(t, engine)
	g := l.bare(1)
	l.start(strings.Replace(served, `"1h"`, `"4s"`, 1) + allPorts)
	l.awaitPort("p1", "up")
	script, noted := l.hook(`[ "$reason" = BOUND ] || [ "$reason" = RENEW ] || [ "$reason" = REBOOT ]`, "$new_ip_address/24")
	log := &logBuffer{}
	end := l.dhclient(g, log, script)
	env := awaitFile(t, noted)
	first, ok := leaseOf(l, 1)
	for _, want := range []string{"new_ip_address=" + first.IP, "new_routers=10.9.0.254", "new_domain_name=xen"} {
		if !ok || !strings.Contains("\n"+env, "\n"+want+"\n") {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
	nettest.Wait(t, "a renewal", func() (bool, error) {
		now, ok := leaseOf(l, 1)
		// It has written the lease down before it says so.
		return ok && now.IP == first.IP && now.Expires.After(first.Expires) && strings.Count(log.String(), "bound to ") == 2, nil
	})
	end(syscall.SIGKILL)

	// It reboots: with an hour's lease, to be there in time.
	l.write("gxswitch.toml", served+allPorts)
	l.must("reload")
	again := &logBuffer{}
	_ = os.Remove(noted)
	end = l.dhclient(g, again, script)
	awaitFile(t, noted)
	if now, _ := leaseOf(l, 1); now.IP != first.IP || strings.Contains(again.String(), "DHCPDISCOVER") {
		t.Errorf("after a reboot %s, before %s", now.IP, first.IP)
	}
	end(syscall.SIGKILL)
	mustRun(t, g, "dhclient", "-r", "-sf", "/bin/true", "-pf", l.path("other.pid"), "-lf", l.path("dhclient.leases"), "eth0")
	nettest.Wait(t, "the lease to be given back", func() (bool, error) { _, ok := leaseOf(l, 1); return !ok, nil })
}

// What a client may ask for, and what it is told.
func TestRequestsAreAnsweredByWhoAsks(t *testing.T) { bothEngines(t, testRequestsAreAnsweredByWhoAsks) }
func testRequestsAreAnsweredByWhoAsks(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.bare(1), l.bare(2)
	l.start(served + allPorts)
	l.awaitPort("p1", "up")
	l.awaitPort("p2", "up")
	s1, s2 := newStation(t, g1, "eth0"), newStation(t, g2, "eth0")
	had := s1.lease(guestMAC(1))
	for _, c := range []struct {
		name   string
		from   *station
		mac    frame.MAC
		change func(*dhcpv4.DHCPv4)
		want   dhcpv4.MessageType
	}{
		{"renewing", s1, guestMAC(1), having(had), dhcpv4.MessageTypeAck},
		{"rebooting", s1, guestMAC(1), rebooting(had), dhcpv4.MessageTypeAck},
		{"rebooting with another's address", s2, guestMAC(2), rebooting(had), dhcpv4.MessageTypeNak},
		{"rebooting from another network", s2, guestMAC(2), rebooting(netip.MustParseAddr("192.0.2.9")), dhcpv4.MessageTypeNak},
	} {
		a := c.from.ask(dhcpv4.MessageTypeRequest, c.mac, c.change)
		if a.MessageType() != c.want || c.want == dhcpv4.MessageTypeAck && a.addr != had {
			t.Errorf("%s: %s %s, want %s", c.name, a.MessageType(), a.addr, c.want)
		}
	}

	// An administrator ends the lease: the guest gets the address anew when it asks.
	if out := l.must("lease", "del", "--network", "lab", guestMAC(1).String()); out != "" {
		t.Errorf("lease del says %s", out)
	}
	if _, _, code := l.cli("lease", "del", "--network", "lab", guestMAC(1).String()); code != 4 || len(leases(l)) != 0 {
		t.Errorf("once more: exit %d, leases %v", code, leases(l))
	}
	if again := s1.lease(guestMAC(1)); again != had {
		t.Errorf("after lease del %s, before %s", again, had)
	}
}

// Reservations give a guest its address and name, and a port's ip is what its
// guest gets. Nobody else does.
func TestReservedAddresses(t *testing.T) { bothEngines(t, testReservedAddresses) }
func testReservedAddresses(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2, g3 := l.bare(1), l.bare(2), l.bare(3)
	l.start(served + `
[[network.lab.host]]
name = "web1"
mac  = "` + guestMAC(1).String() + `"
ip   = "10.9.0.10"

[[port]]
name    = "p3"
network = "lab"
ip      = ["10.9.0.51"]
[[port]]
name    = "p9"
network = "lab"
ip      = ["10.9.0.52"]
` + allPorts)
	for _, p := range []string{"p1", "p2", "p3"} {
		l.awaitPort(p, "up")
	}
	if got := l.udhcpc(g1); got != "10.9.0.10" {
		t.Errorf("web1 got %s", got)
	}
	s2, s3 := newStation(t, g2, "eth0"), newStation(t, g3, "eth0")
	for i, taken := range []string{"10.9.0.51", "10.9.0.52"} { // the second one's port is yet to come
		offer := s2.ask(dhcpv4.MessageTypeDiscover, guestMAC(2+10*i), rebooting(netip.MustParseAddr(taken)))
		if offer.addr.String() == taken {
			t.Errorf("another guest was offered %s", taken)
		}
	}
	if got := s3.lease(guestMAC(3)); got.String() != "10.9.0.51" {
		t.Errorf("the guest of p3 got %s", got)
	}
	// The port's address changes while it is there.
	l.must("port", "set", "p3", "--ip", "10.9.0.53")
	if a := s3.ask(dhcpv4.MessageTypeRequest, guestMAC(3), having(netip.MustParseAddr("10.9.0.51"))); a.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("the old address: %s", a.MessageType())
	}
	if got := s3.lease(guestMAC(3)); got.String() != "10.9.0.53" {
		t.Errorf("the guest of p3 got %s then", got)
	}
	if web, _ := leaseOf(l, 1); web.Hostname != "web1" {
		t.Errorf("%+v", web)
	}
}

// Leases survive the daemon, however it ends, and a changed range.
func TestLeasesOutliveTheDaemon(t *testing.T) { bothEngines(t, testLeasesOutliveTheDaemon) }
func testLeasesOutliveTheDaemon(t *testing.T, engine string) {
	l := newLab(t, engine)
	g := l.bare(1)
	l.start(served + allPorts)
	l.awaitPort("p1", "up")
	s := newStation(t, g, "eth0")
	addrs := map[int]netip.Addr{}
	for i := 1; i <= 5; i++ {
		addrs[i] = s.lease(guestMAC(i))
	}
	before := leases(l)
	same := func(when string) {
		t.Helper()
		after := leases(l)
		if len(before) != 5 || fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("%s:\n%v\nbefore:\n%v", when, after, before)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		l.daemon.end(t, sig)
		l.start(served + allPorts)
		l.awaitPort("p1", "up")
		same("after " + sig.String())
	}
	if a := s.ask(dhcpv4.MessageTypeRequest, guestMAC(3), having(addrs[3])); a.MessageType() != dhcpv4.MessageTypeAck || a.addr != addrs[3] {
		t.Errorf("a renewal: %s %s, want %s", a.MessageType(), a.addr, addrs[3])
	}
	before = leases(l)

	if out := l.must("reload"); strings.Contains(out, "lab") {
		t.Errorf("a reload of nothing says %s", out)
	}
	same("after a reload of nothing")
	if n := strings.Count(l.daemon.log.String(), "DHCP is served"); n != 1 {
		t.Errorf("the server was touched %d times", n)
	}
	l.write("gxswitch.toml", strings.Replace(served, "10.9.0.50-10.9.0.99", "10.9.0.200-10.9.0.209", 1)+allPorts)
	l.must("reload")
	same("with another range")
	if got := s.lease(guestMAC(6)); got.Less(netip.MustParseAddr("10.9.0.200")) {
		t.Errorf("of the new range a newcomer got %s", got)
	}
	file := l.path("state/dhcp-lab.json")
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	l.must("network", "del", "lab")
	if _, err := os.Stat(file); err == nil {
		t.Error("the leases of a network that is deleted are still there")
	}
	if left, _ := filepath.Glob(l.path("state/*.new")); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// 250 guests that start at once have their addresses within ten seconds, each
// its own, and there is none left for the next.
//
//	crowd [e0 … e24]--p0 … p24--lab
func TestCrowdOfGuests(t *testing.T) { bothEnginesAlone(t, testCrowdOfGuests) }
func testCrowdOfGuests(t *testing.T, engine string) {
	const ports, each, within = 25, 10, 10 * time.Second
	l := newLab(t, engine)
	crowd := nettest.Namespace(t, l.net, "crowd")
	batch := ""
	for i := range ports {
		batch += fmt.Sprintf("link add p%d up type veth peer name e%d netns %s\n", i, i, crowd.Name)
	}
	l.write("batch", batch)
	mustRun(t, l.host, "ip", "-batch", l.path("batch"))
	stations := make([]*station, ports)
	for i := range stations {
		mustRun(t, crowd, "ip", "link", "set", fmt.Sprint("e", i), "up")
		stations[i] = newStation(t, crowd, fmt.Sprint("e", i))
	}
	config := strings.NewReplacer("10.9.0.254/24", "10.9.0.1/23", "10.9.0.50-10.9.0.99", "10.9.0.10-10.9.1.3").Replace(served) // 250 addresses
	l.start(config + allPorts)
	for i := range ports {
		l.awaitPort(fmt.Sprint("p", i), "up")
		awaitOperational(t, crowd, fmt.Sprint("e", i))
	}
	mac := func(station, i int) frame.MAC { return guestMAC(1000 + station*each + i) }
	began := time.Now()
	for n, s := range stations {
		for i := range each {
			s.say(dhcpv4.MessageTypeDiscover, mac(n, i), nil)
		}
	}
	got := map[netip.Addr]frame.MAC{}
	for n, s := range stations {
		bound := map[frame.MAC]netip.Addr{}
		for len(bound) < each {
			a, ok := s.next(began.Add(within))
			if !ok {
				t.Fatalf("station %d: %d of %d leases within %s", n, len(bound), each, within)
			}
			switch a.MessageType() {
			case dhcpv4.MessageTypeOffer:
				s.say(dhcpv4.MessageTypeRequest, a.mac, selecting(a))
			case dhcpv4.MessageTypeAck:
				bound[a.mac] = a.addr
			}
		}
		for m, a := range bound {
			if other, twice := got[a]; twice {
				t.Errorf("%s to %s and to %s", a, other, m)
			}
			got[a] = m
		}
	}
	t.Logf("%d leases in %s", ports*each, time.Since(began))
	if n := len(leases(l)); n != ports*each {
		t.Errorf("%d leases", n)
	}
	// Newcomers get nothing, and who has something keeps it.
	for i := range 5 {
		stations[i].say(dhcpv4.MessageTypeDiscover, guestMAC(5000+i), nil)
	}
	if a := stations[0].ask(dhcpv4.MessageTypeDiscover, mac(0, 0), nil); got[a.addr] != mac(0, 0) {
		t.Errorf("%s was offered %s", mac(0, 0), a.addr)
	}
	patience := 500 * time.Millisecond
	for i := range 5 {
		if a, ok := stations[i].next(time.Now().Add(patience)); ok {
			t.Errorf("%s was offered %s", a.mac, a.addr)
		}
		patience = 10 * time.Millisecond // the others have waited meanwhile
	}
	if !strings.Contains(l.daemon.log.String(), "no address is free for a DHCP client") {
		t.Error("the log does not tell of it")
	}
}

// A guest that speaks for many gets its share, and others get theirs at once.
//
//	g1, greedy--p1--+-- lab
//	g2 (udhcpc)--p2-+
func TestGreedyGuestStarvesNobody(t *testing.T) { bothEnginesAlone(t, testGreedyGuestStarvesNobody) }
func testGreedyGuestStarvesNobody(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.bare(1), l.bare(2)
	l.start(served + allPorts)
	l.awaitPort("p1", "up")
	l.awaitPort("p2", "up")
	s := newStation(t, g1, "eth0")
	for i := range 24 {
		s.say(dhcpv4.MessageTypeDiscover, guestMAC(1000+i), nil)
	}
	for bound := 0; bound < 16; {
		switch a, ok := s.next(time.Now().Add(5 * time.Second)); {
		case !ok:
			t.Fatalf("%d leases for a guest that may have 16", bound)
		case a.MessageType() == dhcpv4.MessageTypeOffer:
			s.say(dhcpv4.MessageTypeRequest, a.mac, selecting(a))
		case a.MessageType() == dhcpv4.MessageTypeAck:
			bound++
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // it goes on while the other one asks
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				s.say(dhcpv4.MessageTypeDiscover, guestMAC(2000+i), nil)
			}
		}
	}()
	began := time.Now()
	l.udhcpc(g2)
	took := time.Since(began)
	close(stop)
	<-stopped
	t.Logf("the other guest waited %s", took)
	if took > 2*time.Second {
		t.Errorf("the other guest waited %s", took)
	}
	mine := 0
	for _, lease := range leases(l) {
		if lease.Port == "p1" {
			mine++
		}
	}
	if mine != 16 {
		t.Errorf("the greedy guest has %d leases, want 16", mine)
	}
}

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

package behaviour

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

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
		return ok && now.IP == first.IP && now.Expires.After(first.Expires), nil
	})

	// It reboots, with an hour's lease. What it renewed it has not written down:
	// dhclient waits for 15 s between two writes (MIN_LEASE_WRITE).
	l.write("gxswitch.toml", served+allPorts)
	l.must("reload")
	again := &logBuffer{}
	for _, log := range []*logBuffer{{}, again} {
		end(syscall.SIGKILL)
		_ = os.Remove(noted)
		end = l.dhclient(g, log, script)
		awaitFile(t, noted)
		nettest.Wait(t, "dhclient to have written its lease", func() (bool, error) { return strings.Contains(log.String(), "bound to "), nil })
	}
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

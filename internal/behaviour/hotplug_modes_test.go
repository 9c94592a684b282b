package behaviour

import (
	"strings"
	"testing"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// newDom0Outside is a dom0 with something on its eth0.
func newDom0Outside(t *testing.T, engine string) (*dom0, *internet) {
	d := newDom0(t, engine)
	i := &internet{lab: d.lab}
	i.connect()
	return d, i
}

// unaddressed is a domain's vif whose guest has no address yet.
func (d *dom0) unaddressed(domid int, domain string, keys map[string]string) *testnet.NS {
	d.t.Helper()
	g := d.nic(domid, 0, domain, keys)
	mustRun(d.t, g, "ip", "addr", "flush", "dev", "eth0")
	return g
}

// destroy is what xl destroy does to a domain with one vif.
func (d *dom0) destroy(domid int) {
	d.t.Helper()
	mustRun(d.t, d.host, "ip", "link", "del", vifName(domid, 0))
	d.store.Remove(backend(domid, 0))
	d.down(domid, 0, "offline", "type_if=vif")
}

// answered is how many of two ARP requests by the router for an address are.
func (l *internet) answered(addr string) int {
	out, _ := run(l.t, l.router, "arping", "-c", "2", "-w", "2", "-I", "eth0", addr)
	_, after, _ := strings.Cut(out, "Received ")
	n := 0
	for _, c := range strings.SplitN(after, " ", 2)[0] {
		n = 10*n + int(c-'0')
	}
	return n
}

// What vif-route did: a domain's ip= has a route and an answer to ARP as long as
// the domain is there, DHCP tells it to the guest, and nobody else may use it.
func TestVifInARoutedNetwork(t *testing.T) { bothEngines(t, testVifInARoutedNetwork) }
func testVifInARoutedNetwork(t *testing.T, engine string) {
	d, out := newDom0Outside(t, engine)
	d.start(`
[network.dmz]
mode   = "routed"
uplink = "eth0"
dhcp   = {}
`)
	mail := map[string]string{"bridge": "dmz", "ip": "192.168.1.21"}
	g := d.unaddressed(1, "mail", mail)
	d.online(1, 0)
	d.awaitPort("vif1.0", "up")
	d.leaseWithRoutes(g, "ip=192.168.1.21", "mask=32", "router=192.168.1.20")
	for _, to := range []string{"192.168.1.20", "192.168.1.1", "198.51.100.7"} {
		talk(t, g, to)
	}
	// As vif-route's guests were set up: a static address, the host the gateway.
	static := d.unaddressed(2, "web", map[string]string{"bridge": "dmz", "ip": "192.168.1.22"})
	mustRun(t, static, "ip", "addr", "add", "192.168.1.22/24", "dev", "eth0")
	mustRun(t, static, "ip", "route", "add", "default", "via", "192.168.1.20")
	d.online(2, 0)
	d.awaitPort("vif2.0", "up")
	talk(t, static, "198.51.100.7")
	talk(t, static, "192.168.1.21")
	for _, from := range []*testnet.NS{d.host, out.router, out.far} {
		talk(t, from, "192.168.1.21")
		talk(t, from, "192.168.1.22")
	}
	if n := out.answered("192.168.1.21"); n != 2 {
		t.Errorf("%d answers to two requests", n)
	}
	mustRun(t, static, "ip", "addr", "add", "192.168.1.23/32", "dev", "eth0")
	if r, _ := ping(t, static, "198.51.100.7", 3, "-I", "192.168.1.23"); r != 0 {
		t.Errorf("%d replies to an address that nobody gave the domain", r)
	}
	d.nic(7, 0, "thief", map[string]string{"bridge": "dmz", "ip": "192.168.1.20"})
	d.refused(7, 0, "vif7.0: ip=192.168.1.20 is the host's own address in network dmz; give domain thief another", "online")

	// The domain goes, and with it the route and the answers.
	d.destroy(1)
	if routes := mustRun(t, d.host, "ip", "route", "show", "dev", "dmz"); strings.Contains(routes, "192.168.1.21") {
		t.Error(routes)
	}
	if n := out.answered("192.168.1.21"); n != 0 {
		t.Errorf("%d answers for a domain that went", n)
	}

	// It comes back, but its guest does not use its NIC yet: perhaps it still runs
	// elsewhere. Xen gave it another MAC.
	g = d.unaddressed(3, "mail", mail)
	mustRun(t, g, "ip", "link", "set", "eth0", "down")
	d.online(3, 0)
	if n := out.answered("192.168.1.21"); n != 0 {
		t.Errorf("%d answers for a guest that does not run yet", n)
	}
	mustRun(t, g, "ip", "link", "set", "eth0", "up")
	d.awaitPort("vif3.0", "up")
	d.leaseWithRoutes(g, "ip=192.168.1.21")
	talk(t, g, "198.51.100.7")
	talk(t, out.far, "192.168.1.21")
}

// What vif-nat did: a domain with an ip= has that by DHCP, one without has one of
// the range, and both reach what is outside by the host's address.
func TestVifInANATNetwork(t *testing.T) { bothEngines(t, testVifInANATNetwork) }
func testVifInANATNetwork(t *testing.T, engine string) {
	d, out := newDom0Outside(t, engine)
	d.start(`
[network.nat0]
mode    = "nat"
uplink  = "eth0"
address = "10.20.0.1/24"
dhcp    = { range = "10.20.0.50-10.20.0.51" }
[[network.nat0.forward]]
listen = "tcp/8080"
to     = "10.20.0.50:80"
[[port]]
match   = { domain = "absent", vif = 0 }
network = "nat0"
ip      = ["10.20.0.51"]
`)
	web := map[string]string{"bridge": "nat0", "ip": "10.20.0.50"}
	g1 := d.unaddressed(1, "web", web)
	g2 := d.unaddressed(2, "other", map[string]string{"bridge": "nat0"})
	d.online(1, 0)
	d.awaitPort("vif1.0", "up")
	d.leaseWithRoutes(g1, "ip=10.20.0.50", "mask=24", "router=10.20.0.1")
	for _, to := range []string{"10.20.0.1", "192.168.1.1", "198.51.100.7"} {
		talk(t, g1, to)
	}
	serve(t, g1, "10.20.0.50:80")
	if c, _, err := ask(out.far, "", "192.168.1.20:8080", "x"); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}

	// Both addresses of the range are somebody's: one runs, one may be started yet.
	d.online(2, 0)
	d.awaitPort("vif2.0", "up")
	if said, err := run(t, g2, "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "2", "-T", "1", "-s", "/bin/true"); err == nil {
		t.Errorf("a lease of what others have:\n%s", said)
	}
	// That one takes what is its own, whatever number it has.
	g3 := d.unaddressed(3, "absent", nil)
	d.online(3, 0)
	d.awaitPort("vif3.0", "up")
	d.leaseWithRoutes(g3, "ip=10.20.0.51")
	talk(t, g3, "198.51.100.7")
	talk(t, g3, "10.20.0.50")

	d.nic(4, 0, "lost", map[string]string{"bridge": "nat0", "ip": "10.9.0.4"})
	d.refused(4, 0, "vif4.0: ip=10.9.0.4 is not in 10.20.0.0/24, which is all that network nat0 translates; give domain lost an address of these, or none and let DHCP choose", "online")

	// A reboot, with another MAC as where the vif line names none.
	d.destroy(1)
	g1 = d.unaddressed(5, "web", web)
	d.online(5, 0)
	d.awaitPort("vif5.0", "up")
	d.leaseWithRoutes(g1, "ip=10.20.0.50")
	talk(t, g1, "198.51.100.7")
	nettest.Wait(t, "the lease of the new NIC", func() (bool, error) {
		for _, l := range leases(d.lab) {
			if l.IP == "10.20.0.50" {
				return l.Port == "vif5.0", nil
			}
		}
		return false, nil
	})
}

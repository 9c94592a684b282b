package behaviour

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// In a routed network without an address a guest gets its port's, and everything
// by way of the host; in a NAT network one of the range. Both reach the LAN then,
// which has heard nothing of it.
//
//	g1 --p1--dmz--+
//	              +-- host -- nic -- world 192.168.1.1
//	g2 --q2--nat0-+         192.168.1.20
func TestDHCPWhereTheHostIsTheGateway(t *testing.T) { bothEngines(t, testDHCPWhereTheHostIsTheGateway) }
func testDHCPWhereTheHostIsTheGateway(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.bare(1)
	g2 := nettest.Guest(t, l.net, l.host, testnet.GuestSpec{Name: "g2", Port: "q2", MAC: guestMAC(2)})
	world := nettest.Guest(t, l.net, l.host, testnet.GuestSpec{Name: "world", Port: "nic", MAC: guestMAC(3)})
	mustRun(t, world, "ip", "addr", "add", "192.168.1.1/24", "dev", "eth0")
	mustRun(t, l.host, "ip", "addr", "add", "192.168.1.20/24", "dev", "nic")
	l.start(`
[network.dmz]
mode   = "routed"
uplink = "nic"
dhcp   = {}
dns    = { domain = "dmz", upstream = ["none"] }
[[network.dmz.host]]
name = "mail"
ip   = "192.168.1.21"

[network.nat0]
mode    = "nat"
uplink  = "nic"
address = "10.20.0.1/24"
dhcp    = { range = "10.20.0.50-10.20.0.59", lease = "1h" }
dns     = { domain = "xen", upstream = ["none"] }

[[port]]
name    = "p1"
network = "dmz"
ip      = ["192.168.1.21"]
[[port]]
name    = "q2"
network = "nat0"
`)
	for _, p := range []string{"p1", "q2", "nic"} {
		l.awaitPort(p, "up")
	}
	lan := newStation(t, world, "eth0")
	for _, c := range []struct {
		guest *testnet.NS
		want  []string
		name  string
	}{
		{g1, []string{"ip=192.168.1.21", "mask=32", "router=192.168.1.20", "dns=192.168.1.20", "domain=dmz"}, "mail.dmz"},
		{g2, []string{"mask=24", "router=10.20.0.1", "dns=10.20.0.1", "domain=xen"}, "gateway.xen"},
	} {
		env := l.leaseWithRoutes(c.guest, c.want...)
		talk(t, c.guest, "192.168.1.1")
		_, server, _ := strings.Cut(env, "\ndns=")
		server, _, _ = strings.Cut(server, "\n")
		if out := mustRun(t, c.guest, "dig", "@"+server, "+short", "+tries=1", "+time=5", c.name); strings.TrimSpace(out) == "" {
			t.Errorf("%s: no address of %s", c.guest.Name, c.name)
		}
	}
	// The host is answered by either, whatever address it asks from; the LAN is not,
	// though it is the LAN's interface that has the one.
	for _, args := range []string{
		"@192.168.1.20 mail.dmz", "+tcp @192.168.1.20 mail.dmz", "-b 10.20.0.1 @192.168.1.20 mail.dmz",
		"@10.20.0.1 gateway.xen", "-b 192.168.1.20 @10.20.0.1 gateway.xen", "-b 127.0.0.1 @10.20.0.1 gateway.xen",
	} {
		out := mustRun(t, l.host, append([]string{"dig", "+short", "+tries=1", "+time=2"}, strings.Fields(args)...)...)
		if net.ParseIP(strings.TrimSpace(out)) == nil {
			t.Errorf("the host, dig %s: %q", args, out)
		}
	}
	for _, args := range []string{"", "+tcp"} {
		if out, err := run(t, world, append([]string{"dig"}, strings.Fields("+tries=1 +time=1 @192.168.1.20 mail.dmz "+args)...)...); err == nil {
			t.Errorf("the LAN, %s: %s", args, out)
		}
	}
	// A host interface that is made anew has the uplink's address again.
	mustRun(t, l.host, "ip", "link", "del", "dmz")
	nettest.Wait(t, "the host's name by a new host interface", func() (bool, error) {
		out, _ := run(t, g1, "dig", "@192.168.1.20", "+short", "+tries=1", "+time=1", "gateway.dmz")
		return strings.TrimSpace(out) == "192.168.1.20", nil
	})
	// So has it when the uplink has another.
	mustRun(t, l.host, "sysctl", "-qw", "net.ipv4.conf.nic.promote_secondaries=1")
	mustRun(t, l.host, "ip", "addr", "add", "192.168.1.30/24", "dev", "nic")
	nettest.Wait(t, "the second address is known", func() (bool, error) {
		_, err := run(t, g1, "ping", "-c", "1", "-W", "1", "192.168.1.30")
		return err == nil, nil
	})
	mustRun(t, l.host, "ip", "addr", "del", "192.168.1.20/24", "dev", "nic")
	nettest.Wait(t, "the uplink's new address on the host interface", func() (bool, error) {
		out, err := run(t, l.host, "ip", "-4", "addr", "show", "dev", "dmz")
		return strings.Contains(out, "192.168.1.30/32") && !strings.Contains(out, "192.168.1.20"), err
	})
	nettest.Wait(t, "answers there", func() (bool, error) {
		out, _ := run(t, l.host, "dig", "@192.168.1.30", "+short", "+tries=1", "+time=1", "gateway.dmz")
		return strings.TrimSpace(out) == "192.168.1.30", nil
	})
	// All that the LAN was sent has arrived: replies to the pings that came after it
	// did.
	frames, b := 0, make([]byte, 2048)
	if err := lan.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		n, _, err := lan.conn.ReadFrom(b)
		if err != nil {
			break
		}
		frames++
		if strings.Contains(string(b[:n]), "\x63\x82\x53\x63") { // DHCP's magic cookie (RFC 2131, 3)
			t.Errorf("the LAN heard %x", b[:n])
		}
	}
	if frames == 0 {
		t.Error("the ear on the LAN is deaf")
	}
	if _, ok := leaseOf(l, 3); ok {
		t.Error("the LAN has a lease")
	}
}

// leaseWithRoutes gives a guest what DHCP says, and the way to its router, which
// may be outside its subnet. It expects of the answer what is wanted, and returns
// it.
func (l *lab) leaseWithRoutes(guest *testnet.NS, want ...string) string {
	l.t.Helper()
	script, noted := l.hook(`[ "$1" = bound ]`, "$ip/$mask")
	text := awaitFile(l.t, script)
	text = strings.Replace(text, "env >", "ip route replace $router dev eth0\nip route replace default via $router\nenv >", 1)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		l.t.Fatal(err)
	}
	mustRun(l.t, guest, "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script)
	env := awaitFile(l.t, noted)
	for _, w := range want {
		if !strings.Contains("\n"+env, "\n"+w+"\n") {
			l.t.Errorf("%s: no %s in\n%s", guest.Name, w, env)
		}
	}
	return env
}

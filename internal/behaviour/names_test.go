package behaviour

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// dig asks 10.9.0.254 from a namespace.
func dig(t *testing.T, from *testnet.NS, args ...string) string {
	t.Helper()
	out, _ := run(t, from, append([]string{"dig", "@10.9.0.254", "+tries=1", "+time=5"}, args...)...)
	return out
}

// short is the records alone, on one line.
func short(t *testing.T, from *testnet.NS, args ...string) string {
	t.Helper()
	return strings.Join(strings.Fields(dig(t, from, append(args, "+short")...)), " ")
}

// world hangs a DNS server at 198.51.100.2 on the host, which has 198.51.100.1. It
// knows example.test, inside.test (a private address) and, at length, big.test.
func (l *lab) world() *testnet.NS {
	l.t.Helper()
	nettest.Program(l.t, "dnsmasq")
	w := nettest.Namespace(l.t, l.net, "world")
	mustRun(l.t, l.host, "ip", "link", "add", "wan", "type", "veth", "peer", "name", "eth0", "netns", w.Name)
	mustRun(l.t, l.host, "ip", "addr", "add", "198.51.100.1/24", "dev", "wan")
	mustRun(l.t, l.host, "ip", "link", "set", "wan", "up")
	mustRun(l.t, w, "ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
	mustRun(l.t, w, "ip", "link", "set", "eth0", "up")
	args := []string{"--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts", "--listen-address=198.51.100.2", "--bind-interfaces",
		"--pid-file=" + l.path("world.pid"), "--host-record=example.test,198.51.100.7", "--host-record=inside.test,10.9.0.10", "--local=/test/"}
	for i := range 30 {
		args = append(args, fmt.Sprintf("--txt-record=big.test,%d-%s", i, strings.Repeat("x", 100)))
	}
	cmd := w.Command(context.Background(), "dnsmasq", args...)
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	nettest.Wait(l.t, "the world's DNS server", func() (bool, error) {
		out, _ := run(l.t, w, "dig", "@198.51.100.2", "+short", "+tries=1", "+time=1", "example.test")
		return strings.TrimSpace(out) == "198.51.100.7", nil
	})
	return w
}

// Guests and the host find guests by name, and the world through the host.
//
//	g1 (web1)--p1--+-- lab -- host -- wan -- world (dnsmasq)
//	g2 (mail)--p2--+
func TestNamesOfGuests(t *testing.T) { bothEngines(t, testNamesOfGuests) }
func testNamesOfGuests(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.bare(1), l.bare(2)
	world := l.world()
	config := strings.Replace(served, `"none"`, `"198.51.100.2"`, 1) + `
[[network.lab.host]]
name = "web1"
mac  = "` + guestMAC(1).String() + `"
ip   = ["10.9.0.10", "fd00::10"]
` + allPorts
	l.start(config)
	l.awaitPort("p1", "up")
	l.awaitPort("p2", "up")
	if got := l.udhcpc(g1); got != "10.9.0.10" {
		t.Errorf("web1 got %s", got)
	}
	script, noted := l.hook(`[ "$1" = bound ]`, "$ip/$mask")
	mustRun(t, g2, "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script, "-x", "hostname:mail")
	awaitFile(t, noted)
	mail, _ := leaseOf(l, 2)
	asks := []struct{ args, want string }{
		{"web1.xen", "10.9.0.10"},
		{"web1.xen AAAA", "fd00::10"},
		{"WEB1.xen +tcp", "10.9.0.10"},
		{"web1", "10.9.0.10"},
		{"-x 10.9.0.10", "web1.xen."},
		{"-x fd00::10", "web1.xen."},
		{"mail.xen", mail.IP},
		{"-x " + mail.IP, "mail.xen."},
		{"gateway.xen", "10.9.0.254"},
		{"-x 10.9.0.254", "gateway.xen."},
		{"nobody.xen", ""},
		{"example.test", "198.51.100.7"},
		{"example.test +tcp", "198.51.100.7"},
		{"inside.test", ""}, // DNS rebinding
	}
	for from, who := range map[*testnet.NS]string{g2: "a guest", l.host: "the host"} {
		for _, c := range asks {
			if got := short(t, from, strings.Fields(c.args)...); got != c.want {
				t.Errorf("%s asks %s: got %q, want %q", who, c.args, got, c.want)
			}
		}
	}
	if out := dig(t, g2, "nobody.xen"); !strings.Contains(out, "status: NXDOMAIN") {
		t.Errorf("nobody.xen:\n%s", out)
	}
	// A long answer is cut short over UDP, and whole over TCP.
	if out := dig(t, g2, "big.test", "TXT", "+ignore", "+bufsize=512"); !strings.Contains(out, "flags: qr tc") {
		t.Errorf("not cut short:\n%s", out)
	}
	if n := strings.Count(dig(t, g2, "big.test", "TXT", "+short"), "\n"); n != 30 {
		t.Errorf("%d of 30 records over TCP", n)
	}
	// Nobody else is answered, though the host would route the question.
	mustRun(t, world, "ip", "route", "add", "10.9.0.0/24", "via", "198.51.100.1")
	if out, _ := run(t, world, "dig", "@10.9.0.254", "+tries=1", "+time=1", "web1.xen"); strings.Contains(out, "status:") {
		t.Errorf("a stranger was answered:\n%s", out)
	}

	// The commands say the same.
	names := ""
	for _, n := range list[[]control.DNSName](l, "dns", "list", "--network", "lab") {
		if n.Source != control.SourceGateway {
			names += fmt.Sprintln(n.Network, n.Name, n.IP, n.Source)
		}
	}
	if want := fmt.Sprintf("lab mail.xen [%s] lease\nlab web1.xen [10.9.0.10 fd00::10] host\n", mail.IP); names != want {
		t.Errorf("dns list:\n%swant:\n%s", names, want)
	}
	answer := list[control.DNSAnswer](l, "dns", "query", "web1.xen", "--type", "AAAA")
	if len(answer.Answers) != 1 || answer.Answers[0].Value != "fd00::10" {
		t.Errorf("dns query: %+v", answer)
	}
	if answer := list[control.DNSAnswer](l, "dns", "query", mail.IP); len(answer.Answers) != 1 || answer.Answers[0].Value != "mail.xen." {
		t.Errorf("dns query of an address: %+v", answer)
	}
	if answer := list[control.DNSAnswer](l, "dns", "query", "example.test"); len(answer.Answers) != 1 || answer.Answers[0].Value != "198.51.100.7" {
		t.Errorf("dns query of the world: %+v", answer)
	}
	if _, errs, code := l.cli("dns", "query", "nobody.xen"); code != 4 || !strings.Contains(errs, "no such name") {
		t.Errorf("dns query of nobody: exit %d, %s", code, errs)
	}

	// A lease takes its name with it; names are as the configuration has them now.
	l.must("lease", "del", "--network", "lab", guestMAC(2).String())
	l.write("gxswitch.toml", strings.NewReplacer(`"xen"`, `"lab.test"`, `"web1"`, `"www"`).Replace(config))
	l.must("reload")
	for args, want := range map[string]string{"mail.lab.test": "", "web1.lab.test": "", "www.lab.test": "10.9.0.10", "-x 10.9.0.10": "www.lab.test.", "web1.xen": ""} {
		if got := short(t, g1, strings.Fields(args)...); got != want {
			t.Errorf("after the reload %s: got %q, want %q", args, got, want)
		}
	}
}

// "system" is what the host itself asks, and the host may ask the network's server:
// by a dnsmasq that sends .xen there, or first of all in its resolv.conf.
func TestNamesFromTheHostsOwnServers(t *testing.T) { bothEngines(t, testNamesFromTheHostsOwnServers) }
func testNamesFromTheHostsOwnServers(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.world()
	l.write("resolv.conf", "nameserver 10.9.0.254\nnameserver 198.51.100.2\n")
	l.resolvConf = l.path("resolv.conf")
	own := l.host.Command(context.Background(), "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--no-hosts",
		"--bind-dynamic", "--except-interface=lab", "--server=/xen/10.9.0.254", "--rev-server=10.9.0.0/24,10.9.0.254", "--pid-file="+l.path("pid"))
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = own.Process.Signal(syscall.SIGTERM)
		_ = own.Wait()
	})
	l.start(strings.Replace(served, `"none"`, `"system"`, 1) + allPorts)
	l.awaitPort("p1", "up")
	if got := short(t, g1, "example.test"); got != "198.51.100.7" {
		t.Errorf("a guest: got %q", got)
	}
	nettest.Wait(t, "the host's dnsmasq", func() (bool, error) {
		out, _ := run(t, l.host, "dig", "@127.0.0.1", "+short", "+tries=1", "+time=1", "gateway.xen")
		return strings.TrimSpace(out) == "10.9.0.254", nil
	})
	if out := mustRun(t, l.host, "dig", "@127.0.0.1", "+short", "-x", "10.9.0.254"); out != "gateway.xen.\n" {
		t.Errorf("by the host's dnsmasq: %s", out)
	}
	for name, want := range map[string]string{"gateway.xen": "10.9.0.254", "example.test": "198.51.100.7"} {
		out := mustRun(t, l.host, "sh", "-c", `mount --bind "$0" /etc/resolv.conf && getent ahostsv4 "$1"`, l.resolvConf, name)
		if !strings.HasPrefix(out, want+" ") {
			t.Errorf("by the host's resolv.conf %s is %s", name, out)
		}
	}
}

// The servers of a live network come, change and go by the command line, and stay
// as they were where that can't be.
func TestServicesChangeLive(t *testing.T) { bothEngines(t, testServicesChangeLive) }
func testServicesChangeLive(t *testing.T, engine string) {
	l := newLab(t, engine)
	g := l.bare(1)
	l.start("[network.vault]\nmode = \"isolated\"\n")
	l.must("network", "add", "lab", "--mode", "host-only", "--address", "10.9.0.254/24")
	l.must("port", "add", "p1", "--network", "lab")
	l.awaitPort("p1", "up")
	s := newStation(t, g, "eth0")

	l.must("network", "set", "lab", "--dhcp-range", "10.9.0.50-10.9.0.59", "--dns-domain", "xen", "--dns-upstream", "none")
	first := s.lease(guestMAC(1))
	n := list[control.Network](l, "network", "show", "lab")
	if n.DHCP.Range != "10.9.0.50-10.9.0.59" || n.DHCP.Leases == nil || *n.DHCP.Leases != 1 || n.DNS.Domain != "xen" {
		t.Errorf("%+v", n)
	}
	if got := short(t, l.host, "gateway.xen"); got != "10.9.0.254" {
		t.Errorf("gateway.xen is %q", got)
	}
	// The host's address moves, and its servers with it.
	l.must("network", "set", "lab", "--address", "10.9.0.253/24", "--dhcp-lease", "10m")
	a := s.ask(dhcpv4.MessageTypeRequest, guestMAC(1), having(first))
	if a.addr != first || a.ServerIdentifier().String() != "10.9.0.253" {
		t.Errorf("renewed %s at %s", a.addr, a.ServerIdentifier())
	}
	if out, _ := run(t, l.host, "dig", "@10.9.0.253", "+short", "+tries=1", "+time=5", "gateway.xen"); strings.TrimSpace(out) != "10.9.0.253" {
		t.Errorf("gateway.xen is %q then", out)
	}
	// What can't be changes nothing.
	if _, errs, code := l.cli("network", "set", "lab", "--address", "10.8.0.1/24"); code != 2 || !strings.Contains(errs, "outside the subnet") {
		t.Errorf("a subnet without the range: exit %d, %s", code, errs)
	}
	if again := s.lease(guestMAC(1)); again != first {
		t.Errorf("then %s, before %s", again, first)
	}
	// The next daemon has it from the journal.
	l.daemon.end(t, syscall.SIGKILL)
	l.start("[network.vault]\nmode = \"isolated\"\n")
	l.awaitPort("p1", "up")
	if a := s.ask(dhcpv4.MessageTypeRequest, guestMAC(1), having(first)); a.addr != first || a.IPAddressLeaseTime(0) != 10*time.Minute {
		t.Errorf("after kill -9 renewed %s for %s", a.addr, a.IPAddressLeaseTime(0))
	}
	l.must("network", "set", "lab", "--dhcp=false", "--dns=false")
	s.say(dhcpv4.MessageTypeDiscover, guestMAC(1), nil)
	if a, ok := s.next(time.Now().Add(500 * time.Millisecond)); ok {
		t.Errorf("DHCP is still served: %s", a.MessageType())
	}
	if out, _ := run(t, l.host, "dig", "@10.9.0.253", "+tries=1", "+time=1", "gateway.xen"); strings.Contains(out, "status:") {
		t.Errorf("DNS is still served:\n%s", out)
	}
	if n := list[control.Network](l, "network", "show", "lab"); n.DHCP.Leases != nil || n.DNS.Upstream != nil {
		t.Errorf("%+v", n)
	}

	// Another program has the port everywhere.
	cmd := l.host.Command(context.Background(), "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--pid-file="+l.path("pid"))
	nettest.Program(t, "dnsmasq")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	nettest.Wait(t, "the other server", func() (bool, error) {
		out, err := run(t, l.host, "ss", "-Hlnu", "sport = 53")
		return strings.Contains(out, "0.0.0.0:53"), err
	})
	if _, errs, code := l.cli("network", "set", "lab", "--dns"); code != 1 || !strings.Contains(errs, "hint: another DNS server") {
		t.Errorf("a port in use: exit %d, %s", code, errs)
	}
	if _, errs, code := l.cli("network", "add", "more", "--mode", "host-only", "--address", "10.7.0.1/24", "--dns"); code != 1 || !strings.Contains(errs, "hint: another DNS server") {
		t.Errorf("a port in use: exit %d, %s", code, errs)
	}
	if _, _, code := l.cli("network", "show", "more"); code != 4 {
		t.Error("the network that could not be is there")
	}
	if n := list[control.Network](l, "network", "show", "lab"); n.DNS.Upstream != nil {
		t.Errorf("%+v", n)
	}
	l.must("network", "add", "more", "--mode", "host-only")
	if _, _, code := l.cli("network", "set", "more", "--address", "10.7.0.1/24", "--dns"); code != 1 {
		t.Errorf("a port in use: exit %d", code)
	}
	if out := mustRun(t, l.host, "ip", "-4", "addr", "show", "dev", "more"); strings.Contains(out, "10.7.0.1") {
		t.Errorf("what was refused is there:\n%s", out)
	}
}

// What keeps a network from being served keeps nobody from using it, and is mended
// when it goes. So is a host interface that somebody removes.
func TestServicesFollowTheHost(t *testing.T) { bothEngines(t, testServicesFollowTheHost) }
func testServicesFollowTheHost(t *testing.T, engine string) {
	l := newLab(t, engine)
	g := l.guest(1)
	other := l.host.Command(context.Background(), "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--no-resolv", "--pid-file="+l.path("pid"))
	nettest.Program(t, "dnsmasq")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Signal(syscall.SIGKILL)
		_ = other.Wait()
	})
	nettest.Wait(t, "the other server", func() (bool, error) {
		out, err := run(t, l.host, "ss", "-Hlnu", "sport = 53")
		return strings.Contains(out, "0.0.0.0:53"), err
	})
	d := l.start(served + allPorts)
	l.awaitPort("p1", "up")
	talk(t, g, "10.9.0.254")
	s := newStation(t, g, "eth0")
	first := s.lease(guestMAC(1))
	n := list[control.Network](l, "network", "show", "lab")
	if !strings.Contains(n.DNS.Problem, "address already in use") || n.DHCP.Problem != "" {
		t.Errorf("dns %+v, dhcp %+v", n.DNS, n.DHCP)
	}
	if log := d.log.String(); !strings.Contains(log, "hint=\"another DNS server has port 53 of every interface") {
		t.Error("the log has no hint")
	}
	if _, errs, code := l.cli("dns", "query", "gateway.xen"); code != 1 || !strings.Contains(errs, "no network has a DNS server") {
		t.Errorf("dns query: exit %d, %s", code, errs)
	}
	if err := other.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	l.must("reload")
	if got := short(t, g, "gateway.xen"); got != "10.9.0.254" {
		t.Errorf("then gateway.xen is %q", got)
	}
	if n := list[control.Network](l, "network", "show", "lab"); n.DNS.Problem != "" {
		t.Errorf("dns %+v", n.DNS)
	}

	mustRun(t, l.host, "ip", "link", "del", "lab")
	nettest.Wait(t, "names over a new host interface", func() (bool, error) {
		out, _ := run(t, g, "dig", "@10.9.0.254", "+short", "+tries=1", "+time=1", "gateway.xen")
		return strings.TrimSpace(out) == "10.9.0.254", nil
	})
	if a := s.ask(dhcpv4.MessageTypeRequest, guestMAC(1), having(first)); a.addr != first {
		t.Errorf("renewed %s, had %s", a.addr, first)
	}
}

package behaviour

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

const takeover = `
[network.xenbr0]
mode = "bridged"
uplink = "eth0"
takeover = true
[[port]]
name = "p*"
network = "xenbr0"
`

// lan is a host on a LAN, as a provider would give it, and a machine beyond the
// LAN's router:
//
//	                +-- host eth0 10.9.0.100, 2001:db8:9::100
//	g1 [eth0]--p1---+
//	                           router 10.9.0.200, 2001:db8:9::200 --- beyond 192.0.2.2, 2001:db8:2::2
type lan struct {
	*lab
	router, beyond *testnet.NS
}

func newLAN(t *testing.T, engine string) *lan {
	l := &lan{lab: newLab(t, engine)}
	l.router = nettest.Namespace(t, l.net, "router")
	l.beyond = nettest.Namespace(t, l.net, "beyond")
	l.plugNIC()
	for _, line := range []string{
		"ip addr add 10.9.0.200/24 dev eth0",
		"ip addr add 2001:db8:9::200/64 dev eth0 nodad",
		"ip link add eth1 type veth peer name eth0 netns " + l.beyond.Name,
		"ip addr add 192.0.2.1/24 dev eth1",
		"ip addr add 2001:db8:2::1/64 dev eth1 nodad",
		"ip link set eth1 up",
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
	} {
		mustRun(t, l.router, strings.Fields(line)...)
	}
	for _, line := range []string{
		"ip addr add 192.0.2.2/24 dev eth0",
		"ip addr add 2001:db8:2::2/64 dev eth0 nodad",
		"ip link set eth0 up",
		"ip route add default via 192.0.2.1",
		"ip -6 route add default via 2001:db8:2::1",
	} {
		mustRun(t, l.beyond, strings.Fields(line)...)
	}
	for _, line := range []string{
		"sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1",
		"ip addr add 10.9.0.100/24 brd + dev eth0",
		"ip addr add 10.9.0.101/24 dev eth0",
		"ip addr add 2001:db8:9::100/64 dev eth0 nodad",
		"ip route add default via 10.9.0.200 dev eth0 proto static metric 100 mtu 1400",
		"ip -6 route add default via 2001:db8:9::200 dev eth0 metric 1024",
		"ip route add 198.51.100.0/24 via 10.9.0.201 dev eth0 table 100",
		"ip neigh add 10.9.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent",
	} {
		mustRun(t, l.host, strings.Fields(line)...)
	}
	l.awaitDAD(l.host, "eth0")
	return l
}

// plugNIC puts a NIC into the host. The router's end is made with it.
func (l *lan) plugNIC() {
	mustRun(l.t, l.host, "ip", "link", "add", "eth0", "address", "02:00:00:00:01:00", "type", "veth", "peer", "name", "eth0", "netns", l.router.Name)
	for _, ns := range []*testnet.NS{l.router, l.host} {
		// Else duplicate address detection takes a second (RFC 4862, 5.1).
		if err := ns.Sysctl("net.ipv6.conf.eth0.dad_transmits", "0"); err != nil {
			l.t.Fatal(err)
		}
		mustRun(l.t, ns, "ip", "link", "set", "eth0", "up")
	}
	awaitOperational(l.t, l.host, "eth0")
}

// awaitDAD waits for the end of duplicate address detection.
func (l *lan) awaitDAD(ns *testnet.NS, name string) {
	l.t.Helper()
	nettest.Wait(l.t, name+"'s link-local address", func() (bool, error) {
		out, err := run(l.t, ns, "ip", "-6", "addr", "show", "dev", name, "scope", "link", "-tentative")
		return strings.Contains(out, "fe80::"), err
	})
}

// config is what ip(8) says of the host's addresses and routes, but of guests' ports.
func (l *lan) config() string {
	l.t.Helper()
	addrs := regexp.MustCompile(`(?m)^\d+: (p\d+|gxh-).*\n`).ReplaceAllString(mustRun(l.t, l.host, "ip", "-o", "addr"), "")
	routes := mustRun(l.t, l.host, "ip", "-4", "route", "show", "table", "all")
	six := regexp.MustCompile(`(?m)^.* dev p\d+ .*\n`).ReplaceAllString(mustRun(l.t, l.host, "ip", "-6", "route", "show", "table", "all"), "")
	list := strings.Split(six, "\n")
	slices.Sort(list)
	links := regexp.MustCompile(`(?m)^\d+: (p\d+|gxh-).*\n|,LOWER_UP| state \w+`).ReplaceAllString(mustRun(l.t, l.host, "ip", "-o", "link"), "")
	return links + addrs + routes + strings.Join(list, "\n") + "\n" +
		mustRun(l.t, l.host, "ip", "neigh", "show", "nud", "permanent") +
		mustRun(l.t, l.host, "sh", "-c", "cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6 /proc/sys/net/ipv6/conf/eth0/addr_gen_mode /proc/sys/net/ipv4/ip_forward")
}

// restored fails the test unless the host is as it was.
func (l *lan) restored(before string) {
	l.t.Helper()
	after := l.config()
	if l.engine != "afpacket" && l.daemon != nil && l.daemon.running() {
		after = withoutEngine(after)
	}
	if after != before {
		l.t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// session is a TCP connection on which one end says a number every few
// milliseconds and the other answers it, as one who types over ssh.
type session struct {
	name    string
	stop    chan struct{}
	wg      sync.WaitGroup
	err     error
	longest time.Duration // until an answer came
	count   int
}

func startSession(t *testing.T, server, client *testnet.NS, addr string) *session {
	t.Helper()
	s := &session{name: client.Name + " to " + addr, stop: make(chan struct{})}
	var listener net.Listener
	if err := server.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	s.wg.Go(func() {
		c, err := listener.Accept()
		listener.Close()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(line))
		}
	})
	var conn net.Conn
	if err := client.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		return err
	}); err != nil {
		listener.Close()
		t.Fatal(err)
	}
	s.wg.Go(func() {
		defer conn.Close()
		r := bufio.NewReader(conn)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
			}
			at := time.Now()
			_ = conn.SetDeadline(at.Add(15 * time.Second))
			if _, s.err = fmt.Fprintln(conn, s.count); s.err != nil {
				return
			}
			line, err := r.ReadString('\n')
			if s.err = err; err != nil {
				return
			}
			if line != fmt.Sprintln(s.count) {
				s.err = fmt.Errorf("%q is the answer to %d", line, s.count)
				return
			}
			s.count++
			s.longest = max(s.longest, time.Since(at))
		}
	})
	t.Cleanup(s.end)
	return s
}

func (s *session) end() {
	select {
	case <-s.stop:
	default:
		close(s.stop)
	}
	s.wg.Wait()
}

// survived ends the session and fails the test if it broke or stood still.
func (s *session) survived(t *testing.T, most time.Duration) {
	t.Helper()
	s.end()
	t.Logf("%s: %d answers, the longest after %v", s.name, s.count, s.longest)
	if s.err != nil || s.count == 0 || s.longest > most {
		t.Errorf("%s: %v after %d answers, longest wait %v", s.name, s.err, s.count, s.longest)
	}
}

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

// A daemon that is killed leaves the addresses on the leg. The next one goes on, or
// puts them back if it is not to have them any more.
func TestTakeoverKilled(t *testing.T) { bothEngines(t, testTakeoverKilled) }
func testTakeoverKilled(t *testing.T, engine string) {
	l := newLAN(t, engine)
	l.guest(1)
	before := l.config()
	s := startSession(t, l.host, l.beyond, "10.9.0.100")
	l.start(takeover)
	during := l.config()
	l.daemon.end(t, syscall.SIGKILL)
	if text := l.config(); text != during {
		t.Errorf("while it is dead, before:\n%s\nafter:\n%s", during, text)
	}
	l.start(takeover)
	if text := l.config(); text != during {
		t.Errorf("taken over again, before:\n%s\nafter:\n%s", during, text)
	}
	talk(t, l.beyond, "10.9.0.100")

	// Killed while it gives back, or takes: the record says so.
	l.daemon.end(t, syscall.SIGKILL)
	state, err := os.ReadFile(l.path("state/state.json"))
	if err != nil || !strings.Contains(string(state), `"phase":"taken"`) {
		t.Fatalf("%v: %s", err, state)
	}
	l.write("state/state.json", strings.Replace(string(state), `"phase":"taken"`, `"phase":"returning"`, 1))
	l.start(takeover)
	if text := l.config(); text != during {
		t.Errorf("taken over once more, before:\n%s\nafter:\n%s", during, text)
	}
	talk(t, l.beyond, "10.9.0.100")
	s.survived(t, 5*time.Second)
	s = startSession(t, l.beyond, l.host, "192.0.2.2")
	l.daemon.end(t, syscall.SIGKILL)
	l.start("[network.vault]\nmode = \"isolated\"\n")
	l.restored(before)
	talk(t, l.beyond, "10.9.0.100")
	s.survived(t, 5*time.Second)
}

// A daemon that can't start gives back what the one before, which was killed or has
// left it to the next, had taken over: the host is not to stay without its network.
func TestTakeoverKilledAndNoNextDaemon(t *testing.T) {
	bothEngines(t, testTakeoverKilledAndNoNextDaemon)
}
func testTakeoverKilledAndNoNextDaemon(t *testing.T, engine string) {
	for _, c := range []struct{ name, config, says string }{
		{"network that can't be", takeover + "[network.foreign0]\nmode = \"host-only\"\n", "foreign0"},
		{"file that does not check", takeover + "colour = \"red\"\n", "colour: unknown key"},
	} {
		for _, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR1} {
			t.Run(fmt.Sprintf("%s after %s", c.name, end), func(t *testing.T) {
				t.Parallel()
				l := newLAN(t, engine)
				mustRun(t, l.host, "ip", "link", "add", "foreign0", "type", "bridge")
				before := l.config()
				l.start(takeover)
				during := l.config()
				l.write("gxswitch.toml", c.config)
				l.fails("gxswitch: error: ") // beside the one that runs
				if text := l.config(); text != during {
					t.Errorf("while one runs another takes its things away, before:\n%s\nafter:\n%s", during, text)
				}
				l.daemon.end(t, end)
				l.fails(c.says)
				l.restored(before)
				talk(t, l.host, "192.0.2.2")

				l.start(takeover)
				if text := mustRun(t, l.host, "ip", "-4", "-o", "addr", "show", "dev", "xenbr0"); !strings.Contains(text, "10.9.0.100/") {
					t.Errorf("not taken over again: %s", text)
				}
				talk(t, l.host, "192.0.2.2")
			})
		}
	}
}

// fails launches a daemon that is not to start.
func (l *lan) fails(says string) {
	l.t.Helper()
	d := l.launch()
	<-d.done
	if d.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(d.log.String(), says) {
		l.t.Errorf("exit %d\n%s", d.cmd.ProcessState.ExitCode(), d.log)
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

// A NAT network goes out by the uplink, whoever has its addresses: sessions go on.
//
//	g1--p1-- xenbr0, takeover of eth0
//	g2--p2-- nat0 by eth0
func TestTakeoverBesideNAT(t *testing.T) { bothEngines(t, testTakeoverBesideNAT) }
func testTakeoverBesideNAT(t *testing.T, engine string) {
	l := newLAN(t, engine)
	g1, g2 := l.guest(1), l.guest(2)
	for _, line := range []string{
		"ip addr flush dev eth0",
		"ip addr add 10.20.0.2/24 dev eth0",
		"ip route add default via 10.20.0.1",
	} {
		mustRun(t, g2, strings.Fields(line)...)
	}
	mustRun(t, g1, "ip", "route", "add", "default", "via", "10.9.0.200")
	before := l.config()
	text := takeover + `
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
`
	text = strings.Replace(text, "[[port]]", "[[port]]\nname = \"p2\"\nnetwork = \"nat0\"\n[[port]]", 1)
	l.start(strings.Replace(text, "takeover = true\n", "", 1))
	awaitNAT := func() { // the kernel tells of routes apart from addresses
		t.Helper()
		nettest.Wait(t, "NAT", func() (bool, error) {
			r, _ := ping(t, g2, "192.0.2.2", 1)
			return r == 1, nil
		})
	}
	awaitNAT()
	s := startSession(t, l.beyond, g2, "192.0.2.2")
	own := startSession(t, l.beyond, l.host, "192.0.2.2")
	for _, on := range []string{"true", "false", "true", "false", "true"} {
		l.must("network", "set", "xenbr0", "--takeover="+on)
		awaitNAT()
		talk(t, g2, "192.0.2.2")
		talk(t, g1, "192.0.2.2")
		talk(t, l.host, "192.0.2.2")
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

// What can't be taken over stays as it was, and the error says why.
func TestTakeoverRefused(t *testing.T) { bothEngines(t, testTakeoverRefused) }
func testTakeoverRefused(t *testing.T, engine string) {
	l := newLAN(t, engine)
	mustRun(t, l.host, "ip", "link", "add", "xenbr0", "type", "bridge")
	before := l.config()
	l.write("gxswitch.toml", takeover)
	d := l.launch()
	<-d.done
	if log := d.log.String(); d.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(log, "bridge interface xenbr0 that is not gxswitch's") {
		t.Errorf("exit %d\n%s", d.cmd.ProcessState.ExitCode(), log)
	}
	l.restored(before)
	talk(t, l.host, "192.0.2.2")

	l.start("")
	for _, c := range []struct{ args, want string }{
		{"network add xenbr0 --mode bridged --uplink eth0 --takeover", "xenbr0"},
		{"network add xenbr1 --mode bridged --uplink nope --takeover", "nope"},
	} {
		if _, errs, code := l.cli(strings.Fields(c.args)...); code == 0 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d, %s", c.args, code, errs)
		}
	}
	l.must("network", "add", "xenbr1", "--mode", "bridged", "--uplink", "eth0")
	if _, err := run(t, l.host, "ip", "link", "add", "link", "eth0", "name", "mv0", "type", "macvlan"); err == nil {
		if _, errs, code := l.cli("network", "set", "xenbr1", "--takeover"); code != 1 || !strings.Contains(errs, "mv0 stands on eth0") {
			t.Errorf("with an interface on top: exit %d, %s", code, errs)
		}
		if n := list[control.Network](l.lab, "network", "show", "xenbr1"); n.Takeover {
			t.Error("the network has what was refused")
		}
		mustRun(t, l.host, "ip", "link", "del", "mv0")
	}
	l.must("network", "del", "xenbr1")
	l.restored(before)

	l.write("two.toml", takeover+"[network.more]\nmode = \"bridged\"\nuplink = \"eth0\"\ntakeover = true\n")
	if _, errs, code := l.cli("config", "check", l.path("two.toml")); code != 1 || !strings.Contains(errs, "two.toml:12: network.more.takeover: network xenbr0 takes over eth0 already") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

// What a network could not do when the daemon began is no secret of its log.
func TestTakeoverThatFailsAtTheStartIsShown(t *testing.T) {
	bothEngines(t, testTakeoverThatFailsAtTheStartIsShown)
}
func testTakeoverThatFailsAtTheStartIsShown(t *testing.T, engine string) {
	l := newLAN(t, engine)
	if _, err := run(t, l.host, "ip", "link", "add", "link", "eth0", "name", "mv0", "type", "macvlan"); err != nil {
		t.Skip("needs a kernel with macvlan")
	}
	l.start(takeover)
	const why = "mv0 stands on eth0"
	if n := list[control.Network](l.lab, "network", "show", "xenbr0"); !strings.Contains(n.Problem, why) {
		t.Errorf("network show: problem %q", n.Problem)
	}
	for _, args := range []string{"status", "network list", "network show xenbr0", "show"} {
		if out := l.must(strings.Fields(args)...); !strings.Contains(out, why) {
			t.Errorf("%s:\n%s", args, out)
		}
	}
	mustRun(t, l.host, "ip", "link", "del", "mv0")
	l.must("reload")
	if out := l.must("status"); strings.Contains(out, "problem") {
		t.Errorf("mended:\n%s", out)
	}
	talk(t, l.router, "10.9.0.100")
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

// onLeg waits until the leg has an address.
func (l *lan) onLeg(addr string) {
	l.t.Helper()
	nettest.Wait(l.t, "xenbr0 to have "+addr, func() (bool, error) {
		return strings.Contains(mustRun(l.t, l.host, "ip", "-o", "addr", "show", "dev", "xenbr0"), addr), nil
	})
}

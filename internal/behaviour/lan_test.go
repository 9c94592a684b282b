package behaviour

import (
	"regexp"
	"slices"
	"strings"
	"testing"

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
		"sysctl -qw net.ipv6.conf.eth1.dad_transmits=0",
		"ip addr add 192.0.2.1/24 dev eth1",
		"ip addr add 2001:db8:2::1/64 dev eth1 nodad",
		"ip link set eth1 up",
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
	} {
		mustRun(t, l.router, strings.Fields(line)...)
	}
	for _, line := range []string{
		"sysctl -qw net.ipv6.conf.eth0.dad_transmits=0",
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
	awaitWay(t, l.host, "192.0.2.2")
	awaitWay(t, l.host, "2001:db8:2::2")
	return l
}

// plugNIC puts a NIC into the host. The router's end is made with it.
func (l *lan) plugNIC() {
	mustRun(l.t, l.host, "ip", "link", "add", "eth0", "address", "02:00:00:00:01:00", "type", "veth", "peer", "name", "eth0", "netns", l.router.Name)
	for _, ns := range []*testnet.NS{l.router, l.host} {
		// As beyond: else duplicate address detection takes a second (RFC 4862, 5.1).
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

// onLeg waits until the leg has an address.
func (l *lan) onLeg(addr string) {
	l.t.Helper()
	nettest.Wait(l.t, "xenbr0 to have "+addr, func() (bool, error) {
		return strings.Contains(mustRun(l.t, l.host, "ip", "-o", "addr", "show", "dev", "xenbr0"), addr), nil
	})
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

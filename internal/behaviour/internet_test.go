package behaviour

import (
	"os"
	"testing"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// internet is what is outside of a host with a gateway:
//
//	g1, g2 ── host [eth0 192.168.1.20]──[.1 eth0] router [eth1 198.51.100.1]──[eth0 .7] far
type internet struct {
	*lab
	g1, g2, router, far *testnet.NS
}

// newInternet makes it. Guests have the addresses given, and via for their gateway.
func newInternet(t *testing.T, engine, ip1, ip2, via string) *internet {
	l := &internet{lab: newLab(t, engine)}
	l.g1, l.g2 = l.guest(1), l.guest(2)
	l.connect()
	for g, ip := range map[*testnet.NS]string{l.g1: ip1, l.g2: ip2} {
		readdress(t, g, ip, via)
	}
	return l
}

// readdress gives a guest another address, and a gateway.
func readdress(t *testing.T, g *testnet.NS, addr, via string) {
	t.Helper()
	mustRun(t, g, "ip", "addr", "flush", "dev", "eth0")
	mustRun(t, g, "ip", "addr", "add", addr, "dev", "eth0")
	mustRun(t, g, "ip", "route", "add", "default", "via", via)
}

// connect makes all that is on the host's eth0.
func (l *internet) connect() {
	t := l.t
	t.Helper()
	l.router, l.far = nettest.Namespace(t, l.net, "router"), nettest.Namespace(t, l.net, "far")
	mustRun(t, l.host, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", l.router.Name)
	mustRun(t, l.router, "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", l.far.Name)
	for _, a := range []struct {
		ns        *testnet.NS
		dev, addr string
	}{
		{l.host, "eth0", "192.168.1.20/24"}, {l.router, "eth0", "192.168.1.1/24"}, {l.router, "eth1", "198.51.100.1/24"},
		{l.far, "eth0", "198.51.100.7/24"},
	} {
		mustRun(t, a.ns, "ip", "link", "set", a.dev, "up")
		mustRun(t, a.ns, "ip", "addr", "add", a.addr, "dev", a.dev)
	}
	awaitOperational(t, l.host, "eth0")
	awaitOperational(t, l.router, "eth0")
	awaitOperational(t, l.router, "eth1")
	awaitOperational(t, l.far, "eth0")
	mustRun(t, l.far, "ip", "route", "add", "default", "via", "198.51.100.1")
	mustRun(t, l.host, "ip", "route", "add", "default", "via", "192.168.1.1")
	if err := l.router.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
}

const masquerade = `
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[[network.nat0.forward]]
listen = "tcp/8080"
to = "10.20.0.11:80"
[[port]]
name = "p*"
network = "nat0"
`

func newMasquerade(t *testing.T, engine string) *internet {
	return newInternet(t, engine, "10.20.0.10/24", "10.20.0.11/24", "10.20.0.1")
}

func sysctl(t *testing.T, ns *testnet.NS, key string) (value string) {
	t.Helper()
	err := ns.Do(func() error {
		b, err := os.ReadFile("/proc/sys/" + key)
		value = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

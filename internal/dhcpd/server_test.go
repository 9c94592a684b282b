package dhcpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lab is a network with guests, a kernel bridge for the switch:
//
//	g1 [eth0]--p1-+
//	              +-- nat0 [10.0.0.1/23], where the server is (namespace host)
//	g2 [eth0]--p2-+
type lab struct {
	t    *testing.T
	net  *testnet.Net
	host *testnet.NS
	dir  string

	mu     sync.Mutex // guards events
	events []lease.Event
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, net: nettest.Test(t, "dhcpd"), dir: t.TempDir()}
	l.host = nettest.Namespace(t, l.net, "host")
	l.ip("link", "add", "nat0", "type", "bridge")
	l.ip("addr", "add", "10.0.0.1/23", "dev", "nat0")
	l.ip("link", "set", "nat0", "up")
	return l
}

func (l *lab) ip(args ...string) {
	l.t.Helper()
	if out, err := l.host.Command(l.t.Context(), "ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func (l *lab) guest(i int) *testnet.NS {
	l.t.Helper()
	port := fmt.Sprintf("p%d", i)
	g := nettest.Guest(l.t, l.net, l.host, testnet.GuestSpec{Name: fmt.Sprintf("g%d", i), Port: port, MAC: mac(i)})
	l.ip("link", "set", port, "master", "nat0")
	return g
}

func (l *lab) config() Config {
	c := config()
	c.File = filepath.Join(l.dir, "nat0.json")
	c.Leases.Subnet = netip.MustParsePrefix("10.0.0.0/23")
	c.Leases.Last = ip("10.0.1.250")
	return c
}

func (l *lab) start(c Config) *Server {
	l.t.Helper()
	var s *Server
	err := l.host.Do(func() (err error) {
		s, err = Start(c, Switch{Changed: func(e lease.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, e)
		}}, quiet)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { s.Close() })
	return s
}

// script makes a hook that sets the address and notes its environment.
func (l *lab) script(condition, addr string) (script, noted string) {
	l.t.Helper()
	script, noted = filepath.Join(l.dir, "hook"), filepath.Join(l.dir, "env")
	text := fmt.Sprintf("#!/bin/sh\n%s || exit 0\nip addr replace %s dev eth0\nenv >%s.new\nmv %s.new %s\n", condition, addr, noted, noted, noted)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		l.t.Fatal(err)
	}
	return script, noted
}

// run runs a program to its end.
func run(t *testing.T, ns *testnet.NS, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := ns.Command(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func holds(t *testing.T, file string, lines ...string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if !strings.Contains("\n"+string(b), "\n"+l+"\n") {
			t.Errorf("no %q in\n%s", l, b)
		}
	}
}

func TestUdhcpcGetsALease(t *testing.T) {
	nettest.Program(t, "udhcpc")
	l := newLab(t)
	g := l.guest(1)
	s := l.start(l.config())
	script, noted := l.script(`[ "$1" = bound ]`, "$ip/$mask")
	began := time.Now()
	run(t, g, "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", script, "-O", "mtu", "-x", "hostname:mail")
	if took := time.Since(began); took > time.Second {
		t.Errorf("took %s", took)
	}
	got := s.Leases()
	if len(got) != 1 || got[0].MAC != mac(1) || got[0].Hostname != "mail" {
		t.Fatalf("%+v", got)
	}
	holds(t, noted, "ip="+got[0].Addr.String(), "mask=23", "router=10.0.0.1", "dns=10.0.0.1", "domain=xen", "mtu=1400", "lease=3600")
	run(t, g, "ping", "-c", "1", "-W", "2", "10.0.0.1")
	if addrs, ok := s.Table().Addrs("mail"); !ok || addrs[0] != got[0].Addr {
		t.Errorf("mail: %v", addrs)
	}
}

func TestUdhcpcReleasesItsLease(t *testing.T) {
	t.Parallel()
	nettest.Program(t, "udhcpc")
	l := newLab(t)
	g := l.guest(1)
	s := l.start(l.config())
	script, noted := l.script(`[ "$1" = bound ]`, "$ip/$mask")
	client := g.Command(t.Context(), "udhcpc", "-i", "eth0", "-f", "-R", "-s", script)
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	nettest.Wait(t, "the lease", func() (bool, error) { _, err := os.Stat(noted); return err == nil, nil })
	client.Process.Signal(syscall.SIGTERM)
	client.Wait()
	nettest.Wait(t, "the lease to end", func() (bool, error) { return len(s.Leases()) == 0, nil })
	nettest.Wait(t, "both events", func() (bool, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.events) == 2 && l.events[0].Kind == lease.Given && l.events[1].Kind == lease.Ended, nil
	})
}

func TestDhclientGetsALeaseAndRenewsIt(t *testing.T) {
	nettest.Program(t, "dhclient")
	l := newLab(t)
	g := l.guest(1)
	c := l.config()
	c.Leases.Time = 4 * time.Second // it renews within the test
	s := l.start(c)
	script, noted := l.script(`[ "$reason" = BOUND ] || [ "$reason" = RENEW ]`, "$new_ip_address/23")
	began := time.Now()
	client := g.Command(t.Context(), "dhclient", "-d", "-v", "-sf", script,
		"-pf", filepath.Join(l.dir, "pid"), "-lf", filepath.Join(l.dir, "dhclient.leases"), "eth0")
	out := &strings.Builder{}
	client.Stdout, client.Stderr = out, out
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		client.Process.Signal(syscall.SIGTERM)
		client.Wait()
		if t.Failed() {
			t.Log(out)
		}
	}()
	nettest.Wait(t, "the lease", func() (bool, error) { _, err := os.Stat(noted); return err == nil, nil })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	got := s.Leases()
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	holds(t, noted, "new_ip_address="+got[0].Addr.String(), "new_subnet_mask=255.255.254.0", "new_routers=10.0.0.1",
		"new_domain_name_servers=10.0.0.1", "new_domain_name=xen")
	nettest.Wait(t, "a renewal", func() (bool, error) {
		now := s.Leases()
		return len(now) == 1 && now[0].Addr == got[0].Addr && now[0].Expires.After(got[0].Expires), nil
	})
}

// station is a client of its own on a packet socket, for any number of MACs.
type station struct {
	t    *testing.T
	conn *packet.Conn
}

func (l *lab) station(g *testnet.NS) *station {
	l.t.Helper()
	s := &station{t: l.t}
	err := g.Do(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		if s.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, nil); err != nil {
			return err
		}
		// One socket for the answers to a crowd.
		sys, err := s.conn.SyscallConn()
		if err != nil {
			return err
		}
		return sys.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		})
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { s.conn.Close() })
	return s
}

func (s *station) say(m *dhcpv4.DHCPv4) {
	s.t.Helper()
	b := pack(s.t, m, frame.MAC(m.ClientHWAddr), netip.IPv4Unspecified())
	if _, err := s.conn.WriteTo(b, &packet.Addr{HardwareAddr: b[:6]}); err != nil {
		s.t.Fatal(err)
	}
}

// next is the next answer, or false after the deadline.
func (s *station) next(deadline time.Time) (answer, bool) {
	s.t.Helper()
	b := make([]byte, 2048)
	for {
		s.conn.SetReadDeadline(deadline)
		n, _, err := s.conn.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return answer{}, false
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if a, ok := unpack(s.t, b[:n]); ok {
			return a, true
		}
	}
}

func (s *station) lease(from frame.MAC) answer {
	s.t.Helper()
	s.say(message(dhcpv4.MessageTypeDiscover, from, nil))
	for {
		a, ok := s.next(time.Now().Add(5 * time.Second))
		switch {
		case !ok:
			s.t.Fatalf("%s: no answer", from)
		case frame.MAC(a.ClientHWAddr) != from:
		case a.MessageType() == dhcpv4.MessageTypeOffer:
			s.say(message(dhcpv4.MessageTypeRequest, from, selecting(a)))
		default:
			return a
		}
	}
}

func TestACrowdGetsItsLeasesAndNoAddressTwice(t *testing.T) {
	const clients, within = 250, 10 * time.Second
	l := newLab(t)
	st := l.station(l.guest(1))
	c := l.config()
	c.Leases.Last = ip("10.0.1.3") // 250 addresses, from 10.0.0.10
	s := l.start(c)
	began := time.Now()
	for i := range clients {
		st.say(message(dhcpv4.MessageTypeDiscover, mac(1000+i), nil))
	}
	got := map[netip.Addr]frame.MAC{}
	for len(got) < clients {
		a, ok := st.next(began.Add(within))
		if !ok {
			t.Fatalf("%d of %d leases within %s", len(got), clients, within)
		}
		from, addr := frame.MAC(a.ClientHWAddr), addrOf(a.YourIPAddr)
		switch a.MessageType() {
		case dhcpv4.MessageTypeOffer:
			st.say(message(dhcpv4.MessageTypeRequest, from, selecting(a)))
		case dhcpv4.MessageTypeAck:
			if other, ok := got[addr]; ok && other != from {
				t.Fatalf("%s to %s and to %s", addr, other, from)
			}
			got[addr] = from
		default:
			t.Fatalf("%s: %s", from, a.MessageType())
		}
	}
	t.Logf("%d leases in %s", clients, time.Since(began))
	if len(s.Leases()) != clients {
		t.Errorf("%d leases", len(s.Leases()))
	}
	// Now the range is full: a newcomer gets nothing, whoever had something keeps it.
	st.say(message(dhcpv4.MessageTypeDiscover, mac(5000), nil))
	st.say(message(dhcpv4.MessageTypeDiscover, mac(1000), nil))
	kept := false
	for a, ok := st.next(time.Now().Add(5 * probeInterval)); ok; a, ok = st.next(time.Now().Add(5 * probeInterval)) {
		if got[addrOf(a.YourIPAddr)] != frame.MAC(a.ClientHWAddr) {
			t.Errorf("%s to %s", a.YourIPAddr, a.ClientHWAddr)
		}
		kept = true
	}
	if !kept {
		t.Error("no answer to a client that has a lease")
	}
}

func TestALeaseIsInTheFileBeforeTheClientKnows(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	st := l.station(l.guest(1))
	c := l.config()
	first := l.start(c)
	for i := range 5 {
		a := st.lease(mac(i))
		text, err := os.ReadFile(c.File)
		if err != nil {
			t.Fatal(err)
		}
		var f struct{ Leases []struct{ IP, MAC string } }
		if err := json.Unmarshal(text, &f); err != nil {
			t.Fatal(err)
		}
		if len(f.Leases) != i+1 || !strings.Contains(string(text), a.YourIPAddr.String()) {
			t.Errorf("after %s:\n%s", a.YourIPAddr, text)
		}
	}
	if info, err := os.Stat(c.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	had := first.Leases()
	first.Close()
	l.events = nil
	second := l.start(c)
	got := second.Leases()
	l.mu.Lock()
	told := len(l.events)
	l.mu.Unlock()
	if len(got) != len(had) || told != len(had) {
		t.Fatalf("had %d leases, have %d, told of %d", len(had), len(got), told)
	}
	for i := range had {
		if !got[i].Expires.Equal(had[i].Expires) || got[i].Addr != had[i].Addr || got[i].MAC != had[i].MAC {
			t.Errorf("had %+v, have %+v", had[i], got[i])
		}
	}
	if a := st.lease(mac(3)); addrOf(a.YourIPAddr) != addrFor(had, mac(3)) {
		t.Errorf("%s is now %s", mac(3), a.YourIPAddr)
	}
	if l, ok := second.Delete(mac(3)); !ok || l.MAC != mac(3) || len(second.Leases()) != len(had)-1 {
		t.Errorf("deleted %+v, %t", l, ok)
	}
}

func addrFor(leases []lease.Lease, m frame.MAC) netip.Addr {
	for _, l := range leases {
		if l.MAC == m {
			return l.Addr
		}
	}
	return netip.Addr{}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	st := l.station(l.guest(1))
	c := l.config()
	if err := os.WriteFile(c.File, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.start(c)
	st.lease(mac(1))
	if b, err := os.ReadFile(c.File + ".damaged"); err != nil || string(b) != "{" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestAStationWithAFixedAddressKeepsIt(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	fixed := l.guest(2)
	c := l.config()
	c.Leases.Last = ip("10.0.0.11")
	run(t, fixed, "ip", "addr", "add", "10.0.0.10/23", "dev", "eth0")
	st := l.station(l.guest(1))
	l.start(c)
	if a := st.lease(mac(7)); addrOf(a.YourIPAddr) != ip("10.0.0.11") {
		t.Errorf("got %s", a.YourIPAddr)
	}
}

func TestOtherInterfacesHearNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	served := l.station(l.guest(1))
	other := l.station(nettest.Guest(t, l.net, l.host, testnet.GuestSpec{Name: "g9", Port: "lan", MAC: mac(9)}))
	l.ip("addr", "add", "10.0.0.1/23", "dev", "lan")
	s := l.start(l.config())
	other.say(message(dhcpv4.MessageTypeDiscover, mac(9), nil))
	m := message(dhcpv4.MessageTypeRequest, mac(8), requesting(ip("10.0.0.50")))
	m.SetBroadcast()
	other.say(m)
	served.lease(mac(1))
	if a, ok := other.next(time.Now()); ok {
		t.Error(a.Summary())
	}
	if got := s.Leases(); len(got) != 1 || got[0].MAC != mac(1) {
		t.Errorf("%+v", got)
	}
}

func TestTheHostDoesNotSayThatThePortIsUnreachable(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	g := l.guest(1)
	run(t, g, "ip", "addr", "add", "10.0.0.5/23", "dev", "eth0")
	l.start(l.config())
	refused := func(port int) bool {
		var c net.Conn
		err := g.Do(func() (err error) {
			c, err = net.Dial("udp4", fmt.Sprintf("10.0.0.1:%d", port))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("x"))
		// An ICMP error comes within the round trip that this is.
		run(t, g, "ping", "-c", "1", "-W", "2", "10.0.0.1")
		_, err = c.Write([]byte("x"))
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	if !refused(6767) {
		t.Error("port 6767: nothing was said, so this test shows nothing")
	}
	if refused(67) {
		t.Error("port 67 is said to be unreachable")
	}
}

func TestTheInterfaceMayGoDownForAWhile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	st := l.station(l.guest(1))
	l.start(l.config())
	st.lease(mac(1))
	l.ip("link", "set", "nat0", "down")
	l.ip("link", "set", "nat0", "up")
	st.lease(mac(2))
}

package host_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// uplinkLab is a host between a network and a guest.
//
//	peer 192.0.2.9 ──── up  host  leg ──── guest 10.1.0.2
//	                    192.0.2.1  10.1.0.1
type uplinkLab struct {
	host, peer, guest *testnet.NS
	up                host.Link
}

func newUplinkLab(t *testing.T, name string) *uplinkLab {
	n := nettest.Test(t, name)
	l := &uplinkLab{host: nettest.Namespace(t, n, "host")}
	l.peer = nettest.Guest(t, n, l.host, testnet.GuestSpec{Name: "peer", Port: "up", MAC: frame.MAC{2, 0, 0, 0, 0, 9}, Addr: netip.MustParsePrefix("192.0.2.9/24")})
	l.guest = nettest.Guest(t, n, l.host, testnet.GuestSpec{Name: "guest", Port: "leg", Addr: netip.MustParsePrefix("10.1.0.2/24")})
	ok(t, l.host.Do(func() error {
		sh(t, "ip addr add 192.0.2.1/24 dev up")
		sh(t, "ip addr add 10.1.0.1/24 dev leg")
		sh(t, "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.up.proxy_arp=1")
		l.up = link(t, "up")
		return nil
	}))
	sh(t, "ip -n %s route add 10.1.0.0/24 via 192.0.2.1", l.peer.Name)
	sh(t, "ip -n %s route add default via 10.1.0.1", l.guest.Name)
	return l
}

func (l *uplinkLab) set(t *testing.T, g host.UplinkGuard) {
	t.Helper()
	ok(t, l.host.Do(func() error { return host.SetUplinkGuard(l.up, g) }))
}

// dial connects from a namespace: "connected", "refused" (RST, port unreachable)
// or "silence".
func dial(t *testing.T, from *testnet.NS, network, to string) string {
	t.Helper()
	var answer string
	ok(t, from.Do(func() error {
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		c, err := d.Dial(network, to)
		if err == nil && network == "udp4" {
			_, _ = c.Write([]byte("x"))
			_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
			_, err = c.Read(make([]byte, 1))
		}
		if c != nil {
			c.Close()
		}
		var timeout net.Error
		switch {
		case err == nil:
			answer = "connected"
		case errors.Is(err, syscall.ECONNREFUSED):
			answer = "refused"
		case errors.As(err, &timeout) && timeout.Timeout():
			answer = "silence"
		default:
			answer = err.Error()
		}
		return nil
	}))
	return answer
}

var (
	theExternal = netip.MustParseAddr("192.0.2.1")
	theRange    = host.NATGuard{External: theExternal, Ports: []host.PortRange{{First: 61000, Last: 65535}, {Proto: 6, First: 80, Last: 80}}}
	theGuests   = netip.MustParsePrefix("10.1.0.0/24")
)

func TestTheHostDoesNotAnswerForNAT(t *testing.T) {
	t.Parallel()
	l := newUplinkLab(t, "upnat")
	listen := func(ns *testnet.NS, addr string) {
		t.Helper()
		ok(t, ns.Do(func() error {
			c, err := net.Listen("tcp4", addr)
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		}))
	}
	listen(l.host, "192.0.2.1:22")
	listen(l.host, "192.0.2.1:80") // whom the forward goes before
	listen(l.peer, "192.0.2.9:443")
	check := func(when string, want map[string]string) {
		t.Helper()
		got := map[string]string{
			"22":     dial(t, l.peer, "tcp4", "192.0.2.1:22"),
			"80":     dial(t, l.peer, "tcp4", "192.0.2.1:80"),
			"60999":  dial(t, l.peer, "tcp4", "192.0.2.1:60999"),
			"61000":  dial(t, l.peer, "tcp4", "192.0.2.1:61000"),
			"udp":    dial(t, l.peer, "udp4", "192.0.2.1:61000"),
			"udp 80": dial(t, l.peer, "udp4", "192.0.2.1:80"),
			"own":    dial(t, l.host, "tcp4", "192.0.2.9:443"),
			"ping":   fmt.Sprint(ping(t, l.host, "192.0.2.9")),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	open := map[string]string{
		"22": "connected", "80": "connected", "60999": "refused", "61000": "refused",
		"udp": "refused", "udp 80": "refused", "own": "connected", "ping": "<nil>",
	}
	check("before", open)

	var tap *packet.Conn
	ok(t, l.host.Do(func() (err error) {
		tap, err = packet.Listen(&net.Interface{Index: l.up.Index, Name: l.up.Name}, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	}))
	defer tap.Close()
	l.set(t, host.UplinkGuard{NAT: []host.NATGuard{theRange}})
	check("guarded", map[string]string{
		"22": "connected", "80": "silence", "60999": "refused", "61000": "silence",
		"udp": "silence", "udp 80": "refused", "own": "connected", "ping": "<nil>",
	})
	drain(t, tap)
	dial(t, l.peer, "tcp4", "192.0.2.1:61000")
	sees(t, tap, frame.MAC{2, 0, 0, 0, 0, 9}, unix.ETH_P_IP)

	// Another content in its place, and back to nothing.
	l.set(t, host.UplinkGuard{NAT: []host.NATGuard{{External: theExternal, Ports: []host.PortRange{{Proto: 6, First: 22, Last: 22}}}}})
	open["22"] = "silence"
	check("changed", open)
	l.set(t, host.UplinkGuard{})
	open["22"] = "connected"
	check("after", open)
	if got := sh(t, "tc -n %s qdisc show dev up", l.host.Name); strings.Contains(got, "clsact") {
		t.Errorf("left: %s", got)
	}
}

func TestTheHostForwardsNothingThatTheSwitchRoutes(t *testing.T) {
	t.Parallel()
	l := newUplinkLab(t, "uproute")
	arping := func() error {
		return l.peer.Command(t.Context(), "arping", "-c", "1", "-w", "1", "-I", "eth0", "10.1.0.2").Run()
	}
	if err := ping(t, l.peer, "10.1.0.2"); err != nil {
		t.Fatalf("before: %v", err)
	}
	if err := arping(); err != nil {
		t.Fatalf("before: no proxy ARP: %v", err)
	}

	l.set(t, host.UplinkGuard{Prefixes: []netip.Prefix{theGuests}, Host: []netip.Addr{netip.MustParseAddr("10.1.0.1")}})
	if ping(t, l.peer, "10.1.0.2") == nil {
		t.Error("the host forwards")
	}
	if arping() == nil {
		t.Error("the host answers ARP for the guest")
	}
	for _, own := range []string{"192.0.2.1", "10.1.0.1"} {
		if err := ping(t, l.peer, own); err != nil {
			t.Errorf("the host's own %s: %v", own, err)
		}
	}
	// What the host or a container behind it sends to a guest goes by the leg.
	if err := ping(t, l.host, "10.1.0.2"); err != nil {
		t.Errorf("host to guest: %v", err)
	}

	ok(t, l.host.Do(func() error { return host.DropUplinkGuard(l.up) }))
	if err := ping(t, l.peer, "10.1.0.2"); err != nil {
		t.Errorf("after: %v", err)
	}
}

// Frames with a tag are another network's, but for tag 0. A filter behind the
// guard counts what passes.
func TestTaggedFramesAreLeftAlone(t *testing.T) {
	t.Parallel()
	l := newUplinkLab(t, "uptag")
	l.set(t, host.UplinkGuard{Prefixes: []netip.Prefix{theGuests}})
	marked := serialize(t, ethernet(layers.EthernetTypeIPv4), ipv4("10.1.0.2", layers.IPProtocol(253)))
	other := serialize(t, ethernet(layers.EthernetTypeIPv4), ipv4("10.9.0.2", layers.IPProtocol(253)))
	passed := countBehind(t, l)
	var tap *packet.Conn
	ok(t, l.peer.Do(func() (err error) {
		tap, err = packet.Listen(&net.Interface{Index: mustLink(t, l.peer, "eth0").Index}, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	}))
	defer tap.Close()
	tests := []struct {
		name string
		tag  []byte
		want uint64
	}{
		{"none", nil, 0},
		{"priority alone", []byte{0x81, 0, 0xe0, 0}, 0},
		{"802.1Q", []byte{0x81, 0, 0, 5}, 1},
		{"802.1ad", []byte{0x88, 0xa8, 0, 7}, 1},
	}
	for _, tt := range tests {
		before := passed()
		write(t, tap, slices.Concat(marked[:12], tt.tag, marked[12:]))
		write(t, tap, other) // passes in any case, and comes after
		nettest.Wait(t, tt.name, func() (bool, error) { return passed() > before+tt.want, nil })
		if got := passed() - before; got != tt.want+1 {
			t.Errorf("%s: %d passed, want %d", tt.name, got-1, tt.want)
		}
	}
}

// countBehind counts frames of IP protocol 253 that reach the end of the filters.
func countBehind(t *testing.T, l *uplinkLab) func() uint64 {
	t.Helper()
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	ok(t, err)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R2, 14+9),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, -8),
		asm.Mov.Imm(asm.R4, 1),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "out"),
		asm.LoadMem(asm.R1, asm.RFP, -8, asm.Byte),
		asm.JNE.Imm(asm.R1, 253, "out"),
		asm.StoreImm(asm.RFP, -4, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("out"),
		asm.Return(),
	}})
	ok(t, err)
	t.Cleanup(func() { prog.Close(); m.Close() })
	ok(t, l.host.Do(func() error {
		return netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs:  netlink.FilterAttrs{LinkIndex: l.up.Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 100, Protocol: unix.ETH_P_ALL},
			Fd:           prog.FD(),
			Name:         "count",
			DirectAction: true,
		})
	}))
	return func() (n uint64) {
		ok(t, m.Lookup(uint32(0), &n))
		return n
	}
}

func write(t *testing.T, tap *packet.Conn, f []byte) {
	t.Helper()
	_, err := tap.WriteTo(f, &packet.Addr{HardwareAddr: f[:6]})
	ok(t, err)
}

func mustLink(t *testing.T, ns *testnet.NS, name string) host.Link {
	t.Helper()
	l, err := ns.Link(name)
	ok(t, err)
	return l
}

// While one guard replaces another, no packet slips through: the host would
// reset the connection.
func TestAGuardIsReplacedWithoutAGap(t *testing.T) {
	t.Parallel()
	l := newUplinkLab(t, "upgap")
	l.set(t, host.UplinkGuard{NAT: []host.NATGuard{theRange}})
	var tap *packet.Conn
	ok(t, l.peer.Do(func() (err error) {
		eth0 := mustLink(t, l.peer, "eth0")
		tap, err = packet.Listen(&net.Interface{Index: eth0.Index, Name: "eth0"}, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	}))
	defer tap.Close()

	syn := serialize(t, ethernet(layers.EthernetTypeIPv4), ipv4("192.0.2.1", layers.IPProtocolTCP), tcp(61000))
	up := l.up.MAC
	copy(syn, up[:])
	copy(syn[14+12:], netip.MustParseAddr("192.0.2.9").AsSlice())
	fixChecksums(t, syn)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			if _, err := tap.WriteTo(syn, &packet.Addr{HardwareAddr: syn[:6]}); err == nil {
				n++
			}
		}
		sent <- n
	}()
	g := host.UplinkGuard{NAT: []host.NATGuard{theRange}}
	for i := range 200 {
		g.Prefixes = append(g.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), 32))
		l.set(t, g)
	}
	cancel()
	t.Logf("%d packets while the guard was replaced 200 times", <-sent)
	if n := resets(t, tap); n > 0 {
		t.Errorf("%d resets", n)
	}

	// The same packet without a guard: the test can see a reset.
	l.set(t, host.UplinkGuard{})
	write(t, tap, syn)
	nettest.Wait(t, "a reset", func() (bool, error) { return resets(t, tap) > 0, nil })
}

// resets counts the TCP RSTs that wait on the tap.
func resets(t *testing.T, tap *packet.Conn) (n int) {
	t.Helper()
	ok(t, tap.SetReadDeadline(time.Now().Add(time.Millisecond)))
	for b := make([]byte, 2048); ; {
		size, _, err := tap.ReadFrom(b)
		if err != nil {
			return n
		}
		if size >= 48 && b[12] == 8 && b[13] == 0 && b[23] == 6 && b[14+20+13]&4 != 0 {
			n++
		}
	}
}

func TestAnUplinkGuardKeepsTheCompanyOfOthers(t *testing.T) {
	t.Parallel()
	guard := host.UplinkGuard{NAT: []host.NATGuard{theRange}}
	const foreign = "tc filter add dev up %s protocol ip prio %d u32 match u32 0 0 flowid 1:1"
	tests := []struct {
		name     string
		prepare  []string
		bypassed bool
	}{
		{"nothing there", nil, false},
		{"clsact", []string{"tc qdisc add dev up clsact"}, false},
		{"ingress", []string{"tc qdisc add dev up ingress"}, false},
		{"filters in its place and behind", []string{
			"tc qdisc add dev up clsact", fmt.Sprintf(foreign, "ingress", 2), fmt.Sprintf(foreign, "ingress", 49152), fmt.Sprintf(foreign, "egress", 1),
		}, false},
		{"filters under ingress", []string{"tc qdisc add dev up ingress", fmt.Sprintf(foreign, "parent ffff:", 7)}, false},
		{"a root qdisc", []string{"tc qdisc replace dev up root tbf rate 1gbit burst 64k latency 10ms"}, false},
		{"a filter before", []string{"tc qdisc add dev up clsact", fmt.Sprintf(foreign, "ingress", 1)}, true},
		{"filters before and in its place", []string{"tc qdisc add dev up clsact", fmt.Sprintf(foreign, "ingress", 1), fmt.Sprintf(foreign, "ingress", 2)}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newUplinkLab(t, "upforeign")
			ok(t, l.host.Do(func() error {
				for _, c := range tt.prepare {
					sh(t, "%s", c)
				}
				before := state(t, "up")
				for range 2 { // a restarted daemon
					err := host.SetUplinkGuard(l.up, guard)
					if tt.bypassed {
						const want = "guard uplink up: a tc filter of somebody else goes first, and what it lets pass reaches the host; give it a priority of 3 or more (tc filter show dev up ingress)"
						if !errors.Is(err, host.ErrBypassed) || err.Error() != want {
							t.Errorf("got %v, want %s", err, want)
						}
						continue
					}
					ok(t, err)
				}
				if n := strings.Count(tcFilters("up", "ingress"), "gxswitch-uplink"); n != 1 {
					t.Errorf("%d guards", n)
				}
				guarded, err := host.UplinkGuards()
				if err != nil || len(guarded) != 1 || guarded[0].Index != l.up.Index {
					t.Errorf("guarded: %+v, %v", guarded, err)
				}
				want := "silence"
				if tt.bypassed {
					want = "refused"
				}
				if got := dial(t, l.peer, "tcp4", "192.0.2.1:61000"); got != want {
					t.Errorf("guarded: %s, want %s", got, want)
				}
				for range 2 {
					ok(t, host.DropUplinkGuard(l.up))
					if diff := cmp.Diff(before, state(t, "up")); diff != "" {
						t.Errorf("not restored (-before +after):\n%s", diff)
					}
				}
				return nil
			}))
		})
	}
}

// A filter behind ours that came later needs the qdisc.
func TestDroppingAnUplinkGuardLeavesAQdiscThatOthersUse(t *testing.T) {
	t.Parallel()
	inside(t, "upothers", func(*testnet.NS) {
		sh(t, "ip link add p type veth peer name g")
		p := link(t, "p")
		ok(t, host.SetUplinkGuard(p, host.UplinkGuard{Prefixes: []netip.Prefix{theGuests}}))
		ok(t, host.Seal(p)) // both guards on one link
		ok(t, host.DropUplinkGuard(p))
		if got := tcFilters("p", "ingress"); !strings.Contains(got, "gxswitch-guard") || strings.Contains(got, "gxswitch-uplink") {
			t.Errorf("left:\n%s", got)
		}
	})
}

func TestASharedFilterBlockIsRefused(t *testing.T) {
	t.Parallel()
	inside(t, "upblock", func(*testnet.NS) {
		sh(t, "ip link add p type veth peer name g")
		sh(t, "tc qdisc add dev p ingress_block 5 ingress")
		sh(t, "tc qdisc add dev g ingress_block 5 ingress")
		p := link(t, "p")
		before := state(t, "p")
		err := host.SetUplinkGuard(p, host.UplinkGuard{Prefixes: []netip.Prefix{theGuests}})
		if err == nil || !strings.HasPrefix(err.Error(), "guard uplink p: attach guard: its ingress qdisc has a filter block that other interfaces share; make that qdisc without one (tc qdisc show dev p): ") {
			t.Errorf("got %v", err)
		}
		ok(t, host.DropUplinkGuard(p))
		if diff := cmp.Diff(before, state(t, "p")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnUplinkThatGoesIsErrNoLink(t *testing.T) {
	t.Parallel()
	inside(t, "upgone", func(*testnet.NS) {
		guard := host.UplinkGuard{Prefixes: []netip.Prefix{theGuests}}
		sh(t, "ip link add p type veth peer name g")
		p := link(t, "p")
		ok(t, host.SetUplinkGuard(p, guard))
		sh(t, "ip link del p")
		if err := host.SetUplinkGuard(p, guard); !errors.Is(err, host.ErrNoLink) || err.Error() != "guard uplink p: no such interface" && !strings.HasSuffix(err.Error(), "no such interface") {
			t.Errorf("got %v", err)
		}
		ok(t, host.DropUplinkGuard(p))
		if l, err := host.UplinkGuards(); err != nil || len(l) > 0 {
			t.Errorf("guarded: %v, %v", l, err)
		}
	})
}

func TestAGuardOfManyPrefixesIsSetInTime(t *testing.T) {
	t.Parallel()
	l := newUplinkLab(t, "upmany")
	var g host.UplinkGuard
	for i := range 1000 {
		g.Prefixes = append(g.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 2, byte(i >> 8), byte(i)}), 32))
	}
	n := theRange
	for p := range 1000 {
		n.Ports = append(n.Ports, host.PortRange{Proto: 6, First: uint16(1000 + 2*p), Last: uint16(1000 + 2*p)})
	}
	g.NAT = []host.NATGuard{n}
	begun := time.Now()
	l.set(t, g)
	t.Logf("1000 prefixes and 1000 forwards set in %s", time.Since(begun))
	for port, want := range map[int]string{1000: "silence", 1001: "refused", 2998: "silence", 3000: "refused"} {
		if got := dial(t, l.peer, "tcp4", fmt.Sprintf("192.0.2.1:%d", port)); got != want {
			t.Errorf("port %d: %s, want %s", port, got, want)
		}
	}
}

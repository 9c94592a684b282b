package host_test

import (
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// The machine's own stack would answer the guest on any port of its:
//
//	guest 10.0.0.2 eth0 ──── vif1.0  host (10.0.0.1 on lo, a route to the guest)
func TestASealedPortHidesFramesFromTheHostAndNotFromTheSwitch(t *testing.T) {
	t.Parallel()
	for _, qdisc := range []string{"", "clsact", "ingress"} {
		t.Run("qdisc "+qdisc, func(t *testing.T) {
			t.Parallel()
			n := nettest.Test(t, "seal")
			sw := nettest.Namespace(t, n, "host")
			mac := frame.MAC{2, 0, 0, 0, 0, 2}
			guest := nettest.Guest(t, n, sw, testnet.GuestSpec{
				Name: "guest", Port: "vif1.0", MAC: mac, Addr: netip.MustParsePrefix("10.0.0.2/24"),
			})
			var was host.Sealed
			var port host.Link
			var tap *packet.Conn
			ok(t, sw.Do(func() (err error) {
				if qdisc != "" {
					sh(t, "tc qdisc add dev vif1.0 %s", qdisc)
				}
				sh(t, "ip addr add 10.0.0.1/32 dev lo")
				sh(t, "ip route add 10.0.0.2/32 dev vif1.0")
				port = link(t, "vif1.0")
				was, err = host.Inspect(port)
				ok(t, err)
				tap, err = packet.Listen(&net.Interface{Index: port.Index, Name: port.Name}, packet.Raw, unix.ETH_P_ALL, nil)
				return err
			}))
			defer tap.Close()

			if err := ping(t, guest, "10.0.0.1"); err != nil {
				t.Fatalf("before: %v", err)
			}
			ok(t, sw.Do(func() error { return host.Seal(port) }))
			sh(t, "ip -n %s neigh flush dev eth0", guest.Name)
			drain(t, tap)
			if ping(t, guest, "10.0.0.1") == nil {
				t.Error("the host answers on a sealed port")
			}
			sees(t, tap, mac, unix.ETH_P_ARP)

			ok(t, sw.Do(func() error { return host.Unseal(port, was) }))
			if err := ping(t, guest, "10.0.0.1"); err != nil {
				t.Errorf("after: %v", err)
			}
		})
	}
}

func ping(t *testing.T, from *testnet.NS, to string) error {
	return from.Command(t.Context(), "ping", "-n", "-c", "1", "-W", "1", "-w", "2", to).Run()
}

// drain reads what waits on the tap.
func drain(t *testing.T, tap *packet.Conn) {
	t.Helper()
	ok(t, tap.SetReadDeadline(time.Now().Add(time.Millisecond)))
	for b := make([]byte, 2048); ; {
		if _, _, err := tap.ReadFrom(b); err != nil {
			return
		}
	}
}

// sees awaits a frame of the type from the guest.
func sees(t *testing.T, tap *packet.Conn, from frame.MAC, etherType uint16) {
	t.Helper()
	ok(t, tap.SetReadDeadline(time.Now().Add(5*time.Second)))
	for b := make([]byte, 2048); ; {
		n, _, err := tap.ReadFrom(b)
		if err != nil {
			t.Fatalf("the tap sees no frame %#04x from %s: %v", etherType, from, err)
		}
		if n >= 14 && frame.MAC(b[6:12]) == from && b[12] == byte(etherType>>8) && b[13] == byte(etherType) {
			return
		}
	}
}

// state is all that Seal may touch.
func state(t *testing.T, name string) string {
	t.Helper()
	up := "down\n"
	if link(t, name).AdminUp {
		up = "up\n"
	}
	return up + "disable_ipv6 " + sysctl(t, "net/ipv6/conf/"+name+"/disable_ipv6") + "\n" +
		qdiscs(t, name) + "ingress:\n" + tcFilters(name, "ingress") + "egress:\n" + tcFilters(name, "egress")
}

// qdiscs leaves out the root qdisc, which the kernel makes when a link comes up.
func qdiscs(t *testing.T, name string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(sh(t, "tc qdisc show dev %s", name)) {
		if strings.Contains(line, "parent ffff:fff1") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// tcFilters is "" also where tc fails for want of a qdisc.
func tcFilters(name, side string) string {
	out, _ := exec.Command("tc", "filter", "show", "dev", name, side).Output()
	return string(out)
}

func TestUnsealRestoresWhatWas(t *testing.T) {
	t.Parallel()
	const foreign = "tc filter add dev p %s protocol ip prio %d u32 match u32 0 0 flowid 1:1"
	tests := []struct {
		name    string
		prepare func(t *testing.T)
		later   func(t *testing.T) // while sealed
		want    host.Sealed
	}{
		{name: "plain, down", want: host.Sealed{}},
		{name: "up", want: host.Sealed{WasUp: true}, prepare: func(t *testing.T) { sh(t, "ip link set p up") }},
		{name: "without IPv6", want: host.Sealed{IPv6WasDisabled: true}, prepare: func(t *testing.T) {
			sh(t, "sysctl -qw net.ipv6.conf.p.disable_ipv6=1")
		}},
		{name: "with clsact", want: host.Sealed{HadClsact: true}, prepare: func(t *testing.T) { sh(t, "tc qdisc add dev p clsact") }},
		{name: "with ingress", want: host.Sealed{HadClsact: true}, prepare: func(t *testing.T) { sh(t, "tc qdisc add dev p ingress") }},
		{name: "with foreign filters", want: host.Sealed{HadClsact: true, WasUp: true}, prepare: func(t *testing.T) {
			sh(t, "ip link set p up")
			sh(t, "tc qdisc add dev p clsact")
			sh(t, foreign, "ingress", 10)
			sh(t, foreign, "egress", 10)
		}},
		{name: "with a foreign filter where the guard would be", want: host.Sealed{HadClsact: true}, prepare: func(t *testing.T) {
			sh(t, "tc qdisc add dev p clsact")
			sh(t, foreign, "ingress", 2)
			sh(t, foreign, "ingress", 3)
		}},
		{name: "with a filter under ingress", want: host.Sealed{HadClsact: true}, prepare: func(t *testing.T) {
			sh(t, "tc qdisc add dev p ingress")
			sh(t, "tc filter add dev p parent ffff: protocol ip prio 10 u32 match u32 0 0 flowid 1:1")
		}},
		{name: "renamed while sealed", want: host.Sealed{}, later: func(t *testing.T) {
			sh(t, "ip link set p name q")
			sh(t, "ip link set q name p")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inside(t, "unseal", func(*testnet.NS) {
				sh(t, "ip link add p type veth peer name g")
				if tt.prepare != nil {
					tt.prepare(t)
				}
				before, port := state(t, "p"), link(t, "p")

				was, err := host.Inspect(port)
				ok(t, err)
				if was != tt.want {
					t.Errorf("inspected %+v, want %+v", was, tt.want)
				}
				ok(t, host.Seal(port))
				sealed := state(t, "p")
				ok(t, host.Seal(port))
				if diff := cmp.Diff(sealed, state(t, "p")); diff != "" {
					t.Errorf("the second Seal changed something:\n%s", diff)
				}
				if !strings.HasPrefix(sealed, "up\ndisable_ipv6 1\n") || strings.Count(tcFilters("p", "ingress"), "gxswitch-guard") != 1 {
					t.Errorf("sealed:\n%s", sealed)
				}
				// A daemon that was killed here, and lost its journal.
				if again, err := host.Inspect(port); err != nil || again != was {
					t.Errorf("inspected %+v, %v once sealed; before %+v", again, err, was)
				}
				if tt.later != nil {
					tt.later(t)
				}
				for range 2 {
					ok(t, host.Unseal(port, was))
					if diff := cmp.Diff(before, state(t, "p")); diff != "" {
						t.Errorf("not restored (-before +after):\n%s", diff)
					}
				}
			})
		})
	}
}

func TestUnsealLeavesAQdiscThatOthersHaveComeToUse(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"ingress", "egress"} {
		t.Run(side, func(t *testing.T) {
			inside(t, "others", func(*testnet.NS) {
				sh(t, "ip link add p type veth peer name g")
				port := link(t, "p")
				was, err := host.Inspect(port)
				ok(t, err)
				ok(t, host.Seal(port))
				sh(t, "tc filter add dev p %s protocol ip prio 10 u32 match u32 0 0 flowid 1:1", side)
				ok(t, host.Unseal(port, was))
				if got := state(t, "p"); strings.Contains(got, "guard") || strings.Count(got, "match 00000000/00000000") != 1 {
					t.Errorf("%s filter of somebody else:\n%s", side, got)
				}
			})
		})
	}
}

// The kernel forgets disable_ipv6 when an MTU passes below 1280.
func TestASealedLinkStaysWithoutIPv6WhenItsMTUGrows(t *testing.T) {
	t.Parallel()
	inside(t, "sealmtu", func(*testnet.NS) {
		sh(t, "ip link add p mtu 1000 type veth peer name g")
		port := link(t, "p")
		ok(t, host.Seal(port))
		ok(t, host.SetMTU(port.Index, 1500))
		if got := sysctl(t, "net/ipv6/conf/p/disable_ipv6"); got != "1" {
			t.Errorf("disable_ipv6 is %s", got)
		}
		ok(t, host.SetMTU(link(t, "g").Index, 1000))
		ok(t, host.SetMTU(link(t, "g").Index, 1500))
		if got := sysctl(t, "net/ipv6/conf/g/disable_ipv6"); got != "0" {
			t.Errorf("disable_ipv6 is %s on a link that isn't sealed", got)
		}
	})
}

func TestManyPortsAreSealedAtOnce(t *testing.T) {
	t.Parallel()
	inside(t, "sealmany", func(*testnet.NS) {
		for i := range 50 {
			sh(t, "ip link add p%d type veth peer name g%d", i, i)
		}
		start := time.Now()
		links, err := host.Links()
		ok(t, err)
		for _, l := range links {
			if strings.HasPrefix(l.Name, "p") {
				ok(t, host.Seal(l))
			}
		}
		t.Logf("%s a port", time.Since(start)/50)
	})
}

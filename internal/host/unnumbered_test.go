package host_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// lan is the recipe of SUSE: the guest is in the network of the host's card, and
// the host leads to it by a route.
//
//	other 192.168.1.1 ──── lan  host  leg ──── guest 192.168.1.21
//	                       192.168.1.20/24     (eth0 stands for the leg's inner end)
func lan(t *testing.T, name string) (sw, other, guest *testnet.NS) {
	n := nettest.Test(t, name)
	sw = nettest.Namespace(t, n, "host")
	other = nettest.Guest(t, n, sw, testnet.GuestSpec{Name: "other", Port: "lan", Addr: netip.MustParsePrefix("192.168.1.1/24")})
	guest = nettest.Guest(t, n, sw, testnet.GuestSpec{Name: "guest", Port: "leg", Addr: netip.MustParsePrefix("192.168.1.21/24")})
	ok(t, sw.Do(func() error {
		sh(t, "ip addr add 192.168.1.20/24 dev lan")
		ok(t, host.AddHostRoute(link(t, "leg").Index, netip.MustParseAddr("192.168.1.21")))
		return nil
	}))
	return sw, other, guest
}

func TestAnUnnumberedLegReachesItsGuests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, sysctls string
		refused       string
	}{
		{name: "defaults"},
		{name: "strict reverse path", sysctls: "all.rp_filter=1"},
		{name: "loose reverse path", sysctls: "all.rp_filter=2"},
		{name: "ARP for addresses of the interface only", sysctls: "all.arp_ignore=1"},
		{name: "inherited by the leg", sysctls: "leg.arp_ignore=8"},
		{name: "own addresses announced only", sysctls: "all.arp_announce=2"},
		{name: "ARP by route", sysctls: "all.arp_filter=1"},
		{name: "all of it", sysctls: "all.rp_filter=1 all.arp_ignore=1 all.arp_announce=2 all.arp_filter=1 leg.arp_ignore=2"},
		{name: "ARP within a subnet only", sysctls: "all.arp_ignore=2", refused: "net.ipv4.conf.all.arp_ignore is 2, so the host answers no guest on leg; make it 0 or 1 (sysctl -w net.ipv4.conf.all.arp_ignore=1)"},
		{name: "no ARP", sysctls: "all.arp_ignore=8", refused: "net.ipv4.conf.all.arp_ignore is 8, so the host answers no guest on leg; make it 0 or 1 (sysctl -w net.ipv4.conf.all.arp_ignore=1)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sw, other, guest := lan(t, "unnumbered")
			ok(t, sw.Do(func() error {
				sh(t, "ip addr add 10.9.9.9/32 dev lo") // not to be the source
				sh(t, "ip addr add 192.168.1.20/32 dev leg")
				for s := range strings.FieldsSeq(tt.sysctls) {
					sh(t, "sysctl -qw net.ipv4.conf.%s", s)
				}
				forwarding := sysctl(t, "net/ipv4/conf/leg/forwarding")
				err := host.SetUnnumbered(link(t, "leg"))
				if text := errorText(err); text != tt.refused {
					t.Errorf("got %q, want %q", text, tt.refused)
				}
				if now := sysctl(t, "net/ipv4/conf/leg/forwarding"); now != forwarding {
					t.Errorf("forwarding was %s and is %s", forwarding, now)
				}
				if got := sh(t, "ip -4 route get 192.168.1.21"); !strings.Contains(got, "dev leg src 192.168.1.20") {
					t.Error(got)
				}
				return nil
			}))
			if err := ping(t, sw, "192.168.1.21"); err != nil {
				t.Errorf("host to guest: %v", err)
			}
			// The host has learnt the guest's MAC; the guest is to ask by itself.
			sh(t, "ip -n %s neigh flush dev eth0", guest.Name)
			if err := ping(t, guest, "192.168.1.20"); (err == nil) != (tt.refused == "") {
				t.Errorf("guest to host: %v", err)
			}
			if err := ping(t, other, "192.168.1.20"); err != nil && tt.refused == "" {
				t.Errorf("the network to the host: %v", err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestHostRoutesAreOursAlone(t *testing.T) {
	t.Parallel()
	inside(t, "hostroutes", func(*testnet.NS) {
		sh(t, "ip link add name a type veth peer name b")
		sh(t, "ip link set dev a up")
		sh(t, "ip link set dev b up")
		a, b := link(t, "a").Index, link(t, "b").Index
		one, two, three := netip.MustParseAddr("192.168.1.21"), netip.MustParseAddr("192.168.1.3"), netip.MustParseAddr("10.0.0.1")
		sh(t, "ip route add 10.0.0.1/32 dev a proto static")
		sh(t, "ip route add 192.168.1.3/32 dev b metric 10") // no hindrance

		for range 2 { // a restarted daemon
			ok(t, host.AddHostRoute(a, one))
			ok(t, host.AddHostRoute(a, two))
		}
		const want = "add route to 10.0.0.1 on a: there is one that is not gxswitch's; give the guest another address, or remove the route (ip route del 10.0.0.1)"
		if err := host.AddHostRoute(a, three); errorText(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := host.AddHostRoute(a, netip.MustParseAddr("fd00::1")); errorText(err) != "add route to fd00::1 on a: want an IPv4 address" {
			t.Error(err)
		}
		hostRoutes(t, a, two, one)
		if got := sh(t, "ip route show 192.168.1.21"); got != "192.168.1.21 dev a proto 103 scope link \n" {
			t.Errorf("%q", got)
		}

		ok(t, host.AddHostRoute(b, one)) // the guest has moved
		hostRoutes(t, a, two)
		hostRoutes(t, b, one)
		ok(t, host.DelHostRoute(a, one)) // its old place is left late
		hostRoutes(t, b, one)

		for range 2 {
			ok(t, host.DelHostRoute(a, two))
			ok(t, host.DelHostRoute(b, one))
			ok(t, host.DelHostRoute(a, three))
		}
		if got := sh(t, "ip route"); got != "10.0.0.1 dev a proto static scope link \n192.168.1.3 dev b scope link metric 10 \n" {
			t.Errorf("left:\n%s", got)
		}
		ok(t, host.DelHostRoute(999, one))
		if err := host.AddHostRoute(999, one); errorText(err) != "add route to 192.168.1.21 on link 999: no such interface" {
			t.Error(err)
		}
	})
}

func hostRoutes(t *testing.T, link int, want ...netip.Addr) {
	t.Helper()
	got, err := host.GuestRoutes(link)
	ok(t, err)
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

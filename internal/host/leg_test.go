package host_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

func ensure(t *testing.T, network string, mtu int, addr string) host.Leg {
	t.Helper()
	var p netip.Prefix
	if addr != "" {
		p = netip.MustParsePrefix(addr)
	}
	leg, err := host.EnsureLeg(network, mtu, p)
	ok(t, err)
	return leg
}

// addrs lists a link's addresses of global scope as ip shows them.
func addrs(t *testing.T, name string) []string {
	t.Helper()
	var list []string
	for line := range strings.Lines(sh(t, "ip -o addr show dev %s scope global", name)) {
		_, rest, _ := strings.Cut(line, "inet")
		list = append(list, strings.Fields(strings.TrimPrefix(rest, "6"))[0])
	}
	return list
}

func leftovers(t *testing.T) []string {
	t.Helper()
	legs, err := host.LeftoverLegs()
	ok(t, err)
	return legs
}

func TestALegIsMadeReadyForUse(t *testing.T) {
	t.Parallel()
	inside(t, "leg", func(*testnet.NS) {
		leg := ensure(t, "lab", 1400, "192.168.60.1/24")
		h, in := leg.Host, leg.Inner
		if h.Name != "lab" || in.Name != host.InnerName("lab") || !strings.HasPrefix(in.Name, "gxh-") || len(in.Name) != 12 ||
			h.PeerIndex != in.Index || in.PeerIndex != h.Index || h.Kind != "veth" ||
			h.MTU != 1400 || in.MTU != 1400 || !h.AdminUp || !in.AdminUp ||
			h.Alias != "gxswitch:lab" || in.Alias != "gxswitch:lab" {
			t.Errorf("%+v", leg)
		}
		if h.MAC == in.MAC || h.MAC[0]&3 != 2 || in.MAC[0]&3 != 2 {
			t.Errorf("addresses %s and %s", h.MAC, in.MAC)
		}
		got := sh(t, "ip -o -4 addr show dev lab")
		if !strings.Contains(got, "inet 192.168.60.1/24 brd 192.168.60.255 scope global lab") || strings.Contains(got, "noprefixroute") {
			t.Error(got)
		}
		if got := sh(t, "ip -o link show dev lab"); !strings.Contains(got, "qlen 1000") {
			t.Error(got)
		}
		for key, want := range map[string]string{
			"lab/accept_ra": "0", "lab/autoconf": "0", "lab/disable_ipv6": "0",
			in.Name + "/disable_ipv6": "1",
		} {
			if got := sysctl(t, "net/ipv6/conf/"+key); got != want {
				t.Errorf("%s is %s", key, got)
			}
		}
		if !strings.Contains(tcFilters(in.Name, "ingress"), "gxswitch-guard") || strings.Contains(tcFilters("lab", "ingress"), "guard") {
			t.Error("the guard belongs on the inner end alone")
		}
		ok(t, host.DelLeg("lab"))
		ok(t, host.DelLeg("lab"))
		links, err := host.Links()
		ok(t, err)
		if len(links) != 1 {
			t.Errorf("left: %+v", links)
		}
	})
}

func TestALegIsTheSameAfterItsRemoval(t *testing.T) {
	t.Parallel()
	inside(t, "legmac", func(*testnet.NS) {
		before := ensure(t, "lab", 1500, "")
		other := ensure(t, "lab2", 1500, "")
		ok(t, host.DelLeg("lab"))
		after := ensure(t, "lab", 1500, "")
		if before.Host.MAC != after.Host.MAC || before.Inner.MAC != after.Inner.MAC || before.Host.MAC == other.Host.MAC {
			t.Errorf("before %+v\nafter %+v\nother %+v", before, after, other)
		}
	})
}

func TestALegIsTakenOverWithNewSettings(t *testing.T) {
	t.Parallel()
	inside(t, "adopt", func(*testnet.NS) {
		tests := []struct {
			mtu        int
			addr, have string
		}{
			{1500, "192.168.60.1/24", "192.168.60.1/24"},
			{1500, "192.168.60.1/24", "192.168.60.1/24"},
			{1400, "192.168.60.2/24", "192.168.60.2/24"},
			{1400, "192.168.60.2/25", "192.168.60.2/25"},
			{9000, "fd00:60::1/64", "fd00:60::1/64"},
			{9000, "10.0.0.1/32", "10.0.0.1/32"},
			{1500, "10.0.0.0/31", "10.0.0.0/31"},
			{1500, "", "10.0.0.0/31"}, // a takeover's are not touched
		}
		first := ensure(t, "lab", 1500, "")
		for _, tt := range tests {
			leg := ensure(t, "lab", tt.mtu, tt.addr)
			if leg.Host.Index != first.Host.Index || leg.Inner.Index != first.Inner.Index {
				t.Errorf("%+v: made anew", tt)
			}
			if leg.Host.MTU != tt.mtu || leg.Inner.MTU != tt.mtu {
				t.Errorf("%+v: %+v", tt, leg)
			}
			if diff := cmp.Diff([]string{tt.have}, addrs(t, "lab")); diff != "" {
				t.Errorf("%+v: addresses (-want +got):\n%s", tt, diff)
			}
		}
		if got := sh(t, "ip -6 -o addr show dev lab scope link"); !strings.Contains(got, "fe80::") {
			t.Errorf("the link-local address went: %q", got)
		}
	})
}

// The wanted address became the secondary of one that an administrator or an
// earlier configuration left; the kernel deletes secondaries with their primary.
func TestALegKeepsItsAddressWhenThePrimaryGoes(t *testing.T) {
	t.Parallel()
	inside(t, "secondary", func(*testnet.NS) {
		sh(t, "sysctl -qw net.ipv4.conf.all.promote_secondaries=0 net.ipv4.conf.default.promote_secondaries=0")
		ensure(t, "lab", 1500, "10.0.0.1/24")
		sh(t, "ip addr add 10.0.0.2/24 dev lab")
		sh(t, "ip addr add 10.0.0.3/24 dev lab")
		ensure(t, "lab", 1500, "10.0.0.3/24")
		if diff := cmp.Diff([]string{"10.0.0.3/24"}, addrs(t, "lab")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWhatAKilledDaemonLeftOfALegIsMended(t *testing.T) {
	t.Parallel()
	in := host.InnerName("lab")
	tests := []struct{ name, prepare string }{
		{"made and not marked", "ip link add name lab type veth peer name " + in},
		{"half marked", "ip link add name lab alias x type veth peer name " + in},
		{"host end moved away", "ip link add name other type veth peer name " + in},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inside(t, "mend", func(*testnet.NS) {
				sh(t, "%s", tt.prepare)
				switch i {
				case 1:
					sh(t, "ip link set lab alias gxswitch:lab")
				case 2:
					sh(t, "ip link set %s alias gxswitch:lab", in)
				}
				if diff := cmp.Diff([]string{"lab"}, leftovers(t)); diff != "" {
					t.Error(diff)
				}
				leg := ensure(t, "lab", 1500, "10.0.0.1/24")
				if leg.Host.Alias != "gxswitch:lab" || leg.Inner.Alias != "gxswitch:lab" {
					t.Errorf("%+v", leg)
				}
				ok(t, host.DelLeg("lab"))
				if len(leftovers(t)) > 0 {
					t.Error("left over:", leftovers(t))
				}
			})
		})
	}
}

func TestAForeignInterfaceIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	tests := []struct{ make, want string }{
		{"ip link add name lab type bridge", "bridge interface lab that is not gxswitch's"},
		{"ip link add name lab type veth peer name other", "veth interface lab that is not gxswitch's"},
		{"ip tuntap add lab mode tap", "tun interface lab that is not gxswitch's"},
		{"ip link add name x type veth peer name " + host.InnerName("lab"), "veth interface " + host.InnerName("lab") + " that is not gxswitch's"},
	}
	for _, tt := range tests {
		t.Run(tt.make, func(t *testing.T) {
			inside(t, "foreign", func(*testnet.NS) {
				sh(t, "%s", tt.make)
				before, err := host.Links()
				ok(t, err)
				_, err = host.EnsureLeg("lab", 1500, netip.Prefix{})
				if err == nil || !strings.HasPrefix(err.Error(), "host interface of network lab: ") || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "ip link del") {
					t.Errorf("%s: %v", tt.make, err)
				}
				ok(t, host.DelLeg("lab"))
				if len(leftovers(t)) > 0 {
					t.Errorf("%s: mistaken for ours", tt.make)
				}
				after, err := host.Links()
				ok(t, err)
				if diff := cmp.Diff(before, after); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestALegThatCannotBeConfiguredIsRemovedAgain(t *testing.T) {
	t.Parallel()
	inside(t, "legfail", func(*testnet.NS) {
		sh(t, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
		if _, err := host.EnsureLeg("lab", 1500, netip.MustParsePrefix("fd00::1/64")); err == nil {
			t.Error("IPv6 address on a host without IPv6")
		} else {
			t.Log(err)
		}
		if len(leftovers(t)) > 0 {
			t.Error("left over:", leftovers(t))
		}
	})
}

func TestLeftoverLegsAreListedByNetwork(t *testing.T) {
	t.Parallel()
	inside(t, "leftover", func(*testnet.NS) {
		for _, network := range []string{"nat0", "a.b-c_d", "fifteen-letters"} {
			ensure(t, network, 1500, "")
		}
		sh(t, "ip link add name foreign type veth peer name f2")
		sh(t, "ip link set foreign alias gxswitch:none")
		if diff := cmp.Diff([]string{"a.b-c_d", "fifteen-letters", "nat0"}, leftovers(t)); diff != "" {
			t.Error(diff)
		}
	})
}

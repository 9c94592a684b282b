package host_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

// nicSetup is a network card with something of everything: secondaries in two
// subnets, labels, a peer, lifetimes, an address without its route, deprecated and
// link-local IPv6, routes in three tables with metrics and sources, gateways behind
// gateways, several ways, a nexthop object, neighbours, and a second card in the
// same subnet that comes second.
const nicSetup = `
ip link add name eth0 mtu 1400 type veth peer name far
ip link add name eth1 type veth peer name far1
ip link set eth0 up
ip link set far up
ip link set eth1 up
ip link set far1 up
ip addr add 10.0.0.5/24 brd + dev eth0
ip addr add 10.0.0.6/24 dev eth0 label eth0:one
ip addr add 10.0.1.5/24 dev eth0 scope link
ip addr add 10.0.1.6/24 dev eth0 scope link
ip addr add 10.0.2.1 peer 10.0.2.2/32 dev eth0
ip addr add 10.0.3.1/24 dev eth0 noprefixroute
ip addr add 10.0.4.1/24 dev eth0 metric 77
ip addr add 10.0.5.1/24 dev eth0 valid_lft 90000 preferred_lft 80000
ip addr add 10.0.6.1/24 dev eth0
ip route del 10.0.6.0/24 dev eth0
ip addr add 10.0.0.7/24 dev eth1
ip addr add 2001:db8:1::5/64 dev eth0 nodad
ip addr add 2001:db8:1::6/64 dev eth0 nodad
ip addr add 2001:db8:2::5/64 dev eth0 nodad noprefixroute
ip addr add 2001:db8:3::5/64 dev eth0 nodad preferred_lft 0
ip addr add 2001:db8:4::5 peer 2001:db8:4::6 dev eth0 nodad
ip route add default via 10.0.0.1 dev eth0 proto static metric 100 mtu 1300 advmss 1200
ip route add default via 10.0.1.1 dev eth0 metric 200 src 10.0.1.6
ip route add 172.16.0.0/12 via 10.0.0.2 dev eth0
ip route add 172.16.1.0/24 via 172.16.9.9 dev eth0 onlink tos 0x10
ip route add 192.0.2.0/24 dev eth0 scope link table 500
ip route add default via 10.0.0.3 dev eth0 table 500
ip route add local 198.51.100.0/24 dev eth0 table 501
ip route add 203.0.113.0/24 nexthop via 10.0.0.8 dev eth0 weight 3 nexthop via 10.0.0.9 dev eth1
ip route add 203.0.114.0/24 nexthop via 10.0.0.8 dev eth0 nexthop via 10.0.1.9 dev eth0
ip nexthop add id 7 via 10.0.0.4 dev eth0
ip route add 203.0.115.0/24 nhid 7
ip -6 route add default via 2001:db8:1::1 dev eth0 metric 50 mtu 1350 src 2001:db8:1::6
ip -6 route add 2001:db8:9::/48 via fe80::1 dev eth0 table 500
ip -6 route add 2001:db8:a::/48 nexthop via fe80::1 dev eth0 nexthop via fe80::2 dev eth1
ip -6 route add 2001:db8:b::/48 nexthop via fe80::1 dev eth0 nexthop via fe80::2 dev eth0
ip -6 route add 2001:db8:c::/48 dev eth0 proto 42 pref high
ip -6 route add unreachable 2001:db8:d::/48 dev lo
ip neigh add 10.0.0.99 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
ip neigh add 2001:db8:1::99 lladdr 02:00:00:00:00:98 dev eth0 nud permanent
ip neigh add proxy 10.0.0.77 dev eth0
ip neigh add proxy 2001:db8:1::77 dev eth0`

// ipText is what ip(8) says of addresses, routes, neighbours and settings, without
// what time and the kernel change.
func ipText(t *testing.T) string {
	t.Helper()
	var local, routes string // broadcast routes of a subnet with two cards have no order that matters
	for line := range strings.Lines(sh(t, "ip -4 route show table all")) {
		if strings.Contains(line, " table local ") {
			local += line
		} else {
			routes += line
		}
	}
	text := sh(t, "ip addr") + "\n" + routes + lines(local) + "\n" + lines(sh(t, "ip -6 route show table all")) +
		"\n" + sh(t, "ip nexthop") + "\n" + lines(sh(t, "ip neigh show nud permanent")) + "\n" + lines(sh(t, "ip neigh show proxy")) + "\n"
	for _, key := range []string{"disable_ipv6", "addr_gen_mode", "forwarding", "accept_ra"} {
		text += key + " " + sysctl(t, "net/ipv6/conf/eth0/"+key) + "\n"
	}
	text += "forwarding " + sysctl(t, "net/ipv4/conf/eth0/forwarding") + sysctl(t, "net/ipv4/ip_forward") + "\n"
	text += sh(t, "tc qdisc show dev eth0")
	return regexp.MustCompile(`(_lft \d{4})\dsec| used \d+/\d+/\d+ `).ReplaceAllString(text, "$1")
}

// lines sorts: fe80::/64 of two interfaces stand in the order of their coming.
func lines(s string) string {
	l := strings.Split(s, "\n")
	slices.Sort(l)
	return strings.Join(l, "\n")
}

func script(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(text)) {
		sh(t, "%s", line)
	}
}

func nic(t *testing.T) host.Link {
	t.Helper()
	script(t, nicSetup)
	for _, name := range []string{"eth0", "far", "eth1", "far1"} {
		awaitLinkLocal(t, name)
	}
	return link(t, "eth0")
}

// awaitLinkLocal waits for the end of duplicate address detection.
func awaitLinkLocal(t *testing.T, name string) {
	t.Helper()
	ok(t, testnet.Wait(t.Context(), name+"'s link-local address", func() (bool, error) {
		out, err := exec.Command("ip", "-6", "addr", "show", "dev", name, "scope", "link", "-tentative").CombinedOutput()
		return strings.Contains(string(out), "fe80::"), err
	}))
}

func takeoverLeg(t *testing.T) host.Leg {
	t.Helper()
	leg, err := host.EnsureTakeoverLeg("xenbr0", 1400)
	ok(t, err)
	return leg
}

func nothing() {}

// The leg gets what the card had, word for word, and the card keeps nothing; and
// everything goes back.
func TestTakeoverThereAndBack(t *testing.T) {
	t.Parallel()
	inside(t, "takeover", func(*testnet.NS) {
		eth0 := nic(t)
		sh(t, "sysctl -qw net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth0.forwarding=1 net.ipv6.conf.eth0.accept_ra=2")
		before := ipText(t)
		ofNIC := of(t, "eth0")
		leg := takeoverLeg(t)
		rec, err := host.PlanTakeover("xenbr0", eth0)
		ok(t, err)
		turned := ""
		ok(t, rec.Take(leg, func() { turned += "there " }, func() { turned += "back " }))

		if diff := cmp.Diff(ofNIC, strings.ReplaceAll(of(t, "xenbr0"), "xenbr0", "eth0")); diff != "" {
			t.Errorf("the leg has not what the card had (-card +leg):\n%s", diff)
		}
		if rest := strings.TrimSpace(of(t, "eth0")); rest != "" {
			t.Errorf("the card keeps:\n%s", rest)
		}
		if l := link(t, "xenbr0"); l.MAC != eth0.MAC || l.MTU != 1400 {
			t.Errorf("the leg: %+v", l)
		}
		if sysctl(t, "net/ipv6/conf/eth0/disable_ipv6") != "1" || !strings.Contains(tcFilters("eth0", "ingress"), "gxswitch-guard") {
			t.Error("the card is not sealed")
		}
		for key, want := range map[string]string{"ipv4/conf/xenbr0/rp_filter": "1", "ipv4/conf/xenbr0/forwarding": "1", "ipv6/conf/xenbr0/accept_ra": "2"} {
			if got := sysctl(t, "net/"+key); got != want {
				t.Errorf("%s is %s, want the card's %s", key, got, want)
			}
		}
		if rec.Phase != host.Taken || turned != "there " {
			t.Error(rec.Phase, turned)
		}

		ok(t, rec.PlanReturn(leg.Host))
		ok(t, rec.Return(leg.Host, func() { turned += "home" }))
		ok(t, host.DelLeg("xenbr0"))
		if diff := cmp.Diff(before, ipText(t)); diff != "" {
			t.Errorf("before and after (-before +after):\n%s", diff)
		}
		if turned != "there home" {
			t.Error(turned)
		}
	})
}

// of is everything that is the link's own.
func of(t *testing.T, name string) string {
	t.Helper()
	addrs := regexp.MustCompile(`(?m)^\d+: `).ReplaceAllString(sh(t, "ip -o addr show dev %s", name), "")
	text := addrs + sh(t, "ip -4 route show table all dev %s", name) + lines(sh(t, "ip -6 route show table all dev %s", name)) +
		lines(sh(t, "ip neigh show dev %s nud permanent", name)) + lines(sh(t, "ip neigh show proxy dev %s", name)) +
		sh(t, "ip nexthop show dev %s", name)
	for line := range strings.Lines(sh(t, "ip route show table all") + sh(t, "ip -6 route show table all")) {
		if strings.Contains(line, "nexthop") && strings.Contains(line, "dev "+name) {
			text += line
		}
	}
	// Not what the kernel makes for any interface that is up.
	text = regexp.MustCompile(`(?m)^multicast ff00::/8.*\n|^anycast .*\n`).ReplaceAllString(text, "")
	return regexp.MustCompile(`(_lft \d{4})\dsec`).ReplaceAllString(text, "$1")
}

// killed ends a takeover as SIGKILL would.
type killed struct{}

// Whatever step a daemon is killed behind, the next one, which knows no more than
// the journal, puts everything back.
func TestTakeoverIsUndoneAfterACrashAtAnyStep(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"there", "back"} {
		at, done := 0, ""
		for done != "the end" { // how many steps there are, the last run tells
			at++
			t.Run(fmt.Sprintf("%s %d", way, at), func(t *testing.T) { done = crash(t, way, at) })
			if t.Failed() {
				break
			}
		}
		if at < 7 {
			t.Errorf("%s: only %d steps", way, at)
		}
	}
}

// crash ends a takeover behind a step, or at its end, and returns which that was.
func crash(t *testing.T, way string, at int) (last string) {
	last = "the end"
	inside(t, "crash", func(*testnet.NS) {
		sh(t, "sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")
		eth0 := nic(t)
		before := ipText(t)
		leg := takeoverLeg(t)
		rec, err := host.PlanTakeover("xenbr0", eth0)
		ok(t, err)
		if way == "back" {
			ok(t, rec.Take(leg, nothing, nothing))
			ok(t, rec.PlanReturn(leg.Host))
		}
		journal, err := json.Marshal(rec)
		ok(t, err)
		steps := 0
		rec.OnStep(func(name string) {
			if steps++; steps == at {
				last = name
				panic(killed{})
			}
		})
		func() {
			defer func() {
				if r := recover(); r != nil && r != (killed{}) {
					panic(r)
				}
			}()
			if way == "there" {
				ok(t, rec.Take(leg, nothing, nothing))
			} else {
				ok(t, rec.Return(leg.Host, nothing))
			}
		}()
		var next host.Takeover
		ok(t, json.Unmarshal(journal, &next))
		ok(t, next.Return(leg.Host, nothing))
		ok(t, host.DelLeg("xenbr0"))
		if diff := cmp.Diff(before, ipText(t)); diff != "" {
			t.Errorf("killed behind %q (-before +after):\n%s", last, diff)
		}
	})
	return last
}

// What fails half-way is undone at once, and the error says what it was.
func TestTakeoverThatFailsIsUndone(t *testing.T) {
	t.Parallel()
	inside(t, "fails", func(*testnet.NS) {
		eth0 := nic(t)
		before := ipText(t)
		leg := takeoverLeg(t)
		rec, err := host.PlanTakeover("xenbr0", eth0)
		ok(t, err)
		rec.OnStep(func(name string) {
			if name == "addresses added" {
				rec.OnStep(nil)
				sh(t, "ip addr flush dev xenbr0") // the addresses that gateways are reached from
			}
		})
		undone := false
		err = rec.Take(leg, nothing, func() { undone = true })
		if err == nil || !strings.HasPrefix(err.Error(), "take over eth0: address 10.0.1.5/24 did not stay on xenbr0") || !undone {
			t.Errorf("%v, undone %v", err, undone)
		}
		ok(t, host.DelLeg("xenbr0"))
		if diff := cmp.Diff(before, ipText(t)); diff != "" {
			t.Errorf("before and after (-before +after):\n%s", diff)
		}
	})
}

func TestTakeoverWhoseCardIsGone(t *testing.T) {
	t.Parallel()
	inside(t, "gone", func(*testnet.NS) {
		eth0 := nic(t)
		leg := takeoverLeg(t)
		rec, err := host.PlanTakeover("xenbr0", eth0)
		ok(t, err)
		ok(t, rec.Take(leg, nothing, nothing))
		had := of(t, "xenbr0")
		sh(t, "ip link del eth0")
		ok(t, rec.PlanReturn(leg.Host))
		if err := rec.Return(leg.Host, nothing); !errors.Is(err, host.ErrNoLink) {
			t.Error(err)
		}
		if diff := cmp.Diff(had, of(t, "xenbr0")); diff != "" {
			t.Error(diff)
		}
	})
}

// Somebody removes the leg; the next one has all of it again.
func TestTakeoverOfALegThatWasRemoved(t *testing.T) {
	t.Parallel()
	inside(t, "renew", func(*testnet.NS) {
		eth0 := nic(t)
		before := ipText(t)
		rec, err := host.PlanTakeover("xenbr0", eth0)
		ok(t, err)
		ok(t, rec.Take(takeoverLeg(t), nothing, nothing))
		had := of(t, "xenbr0")
		ok(t, host.DelLeg("xenbr0"))
		leg := takeoverLeg(t)
		ok(t, rec.Renew(leg))
		// The several ways of a route that lost one are two routes by now.
		if diff := cmp.Diff(had, of(t, "xenbr0")); diff != "" {
			t.Error(diff)
		}
		ok(t, rec.PlanReturn(leg.Host))
		ok(t, rec.Return(leg.Host, nothing))
		ok(t, host.DelLeg("xenbr0"))
		if diff := cmp.Diff(before, ipText(t)); diff != "" {
			t.Errorf("before and after (-before +after):\n%s", diff)
		}
	})
}

func TestTakeoverOfACardWithoutIPv6(t *testing.T) {
	t.Parallel()
	inside(t, "no6", func(*testnet.NS) {
		sh(t, "ip link add name eth0 up type veth peer name far")
		sh(t, "ip link set far up")
		sh(t, "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1 net.ipv6.conf.eth0.addr_gen_mode=3")
		sh(t, "ip addr add 10.0.0.5/24 dev eth0")
		before := sh(t, "ip addr show dev eth0") + sh(t, "ip route show table all")
		rec, err := host.PlanTakeover("xenbr0", link(t, "eth0"))
		ok(t, err)
		leg := takeoverLeg(t)
		ok(t, rec.Take(leg, nothing, nothing))
		if got := sh(t, "ip -6 -o addr show dev xenbr0"); got != "" {
			t.Error(got)
		}
		sh(t, "sysctl -qw net.ipv6.conf.xenbr0.disable_ipv6=0") // by hand, and no reason to fail
		sh(t, "ip addr add 2001:db8::1/64 dev xenbr0")
		ok(t, rec.PlanReturn(leg.Host))
		ok(t, rec.Return(leg.Host, nothing))
		ok(t, host.DelLeg("xenbr0"))
		if diff := cmp.Diff(before, sh(t, "ip addr show dev eth0")+sh(t, "ip route show table all")); diff != "" {
			t.Error(diff)
		}
		if got := sysctl(t, "net/ipv6/conf/eth0/addr_gen_mode"); got != "3" {
			t.Error("addr_gen_mode", got)
		}
	})
}

func TestTakeoverRefusesACardWithInterfacesOnTop(t *testing.T) {
	t.Parallel()
	inside(t, "upper", func(*testnet.NS) {
		sh(t, "ip link add name eth0 type veth peer name far")
		if out, err := exec.Command("ip", "link", "add", "link", "eth0", "name", "mv0", "type", "macvlan").CombinedOutput(); err != nil {
			t.Skipf("no macvlan: %s", out)
		}
		_, err := host.PlanTakeover("xenbr0", link(t, "eth0"))
		if err == nil || !strings.Contains(err.Error(), "mv0 stands on eth0") {
			t.Error(err)
		}
	})
}

func TestTakeoverWarnsOfOthersWhoManageTheCard(t *testing.T) {
	t.Parallel()
	tests := []struct{ file, text, want string }{
		{"NetworkManager/devices/7", "[device]\nmanaged=true\n", "unmanaged-devices=interface-name:eth0"},
		{"NetworkManager/devices/7", "[device]\nmanaged=false\n", ""},
		{"NetworkManager/devices/8", "[device]\nmanaged=true\n", ""},
		{"systemd/netif/links/7", "# private\nADMIN_STATE=configured\nOPER_STATE=routable\n", "Unmanaged=yes"},
		{"systemd/netif/links/7", "ADMIN_STATE=unmanaged\n", ""},
		{"none", "", ""},
	}
	for _, tt := range tests {
		run := t.TempDir()
		file := filepath.Join(run, tt.file)
		ok(t, os.MkdirAll(filepath.Dir(file), 0o755))
		ok(t, os.WriteFile(file, []byte(tt.text), 0o644))
		got := strings.Join(host.Managers(run, host.Link{Name: "eth0", Index: 7}), "\n")
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s %q: %q", tt.file, tt.text, got)
		}
	}
}

func TestTakeoverWarnsOfDHCP(t *testing.T) {
	t.Parallel()
	inside(t, "dhcp", func(*testnet.NS) {
		sh(t, "ip link add name eth0 up type veth peer name far")
		sh(t, "ip addr add 10.0.0.5/24 dev eth0")
		sh(t, "ip addr add 2001:db8::5/64 dev eth0 valid_lft 1000 preferred_lft 1000") // of a router's advertisement
		if got := host.TakeoverWarnings("xenbr0", link(t, "eth0")); len(got) > 0 {
			t.Error(got)
		}
		sh(t, "ip addr add 10.0.0.6/24 dev eth0 valid_lft 1000 preferred_lft 1000")
		got := strings.Join(host.TakeoverWarnings("xenbr0", link(t, "eth0")), "\n")
		if !strings.Contains(got, "address 10.0.0.6/24 has a lifetime") || !strings.Contains(got, "must run on xenbr0") {
			t.Errorf("%q", got)
		}
		if _, err := exec.LookPath("udhcpc"); err != nil {
			t.Skip("udhcpc is not installed")
		}
		client := exec.Command("udhcpc", "-f", "-i", "eth0", "-s", "/bin/true")
		ok(t, client.Start())
		defer func() {
			ok(t, client.Process.Kill())
			_ = client.Wait()
		}()
		ok(t, testnet.Wait(t.Context(), "the client to be noticed", func() (bool, error) {
			got := strings.Join(host.TakeoverWarnings("xenbr0", link(t, "eth0")), "\n")
			return strings.Contains(got, "DHCP client udhcpc runs on eth0"), nil
		}))
		if got := host.TakeoverWarnings("xenbr0", link(t, "far")); len(got) > 0 {
			t.Error(got)
		}
	})
}

func TestTakeoverWarnsOfRulesThatNameTheCard(t *testing.T) {
	t.Parallel()
	inside(t, "rules", func(*testnet.NS) {
		sh(t, "ip link add name eth0 type veth peer name far")
		if got := host.TakeoverWarnings("xenbr0", link(t, "eth0")); len(got) > 0 {
			t.Error(got)
		}
		sh(t, "ip rule add iif eth0 table 500 priority 50")
		sh(t, "ip -6 rule add oif eth0 table 500 priority 60")
		got := strings.Join(host.TakeoverWarnings("xenbr0", link(t, "eth0")), "\n")
		if !strings.Contains(got, "rule 50 names eth0") || !strings.Contains(got, "rule 60 names eth0") || !strings.Contains(got, "names xenbr0") {
			t.Error(got)
		}
	})
}

func TestAddressesThatComeAreTold(t *testing.T) {
	t.Parallel()
	inside(t, "added", func(*testnet.NS) {
		sh(t, "ip link add name eth0 type veth peer name far")
		ctx, cancel := context.WithCancel(t.Context())
		added, err := host.WatchAdded(ctx)
		ok(t, err)
		for range 2 { // the second time as one who renews it
			sh(t, "ip addr replace 10.0.0.5/24 dev eth0 valid_lft 1000 preferred_lft 1000")
			if got, want := <-added, link(t, "eth0").Index; got != want {
				t.Errorf("%d, want %d", got, want)
			}
		}
		sh(t, "ip addr add 10.0.0.6/24 dev far")
		sh(t, "ip addr del 10.0.0.5/24 dev eth0")
		if got, want := <-added, link(t, "far").Index; got != want {
			t.Errorf("%d, want %d", got, want)
		}
		cancel()
		for range added {
		}
	})
}

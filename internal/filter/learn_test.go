package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gxswitch/internal/frame"
)

var sameAddr = cmpopts.EquateComparable(netip.Addr{})

// served is a frame of a trusted port to the guest: an answer of a DHCP server.
func served(dst, ip, message string) string {
	return dst + "020000000003" + "0800" + ip4(server4, ip, 17, 0, udp(67, 68, message))
}

// reply6 is a DHCPv6 Reply with those options.
func reply6(dst, ip, options string) string {
	return dst + "020000000003" + "86dd" + ip6(routerLL, ip, 17, udp(547, 546, "07 000001"+options))
}

// ia is an IA_NA with one address for so many seconds.
func ia(addr string, valid uint32) string {
	return "0003 0028 00000001 00000000 00000000 0005 0018" + addr + fmt.Sprintf("00000000 %08x", valid)
}

func TestLeaseIsLearnedFromServersAnswer(t *testing.T) {
	hour := netip.MustParseAddr("10.0.0.5")
	hour6 := netip.MustParseAddr("fd00::5")
	message := func(options string) string { return bootp(2, guest4, nobody4, guest, options) }
	overloaded := func(overload, sname, file string) string {
		m := strings.ReplaceAll(bootp(2, guest4, nobody4, guest, "3401"+overload+"ff"), " ", "")
		fill := func(s string, n int) string { return s + strings.Repeat("00", n-octets(s)) }
		return begin(44, m) + fill(sname, 64) + fill(file, 128) + skip(236, m)
	}
	for _, c := range []struct {
		name, data string
		want       []Lease
	}{
		{"ACK to all", served(everybody, everybody4, message(ack)), []Lease{{hour, at + 3600}}},
		{"ACK to the guest", served(guest, guest4, message(ack)), []Lease{{hour, at + 3600}}},
		{"ACK to the guest's MAC and all addresses", served(guest, everybody4, message(ack)), []Lease{{hour, at + 3600}}},
		{"ACK in a tag", everybody + "020000000003 8100 0005 0800" + ip4(server4, everybody4, 17, 0, udp(67, 68, message(ack))), []Lease{{hour, at + 3600}}},
		{"ACK with a trailer", served(everybody, everybody4, message(ack)) + "0000", []Lease{{hour, at + 3600}}},
		{"ACK without an end", served(everybody, everybody4, message("350105 3304 ffffffff ff")), []Lease{{hour, Forever}}},
		{"options without an end, with padding", served(everybody, everybody4, message("00 0c0161 00 350105 3304 00000e10")), []Lease{{hour, at + 3600}}},
		{"options in file", served(everybody, everybody4, overloaded("01", "", "350105 3304 00000e10 ff")), []Lease{{hour, at + 3600}}},
		{"options in sname", served(everybody, everybody4, overloaded("02", "350105 3304 00000e10 ff", "")), []Lease{{hour, at + 3600}}},
		{"options in both", served(everybody, everybody4, overloaded("03", "3304 00000e10 ff", "350105 ff")), []Lease{{hour, at + 3600}}},

		{"offer", served(everybody, everybody4, message(offer)), nil},
		{"NAK", served(everybody, everybody4, message("350106 ff")), nil},
		{"ACK without a time", served(everybody, everybody4, message("350105 ff")), nil},
		{"ACK with a time of three bytes", served(everybody, everybody4, message("350105 3303 000e10 ff")), nil},
		{"ACK with an option cut", served(everybody, everybody4, message("350105 3304 00000e")), nil},
		{"options in file that is a file name", served(everybody, everybody4, overloaded("02", "", "350105 3304 00000e10 ff")), nil},
		{"no type: BOOTP", served(everybody, everybody4, message("3304 00000e10 ff")), nil},
		{"no cookie", served(everybody, everybody4, strings.Replace(message(ack), "63825363", "63825364", 1)), nil},
		{"a request", served(everybody, everybody4, bootp(1, guest4, nobody4, guest, ack)), nil},
		{"ACK to a neighbour", served(everybody, everybody4, bootp(2, guest4, nobody4, neighbour, ack)), nil},
		{"ACK in a neighbour's frame", served(neighbour, guest4, message(ack)), nil},
		{"ACK from outside, through a router", served(guest, guest4, bootp(2, neighbour4, nobody4, guest, ack)), nil},
		{"ACK to a subnet's broadcast address", served(everybody, "0a0000ff", message(ack)), nil},
		{"ACK of nothing: an answer to INFORM", served(everybody, everybody4, bootp(2, nobody4, nobody4, guest, ack)), nil},
		{"ACK of a multicast address", served(everybody, everybody4, bootp(2, "e0000001", nobody4, guest, ack)), nil},
		{"ACK of the loopback address", served(everybody, everybody4, bootp(2, "7f000001", nobody4, guest, ack)), nil},
		{"ACK of the broadcast address", served(everybody, everybody4, bootp(2, everybody4, nobody4, guest, ack)), nil},
		{"ACK in a fragment", everybody + "020000000003 0800" + ip4(server4, everybody4, 17, 0x2000, udp(67, 68, message(ack))), nil},
		{"ACK from another port", everybody + "020000000003 0800" + ip4(server4, everybody4, 17, 0, udp(68, 68, message(ack))), nil},
		{"ACK to another port", everybody + "020000000003 0800" + ip4(server4, everybody4, 17, 0, udp(67, 67, message(ack))), nil},
		{"ACK in TCP", everybody + "020000000003 0800" + ip4(server4, everybody4, 6, 0, udp(67, 68, message(ack))), nil},
		{"ACK cut", begin(250, served(everybody, everybody4, message(ack))), nil},
		{"UDP longer than its packet", everybody + "020000000003 0800" + ip4(server4, everybody4, 17, 0, "0043 0044 0300 0000"+message(ack)), nil},

		{"reply", reply6(guest, guestLL, ia(guest6, 3600)), []Lease{{hour6, at + 3600}}},
		{"reply in a tag", guest + "020000000003 8100 0005 86dd" + ip6(routerLL, guestLL, 17, udp(547, 546, "07 000001"+ia(guest6, 3600))), []Lease{{hour6, at + 3600}}},
		{"reply without an end", reply6(guest, guestLL, ia(guest6, 1<<32-1)), []Lease{{hour6, Forever}}},
		{"reply with a temporary address", reply6(guest, guestLL, "0004 0020 00000001 0005 0018"+guest6+"00000000 00000e10"), []Lease{{hour6, at + 3600}}},
		{"reply behind other options, two addresses", reply6(guest, guestLL, "0001 0002 0001"+ia(neighbour6, 60)+ia(guest6, 3600)), []Lease{{hour6, at + 3600}, {netip.MustParseAddr("fd00::6"), at + 60}}},
		{"reply with an option cut", reply6(guest, guestLL, ia(guest6, 3600)+"0003 0028 00000001"), []Lease{{hour6, at + 3600}}},

		{"reply that withdraws", reply6(guest, guestLL, ia(guest6, 0)), nil},
		{"reply with an IA of no length", reply6(guest, guestLL, "0003 0000"), nil},
		{"reply with a short address", reply6(guest, guestLL, "0003 0014 00000001 00000000 00000000 0005 0004"+"fd000000"), nil},
		{"reply of a link-local address", reply6(guest, guestLL, ia(routerLL, 3600)), nil},
		{"reply of an IPv4-mapped address", reply6(guest, guestLL, ia("00000000000000000000ffff"+guest4, 3600)), nil},
		{"reply to a neighbour", reply6(neighbour, "fe80000000000000000000fffe000002", ia(guest6, 3600)), nil},
		{"reply in a neighbour's frame", reply6(neighbour, guestLL, ia(guest6, 3600)), nil},
		{"reply from outside, through a router", reply6(guest, guest6, ia(neighbour6, 3600)), nil},
		{"advertise", guest + "020000000003 86dd" + ip6(routerLL, guestLL, 17, udp(547, 546, "02 000001"+ia(guest6, 3600))), nil},
		{"relay-reply", guest + "020000000003 86dd" + ip6(routerLL, guestLL, 17, udp(547, 547, "07 000001"+ia(guest6, 3600))), nil},
		{"reply behind a header", guest + "020000000003 86dd" + ip6(routerLL, guestLL, 60, options(17)+udp(547, 546, "07 000001"+ia(guest6, 3600))), nil},
		{"too short for either", begin(41, reply6(guest, guestLL, "")), nil},
	} {
		g := NewGuard(unlisted)
		if got := g.Leased(unhex(t, c.data), at); got != (c.want != nil) {
			t.Errorf("%s: new is %v", c.name, got)
		}
		if d := cmp.Diff(c.want, g.Leases(at), sameAddr); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, d)
		}
		if g.Leased(unhex(t, c.data), at) {
			t.Errorf("%s: new a second time", c.name)
		}
		for _, p := range []Policy{strict, {Antispoof: MACIP}} {
			if g := NewGuard(p); g.Leased(unhex(t, c.data), at) || g.Leases(at) != nil {
				t.Errorf("%s: learned by a guard that must not", c.name)
			}
		}
	}
}

func TestNothingIsLearnedOfAGuestNotYetSeen(t *testing.T) {
	g := NewGuard(Policy{Antispoof: MACIP})
	if g.Leased(unhex(t, served(everybody, everybody4, bootp(2, guest4, nobody4, "000000000000", ack))), at) {
		t.Error("a lease of the null address was learned")
	}
}

func TestDHCPAndItsResultWork(t *testing.T) {
	g := NewGuard(Policy{Antispoof: MACIP, DHCPGuard: true, RAGuard: true})
	ping := eth("0800", ip4(guest4, server4, 1, 0, echo4))
	check(t, g, "before", ping, frame.SpoofIP)
	check(t, g, "discover", everybody+guest+"0800"+ip4(nobody4, everybody4, 17, 0, udp(68, 67, bootp(1, nobody4, nobody4, guest, discover))), frame.Pass)
	if !g.Leased(unhex(t, served(guest, guest4, bootp(2, guest4, nobody4, guest, ack))), at) {
		t.Error("nothing new in the server's answer")
	}
	check(t, g, "probe", eth("0806", arp(1, guest, nobody4)), frame.Pass)
	check(t, g, "announcement", eth("0806", arp(1, guest, guest4)), frame.Pass)
	check(t, g, "ping", ping, frame.Pass)
	check(t, g, "a neighbour's", eth("0800", ip4(neighbour4, server4, 1, 0, echo4)), frame.SpoofIP)
	check(t, g, "IPv6 before", eth("86dd", ip6(guest6, neighbour6, 58, echo6)), frame.SpoofIP)
	g.Leased(unhex(t, reply6(guest, guestLL, ia(guest6, 3600))), at)
	check(t, g, "DAD", eth("86dd", ip6(nobody6, all6, 58, ns(guest6))), frame.Pass)
	check(t, g, "NA", eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0201"+guest)), frame.Pass)
	check(t, g, "IPv6", eth("86dd", ip6(guest6, neighbour6, 58, echo6)), frame.Pass)
	want := []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5"), netip.MustParseAddr("fe80::ff:fe00:1")}
	if d := cmp.Diff(want, g.Addresses(at), sameAddr); d != "" {
		t.Errorf("addresses (-want +got)\n%s", d)
	}
	g.Leased(unhex(t, reply6(guest, guestLL, ia(guest6, 0))), at)
	check(t, g, "IPv6 withdrawn", eth("86dd", ip6(guest6, neighbour6, 58, echo6)), frame.SpoofIP)
}

func TestLeaseEnds(t *testing.T) {
	a := addressFrom(netip.MustParseAddr("10.0.0.5"))
	g := NewGuard(unlisted)
	for _, c := range []struct {
		learn   uint32 // at the first of the times
		at, end int64
	}{
		{3600, 0, 3600},
		{3600, 1800, 1800 + 3600}, // renewed
		{600, 2000, 2600},         // made shorter
		{0, 2600, 2600},
	} {
		m := bootp(2, guest4, nobody4, guest, fmt.Sprintf("350105 3304 %08x ff", c.learn))
		if isNew := g.Leased(unhex(t, served(guest, guest4, m)), c.at); isNew != (c.at == 0) {
			t.Errorf("at %d: new is %v", c.at, isNew)
		}
		if !g.allowed(a, c.end+60) || g.allowed(a, c.end+61) {
			t.Errorf("a lease to %d and a minute: %v then, %v a second later", c.end, g.allowed(a, c.end+60), g.allowed(a, c.end+61))
		}
	}
	if !g.Leased(unhex(t, served(guest, guest4, bootp(2, guest4, nobody4, guest, ack))), 9999) {
		t.Error("not new after its end")
	}
	g.Leased(unhex(t, served(guest, guest4, bootp(2, guest4, nobody4, guest, "350105 3304 ffffffff ff"))), 9999)
	if !g.allowed(a, 1<<62) {
		t.Error("a lease for ever ended")
	}
}

func TestAddressGivenToAnotherIsRevoked(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.5")
	g := NewGuard(unlisted)
	if !g.Allow(a, at+100, at) || g.Allow(a, at+200, at) || g.Allow(a, at+200, at) {
		t.Error("new is wrong")
	}
	g.Allow(netip.MustParseAddr("10.0.0.7"), at+100, at)
	g.Revoke(a)
	g.Revoke(netip.MustParseAddr("10.0.0.99"))
	want := []Lease{{netip.MustParseAddr("10.0.0.7"), at + 100}}
	if d := cmp.Diff(want, g.Leases(at), sameAddr); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	g = NewGuard(strict)
	g.Revoke(a)
	check(t, g, "listed", eth("0800", ip4(guest4, server4, 6, 0, tcp)), frame.Pass)
}

func TestLeasesAreBounded(t *testing.T) {
	g := NewGuard(unlisted)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}) }
	for i := range 100 {
		g.Allow(addr(i), at+int64(100-i), at) // the newest ends first
	}
	got := g.Leases(at)
	if len(got) != maxLeases || !slices.ContainsFunc(got, func(l Lease) bool { return l.Addr == addr(99) }) {
		t.Errorf("%d leases, want %d and the newest among them: %v", len(got), maxLeases, got)
	}
	for i := range maxLeases - 1 {
		if !slices.ContainsFunc(got, func(l Lease) bool { return l.Addr == addr(i) }) {
			t.Errorf("%v, which ends late, is gone", addr(i))
		}
	}
	g.Allow(addr(200), at+9999, at+1000)
	if n := len(g.learned.load()); n != 1 {
		t.Errorf("%d leases are kept after their end", n-1)
	}
}

func TestLearningWhileReading(t *testing.T) {
	g := NewGuard(Policy{Antispoof: MACIP})
	answer := unhex(t, served(guest, guest4, bootp(2, guest4, nobody4, guest, ack)))
	ping := unhex(t, eth("0800", ip4(guest4, server4, 1, 0, echo4)))
	other := netip.MustParseAddr("10.0.0.7")
	g.Ingress(ping, at)
	g.Leased(answer, at)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range int64(1000) {
				g.Leased(answer, at+i)
				g.Allow(other, at+i, at)
				g.Revoke(other)
				g.Addresses(at)
			}
		})
	}
	for range 1000 {
		if got := g.Ingress(ping, at); got != frame.Pass {
			t.Fatalf("the guest's own address: %v", got)
		}
	}
	wg.Wait()
}

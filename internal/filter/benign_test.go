package filter

import (
	"net/netip"
	"strings"
	"testing"

	"gxswitch/internal/frame"
)

func TestBenignGuest(t *testing.T) {
	listed := []Policy{strict, macOnly, trusting, {}}
	anyone := []Policy{strict, unlisted, macOnly, trusting, {}}
	for _, c := range []struct {
		name     string
		policies []Policy
		data     string
	}{
		{"DHCP discover", anyone, everybody + guest + "0800" + ip4(nobody4, everybody4, 17, 0, udp(68, 67, bootp(1, nobody4, nobody4, guest, discover)))},
		{"DHCP renewal", listed, eth("0800", ip4(guest4, server4, 17, 0, udp(68, 67, bootp(1, nobody4, nobody4, guest, "350103ff"))))},
		{"DHCP relayed by the guest", listed, eth("0800", ip4(guest4, server4, 17, 0, udp(67, 67, bootp(1, nobody4, guest4, neighbour, discover))))},
		{"ARP probe", anyone, everybody + guest + "0806" + arp(1, guest, nobody4)},
		{"ARP announcement", listed, everybody + guest + "0806" + arp(1, guest, guest4)},
		{"ARP reply", listed, eth("0806", arp(2, guest, guest4))},
		{"ARP with padding", listed, eth("0806", arp(2, guest, guest4)+strings.Repeat("00", 18))},
		{"ARP of IEEE 802", listed, eth("0806", "0006"+skip(2, arp(2, guest, guest4)))},
		{"ARP in a tag", listed, eth("8100", "0005 0806"+arp(2, guest, guest4))},
		{"QEMU announces itself", anyone, everybody + guest + "8035" + arp(3, guest, nobody4)},
		{"ping", listed, eth("0800", ip4(guest4, neighbour4, 1, 0, echo4))},
		{"IPv4 with options", listed, eth("0800", "46"+skip(1, ip4(guest4, neighbour4, 6, 0, ""))+"94040000"+tcp)},
		{"TCP super-frame", listed, eth("0800", ip4(guest4, neighbour4, 6, 0x4000, tcp)+strings.Repeat("61", 60000))},
		{"TCP super-frame, its length not filled in", listed, eth("0800", "4500 0000"+skip(4, ip4(guest4, neighbour4, 6, 0x4000, tcp)))},
		{"first fragment of UDP", listed, eth("0800", ip4(guest4, neighbour4, 17, 0x2000, udp(5353, 5353, strings.Repeat("61", 1472))))},
		{"later fragment of UDP", listed, eth("0800", ip4(guest4, neighbour4, 17, 185, strings.Repeat("61", 1480)))},
		{"last fragment of UDP, its first bytes like a server's", listed, eth("0800", ip4(guest4, neighbour4, 17, 185, "00430044"))},
		{"TCP in three tags", listed, eth("88a8", "0005 8100 0006 8100 0000 0800"+ip4(guest4, neighbour4, 6, 0, tcp))},
		{"TCP in SNAP", listed, eth("0030", "aaaa03 000000 0800"+ip4(guest4, neighbour4, 6, 0, tcp))},

		{"MLD report from nobody", anyone, eth("86dd", ip6(nobody6, all6, 0, "3a 00 0502 0000 0100"+"8f 00 0000 0000 0000"))},
		{"DAD of the link-local address", anyone, eth("86dd", ip6(nobody6, all6, 58, ns(guestLL)))},
		{"DAD with a nonce", anyone, eth("86dd", ip6(nobody6, all6, 58, ns(guestLL)+"0e01 010203040506"))},
		{"RS from nobody", anyone, eth("86dd", ip6(nobody6, all6, 58, "85 00 0000 00000000"))},
		{"RS", anyone, eth("86dd", ip6(guestLL, all6, 58, "85 00 0000 00000000 0101"+guest))},
		{"MLD report", anyone, eth("86dd", ip6(guestLL, all6, 0, "3a 00 0502 0000 0100"+"8f 00 0000 0000 0000"))},
		{"DHCPv6 solicit", anyone, eth("86dd", ip6(guestLL, servers6, 17, udp(546, 547, "01 000001")))},
		{"DHCPv6 relayed by the guest", anyone, eth("86dd", ip6(guestLL, servers6, 17, udp(547, 547, "0c 00")))},
		{"NS", anyone, eth("86dd", ip6(guestLL, all6, 58, ns(routerLL)+"0101"+guest))},
		{"NA", anyone, eth("86dd", ip6(guestLL, all6, 58, na(guestLL)+"0201"+guest))},
		{"NA without options and with a trailer", listed, eth("86dd", ip6(guest6, all6, 58, na(guest6))+"0201"+neighbour)},
		{"ping in IPv6", listed, eth("86dd", ip6(guest6, neighbour6, 58, echo6))},
		{"TCP in IPv6", listed, eth("86dd", ip6(guest6, neighbour6, 6, tcp))},
		{"TCP in IPv6, super-frame without length", listed, eth("86dd", "60000000 0000 06 40"+guest6+neighbour6+tcp+strings.Repeat("61", 60000))},
		{"UDP in IPv6, super-frame without length", listed, eth("86dd", "60000000 0000 11 40"+guest6+neighbour6+udp(5353, 5353, "")+strings.Repeat("61", 60000))},
		{"second eight bytes of a datagram in IPv6", listed, eth("86dd", ip6(guest6, neighbour6, 44, fragment(58, 1, 1)+"86000000 00000000"))},
		{"first fragment in IPv6", listed, eth("86dd", ip6(guest6, neighbour6, 44, fragment(17, 0, 1)+udp(5353, 5353, strings.Repeat("61", 1440))))},
		{"later fragment in IPv6", listed, eth("86dd", ip6(guest6, neighbour6, 44, fragment(17, 181, 0)+"86000000"))},
		{"ping in an atomic fragment", listed, eth("86dd", ip6(guest6, neighbour6, 44, fragment(58, 0, 0)+echo6))},
		{"AH and TCP in a first fragment", listed, eth("86dd", ip6(guest6, neighbour6, 44, fragment(51, 0, 1)+"06 01 0000 00000001 00000001"+tcp))},
		{"ESP", listed, eth("86dd", ip6(guest6, neighbour6, 50, "00000001 00000001 86"))},
		{"no next header", listed, eth("86dd", ip6(guest6, neighbour6, 60, options(59)))},
		{"an unknown upper layer", listed, eth("86dd", ip6(guest6, neighbour6, 253, "8600"))},

		{"another protocol", anyone, eth("88b5", "86000000")},
		{"LLC", anyone, eth("0003", "f0f003")},
		{"LLC of nothing", anyone, eth("0000", "")},
		{"AppleTalk in SNAP", anyone, eth("0010", "aaaa03 080007 809b 0000")},
		{"to all bridges", anyone, "0180c2000010" + guest + "88b5"},
	} {
		for _, p := range c.policies {
			if c.name == "NA without options and with a trailer" && p.Antispoof == Off {
				continue
			}
			check(t, NewGuard(p), c.name+" under "+p.Antispoof.String(), c.data, frame.Pass)
		}
	}
}

func TestRoutersAndServersPassWhereNothingForbidsThem(t *testing.T) {
	g := NewGuard(trusting)
	check(t, g, "RA", eth("86dd", ip6(guestLL, all6, 58, ra+"0101"+guest)), frame.Pass)
	check(t, g, "redirect", eth("86dd", ip6(guestLL, all6, 58, "89 00 0000 00000000"+routerLL+neighbour6)), frame.Pass)
	check(t, g, "DHCP offer", eth("0800", ip4(guest4, everybody4, 17, 0, udp(67, 68, bootp(2, neighbour4, nobody4, neighbour, offer)))), frame.Pass)
	check(t, g, "DHCP offer to a relay", eth("0800", ip4(guest4, server4, 17, 0, udp(67, 67, bootp(2, neighbour4, server4, neighbour, offer)))), frame.Pass)
	check(t, g, "UDP of six bytes", eth("0800", ip4(guest4, server4, 17, 0, "0043 0044 0000")), frame.Pass)
	check(t, g, "BPDU", "0180c2000000"+guest+"0026 424203 0000 00", frame.Pass)
}

func TestFirstMACStays(t *testing.T) {
	g := NewGuard(Policy{Antispoof: MAC})
	if !g.MAC().IsZero() {
		t.Errorf("a guard that has seen nothing knows %v", g.MAC())
	}
	check(t, g, "first frame", eth("88b5", ""), frame.Pass)
	check(t, g, "second frame", eth("88b5", ""), frame.Pass)
	check(t, g, "another's", guest+neighbour+"88b5", frame.SpoofMAC)
	if g.MAC() != strict.MAC {
		t.Errorf("the guest is %v, want %v", g.MAC(), strict.MAC)
	}
	g = NewGuard(Policy{RAGuard: true})
	check(t, g, "antispoof off", eth("88b5", ""), frame.Pass)
	check(t, g, "another's, antispoof off", guest+neighbour+"88b5", frame.Pass)
}

func TestChangeOfPolicyKeepsWhatWasLearned(t *testing.T) {
	mine := netip.MustParseAddr("10.0.0.5")
	other := frame.MAC{2, 0, 0, 0, 0, 2}
	for _, c := range []struct {
		name     string
		from, to Policy
		keeps    bool
	}{
		{"guards", Policy{Antispoof: MACIP}, Policy{Antispoof: MACIP, RAGuard: true}, true},
		{"mode", Policy{Antispoof: MAC}, Policy{Antispoof: MACIP}, true},
		{"MAC told, the same", Policy{Antispoof: MACIP}, Policy{Antispoof: MACIP, MAC: strict.MAC}, true},
		{"MAC told, another", Policy{Antispoof: MACIP}, Policy{Antispoof: MACIP, MAC: other}, false},
		{"another MAC", Policy{Antispoof: MACIP, MAC: strict.MAC}, Policy{Antispoof: MACIP, MAC: other}, false},
		{"no MAC any more", Policy{Antispoof: MACIP, MAC: strict.MAC}, Policy{Antispoof: MACIP}, false},
		{"turned on", Policy{MAC: strict.MAC}, unlisted, true},
	} {
		g := NewGuard(c.from)
		g.Ingress(unhex(t, eth("88b5", "")), at)
		h := g.With(c.to)
		g.Allow(mine, at+100, at) // the old guard may learn while the new one comes into use
		if got := h.MAC() == strict.MAC; got != c.keeps {
			t.Errorf("%s: the guest is %v", c.name, h.MAC())
		}
		if got := len(h.Leases(at)) == 1; got != c.keeps {
			t.Errorf("%s: leases %v", c.name, h.Leases(at))
		}
		if !h.Policy().Equal(c.to) {
			t.Errorf("%s: policy %+v", c.name, h.Policy())
		}
	}
}

func TestManyListedAddresses(t *testing.T) {
	p := Policy{Antispoof: MACIP, MAC: strict.MAC}
	for i := range 100 {
		p.IP = append(p.IP, netip.AddrFrom4([4]byte{10, 1, byte(99 - i), 1}))
		p.IP = append(p.IP, netip.AddrFrom16([16]byte{0xfd, byte(i), 15: byte(i)}))
	}
	g := NewGuard(p)
	for i := range 256 {
		a4, a6 := netip.AddrFrom4([4]byte{10, 1, byte(i), 1}), netip.AddrFrom16([16]byte{0xfd, byte(i), 15: byte(i)})
		if got := g.allowed(addressFrom(a4), at); got != (i < 100) {
			t.Errorf("%v: %v", a4, got)
		}
		if got := g.allowed(addressFrom(a6), at); got != (i < 100) {
			t.Errorf("%v: %v", a6, got)
		}
	}
	if n := len(g.Addresses(at)); n != 200 {
		t.Errorf("%d addresses, want 200", n)
	}
}

func TestAntispoofWords(t *testing.T) {
	for i, w := range []string{"off", "mac", "mac+ip"} {
		var a Antispoof
		if err := a.UnmarshalText([]byte(w)); err != nil || a != Antispoof(i) || a.String() != w {
			t.Errorf("%q is %v, %v", w, a, err)
		}
		if b, err := a.MarshalText(); string(b) != w || err != nil {
			t.Errorf("%v is written %q, %v", a, b, err)
		}
	}
	for _, c := range []struct {
		text string
		pos  int
	}{{"", 1}, {"on", 2}, {"MAC", 1}, {"mac+", 5}, {"mac,ip", 4}, {"mac+ipv6", 7}, {" mac", 1}} {
		a := MAC
		err := a.UnmarshalText([]byte(c.text))
		e, ok := err.(*Error)
		if !ok || e.Pos != c.pos || e.Hint != "want off, mac or mac+ip" || a != MAC {
			t.Errorf("%q: %v, %#v; want character %d", c.text, a, err, c.pos)
		}
	}
}

func TestPolicyEqual(t *testing.T) {
	other := strict
	other.IP = append([]netip.Addr(nil), strict.IP...)
	if !strict.Equal(other) {
		t.Error("a copy differs")
	}
	for i, change := range []func(*Policy){
		func(p *Policy) { p.Antispoof = MAC },
		func(p *Policy) { p.MAC[5]++ },
		func(p *Policy) { p.IP = p.IP[:1] },
		func(p *Policy) { p.RAGuard = false },
		func(p *Policy) { p.DHCPGuard = false },
		func(p *Policy) { p.BPDUGuard = false },
	} {
		other := strict
		change(&other)
		if strict.Equal(other) {
			t.Errorf("change %d goes unnoticed", i)
		}
	}
}

package filter

import (
	"testing"

	"gxswitch/internal/frame"
)

func TestHostileGuest(t *testing.T) {
	const from2 = "020000000003" + neighbour // somebody else's frame
	raOf := func(src string) string { return ip6(src, all6, 58, ra) }
	serving := udp(67, 68, bootp(2, guest4, nobody4, guest, offer))
	for _, c := range []struct {
		name   string
		policy Policy
		data   string
		want   frame.DropReason
	}{
		{"forged MAC", strict, from2 + "0800" + ip4(guest4, neighbour4, 6, 0, tcp), frame.SpoofMAC},
		{"forged MAC, one bit", strict, neighbour + "020000000101" + "0800" + ip4(guest4, neighbour4, 6, 0, tcp), frame.SpoofMAC},
		{"forged MAC, mac", macOnly, from2 + "88b5", frame.SpoofMAC},

		{"BPDU", strict, "0180c2000000" + guest + "0026 424203 0000 00", frame.BPDUGuard},
		{"BPDU of another", strict, "0180c2000000" + neighbour + "0026 424203 0000 00", frame.BPDUGuard},
		{"BPDU in a tag", strict, "0180c2000000" + guest + "8100 0005 0026 424203", frame.BPDUGuard},
		{"PVST+", strict, "01000ccccccd" + guest + "0032 aaaa03 00000c 010b", frame.BPDUGuard},

		{"ARP reply for a neighbour", strict, eth("0806", arp(2, guest, neighbour4)), frame.SpoofARP},
		{"ARP request from a neighbour's address", strict, eth("0806", arp(1, guest, neighbour4)), frame.SpoofARP},
		{"ARP with a neighbour's MAC", strict, eth("0806", arp(2, neighbour, guest4)), frame.SpoofARP},
		{"ARP with a neighbour's MAC, mac", macOnly, eth("0806", arp(2, neighbour, guest4)), frame.SpoofARP},
		{"ARP reply from nobody", strict, eth("0806", arp(2, guest, nobody4)), frame.SpoofARP},
		{"ARP for an address without a lease", unlisted, eth("0806", arp(2, guest, guest4)), frame.SpoofARP},
		{"ARP in a tag", strict, eth("8100", "0005 0806"+arp(2, guest, neighbour4)), frame.SpoofARP},
		{"ARP in SNAP", strict, eth("0024", "aaaa03 000000 0806"+arp(2, guest, neighbour4)), frame.SpoofARP},
		{"ARP cut", strict, eth("0806", begin(27, arp(2, guest, guest4))), frame.SpoofARP},
		{"ARP with addresses of 8 bytes", strict, eth("0806", "0001 0800 08 04"+skip(6, arp(2, guest, guest4))), frame.SpoofARP},
		{"ARP for no IP", strict, eth("0806", "0001 86dd 06 04"+skip(6, arp(2, guest, guest4))), frame.SpoofARP},
		{"ARP over Token Ring", strict, eth("0806", "0004 0800 06 04"+skip(6, arp(2, guest, guest4))), frame.SpoofARP},
		{"RARP reply", strict, eth("8035", arp(4, guest, neighbour4)), frame.SpoofARP},

		{"forged IPv4", strict, eth("0800", ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4, ping", strict, eth("0800", ip4(neighbour4, server4, 1, 0, echo4)), frame.SpoofIP},
		{"IPv4 without a lease", unlisted, eth("0800", ip4(guest4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"IPv4 from nobody", strict, eth("0800", ip4(nobody4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"IPv4 from nobody, UDP", strict, eth("0800", ip4(nobody4, everybody4, 17, 0, udp(68, 69, ""))), frame.SpoofIP},
		{"DHCP from nobody and another port", strict, eth("0800", ip4(nobody4, everybody4, 17, 0, udp(1068, 67, bootp(1, nobody4, nobody4, guest, discover)))), frame.SpoofIP},
		{"DHCP reply from nobody of a server", trusting, eth("0800", ip4(nobody4, everybody4, 17, 0, udp(68, 67, bootp(2, nobody4, nobody4, guest, ack)))), frame.SpoofIP},
		{"DHCP from a neighbour", strict, eth("0800", ip4(neighbour4, everybody4, 17, 0, udp(68, 67, bootp(1, nobody4, nobody4, guest, discover)))), frame.SpoofIP},
		{"later fragment from nobody", strict, eth("0800", ip4(nobody4, server4, 17, 100, "0044 0043")), frame.SpoofIP},
		{"forged IPv4 in a tag", strict, eth("8100", "0005 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4 in an 802.1ad tag", strict, eth("88a8", "0005 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4 in four tags", strict, eth("8100", "0000 88a8 0005 9100 0006 8100 0007 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4 in SNAP", strict, eth("0030", "aaaa03 000000 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4 in SNAP of a wrong length", strict, eth("0000", "aaaa03 000000 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4 in SNAP, bridge tunnel", strict, eth("05ff", "abab13 0000f8 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4 in SNAP in a tag", strict, eth("8100", "0000 0030 aaaa03 000000 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"forged IPv4 in a tag in SNAP", strict, eth("0030", "aaaa03 000000 8100 0000 0800"+ip4(neighbour4, server4, 6, 0, tcp)), frame.SpoofIP},
		{"IPv4 cut", strict, eth("0800", "4500 0014 0001 0000 4006 0000 0a000005"), frame.Malformed},
		{"IPv4 of version 6", strict, eth("0800", "65"+skip(1, ip4(guest4, server4, 6, 0, tcp))), frame.Malformed},
		{"IPv4 header of 16 bytes", strict, eth("0800", "44"+skip(1, ip4(guest4, server4, 6, 0, tcp))), frame.Malformed},
		{"IPv4 options beyond the end", strict, eth("0800", "4f"+skip(1, ip4(guest4, server4, 6, 0, tcp))), frame.Malformed},

		{"five tags", strict, eth("8100", "0000 8100 0000 8100 0000 8100 0000 8100 0000 0800"+ip4(guest4, server4, 6, 0, tcp)), frame.VLANDenied},
		{"tag cut", strict, eth("8100", "000008"), frame.Malformed},
		{"second tag cut", strict, eth("8100", "0000 88a8"), frame.Malformed},

		{"forged IPv6", strict, eth("86dd", ip6(neighbour6, neighbour6, 6, tcp)), frame.SpoofIP},
		{"forged IPv6, ping", strict, eth("86dd", ip6(neighbour6, all6, 58, echo6)), frame.SpoofIP},
		{"forged IPv6 behind headers", strict, eth("86dd", ip6(neighbour6, all6, 0, options(60)+options(6)+tcp)), frame.SpoofIP},
		{"forged IPv6, later fragment", strict, eth("86dd", ip6(neighbour6, all6, 44, fragment(17, 100, 0)+"00")), frame.SpoofIP},
		{"IPv6 from nobody", strict, eth("86dd", ip6(nobody6, all6, 6, tcp)), frame.SpoofIP},
		{"IPv6 ping from nobody", strict, eth("86dd", ip6(nobody6, all6, 58, echo6)), frame.SpoofIP},
		{"MLD query from nobody", strict, eth("86dd", ip6(nobody6, all6, 58, "82"+skip(1, echo6))), frame.SpoofIP},
		{"MLD in a fragment from nobody", strict, eth("86dd", ip6(nobody6, all6, 44, fragment(58, 0, 1)+"8f"+skip(1, echo6))), frame.SpoofIP},
		{"IPv4-mapped source of the guest", strict, eth("86dd", ip6("00000000000000000000ffff"+guest4, all6, 6, tcp)), frame.SpoofIP},
		{"IPv4-mapped nobody", strict, eth("86dd", ip6("00000000000000000000ffff"+nobody4, all6, 58, "8f"+skip(1, echo6))), frame.SpoofIP},
		{"another link-local address", unlisted, eth("86dd", ip6(routerLL, all6, 6, tcp)), frame.SpoofIP},
		{"a self-made address", unlisted, eth("86dd", ip6("fd0000000000000000 0000fffe000001", all6, 6, tcp)), frame.SpoofIP},
		{"IPv6 where IPv4 alone is listed", Policy{Antispoof: MACIP, MAC: strict.MAC, IP: strict.IP[:1]}, eth("86dd", ip6(guestLL, all6, 58, echo6)), frame.SpoofIP},
		{"IPv6 cut", strict, eth("86dd", begin(39, ip6(guest6, all6, 6, tcp))), frame.Malformed},
		{"IPv6 of version 4", strict, eth("86dd", "40"+skip(1, ip6(guest6, all6, 6, tcp))), frame.Malformed},

		{"NA for a neighbour", strict, eth("86dd", ip6(guest6, all6, 58, na(neighbour6))), frame.SpoofARP},
		{"NA for the router", unlisted, eth("86dd", ip6(guestLL, all6, 58, na(routerLL)+"0201"+guest)), frame.SpoofARP},
		{"NA from a neighbour", strict, eth("86dd", ip6(neighbour6, all6, 58, na(neighbour6)+"0201"+guest)), frame.SpoofARP},
		{"NA from nobody", strict, eth("86dd", ip6(nobody6, all6, 58, na(guest6))), frame.SpoofARP},
		{"NA with a neighbour's MAC", strict, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0201"+neighbour)), frame.SpoofARP},
		{"NA with a neighbour's MAC, mac", macOnly, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0201"+neighbour)), frame.SpoofARP},
		{"NA with two MACs", strict, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0201"+guest+"0201"+neighbour)), frame.SpoofARP},
		{"NA with a MAC behind a nonce", strict, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0e01 000000000000 0201"+neighbour)), frame.SpoofARP},
		{"NA with a long MAC", strict, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0202"+guest+"0000000000000000")), frame.SpoofARP},
		{"NA with an option of no length", strict, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0200"+guest)), frame.SpoofARP},
		{"NA with an option beyond the end", strict, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0e02 000000000000")), frame.SpoofARP},
		{"NA with an option cut", strict, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0201"+begin(5, guest))), frame.SpoofARP},
		{"NA cut", strict, eth("86dd", ip6(guest6, all6, 58, begin(23, na(guest6)))), frame.SpoofARP},
		{"NA behind headers", strict, eth("86dd", ip6(guest6, all6, 0, options(60)+options(58)+na(neighbour6))), frame.SpoofARP},
		{"NA in an atomic fragment", strict, eth("86dd", ip6(guest6, all6, 44, fragment(58, 0, 0)+na(guest6))), frame.SpoofARP},
		{"NA in a first fragment", strict, eth("86dd", ip6(guest6, all6, 44, fragment(58, 0, 1)+na(guest6))), frame.SpoofARP},
		{"NA of an IPv4-mapped target", strict, eth("86dd", ip6(guest6, all6, 58, na("00000000000000000000ffff"+guest4))), frame.SpoofARP},
		{"NS from a neighbour", strict, eth("86dd", ip6(neighbour6, all6, 58, ns(guest6)+"0101"+guest)), frame.SpoofARP},
		{"NS with a neighbour's MAC", strict, eth("86dd", ip6(guest6, all6, 58, ns(neighbour6)+"0101"+neighbour)), frame.SpoofARP},
		{"DAD for a neighbour's address", strict, eth("86dd", ip6(nobody6, all6, 58, ns(neighbour6))), frame.SpoofARP},
		{"RS from a neighbour", strict, eth("86dd", ip6(neighbour6, all6, 58, "85 00 0000 00000000")), frame.SpoofARP},
		{"RS with a neighbour's MAC", strict, eth("86dd", ip6(guestLL, all6, 58, "85 00 0000 00000000 0101"+neighbour)), frame.SpoofARP},
		{"RA with a neighbour's MAC of a router", trusting, eth("86dd", ip6(guestLL, all6, 58, ra+"0101"+neighbour)), frame.SpoofARP},
		{"RA from nobody of a router", trusting, eth("86dd", ip6(nobody6, all6, 58, ra)), frame.SpoofARP},
		{"redirect with a neighbour's MAC of a router", trusting, eth("86dd", ip6(guestLL, all6, 58, "89 00 0000 00000000"+routerLL+neighbour6+"0201"+neighbour)), frame.SpoofARP},
		{"ND hidden, no RA guard", trusting, eth("86dd", ip6(guestLL, all6, 60, "3a 05 0104 00000000")), frame.SpoofARP},

		{"RA", strict, eth("86dd", raOf(guestLL)), frame.RAGuard},
		{"RA from the router's address", strict, eth("86dd", raOf(routerLL)), frame.RAGuard},
		{"RA, antispoof off", Policy{RAGuard: true}, eth("86dd", raOf(routerLL)), frame.RAGuard},
		{"redirect", strict, eth("86dd", ip6(routerLL, all6, 58, "89 00 0000 00000000"+routerLL+neighbour6)), frame.RAGuard},
		{"RA in a tag", strict, eth("8100", "0000 86dd"+raOf(guestLL)), frame.RAGuard},
		{"RA in SNAP", strict, eth("0038", "aaaa03 000000 86dd"+raOf(guestLL)), frame.RAGuard},
		{"RA in SNAP in VLAN 0 twice", strict, eth("8100", "0000 8100 0000 0038 aaaa03 000000 86dd"+raOf(guestLL)), frame.RAGuard},
		{"RA behind hop-by-hop options", strict, eth("86dd", ip6(guestLL, all6, 0, options(58)+ra)), frame.RAGuard},
		{"RA behind destination options", strict, eth("86dd", ip6(guestLL, all6, 60, options(58)+ra)), frame.RAGuard},
		{"RA behind a routing header", strict, eth("86dd", ip6(guestLL, all6, 43, "3a 00 00 00 00000000"+ra)), frame.RAGuard},
		{"RA behind AH", strict, eth("86dd", ip6(guestLL, all6, 51, "3a 01 0000 00000001 00000001"+ra)), frame.RAGuard},
		{"RA behind a mobility header", strict, eth("86dd", ip6(guestLL, all6, 135, options(58)+ra)), frame.RAGuard},
		{"RA behind all of them", strict, eth("86dd", ip6(guestLL, all6, 0, options(60)+options(43)+"2c 00 00 00 00000000"+fragment(51, 0, 0)+"3c 01 0000 00000001 00000001"+options(58)+ra)), frame.RAGuard},
		{"RA behind a long header", strict, eth("86dd", ip6(guestLL, all6, 60, "3a 02 01 14 0000000000000000 00000000 0000000000000000"+ra)), frame.RAGuard},
		{"RA behind eight headers", strict, eth("86dd", ip6(guestLL, all6, 60, options(60)+options(60)+options(60)+options(60)+options(60)+options(60)+options(60)+options(58)+ra)), frame.RAGuard},
		{"nine headers", strict, eth("86dd", ip6(guestLL, all6, 60, options(60)+options(60)+options(60)+options(60)+options(60)+options(60)+options(60)+options(60)+options(6)+tcp)), frame.RAGuard},
		{"RA in an atomic fragment", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(58, 0, 0)+ra)), frame.RAGuard},
		{"RA in a first fragment", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(58, 0, 1)+ra)), frame.RAGuard},
		{"one byte of RA in a first fragment", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(58, 0, 1)+"86")), frame.RAGuard},
		{"RA in the second fragment: the first", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(60, 0, 1)+options(58))), frame.RAGuard},
		{"options that end in the next fragment", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(60, 0, 1)+"3a 03 0116 00000000")), frame.RAGuard},
		{"first fragment of nothing", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(58, 0, 1))), frame.RAGuard},
		{"options to overlap in a first fragment", strict, eth("86dd", ip6(guest6, all6, 44, fragment(60, 0, 1)+options(6)+tcp)), frame.RAGuard},
		{"two fragment headers", strict, eth("86dd", ip6(guest6, all6, 44, fragment(44, 0, 0)+fragment(6, 0, 0)+tcp)), frame.RAGuard},
		{"fragment header cut", strict, eth("86dd", ip6(guest6, all6, 44, "3a 00 0000")), frame.RAGuard},
		{"chain cut", strict, eth("86dd", ip6(guest6, all6, 60, "3a 01 0104 00000000")), frame.RAGuard},
		{"chain cut by the length", strict, eth("86dd", "60000000 0008 3c ff"+guest6+all6+"3a 01 0104 00000000 0000000000000000"+ra), frame.RAGuard},
		{"a message of nothing", strict, eth("86dd", ip6(guest6, all6, 58, "")), frame.RAGuard},

		{"DHCP offer", strict, eth("0800", ip4(guest4, everybody4, 17, 0, serving)), frame.DHCPGuard},
		{"DHCP offer from the server's address", strict, eth("0800", ip4(server4, everybody4, 17, 0, serving)), frame.DHCPGuard},
		{"DHCP offer, antispoof off", Policy{DHCPGuard: true}, eth("0800", ip4(server4, everybody4, 17, 0, serving)), frame.DHCPGuard},
		{"DHCP offer from another port", strict, eth("0800", ip4(guest4, everybody4, 17, 0, udp(6767, 68, bootp(2, guest4, nobody4, guest, offer)))), frame.DHCPGuard},
		{"DHCP offer behind IPv4 options", strict, eth("0800", "46"+skip(1, ip4(guest4, everybody4, 17, 0, ""))+"94040000"+serving), frame.DHCPGuard},
		{"DHCP offer in a tag", strict, eth("8100", "0005 0800"+ip4(guest4, everybody4, 17, 0, serving)), frame.DHCPGuard},
		{"DHCP offer, first fragment", strict, eth("0800", ip4(guest4, everybody4, 17, 0x2000, serving)), frame.DHCPGuard},
		{"UDP of six bytes", strict, eth("0800", ip4(guest4, everybody4, 17, 0x2000, "0043 0044 0000")), frame.DHCPGuard},
		{"UDP's second eight bytes", strict, eth("0800", ip4(guest4, everybody4, 17, 1, "0000000000000000")), frame.DHCPGuard},
		{"DHCP reply to a relay", strict, eth("0800", ip4(guest4, server4, 17, 0, udp(67, 67, bootp(2, guest4, server4, guest, offer)))), frame.DHCPGuard},
		{"to a DHCP server or relay, nothing", strict, eth("0800", ip4(guest4, server4, 17, 0x2000, udp(67, 67, ""))), frame.DHCPGuard},
		{"DHCPv6 advertise", strict, eth("86dd", ip6(guestLL, all6, 17, udp(547, 546, "02 000001"))), frame.DHCPGuard},
		{"DHCPv6 reply from another port and address", strict, eth("86dd", ip6(routerLL, all6, 17, udp(1547, 546, "07 000001"))), frame.DHCPGuard},
		{"DHCPv6 reply behind headers", strict, eth("86dd", ip6(guestLL, all6, 0, options(60)+options(17)+udp(547, 546, "07 000001"))), frame.DHCPGuard},
		{"DHCPv6 reply, first fragment", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(17, 0, 1)+udp(547, 546, "07 000001 00000000"))), frame.DHCPGuard},
		{"DHCPv6 relay-reply", strict, eth("86dd", ip6(guestLL, all6, 17, udp(547, 547, "0d 00"))), frame.DHCPGuard},
		{"to a DHCPv6 relay, nothing", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(17, 0, 1)+udp(547, 547, ""))), frame.DHCPGuard},
		{"UDP in IPv6 of six bytes", strict, eth("86dd", ip6(guestLL, all6, 44, fragment(17, 0, 1)+"0223 0222 0000")), frame.DHCPGuard},
		{"hidden, DHCP guard alone", Policy{DHCPGuard: true}, eth("86dd", ip6(guestLL, all6, 44, fragment(60, 0, 1)+options(17))), frame.DHCPGuard},

		{"DHCP request for a neighbour", strict, eth("0800", ip4(nobody4, everybody4, 17, 0, udp(68, 67, bootp(1, nobody4, nobody4, neighbour, discover)))), frame.SpoofMAC},
		{"DHCP request for a neighbour, mac", macOnly, eth("0800", ip4(nobody4, everybody4, 17, 0, udp(1068, 67, bootp(1, nobody4, nobody4, neighbour, discover)))), frame.SpoofMAC},
		{"DHCP request in fragments", strict, eth("0800", ip4(guest4, everybody4, 17, 0x2000, udp(68, 67, bootp(1, nobody4, nobody4, guest, discover)))), frame.SpoofMAC},
		{"DHCP request cut", strict, eth("0800", ip4(guest4, everybody4, 17, 0, udp(68, 67, "01 01 06 00"))), frame.SpoofMAC},
	} {
		check(t, NewGuard(c.policy), c.name, c.data, c.want)
	}
	if got := NewGuard(strict).Ingress(make([]byte, 13), at); got != frame.Malformed {
		t.Errorf("13 bytes: %v, want malformed", got)
	}
}

package filter

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gxswitch/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The guest is 02:00:00:00:00:01 with 10.0.0.5, fd00::5 and its link-local
// address; its neighbour is 02:00:00:00:00:02 with 10.0.0.6 and fd00::6.
const (
	guest     = "020000000001"
	neighbour = "020000000002"
	everybody = "ffffffffffff"
	allNodes  = "333300000001"

	guest4     = "0a000005"
	neighbour4 = "0a000006"
	server4    = "0a000001"
	nobody4    = "00000000"
	everybody4 = "ffffffff"

	guest6     = "fd000000000000000000000000000005"
	neighbour6 = "fd000000000000000000000000000006"
	guestLL    = "fe80000000000000000000fffe000001"
	routerLL   = "fe800000000000000000000000000001"
	nobody6    = "00000000000000000000000000000000"
	all6       = "ff020000000000000000000000000001"
	servers6   = "ff020000000000000000000000010002"
)

var (
	strict = Policy{
		Antispoof: MACIP, MAC: frame.MAC{2, 0, 0, 0, 0, 1},
		IP:      []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5"), netip.MustParseAddr("fe80::ff:fe00:1")},
		RAGuard: true, DHCPGuard: true, BPDUGuard: true,
	}
	unlisted = Policy{Antispoof: MACIP, MAC: strict.MAC, RAGuard: true, DHCPGuard: true, BPDUGuard: true}
	macOnly  = Policy{Antispoof: MAC, MAC: strict.MAC, RAGuard: true, DHCPGuard: true, BPDUGuard: true}
	trusting = Policy{Antispoof: MACIP, MAC: strict.MAC, IP: strict.IP} // a guest that may be a router and a server
)

// unhex reads bytes as the tables write them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func octets(s string) int { return len(strings.ReplaceAll(s, " ", "")) / 2 }

// begin is the first n octets of s, and skip is what follows them.
func begin(n int, s string) string { return strings.ReplaceAll(s, " ", "")[:2*n] }
func skip(n int, s string) string  { return strings.ReplaceAll(s, " ", "")[2*n:] }

// eth is a frame of the guest.
func eth(kind, payload string) string { return neighbour + guest + kind + payload }

// arp is an ARP packet: operation, sender.
func arp(operation int, mac, ip string) string {
	return fmt.Sprintf("0001 0800 06 04 %04x %s %s 000000000000 %s", operation, mac, ip, neighbour4)
}

// ip4 is an IPv4 packet; fragment is MF (0x2000) and the offset in eights.
func ip4(src, dst string, proto, fragment int, payload string) string {
	return fmt.Sprintf("4500 %04x 0001 %04x 40 %02x 0000 %s %s %s", 20+octets(payload), fragment, proto, src, dst, payload)
}

// ip6 is an IPv6 packet.
func ip6(src, dst string, next int, payload string) string {
	return fmt.Sprintf("60000000 %04x %02x ff %s %s %s", octets(payload), next, src, dst, payload)
}

// udp is a UDP datagram.
func udp(from, to int, payload string) string {
	return fmt.Sprintf("%04x %04x %04x 0000 %s", from, to, 8+octets(payload), payload)
}

// bootp is a DHCP message of that op, up to its options.
func bootp(op int, yiaddr, giaddr, chaddr, options string) string {
	return fmt.Sprintf("%02x 01 06 00 12345678 0000 0000 00000000 %s 00000000 %s %s", op, yiaddr, giaddr, chaddr) +
		strings.Repeat("00", 10+64+128) + "63825363" + options
}

const (
	tcp      = "8000 0050 00000001 00000000 5010 ffff 0000 0000"
	echo4    = "0800 0000 0001 0001"
	echo6    = "80 00 0000 0001 0001"
	ra       = "86 00 0000 40 00 0708 00000000 00000000"
	discover = "350101 ff"
	offer    = "350102 3604 0a000001 3304 00000e10 ff"
	ack      = "350105 3604 0a000001 3304 00000e10 ff"
	pad8     = "00 01 04 00000000" // behind its next header: length, and a PadN
)

// nd messages, without options.
func ns(target string) string { return "87 00 0000 00000000" + target }
func na(target string) string { return "88 00 0000 60000000" + target }

// Headers of an IPv6 chain; next is what follows.
func options(next int) string { return fmt.Sprintf("%02x %s", next, pad8) }
func fragment(next, offset, more int) string {
	return fmt.Sprintf("%02x 00 %04x 00000001", next, offset<<3|more)
}

const at = 1000 // a now

func check(t *testing.T, g *Guard, name, data string, want frame.DropReason) {
	t.Helper()
	if len(strings.ReplaceAll(data, " ", ""))%2 != 0 {
		t.Fatalf("%s: half an octet", name)
	}
	if got := g.Ingress(unhex(t, data), at); got != want {
		t.Errorf("%s: %v, want %v", name, got, want)
	}
}

package dataplane

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

// The stations of the tests of policy.
const (
	guestMAC, guest4, guest6             = "020000000005", "0a000005", "fd000000000000000000000000000005"
	neighbourMAC, neighbour4, neighbour6 = "020000000006", "0a000006", "fd000000000000000000000000000006"
	serverMAC, server4                   = "0200000000fe", "0a000001"
	guestLL                              = "fe80000000000000000000fffe000005"
	all4, all6                           = "ffffffff", "ff020000000000000000000000000001"
	nobody4                              = "00000000"
)

// heldTo is the policy of a station that must be who it says it is.
func heldTo(t testing.TB, station string, ips ...string) filter.Policy {
	p := filter.Policy{Antispoof: filter.MAC, MAC: mac(t, station), RAGuard: true, DHCPGuard: true, BPDUGuard: true}
	for _, ip := range ips {
		p.Antispoof = filter.MACIP
		p.IP = append(p.IP, netip.MustParseAddr(ip))
	}
	return p
}

func vlans(t testing.TB, text string) vlan.Set {
	t.Helper()
	s, err := vlan.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func octets(s string) int { return len(strings.ReplaceAll(s, " ", "")) / 2 }

// What is behind a frame's addresses: EtherType and packet.

func arp(operation int, sender, ip string) string {
	return fmt.Sprintf("0806 0001 0800 06 04 %04x %s %s 000000000000 %s", operation, sender, ip, neighbour4)
}

func ip4(src, dst string, proto int, payload string) string {
	return fmt.Sprintf("0800 4500 %04x 0001 0000 40 %02x 0000 %s %s %s", 20+octets(payload), proto, src, dst, payload)
}

func ip6(src, dst string, next int, payload string) string {
	return fmt.Sprintf("86dd 60000000 %04x %02x ff %s %s %s", octets(payload), next, src, dst, payload)
}

func udp(from, to int, payload string) string {
	return fmt.Sprintf("%04x %04x %04x 0000 %s", from, to, 8+octets(payload), payload)
}

// bootp is a DHCP message of that op to or from the client.
func bootp(op int, yiaddr, client, options string) string {
	return fmt.Sprintf("%02x 01 06 00 12345678 0000 0000 00000000 %s 00000000 00000000 %s", op, yiaddr, client) +
		strings.Repeat("00", 10+64+128) + "63825363" + options
}

// DHCP as a client and a server send it.

func discover(client string) string {
	return ip4(nobody4, all4, 17, udp(68, 67, bootp(1, nobody4, client, "350101 ff")))
}

func request(client string) string {
	return ip4(nobody4, all4, 17, udp(68, 67, bootp(1, nobody4, client, "350103 ff")))
}

func answer(kind int, ip, client string) string {
	return ip4(server4, all4, 17, udp(67, 68, bootp(2, ip, client, fmt.Sprintf("3501%02x 3604 %s 3304 00000e10 ff", kind, server4))))
}

const (
	offer = 2
	ack   = 5

	tcp      = "8000 0050 00000001 00000000 5010 ffff 0000 0000"
	echo6    = "80 00 0000 0001 0001"
	ra       = "86 00 0000 40 00 0708 00000000 00000000"
	redirect = "89 00 0000 00000000" + guest6 + guest6
	options  = " 00 01 04 00000000 " // behind its next header: length, and a PadN
)

func na(target string) string { return "88 00 0000 60000000" + target }

// counted wants as many frames under a reason at a port, since before.
func (l *lab) counted(what, port string, before PortStats, reason frame.DropReason, n uint64) {
	l.t.Helper()
	got, want := l.stats(port).RxDrops, before.RxDrops
	want[reason] += n
	if got != want {
		l.t.Errorf("%s: dropped %v, want %v", what, reasons(got), reasons(want))
	}
}

// atOnce makes frames come in at a port at one moment of the worker's clock, so
// much later than the worker's base.
func (l *lab) atOnce(port string, nanos int64, frames ...[]byte) {
	l.t.Helper()
	l.sw.mu.Lock() // it stays that worker's
	defer l.sw.mu.Unlock()
	a, _ := l.sw.find(port)
	on := a.port.wire
	on.worker.call(func() {
		for len(frames) > 0 { // in portions that memory ports hold
			n := min(len(frames), 500)
			for _, data := range frames[:n] {
				l.inject(port, nil, data, 1)
			}
			frames = frames[n:]
			on.worker.nanos = nanos
			on.worker.drain(on)
		}
	})
}

// left counts what left by each port, and forgets it.
func (l *lab) left() map[string]int {
	n := map[string]int{}
	for name, m := range l.ports {
		if sent := len(m.Sent()); sent > 0 {
			n[name] = sent
		}
	}
	return n
}

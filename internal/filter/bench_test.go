package filter

import (
	"net/netip"
	"strings"
	"testing"

	"gxswitch/internal/frame"
)

// frames are those of a guest that is at work.
func frames(t testing.TB) []struct {
	name string
	data []byte
} {
	data := strings.Repeat("61", 1400)
	return []struct {
		name string
		data []byte
	}{
		{"TCP4", unhex(t, eth("0800", ip4(guest4, neighbour4, 6, 0x4000, tcp+data)))},
		{"UDP4", unhex(t, eth("0800", ip4(guest4, neighbour4, 17, 0, udp(5353, 5353, data))))},
		{"TCP6", unhex(t, eth("86dd", ip6(guest6, neighbour6, 6, tcp+data)))},
		{"UDP6", unhex(t, eth("86dd", ip6(guest6, neighbour6, 17, udp(5353, 5353, data))))},
		{"TCP4 tagged", unhex(t, eth("8100", "0005 0800"+ip4(guest4, neighbour4, 6, 0x4000, tcp+data)))},
		{"ARP", unhex(t, eth("0806", arp(2, guest, guest4)))},
		{"NA", unhex(t, eth("86dd", ip6(guest6, all6, 58, na(guest6)+"0201"+guest)))},
		{"worst chain", unhex(t, eth("8100", "0005 8100 0005 8100 0005 8100 0005 86dd"+ip6(guest6, neighbour6, 60,
			options(60)+options(60)+options(60)+options(60)+options(60)+options(60)+options(60)+options(58)+
				na(guest6)+strings.Repeat("0e01 000000000000", 100))))},
	}
}

func guards() []struct {
	name string
	g    *Guard
} {
	leased := NewGuard(unlisted)
	for i := range 14 {
		leased.Allow(netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), Forever, at)
	}
	leased.Allow(strict.IP[0], Forever, at)
	leased.Allow(strict.IP[1], Forever, at)
	return []struct {
		name string
		g    *Guard
	}{
		{"off", NewGuard(Policy{})},
		{"guards", NewGuard(Policy{RAGuard: true, DHCPGuard: true, BPDUGuard: true})},
		{"mac", NewGuard(macOnly)},
		{"mac+ip", NewGuard(strict)},
		{"mac+ip of 16 leases", leased},
	}
}

func TestNoAllocation(t *testing.T) {
	for _, g := range guards() {
		for _, f := range frames(t) {
			if n := testing.AllocsPerRun(100, func() { g.g.Ingress(f.data, at) }); n != 0 {
				t.Errorf("Ingress of %s under %s allocates %v times", f.name, g.name, n)
			}
			if n := testing.AllocsPerRun(100, func() { g.g.Leased(f.data, at) }); n != 0 {
				t.Errorf("Leased of %s under %s allocates %v times", f.name, g.name, n)
			}
			if got := g.g.Ingress(f.data, at); got != frame.Pass {
				t.Errorf("%s under %s: %v", f.name, g.name, got)
			}
		}
	}
	s := NewStorm(2000)
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() { now += 1000; s.Allow(Broadcast, 1, now) }); n != 0 {
		t.Errorf("Allow allocates %v times", n)
	}
}

func BenchmarkIngress(b *testing.B) {
	for _, g := range guards() {
		for _, f := range frames(b) {
			b.Run(g.name+"/"+f.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if g.g.Ingress(f.data, at) != frame.Pass {
						b.Fatal("dropped")
					}
				}
			})
		}
	}
}

func BenchmarkLeased(b *testing.B) {
	g := NewGuard(unlisted)
	for _, f := range frames(b) {
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Leased(f.data, at)
			}
		})
	}
}

func BenchmarkStorm(b *testing.B) {
	s := NewStorm(2000)
	b.ReportAllocs()
	now := int64(0)
	for b.Loop() {
		now += 1000
		s.Allow(Broadcast, 1, now)
	}
}

package filter

import (
	"bytes"
	"testing"

	"gxswitch/internal/frame"
)

// FuzzGuard looks for a frame that makes a guard read beyond its end, change it,
// or learn what it must not.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		eth("0806", arp(2, guest, guest4)),
		eth("8100", "0005 0030 aaaa03 000000 0800"+ip4(guest4, neighbour4, 6, 0, tcp)),
		eth("0800", ip4(nobody4, everybody4, 17, 0, udp(68, 67, bootp(1, nobody4, nobody4, guest, discover)))),
		eth("86dd", ip6(guest6, all6, 0, options(60)+options(58)+na(guest6)+"0201"+guest)),
		eth("86dd", ip6(guest6, all6, 44, fragment(51, 0, 1)+"06 01 0000 00000001 00000001"+tcp)),
		eth("86dd", ip6(guestLL, servers6, 17, udp(546, 547, "01 000001"))),
		served(everybody, everybody4, bootp(2, guest4, nobody4, guest, ack)),
		served(guest, guest4, bootp(2, guest4, nobody4, guest, "340103 00 350105 3304 00000e10 ff")),
		reply6(guest, guestLL, ia(guest6, 3600)+ia(neighbour6, 0)),
	} {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := bytes.Clone(data)[:len(data):len(data)]
		for _, p := range []Policy{strict, unlisted, macOnly, trusting, {}, {RAGuard: true}, {DHCPGuard: true}} {
			g := NewGuard(p)
			reason := g.Ingress(d, at)
			switch {
			case len(d) >= frame.HeaderLen && reason != frame.Pass && p.Equal(Policy{}):
				t.Fatalf("a guard without rules says %v", reason)
			case reason == frame.Pass && p.Antispoof >= MAC && frame.MAC(d[6:12]) != p.MAC:
				t.Fatal("another's MAC passes")
			case reason != g.Ingress(d, at):
				t.Fatal("two answers to one frame")
			}
			isNew := g.Leased(d, at)
			leases := g.Leases(at)
			if isNew && len(leases) == 0 || len(leases) > maxLeases || p.IP != nil && len(leases) > 0 {
				t.Fatalf("new is %v, leases %v", isNew, leases)
			}
			for _, l := range leases {
				if !l.Addr.IsGlobalUnicast() || l.Expires < at {
					t.Fatalf("lease %v", l)
				}
			}
		}
		if !bytes.Equal(d, data) {
			t.Fatal("the frame was changed")
		}
	})
}

package fastpath

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"gxswitch/internal/vlan"
)

// skb is struct __sk_buff of linux/bpf.h as far as its ifindex.
type skb struct {
	_       [10]uint32
	Ifindex uint32
	_       [37]uint32
}

// What the program takes for a frame that it decides. b.N is too few where a
// frame is some hundred nanoseconds, so the kernel repeats.
func BenchmarkDecide(b *testing.B) {
	for _, tt := range []struct {
		name string
		in   func(*Rules)
	}{
		{"plain", nil},
		{"held to an access VLAN", func(r *Rules) { r.VLANs = vlan.Access(7) }},
		{"held to its addresses", func(r *Rules) { r.Guarded, r.Addressed, r.Snooped = true, true, true }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			l := newLab(b)
			l.open(Options{})
			from, to := l.guest(tt.in), l.guest(tt.in)
			from.known(1, 7)
			to.known(1, 7)
			const repeat = 1 << 20
			if err := from.port.SetAddresses([]netip.Addr{addr("10.0.0.1")}); err != nil {
				b.Fatal(err)
			}
			opt := ebpf.RunOptions{Data: from.ip(to.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), Context: &skb{Ifindex: uint32(from.ifindex)}, Repeat: repeat}
			var took time.Duration
			frames := 0
			l.do(func() error {
				for b.Loop() {
					start := time.Now()
					got, err := l.e.obj.GxIngress.Run(&opt)
					took += time.Since(start)
					if err != nil {
						return err
					}
					const redirect = 7 // TC_ACT_REDIRECT
					if got != redirect {
						b.Fatalf("the program says %d", got)
					}
					frames += repeat
				}
				return nil
			})
			b.ReportMetric(float64(took.Nanoseconds())/float64(frames), "ns/frame")
		})
	}
}

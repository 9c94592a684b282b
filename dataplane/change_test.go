package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
)

// numberedFrame is a unicast frame that tells its number.
func numberedFrame(t *testing.T, dst, src string, n uint32) []byte {
	t.Helper()
	return binary.BigEndian.AppendUint32(unhex(t, dst+src+"88b5"), n)
}

// Ports come and go, settings change, views are swapped, and between two ports
// that nobody touches every frame arrives, once and in order.
func TestChangesLoseNothing(t *testing.T) {
	const count = 60_000
	l := newLab(t)
	a, b := newWitness(t, "a"), newWitness(t, "b")
	for _, w := range []*witness{a, b} {
		if err := l.sw.Attach(PortConfig{Name: w.name, Network: "n", MTU: 1500, Up: true}, w); err != nil {
			t.Fatal(err)
		}
	}
	for port, station := range map[string]string{"a": stA, "b": stB} {
		if err := l.sw.AddFDB(port, 1, mac(t, station)); err != nil {
			t.Fatal(err)
		}
	}

	var received atomic.Uint32
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // the guest behind a
		for n := uint32(0); n < count; n++ {
			for n-received.Load() > 500 { // what memory ports hold is bounded
				time.Sleep(20 * time.Microsecond)
			}
			a.Inject(nil, numberedFrame(t, stB, stA, n))
		}
	})
	wg.Go(func() { // the guest behind b
		defer close(done)
		end := time.Now().Add(time.Minute)
		for next := uint32(0); next < count; {
			got := b.Sent()
			for _, raw := range got {
				if d := raw[frame.VNetLen:]; string(d[6:12]) != string(unhex(t, stA)) {
					continue // flooded by one that comes and goes
				} else if n := binary.BigEndian.Uint32(d[14:]); n != next {
					t.Errorf("frame %d came where %d was due", n, next)
					return
				}
				next++
			}
			received.Store(next)
			if len(got) == 0 {
				if time.Now().After(end) {
					t.Errorf("after a minute %d of %d frames have come", next, count)
					return
				}
				time.Sleep(20 * time.Microsecond)
			}
		}
	})
	changes := 0
	for k := range 3 { // ports that come, talk, and go
		wg.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-done:
					return
				default:
				}
				name := fmt.Sprintf("g%d", k)
				w := newWitness(t, fmt.Sprintf("%s, time %d", name, round))
				if err := l.sw.Attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true}, w); err != nil {
					t.Error(err)
					return
				}
				src := fmt.Sprintf("02000000%02x%02x", k+1, round%256)
				for i := range uint32(20) {
					w.Inject(nil, numberedFrame(t, []string{stA, stC, all}[i%3], src, i))
				}
				if err := l.sw.Update(name, func(c *PortConfig) { c.MTU = 1400 + round%200; c.Up = round%3 != 0 }); err != nil {
					t.Error(err)
				}
				w.Sent()
				a.Sent()
				if err := l.sw.Detach(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() { // an operator
		for ; ; changes++ {
			select {
			case <-done:
				return
			default:
			}
			l.sw.SetHostAddresses([]netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(changes)})})
			if err := l.sw.SetNetwork(NetworkConfig{Name: "n", HostOnly: changes%2 == 0, FDBLimit: 100 + changes%3}); err != nil {
				t.Error(err)
			}
			l.sw.PortStats()
			if _, err := l.sw.FDB("n"); err != nil {
				t.Error(err)
			}
			if _, err := l.sw.FlushFDB("n", ""); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	t.Logf("%d changes of settings", changes)
	if st := l.stats("a"); st.Forwarded != count || st.RxPackets != count {
		t.Errorf("of %d frames at a %d were forwarded, %d flooded, dropped %v", st.RxPackets, st.Forwarded, st.Flooded, reasons(st.RxDrops))
	}
	if err := l.sw.Close(); err != nil {
		t.Error(err)
	}
	if !a.closed.Load() || !b.closed.Load() {
		t.Error("Close left a port open")
	}
}

// VLANs and policy of both ports change under traffic, and every frame arrives,
// once and in order, that all of these settings allow.
func TestChangesOfPolicyLoseNothing(t *testing.T) {
	const frames, changes = 20_000, 200 // at least
	held := heldTo(t, guestMAC)
	heldIP := heldTo(t, guestMAC, "10.0.0.5")
	from := []func(*PortConfig){
		func(c *PortConfig) { c.VLANs = vlans(t, "10") },
		func(c *PortConfig) { c.VLANs = vlans(t, "10p/20") },
		func(c *PortConfig) { c.VLANs = vlans(t, "10p/1u/30-4094") },
		func(c *PortConfig) { c.Policy = filter.Policy{} },
		func(c *PortConfig) { c.Policy = held },
		func(c *PortConfig) { c.Policy = heldIP },
		func(c *PortConfig) { c.Isolated = !c.Isolated },
		func(c *PortConfig) { c.Storm, c.MACLimit = 1-c.Storm, 1-c.MACLimit },
	}
	to := []func(*PortConfig){
		func(c *PortConfig) { c.VLANs = vlans(t, "10") },
		func(c *PortConfig) { c.VLANs = vlans(t, "1p/10") },
		func(c *PortConfig) { c.VLANs = vlans(t, "20p/10u") },
		func(c *PortConfig) { c.Policy = filter.Policy{} },
		func(c *PortConfig) { c.Policy = heldTo(t, neighbourMAC, "10.0.0.6") },
		func(c *PortConfig) { c.Storm, c.MACLimit = 1-c.Storm, 1-c.MACLimit },
	}
	l := newLab(t)
	l.attach(PortConfig{Name: "a", Network: "n", MTU: 1500, Up: true, VLANs: vlans(t, "10")})
	l.attach(PortConfig{Name: "b", Network: "n", MTU: 1500, Up: true, VLANs: vlans(t, "10")})
	if err := l.sw.AddFDB("b", 10, mac(t, neighbourMAC)); err != nil {
		t.Fatal(err)
	}
	packet := unhex(t, neighbourMAC+guestMAC+ip4(guest4, neighbour4, 253, "00000000"))
	var sent, received atomic.Uint32
	enough, injected, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(injected)
		for n := uint32(0); !closed(enough) && !closed(done); {
			if n-received.Load() > 500 {
				time.Sleep(20 * time.Microsecond)
				continue
			}
			binary.BigEndian.PutUint32(packet[len(packet)-4:], n)
			l.ports["a"].Inject(nil, packet)
			n++
			sent.Store(n)
		}
	}()
	go func() {
		defer close(done)
		end := time.Now().Add(time.Minute)
		for next := uint32(0); !closed(injected) || next < sent.Load(); received.Store(next) {
			got := l.ports["b"].Sent()
			for _, raw := range got {
				if n := binary.BigEndian.Uint32(raw[len(raw)-4:]); n != next {
					t.Errorf("frame %d came where %d was due", n, next)
					return
				}
				next++
			}
			if len(got) == 0 {
				if time.Now().After(end) {
					t.Errorf("after a minute %d of %d frames have come", next, sent.Load())
					return
				}
				time.Sleep(20 * time.Microsecond)
			}
		}
	}()
	r := rand.New(rand.NewPCG(1, 0))
	for n := 0; !closed(done); n++ {
		if n >= changes && received.Load() >= frames && !closed(enough) {
			close(enough)
		}
		l.update("a", from[r.IntN(len(from))])
		l.update("b", to[r.IntN(len(to))])
	}
	<-injected
	if st := l.stats("a"); st.Forwarded != uint64(sent.Load()) {
		t.Errorf("of %d frames %d were forwarded, dropped %v", st.RxPackets, st.Forwarded, reasons(st.RxDrops))
	}
	l.checkSums()
}

// closed says whether the channel is.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

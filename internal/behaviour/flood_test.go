package behaviour

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// accounted fails the test unless the port's counters say what became of all the
// frames that its guest sent, and some of its stack's own.
func (l *lab) accounted(port string, sent uint64) {
	l.t.Helper()
	var st control.PortStats
	nettest.Wait(l.t, "all frames to be counted", func() (bool, error) { // lost punts are found by the second
		st = l.stats(port)
		return st.RxPackets >= sent, nil
	})
	if sum := st.Forwarded + st.Flooded + st.Consumed + st.RxDropped; sum != st.RxPackets || st.RxPackets > sent+100 {
		l.t.Errorf("%d frames were sent, %d received, and of %d it is known what became of them: %+v", sent, st.RxPackets, sum, st)
	}
}

// flood sends frames of 60 bytes from a guest as fast as it goes, until stop.
// change makes the next of them.
func flood(t *testing.T, from *testnet.NS, i int, change func(n int, b []byte), dst frame.MAC, sent *atomic.Uint64) (stop func()) {
	t.Helper()
	out := rawSocket(t, from, i)
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		b := ethernet(dst, guestMAC(i), 0x88b5, 46)
		for n := 0; !done.Load(); n++ {
			change(n, b)
			out.send(t, b)
			sent.Add(1)
		}
	})
	return sync.OnceFunc(func() {
		done.Store(true)
		wg.Wait()
	})
}

// A guest that fills the table with addresses, as fast as it can, takes the way in
// the kernel from nobody, and no more memory than the limit of its network.
func TestFloodOfAddresses(t *testing.T) {
	l := newLab(t, "ebpf")
	g1, g3 := l.guest(1), l.guest(3)
	l.guest(2)
	const limit = 2000
	l.start(strings.Replace(isolated, "mode = ", "fdb_limit = 2000\nmode = ", 1))
	talk(t, g1, guestIP(2))
	l.inKernel(g1, 1, 2)
	var sent atomic.Uint64
	stop := flood(t, g3, 3, func(n int, b []byte) {
		b[6], b[8], b[9], b[10], b[11] = 6, byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	}, guestMAC(3), &sent)
	defer stop()
	nettest.Wait(t, "many addresses", func() (bool, error) { return sent.Load() > 20*limit, nil })
	if r, _ := ping(t, g1, guestIP(2), 1000, "-i", "0.001"); r != 1000 {
		t.Errorf("%d of 1000 pings came back", r)
	}
	memory := l.resident()
	count := sent.Load()
	nettest.Wait(t, "as many again", func() (bool, error) { return sent.Load() > count+20*limit, nil })
	before := l.stats("p1")
	out := rawSocket(t, g1, 1)
	const few = 100
	for range few {
		out.send(t, ethernet(guestMAC(2), guestMAC(1), 0x88b5, 46))
	}
	stop()
	if n := l.stats("p1").Forwarded - before.Forwarded; n < few {
		t.Errorf("%d of %d frames were decided in the kernel", n, few)
	}
	if n := len(list[[]control.FDBEntry](l, "fdb", "list")); n > limit {
		t.Errorf("%d addresses are known, the limit is %d", n, limit)
	}
	if now := l.resident(); now > memory+(16<<20) {
		t.Errorf("the daemon's memory went from %d to %d MiB", memory>>20, now>>20)
	}
	if st := list[control.Status](l, "status"); st.EngineFull != 0 {
		t.Errorf("%d addresses found no room in the kernel", st.EngineFull)
	}
	l.accounted("p3", sent.Load())
}

// resident is the daemon's memory in bytes.
func (l *lab) resident() uint64 {
	l.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", list[control.Status](l, "status").PID))
	if err != nil {
		l.t.Fatal(err)
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(b), &size, &pages); err != nil {
		l.t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

// Guests that flood what goes to user space, all at once, don't keep one that says
// little from it.
//
//	g1 … g8 flood broadcasts in one network    g9 tells g10 in another
func TestFloodsStarveNobody(t *testing.T) {
	l := newLab(t, "ebpf")
	guests := map[int]*testnet.NS{}
	for i := 1; i <= 10; i++ {
		guests[i] = l.guest(i)
	}
	l.start(`
[network.quiet]
mode = "isolated"
[[port]]
name = "p9"
network = "quiet"
[[port]]
name = "p10"
network = "quiet"
` + isolated)
	talk(t, guests[9], guestIP(10))
	counts := make([]atomic.Uint64, 9)
	for i := 1; i <= 8; i++ {
		stop := flood(t, guests[i], i, func(int, []byte) {}, frame.Broadcast, &counts[i])
		defer stop()
	}
	nettest.Wait(t, "the floods to be cut", func() (bool, error) { return l.stats("p1").Drops["ring_full"] > 1000, nil })
	e, out := hear(t, guests[10], 10), rawSocket(t, guests[9], 9)
	const few = 50
	heard, took := 0, time.Duration(0)
	for i := range few {
		mark := fmt.Sprintf("number %d.", i)
		start := time.Now()
		out.send(t, append(ethernet(frame.Broadcast, guestMAC(9), 0x88b5, 30), mark...))
		heard += marked(e.until(t, out), mark)
		took = max(took, time.Since(start))
	}
	if heard != few {
		t.Errorf("%d of %d broadcasts were heard beside the floods", heard, few)
	}
	t.Logf("it took %v at most", took)
	for _, p := range []string{"p9", "p10"} {
		if n := l.stats(p).Drops["ring_full"]; n != 0 {
			t.Errorf("%d frames of %s found no room", n, p)
		}
	}
}

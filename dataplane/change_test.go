package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// witness is a memory port that says when the switch breaks the contract: two
// readers at once, a Close while somebody uses it, any use after Close.
type witness struct {
	*ports.Memory
	t       *testing.T
	name    string
	readers atomic.Int32
	users   atomic.Int32
	closed  atomic.Bool
}

func newWitness(t *testing.T, name string) *witness {
	t.Helper()
	m, err := ports.NewMemory()
	if err != nil {
		t.Fatal(err)
	}
	return &witness{Memory: m, t: t, name: name}
}

func (w *witness) use(what string) func() {
	w.users.Add(1)
	if w.closed.Load() {
		w.t.Errorf("%s of %s after Close", what, w.name)
	}
	return func() { w.users.Add(-1) }
}

func (w *witness) Read(batch []frame.Frame, b *ports.Buffers) int {
	defer w.use("Read")()
	if w.readers.Add(1) != 1 {
		w.t.Errorf("two readers of %s", w.name)
	}
	defer w.readers.Add(-1)
	return w.Memory.Read(batch, b)
}

func (w *witness) Write(frames []ports.Send, s *ports.Scratch) ports.Result {
	defer w.use("Write")()
	return w.Memory.Write(frames, s)
}

func (w *witness) Release() {
	defer w.use("Release")()
	w.Memory.Release()
}

func (w *witness) Lost() uint64 {
	defer w.use("Lost")()
	return w.Memory.Lost()
}

func (w *witness) Close() error {
	if w.closed.Swap(true) {
		w.t.Errorf("%s is closed twice", w.name)
	}
	if n := w.users.Load(); n != 0 {
		w.t.Errorf("%s is closed with %d calls under way", w.name, n)
	}
	return w.Memory.Close()
}

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

// Both workers flood to a port all the time: when Detach returns, it is over.
func TestDetachWaitsForFramesUnderWay(t *testing.T) {
	l := newLab(t)
	attach := func(w *witness) {
		t.Helper()
		if err := l.sw.Attach(PortConfig{Name: w.name, Network: "n", MTU: 1500, Up: true}, w); err != nil {
			t.Fatal(err)
		}
	}
	talkers := []*witness{newWitness(t, "a"), newWitness(t, "b")} // one a worker
	for _, w := range talkers {
		w.Discard()
		attach(w)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, w := range talkers {
		wg.Go(func() {
			data := unhex(t, all+[]string{stA, stB}[i]+payload)
			for {
				select {
				case <-stop:
					return
				default:
				}
				for range 100 {
					w.Inject(nil, data)
				}
				time.Sleep(50 * time.Microsecond) // the workers need the processor too
			}
		})
	}
	written := 0
	for round := range 100 {
		w := newWitness(t, fmt.Sprintf("c%d", round))
		attach(w)
		if round%2 == 0 {
			for end := time.Now().Add(time.Second); written == 0 && time.Now().Before(end); {
				written += len(w.Sent())
			}
		}
		if err := l.sw.Detach(w.name); err != nil {
			t.Fatal(err)
		}
		w.Sent()
		w.Inject(nil, unhex(t, all+stC+payload)) // nobody may see it
	}
	close(stop)
	wg.Wait()
	if written == 0 {
		t.Error("nothing was ever flooded to the port: the test tests nothing")
	}
}

func TestDetachForgetsStations(t *testing.T) {
	l := newLab(t, "a", "b", "c")
	l.send("b", all+stB+payload)
	l.expect("", all+stB+payload, "a", "c")
	if err := l.sw.AddFDB("b", 10, mac(t, stB)); err != nil {
		t.Fatal(err)
	}
	if err := l.sw.Detach("b"); err != nil {
		t.Fatal(err)
	}
	delete(l.ports, "b")
	delete(l.sent, "b")
	l.attach(PortConfig{Name: "new", Network: "n", MTU: 1500, Up: true}) // takes the number over
	for _, tag := range []string{"", vlan10} {
		l.send("a", stB+stA+tag+payload)
		l.expect("nobody knows where it is", stB+stA+tag+payload, "c", "new")
	}
}

func TestMistakes(t *testing.T) {
	l := newLab(t, "a")
	attach := func(cfg PortConfig) (*witness, error) {
		w := newWitness(t, cfg.Name)
		return w, l.sw.Attach(cfg, w)
	}
	for _, c := range []struct {
		name string
		cfg  PortConfig
		want error
	}{
		{"same name", PortConfig{Name: "a", Network: "n"}, ErrExists},
		{"no such network", PortConfig{Name: "b", Network: "m"}, ErrNoNetwork},
		{"the host's address is a group", PortConfig{Name: "b", Network: "n", Local: frame.Broadcast}, errNotUnicast},
	} {
		w, err := attach(c.cfg)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.cfg.Name) {
			t.Errorf("%s: %v, want %v and the name", c.name, err, c.want)
		}
		if !w.closed.Load() {
			t.Errorf("%s: the port was not closed", c.name)
		}
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"AddNetwork", l.sw.AddNetwork(NetworkConfig{Name: "n"}), ErrExists},
		{"SetNetwork", l.sw.SetNetwork(NetworkConfig{Name: "m"}), ErrNoNetwork},
		{"DelNetwork", l.sw.DelNetwork("m"), ErrNoNetwork},
		{"DelNetwork with ports", l.sw.DelNetwork("n"), ErrHasPorts},
		{"Detach", l.sw.Detach("b"), ErrNoPort},
		{"Update", l.sw.Update("b", func(*PortConfig) {}), ErrNoPort},
		{"AddFDB", l.sw.AddFDB("b", 1, mac(t, stA)), ErrNoPort},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, c.err, c.want)
		}
	}
	if err := l.sw.Update("a", func(c *PortConfig) { c.Name, c.Network, c.Role = "z", "z", Host }); err != nil || l.stats("a").Network != "n" {
		t.Errorf("Update changed what stays: %v", err)
	}
	if err := l.sw.Close(); err != nil {
		t.Error(err)
	}
	if w, err := attach(PortConfig{Name: "b", Network: "n"}); !errors.Is(err, ErrClosed) || !w.closed.Load() {
		t.Errorf("Attach to a stopped switch: %v", err)
	}
	if err := l.sw.Detach("a"); !errors.Is(err, ErrClosed) {
		t.Errorf("Detach from a stopped switch: %v", err)
	}
}

func TestCloseFreesDescriptors(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	use := func(t *testing.T) {
		l := newLab(t, "a", "b")
		l.send("a", all+stA+payload)
		l.expect("", all+stA+payload, "b")
	}
	t.Run("first", use)
	before := count()
	for range 3 {
		t.Run("again", use)
	}
	if n := count(); n > before {
		t.Errorf("%d descriptors became %d", before, n)
	}
}

// More ports are busy than a worker looks at without being told: each gets its
// turn.
func TestMoreBusyPortsThanHotOnes(t *testing.T) {
	const ports, rounds = 3*maxHot + 7, 5
	l := newLab(t)
	l.network(NetworkConfig{Name: "crowd"})
	for i := range ports {
		l.attach(PortConfig{Name: fmt.Sprint(i), Network: "crowd", MTU: 1500, Up: true})
	}
	for i := range ports {
		l.ports[fmt.Sprint(i)].Discard()
	}
	for round := range rounds {
		for i := range ports {
			l.inject(fmt.Sprint(i), nil, unhex(t, fmt.Sprintf("%s 020000%02x%04x %s", all, round, i, payload)), 1)
		}
		if round%2 == 0 {
			l.settle()
		}
	}
	l.settle()
	for i := range ports {
		if st := l.stats(fmt.Sprint(i)); st.Flooded != rounds || st.TxPackets != rounds*(ports-1) {
			t.Fatalf("port %d: %d flooded, %d sent", i, st.Flooded, st.TxPackets)
		}
	}
	l.checkSums()
}

// One port that always has frames does not keep another, of the same worker,
// waiting.
func TestBusyPortLeavesRoom(t *testing.T) {
	l := newLab(t, "a", "b", "c", "d") // a and c share a worker, b and d
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		data := unhex(t, stA+stA+payload) // same_port
		for {
			select {
			case <-stop:
				return
			default:
			}
			for range 200 { // three batches
				l.ports["a"].Inject(nil, data)
			}
			runtime.Gosched()
		}
	})
	defer wg.Wait()
	defer close(stop)
	for i := range uint32(50) {
		l.ports["c"].Inject(nil, numberedFrame(t, all, stC, i))
		for end := time.Now().Add(5 * time.Second); len(l.ports["b"].Sent()) == 0; {
			if time.Now().After(end) {
				t.Fatalf("frame %d of the quiet port waits", i)
			}
		}
	}
}

// A guest that invents addresses fills a bounded table with its own, and does
// not get to see what others say to each other.
func TestFloodOfAddresses(t *testing.T) {
	const invented, limit = 200_000, 1024
	l := newLab(t)
	if err := l.sw.SetNetwork(NetworkConfig{Name: "n", FDBLimit: limit}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"attacker", "a", "b"} {
		l.attach(PortConfig{Name: name, Network: "n", MTU: 1500, Up: true})
	}
	own := "020000000001"
	if err := l.sw.AddFDB("attacker", 1, mac(t, own)); err != nil {
		t.Fatal(err)
	}
	l.send("a", all+stA+payload)
	l.expect("", all+stA+payload, "attacker", "b")
	l.send("b", all+stB+payload)
	l.expect("", all+stB+payload, "attacker", "a")
	data := unhex(t, own+own+payload)
	for i := range uint32(invented) {
		// To itself, so that nobody's port has to take the frames.
		binary.BigEndian.PutUint32(data[8:], i*2654435761)
		l.inject("attacker", nil, data, 1)
		if i%1000 == 999 {
			l.settle()
		}
		if i%20_000 == 19_999 {
			l.send("a", stB+stA+payload)
			l.expect(fmt.Sprintf("after %d addresses", i+1), stB+stA+payload, "b")
			l.send("b", stA+stB+payload)
			l.expect(fmt.Sprintf("after %d addresses", i+1), stA+stB+payload, "a")
		}
	}
	for _, st := range l.sw.NetworkStats() {
		if st.FDBEntries > limit {
			t.Errorf("%d entries, the limit is %d", st.FDBEntries, limit)
		}
	}
	if st := l.stats("attacker"); st.RxDrops[frame.SamePort] != invented {
		t.Errorf("the attacker's frames: %+v", st)
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

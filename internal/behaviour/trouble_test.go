package behaviour

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// engines fails the test unless the ports have that engine.
func (l *lab) engines(engine string, ports ...string) {
	l.t.Helper()
	for _, name := range ports {
		if p := l.port(name); p.Engine != engine {
			l.t.Errorf("port %s has engine %s (%s), want %s", name, p.Engine, p.EngineReason, engine)
		}
	}
}

// inKernel waits until the program decides frames of guest i to guest j: none of
// many comes to user space.
func (l *lab) inKernel(from *testnet.NS, i, j int) {
	l.t.Helper()
	out, port := rawSocket(l.t, from, i), fmt.Sprintf("p%d", i)
	nettest.Wait(l.t, "frames to stay in the kernel", func() (bool, error) {
		before, decided := l.punted(), l.stats(port).Forwarded
		for range 10 {
			out.send(l.t, ethernet(guestMAC(j), guestMAC(i), 0x88b5, 46))
		}
		return l.punted() == before && l.stats(port).Forwarded >= decided+10, nil
	})
}

// punted is how many frames have taken the ways to user space.
func (l *lab) punted() (n uint64) {
	l.t.Helper()
	err := l.host.Do(func() error {
		links, err := netlink.LinkList()
		for _, i := range links {
			if a := i.Attrs(); strings.HasPrefix(a.Name, "gxp") && strings.HasSuffix(a.Name, "a") {
				n += a.Statistics.TxPackets
			}
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// passing is a program of somebody else's that lets everything pass.
func passing(t *testing.T, kind ebpf.ProgramType, verdict int32) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreign", Type: kind, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, verdict), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// foreign puts programs of somebody else's on the ports: a tc filter on p1, a tcx
// program on p2, an XDP program on p3. there says whether they still are.
func (l *lab) foreign() (there func() bool) {
	l.t.Helper()
	filter, tcx, xdp := passing(l.t, ebpf.SchedCLS, -1), passing(l.t, ebpf.SchedCLS, -1), passing(l.t, ebpf.XDP, 2)
	index := map[string]int{}
	err := l.host.Do(func() error {
		for _, name := range []string{"p1", "p2", "p3"} {
			i, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			index[name] = i.Attrs().Index
		}
		at, err := link.AttachTCX(link.TCXOptions{Interface: index["p2"], Program: tcx, Attach: ebpf.AttachTCXIngress})
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { at.Close() })
		if err := netlink.LinkSetXdpFd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index["p3"]}}, xdp.FD()); err != nil {
			return err
		}
		if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: index["p1"], Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}); err != nil {
			return err
		}
		return netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index["p1"], Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
			Fd:          filter.FD(), Name: "theirs", DirectAction: true,
		})
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return func() (all bool) {
		l.t.Helper()
		err := l.host.Do(func() error {
			filters, err := netlink.FilterList(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index["p1"]}}, netlink.HANDLE_MIN_INGRESS)
			if err != nil {
				return err
			}
			first, ok := filters[0].(*netlink.BpfFilter)
			on, err := link.QueryPrograms(link.QueryOptions{Target: index["p2"], Attach: ebpf.AttachTCXIngress})
			if err != nil {
				return err
			}
			info, err := tcx.Info()
			if err != nil {
				return err
			}
			id, _ := info.ID()
			p3, err := netlink.LinkByIndex(index["p3"])
			if err != nil {
				return err
			}
			all = ok && first.Name == "theirs" && len(on.Programs) > 0 && on.Programs[0].ID == id && p3.Attrs().Xdp.Attached
			return nil
		})
		if err != nil {
			l.t.Fatal(err)
		}
		return all
	}
}

// Programs of somebody else's stay on the ports, and do their work: those of tcx and
// XDP see frames first; a tc filter, which would see none any more, keeps its port
// with the other engine, which says what to do about it.
func TestForeignProgramsStay(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1, g2, g3 := l.guest(1), l.guest(2), l.guest(3)
	there := l.foreign()
	l.start(isolated)
	l.engines("afpacket", "p1")
	l.engines("ebpf", "p2", "p3")
	p := l.port("p1")
	for _, s := range []string{"p1 has another program's tc filter", "bpf theirs, preference 1", "tc filter del dev p1 ingress pref 1"} {
		if !strings.Contains(p.EngineReason, s) {
			t.Errorf("p1 has engine %s because %q, which does not say %q", p.Engine, p.EngineReason, s)
		}
	}
	if out := l.must("port", "show", "p1"); !strings.Contains(out, "afpacket (p1 has another") {
		t.Errorf("port show says:\n%s", out)
	}
	if out := l.must("status"); !strings.Contains(out, "port p1 has the engine afpacket: p1 has another") {
		t.Errorf("status says:\n%s", out)
	}
	talk(t, g1, guestIP(2))
	talk(t, g2, guestIP(3))
	talk(t, g3, guestIP(1))
	l.inKernel(g2, 2, 3)
	if !there() {
		t.Error("a program has gone while the daemon runs")
	}
	l.daemon.end(t, syscall.SIGTERM)
	if !there() {
		t.Error("a program has gone with the daemon")
	}

	mustRun(t, l.host, "tc", "filter", "del", "dev", "p1", "ingress", "pref", "1")
	l.start(isolated)
	l.engines("ebpf", "p1")
}

// Ports that are no veth to another namespace: frames leave by the device itself.
//
//	tap p5 [this process]    p6 [veth, both ends on the host] q6    guest 1
func TestPortsWithoutAPeerElsewhere(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1 := l.guest(1)
	mustRun(t, l.host, "ip", "link", "add", "p6", "type", "veth", "peer", "name", "q6")
	mustRun(t, l.host, "ip", "link", "set", "q6", "addrgenmode", "none", "up") // silent
	l.start(isolated)
	guest := tap(t, l.host, "p5")
	swallow(t, guest)
	l.awaitPort("p5", "up")
	l.awaitPort("p6", "up")
	l.engines("ebpf", "p1", "p5", "p6")
	vnet := make([]byte, frame.VNetLen)
	write := func(dst frame.MAC) {
		t.Helper()
		if _, err := guest.Write(append(vnet[:frame.VNetLen:frame.VNetLen], ethernet(dst, guestMAC(5), 0x88b5, 46)...)); err != nil {
			t.Fatal(err)
		}
	}
	write(frame.Broadcast)
	out, host := rawSocket(t, g1, 1), rawSocketOn(t, l.host, "q6", 6)
	out.send(t, ethernet(frame.Broadcast, guestMAC(1), 0x88b5, 46))
	host.send(t, ethernet(frame.Broadcast, guestMAC(6), 0x88b5, 46))

	const count = 50
	for _, tt := range []struct {
		from, to string
		send     func()
	}{
		{"p5", "p1", func() { write(guestMAC(1)) }},
		{"p1", "p5", func() { out.send(t, ethernet(guestMAC(5), guestMAC(1), 0x88b5, 46)) }},
		{"p1", "p6", func() { out.send(t, ethernet(guestMAC(6), guestMAC(1), 0x88b5, 46)) }},
		{"p6", "p5", func() { host.send(t, ethernet(guestMAC(5), guestMAC(6), 0x88b5, 46)) }},
	} {
		nettest.Wait(t, tt.from+" to "+tt.to+" to stay in the kernel", func() (bool, error) {
			punted, from, to, device := l.punted(), l.stats(tt.from), l.stats(tt.to), l.sentBy(tt.to)
			for range count {
				tt.send()
			}
			forwarded, sent := l.stats(tt.from).Forwarded-from.Forwarded, l.stats(tt.to).TxPackets-to.TxPackets
			if l.punted() != punted {
				return false, nil // or somebody else spoke
			}
			if forwarded != count {
				t.Errorf("%s to %s: %d forwarded, want %d", tt.from, tt.to, forwarded, count)
			}
			if sent != count {
				t.Errorf("%s to %s: %d in tx_packets, want %d", tt.from, tt.to, sent, count)
			}
			// What is handed to the other end directly the device does not count.
			want := uint64(count)
			if tt.to == "p1" {
				want = 0
			}
			nettest.Wait(t, fmt.Sprintf("%d frames to leave by %s itself", want, tt.to), func() (bool, error) {
				return l.sentBy(tt.to)-device >= want, nil // a tap counts when it is read
			})
			return true, nil
		})
	}
}

// What a tap has no room for, its guest not reading, is counted by its name: of all
// that was decided, each frame was read or is in device_dropped.
func TestTapThatNobodyReads(t *testing.T) {
	t.Parallel()
	l := newLab(t, "ebpf")
	g1 := l.guest(1)
	if err := g1.Sysctl("net.ipv6.conf.eth0.disable_ipv6", "1"); err != nil { // it would be heard too
		t.Fatal(err)
	}
	l.start(isolated)
	guest := tap(t, l.host, "p5")
	l.awaitPort("p5", "up")
	if _, err := guest.Write(append(make([]byte, frame.VNetLen), ethernet(frame.Broadcast, guestMAC(5), 0x88b5, 46)...)); err != nil {
		t.Fatal(err)
	}
	out := rawSocket(t, g1, 1)
	out.send(t, ethernet(frame.Broadcast, guestMAC(1), 0x88b5, 46))
	l.inKernel(g1, 1, 5)
	before, from := l.stats("p5"), l.stats("p1")
	const count = 3000
	for range count {
		out.send(t, ethernet(guestMAC(5), guestMAC(1), 0x88b5, 46))
	}
	nettest.Wait(t, "all to be decided", func() (bool, error) { return l.stats("p1").Forwarded-from.Forwarded >= count, nil })
	after := l.stats("p5")
	read := uint64(drain(t, guest))
	if n := after.TxPackets - before.TxPackets; n != count {
		t.Errorf("tx_packets grew by %d, want %d", n, count)
	}
	if after.DeviceDropped == before.DeviceDropped || read+after.DeviceDropped != after.TxPackets {
		t.Errorf("%d sent, %d read, %d in device_dropped (%d before)", after.TxPackets, read, after.DeviceDropped, before.DeviceDropped)
	}
	if out := l.must("stats", "p5"); !strings.Contains(out, "device_dropped=") {
		t.Errorf("stats says:\n%s", out)
	}
}

// drain reads what has come to a tap's guest and returns how many frames it was.
func drain(t *testing.T, guest *os.File) (frames int) {
	t.Helper()
	c, err := guest.SyscallConn()
	if err == nil {
		err = c.Control(func(fd uintptr) {
			b := make([]byte, 1<<16)
			for {
				if _, err := unix.Read(int(fd), b); err != nil {
					return
				}
				frames++
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// swallow reads what comes to a tap's guest, until the test ends. (Go's poller
// knows the file from before it had a device, and is never woken.)
func swallow(t *testing.T, guest *os.File) {
	t.Helper()
	c, err := guest.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 1<<16)
		_ = c.Control(func(fd uintptr) {
			for !done.Load() {
				if _, err := unix.Read(int(fd), b); err != nil {
					_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10)
				}
			}
		})
	})
	t.Cleanup(func() {
		done.Store(true)
		wg.Wait()
	})
}

// sentBy is how many frames the interface says to have sent.
func (l *lab) sentBy(name string) (n uint64) {
	l.t.Helper()
	err := l.host.Do(func() error {
		i, err := netlink.LinkByName(name)
		if err == nil {
			n = i.Attrs().Statistics.TxPackets
		}
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// A port whose interface is deleted under traffic costs nobody else a frame, and
// what goes to it afterwards is flooded, as for every address that nobody has.
func TestPortDeletedUnderTraffic(t *testing.T) {
	l := newLab(t, "ebpf")
	g1, _, g3 := l.guest(1), l.guest(2), l.guest(3)
	l.guest(4)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	talk(t, g3, guestIP(4))
	p := startPings(t, g3, guestIP(4), "0.001")
	var sent atomic.Uint64
	stop := flood(t, g1, 1, func(int, []byte) {}, guestMAC(2), &sent)
	nettest.Wait(t, "traffic", func() (bool, error) { return sent.Load() > 1000, nil })
	mustRun(t, l.host, "ip", "link", "del", "p2")
	nettest.Wait(t, "frames to be flooded", func() (bool, error) { return l.stats("p1").Flooded > 100, nil })
	stop()
	p.lost(t, 0)
	l.accounted("p1", sent.Load())
}

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

package fastpath

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
)

// crash ends the process's part of the engine, as kill -9 would.
func (l *lab) crash() {
	l.t.Helper()
	for _, g := range l.guests {
		if err := g.port.Sender.Close(); err != nil {
			l.t.Fatal(err)
		}
		if err := g.port.hook.close(); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := l.e.release(); err != nil {
		l.t.Fatal(err)
	}
	l.e = nil
}

// A frame that was decided goes on without the process; the next one takes over
// what it finds, and removes what it does not attach.
func TestForwardingOutlivesTheProcess(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b, c := l.guest(nil), l.guest(nil), l.guest(nil)
	for _, g := range l.guests {
		g.known(1)
	}
	arrives := func(when string, dst *guest) {
		t.Helper()
		sent := a.to(dst.mac())
		a.send(sent)
		if got := dst.receive(); !bytes.Equal(got, sent) {
			t.Fatalf("%s: got %x", when, got)
		}
	}
	arrives("before", b)
	number, network := b.port.Number(), l.nw
	l.crash()
	arrives("without a process", b)

	l.open(Options{})
	if !l.e.Adopted() || l.nw != network {
		t.Errorf("adopted %v, network %d was %d", l.e.Adopted(), l.nw, network)
	}
	arrives("adopted", b)
	for _, g := range []*guest{a, b} {
		g.attach(PortOptions{})
		arrives("attached again", b)
		g.rules(nil)
	}
	if b.port.Number() != number {
		t.Errorf("port 2 has number %d, had %d", b.port.Number(), number)
	}
	if got := a.port.Counters().RxPackets; got != 2 {
		t.Errorf("%d frames counted since the port was attached again, want 2", got)
	}
	arrives("to a port that nobody attached yet", c)
	l.do(l.e.Sweep)
	var left []fdb.Key
	l.e.Entries(func(e Entry) { left = append(left, e.Key) })
	if len(left) != 2 {
		t.Errorf("after Sweep the addresses are %v, want those of two guests", left)
	}
	a.send(a.to(c.mac()))
	l.punted()
	l.quiet(c)

	l.guests = l.guests[:2]
	l.crash()
	l.do(func() error {
		found, err := Flush(l.dir)
		if !found {
			t.Error("Flush found nothing")
		}
		if again, _ := Flush(l.dir); again {
			t.Error("Flush found something twice")
		}
		return err
	})
	a.send(a.to(b.mac()))
	l.quiet(b)
}

// An engine that is left to a successor forwards between the two.
func TestLeftToASuccessor(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	l.e.Leave()
	for _, g := range l.guests {
		l.do(g.port.Close)
	}
	l.close()
	a.send(a.to(b.mac()))
	b.receive()
	l.open(Options{})
	if !l.e.Adopted() {
		t.Error("the successor found nothing")
	}
	a.send(a.to(b.mac()))
	b.receive()
}

// ways are the kinds of way out, and in, that a port may have.
func TestEveryWayOfAttaching(t *testing.T) {
	for _, tt := range []struct {
		name string
		opt  Options
		peer bool
	}{
		{"tcx, peer in another namespace", Options{}, true},
		{"tcx, peer unknown", Options{}, false},
		{"tc filter", Options{Filters: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			l.open(tt.opt)
			a, b := l.guest(nil), l.guest(nil)
			if !b.port.peer.Load() {
				t.Error("the other end is in another namespace, and nobody noticed")
			}
			b.port.peer.Store(tt.peer)
			b.rules(nil)
			a.known(1)
			b.known(1)
			sent := a.to(b.mac(), 7)
			a.known(7)
			b.known(7)
			a.send(sent)
			if got := b.receive(); !bytes.Equal(got, sent) {
				t.Errorf("got %x, want %x", got, sent)
			}
			l.none()
			if err := a.port.Close(); err != nil {
				t.Fatal(err)
			}
			a.send(sent)
			l.quiet(b)
		})
	}
}

// A tcx program of somebody else on the port runs first, and both do their work.
func TestForeignProgramOnAPort(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	if err := a.port.Disable(); err != nil {
		t.Fatal(err)
	}
	l.do(func() error {
		foreign, err := link.AttachTCX(link.TCXOptions{Interface: a.ifindex, Program: prog, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			t.Cleanup(func() { foreign.Close() })
		}
		return err
	})
	a.attach(PortOptions{})
	a.rules(nil)
	a.known(1)
	a.send(a.to(b.mac()))
	b.receive()
}

// A tcx program of somebody else's at the egress sees what goes to the guest, which
// bpf_redirect_peer would keep from it.
func TestForeignProgramAtEgress(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	const drop = 2 // TCX_DROP
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, drop), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	var foreign link.Link
	l.do(func() (err error) {
		foreign, err = link.AttachTCX(link.TCXOptions{Interface: b.ifindex, Program: prog, Attach: ebpf.AttachTCXEgress})
		return err
	})
	l.do(b.port.Look)
	a.send(a.to(b.mac()))
	l.quiet(b)
	if err := foreign.Close(); err != nil {
		t.Fatal(err)
	}
	l.do(b.port.Look)
	if !b.port.peer.Load() {
		t.Error("nobody is at the egress any more")
	}
	a.send(a.to(b.mac()))
	b.receive()
}

// An interface that is deleted takes nothing with it; frames to it go to user
// space once its port is closed, and nowhere before.
func TestPortDeletedWhileRedirectedTo(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	l.do(func() error {
		return netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: b.ifindex}})
	})
	a.send(a.to(b.mac()), a.to(b.mac()))
	l.none()
	l.do(b.port.Close)
	a.send(a.to(b.mac()))
	l.punted()
}

// A guest's flood fills no more of the way to user space than its share, the
// rest is counted, and others get through.
func TestFloodLeavesRoomForOthers(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	const flood = 3000
	for range flood {
		a.send(a.to(frame.Broadcast))
	}
	b.send(b.to(frame.Broadcast))
	read := map[uint16]uint64{}
	for read[b.port.Number()] == 0 { // it came last
		read[l.punted().Source]++
	}
	// Neighbour discovery takes part of the share, and is not read here.
	full := a.port.Counters().RingFull
	if n := read[a.port.Number()]; n+full < flood || n > 456 || n < 430 {
		t.Errorf("read %v, %d counted as ring_full; want nearly a ninth of 4096, and the rest", read, full)
	}
}

// Many that flood leave room for one that does not.
func TestFloodsLeaveRoomTogether(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	const floods, each, few = 12, 1500, 50
	for range floods {
		g := l.guest(nil)
		for range each {
			g.send(g.to(frame.Broadcast))
		}
	}
	quiet := l.guest(nil)
	for range few {
		quiet.send(quiet.to(frame.Broadcast))
	}
	if full := quiet.port.Counters().RingFull; full != 0 {
		t.Errorf("%d of %d frames found no room", full, few)
	}
	read := map[uint16]uint64{}
	for read[quiet.port.Number()] < few {
		read[l.punted().Source]++
	}
	for _, g := range l.guests[:floods] {
		if n, full := read[g.port.Number()], g.port.Counters().RingFull; n == 0 || n+full < each {
			t.Errorf("of guest %d %d arrived and %d are counted as ring_full, want %d in all", g.i, n, full, each)
		}
	}
}

// Frames that were lost on the way to user space are counted at their port.
func TestLossOnTheWayIsCounted(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a := l.guest(nil)
	l.do(func() error { // the way is cut behind the program
		return netlink.LinkSetDown(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.e.punts[0].far}})
	})
	for range 5 {
		a.send(a.to(frame.Broadcast))
	}
	l.none() // what the guest's stack sent before
	for range 3 {
		l.e.Settle()
	}
	if c := a.port.Counters(); c.RingFull < 5 || c.RxPackets != c.RingFull {
		t.Errorf("%+v, want 5 lost", c)
	}
	if left, settled := l.e.shm[a.port.number].punted, l.e.shm[a.port.number].settled; left != settled {
		t.Errorf("%d left, %d settled", left, settled)
	}
}

// On an uplink the host keeps what is its own, and sees what is not decided.
func TestUplinkIsTheHostsToo(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	if err := a.port.Close(); err != nil {
		t.Fatal(err)
	}
	a.attach(PortOptions{Uplink: true})
	link, err := l.sw.Link("p1")
	if err != nil {
		t.Fatal(err)
	}
	a.rules(func(r *Rules) { r.MAC = link.MAC })
	a.known(1)
	b.known(1)
	var host int
	l.do(func() (err error) { // a tap behind the program: of one protocol, so after tc
		host, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(0x88b5)))
		return err
	})
	defer unix.Close(host)
	heard := func() (n int) {
		var buf [2048]byte
		for {
			if _, err := unix.Read(host, buf[:]); err != nil {
				return n
			}
			n++
		}
	}
	a.send(a.to(link.MAC))
	a.send(a.to(frame.Broadcast))
	if f := l.punted(); [6]byte(f.Data()) != frame.Broadcast {
		t.Errorf("user space got %x", f.Data())
	}
	if n := heard(); n != 2 {
		t.Errorf("the host heard %d frames, want its own and the broadcast", n)
	}
	a.send(a.to(b.mac()))
	b.receive()
	l.none()
	if n := heard(); n != 0 {
		t.Errorf("the host heard %d frames of a guest's", n)
	}
	if c := a.port.Counters(); c.Consumed != 1 || c.Forwarded != 1 || c.RxPackets != 2 {
		t.Errorf("%+v", c)
	}
	a.rules(nil) // the host's address is elsewhere, as on a NIC that was taken over
	a.send(a.to(frame.MAC{}))
	if f := l.punted(); [6]byte(f.Data()) != (frame.MAC{}) {
		t.Errorf("user space got %x", f.Data())
	}
}

// Another daemon of the namespace starts with the other engine, or is flushed: the
// filters of this one stay, its own go.
func TestFlushLeavesFiltersOfAnotherDaemon(t *testing.T) {
	l := newLab(t)
	l.open(Options{Filters: true})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	flush := func(dir string, want bool) {
		t.Helper()
		l.do(func() error {
			found, err := Flush(dir)
			if found != want {
				t.Errorf("flushed %v, want %v", found, want)
			}
			return err
		})
	}
	flush(l.dir+"2", false)
	sent := a.to(b.mac())
	a.send(sent)
	if got := b.receive(); !bytes.Equal(got, sent) {
		t.Errorf("got %x, want %x", got, sent)
	}
	l.crash()
	flush(l.dir, true)
	a.send(sent)
	l.quiet(b)
}

// After an upgrade that changed the maps, nobody forwards by what the old daemon left.
func TestProgramOfAnotherLayoutEnds(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	pins := l.e.pins
	l.crash()
	old := strings.Replace(pins, layout+"-", "v0-", 1)
	if err := os.Rename(pins, old); err != nil {
		t.Fatal(err)
	}
	a.send(a.to(b.mac()))
	b.receive()
	l.open(Options{})
	a.send(a.to(b.mac()))
	l.quiet(b)
	l.close()
	if left, _ := filepath.Glob(filepath.Join(l.dir, "bpf", "gxswitch-*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Where somebody queues what goes to a guest, the program does not pass the queue by.
func TestQueueAtEgressIsNotPassedBy(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a := l.guest(nil)
	qdisc := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: a.ifindex, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       1e6, Limit: 1e6, Buffer: 1e6,
	}
	for _, step := range []struct {
		name   string
		change func() error
		peer   bool
	}{
		{"no queue", func() error { return nil }, true},
		{"a queue", func() error { return netlink.QdiscAdd(qdisc) }, false},
		{"taken away", func() error { return netlink.QdiscDel(qdisc) }, true},
		{"down", func() error {
			return netlink.LinkSetDown(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: a.ifindex}})
		}, true},
	} {
		l.do(func() error { return errors.Join(step.change(), a.port.Look()) })
		if got := a.port.peer.Load(); got != step.peer {
			t.Errorf("%s: right to the other end: %v, want %v", step.name, got, step.peer)
		}
	}
}

package fastpath

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
	"gxswitch/internal/vlan"
	"gxswitch/ports"
)

// lab is a namespace with the engine, and guests whose eth0 is the other end of
// ports p1, p2, ...:
//
//	g1 [eth0]--p1-+
//	g2 [eth0]--p2-+-- sw (the engine)--gxp…
//	g3 [eth0]--p3-+
type lab struct {
	t      testing.TB
	net    *testnet.Net
	sw     *testnet.NS
	dir    string
	e      *Engine
	guests []*guest
	batch  []frame.Frame
	buf    *ports.Buffers
	nw     uint32
}

// guest has MAC 02:00:00:00:00:i.
type guest struct {
	*lab
	i       int
	ns      *testnet.NS
	ifindex int
	port    *Port
	fd      int // a packet socket on its eth0, without virtio-net headers
}

func newLab(t testing.TB) *lab {
	n := nettest.Test(t, "fast")
	l := &lab{t: t, net: n, sw: nettest.Namespace(t, n, "sw"), dir: t.TempDir(),
		batch: make([]frame.Frame, 64), buf: ports.NewBuffers(8)}
	at := filepath.Join(l.dir, "bpf")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bpf", at, "bpf", 0, ""); err != nil {
		t.Skipf("needs a bpf filesystem: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			t.Error(err)
		}
	})
	return l
}

func (l *lab) do(f func() error) {
	l.t.Helper()
	if err := l.sw.Do(f); err != nil {
		l.t.Fatal(err)
	}
}

// open opens the engine, of one Punt unless options say otherwise.
func (l *lab) open(opt Options) {
	l.t.Helper()
	opt.RunDir, opt.Log = l.dir, slog.New(slog.DiscardHandler)
	l.do(func() (err error) {
		l.e, err = Open(opt)
		return err
	})
	l.t.Cleanup(func() { l.close() })
	var err error
	if l.nw, err = l.e.Network("lab"); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) close() {
	l.t.Helper()
	if l.e == nil {
		return
	}
	l.do(l.e.Close)
	l.e = nil
}

// guest hangs a guest on the switch and attaches its port.
func (l *lab) guest(r func(*Rules)) *guest {
	l.t.Helper()
	g := &guest{lab: l, i: len(l.guests) + 1}
	n := strconv.Itoa(g.i)
	g.ns = nettest.Guest(l.t, l.net, l.sw, testnet.GuestSpec{Name: "g" + n, Port: "p" + n, MAC: g.mac()})
	link, err := l.sw.Link("p" + n)
	if err != nil {
		l.t.Fatal(err)
	}
	g.ifindex = link.Index
	l.guests = append(l.guests, g)
	g.attach(PortOptions{})
	g.rules(r)
	err = g.ns.Do(func() (err error) {
		g.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_ALL)))
		if err != nil {
			return err
		}
		eth0, err := g.ns.Link("eth0")
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(g.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.SetsockoptInt(g.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
			unix.Bind(g.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: eth0.Index}))
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { unix.Close(g.fd) })
	return g
}

func (g *guest) attach(opt PortOptions) {
	g.t.Helper()
	g.do(func() (err error) {
		g.port, err = g.e.Attach(g.ifindex, opt)
		return err
	})
}

// rules gives the port those of an ordinary guest, changed by f.
func (g *guest) rules(f func(*Rules)) {
	g.t.Helper()
	r := Rules{Network: g.nw, VLANs: vlan.Default(), MaxLen: 1514, From: true, To: true}
	if f != nil {
		f(&r)
	}
	if err := g.port.SetRules(r); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) mac() frame.MAC { return frame.MAC{2, 0, 0, 0, 0, byte(g.i)} }

// known enters the guest's address in a VLAN.
func (g *guest) known(vids ...uint16) {
	g.t.Helper()
	for _, vid := range vids {
		g.e.Put(g.nw, fdb.MakeKey(vid, g.mac()), g.port.Number(), 0)
	}
}

// send sends frames from the guest's eth0.
func (g *guest) send(frames ...[]byte) {
	g.t.Helper()
	for _, b := range frames {
		if _, err := unix.Write(g.fd, b); err != nil {
			g.t.Fatal(err)
		}
	}
}

// to is a frame of 60 bytes with an experimental EtherType, tagged if tags are
// given.
func (g *guest) to(dst frame.MAC, tags ...uint16) []byte {
	src := g.mac()
	b := append(dst[:], src[:]...)
	for _, tci := range tags {
		b = append(b, 0x81, 0, byte(tci>>8), byte(tci))
	}
	b = append(b, 0x88, 0xb5)
	return append(b, make([]byte, 46)...)
}

// receive waits for a frame at the guest's eth0 and returns it with its tag in
// place.
func (g *guest) receive() []byte {
	g.t.Helper()
	b := g.poll(5 * time.Second)
	if b == nil {
		g.t.Fatalf("nothing came to guest %d", g.i)
	}
	return b
}

// poll is receive; nil if nothing comes for that long.
func (g *guest) poll(wait time.Duration) []byte {
	g.t.Helper()
	b, oob := make([]byte, 70000), make([]byte, 128)
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(g.fd), Events: unix.POLLIN}}, int(wait/time.Millisecond)); n == 0 {
		return nil
	}
	n, on, _, _, err := unix.Recvmsg(g.fd, b, oob, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	b = b[:n]
	if chatter(b) {
		return g.poll(wait)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil {
		g.t.Fatal(err)
	}
	for _, m := range msgs {
		if m.Header.Type != unix.PACKET_AUXDATA {
			continue
		}
		status := uint32(m.Data[0]) | uint32(m.Data[1])<<8
		if status&unix.TP_STATUS_VLAN_VALID != 0 {
			tci, tpid := m.Data[16:18], m.Data[18:20]
			b = append(append(append([]byte{}, b[:12]...), tpid[1], tpid[0], tci[1], tci[0]), b[12:]...)
		}
	}
	return b
}

// quiet reports whether a guest has got nothing: a frame that it would have got
// had come before one that comes now, by way of user space.
func (l *lab) quiet(g *guest) {
	l.t.Helper()
	if b := g.poll(0); b != nil {
		l.t.Errorf("guest %d got %x", g.i, b)
	}
}

// punted waits for a frame in user space.
func (l *lab) punted() frame.Frame {
	l.t.Helper()
	f, ok := l.pollPunts(5 * time.Second)
	if !ok {
		l.t.Fatal("nothing came to user space")
	}
	return f
}

func (l *lab) pollPunts(wait time.Duration) (frame.Frame, bool) {
	l.t.Helper()
	p := l.e.Punts()[0]
	for end := time.Now().Add(wait); ; {
		l.buf.Reset()
		if p.Read(l.batch[:1], l.buf) == 1 {
			f := l.batch[0]
			f.Raw = append([]byte(nil), f.Raw...)
			p.Release()
			f.Parse()
			if chatter(f.Data()) {
				continue
			}
			return f, true
		}
		if time.Now().After(end) {
			return frame.Frame{}, false
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.FD()), Events: unix.POLLIN}}, 50)
	}
}

// none fails the test if user space got anything.
func (l *lab) none() {
	l.t.Helper()
	if f, ok := l.pollPunts(0); ok {
		l.t.Errorf("user space got %x of port %d", f.Raw, f.Source)
	}
}

// chatter is what the guests' own stacks send: neighbour discovery.
func chatter(d []byte) bool {
	return len(d) > 14 && d[0] == 0x33 && d[1] == 0x33 && d[12] == 0x86 && d[13] == 0xdd
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

package ports_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// super is a TCP super-frame of that many bytes. Its sequence number is its
// length, so that one taken for another shows.
func super(length int) (vnet, data []byte) {
	vnet = []byte{1, 1, 54, 0, 0xa8, 0x05, 34, 0, 16, 0}
	data = make([]byte, length)
	copy(data, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00"+
		"\x45\x00\x00\x00\x00\x01\x40\x00\x40\x06\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02"+
		"\x80\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x50\x10\xff\xff\x00\x00\x00\x00")
	binary.BigEndian.PutUint32(data[38:], uint32(length))
	return vnet, data
}

// reader reads a port to its end, and forgets the bytes.
type reader struct {
	batch   []frame.Frame
	buffers *ports.Buffers
}

func newReader() *reader {
	return &reader{make([]frame.Frame, ports.BatchSize), ports.NewBuffers(ports.BatchSize)}
}

// all reads until count frames have come.
func (r *reader) all(t *testing.T, p ports.Port, count int, each func(f *frame.Frame)) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); count > 0; {
		n := p.Read(r.batch, r.buffers)
		for i := range n {
			each(&r.batch[i])
		}
		p.Release()
		r.buffers.Reset()
		count -= n
		if n == 0 {
			if time.Now().After(end) {
				t.Fatalf("%d frames did not come", count)
			}
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(p.FD()), Events: unix.POLLIN}}, 100)
		}
	}
}

// More long frames than their queue holds: those that found no room are told
// as cut, the others are whole, and none is taken for another.
func TestPacketLongFramesWithoutRoom(t *testing.T) {
	c := newLab(t, "long").cable(t, 1500)
	p := c.open(t, ports.PacketOptions{})
	defer p.Close()
	const count = 350
	r := newReader()
	for round := range 3 {
		for i := range count {
			vnet, data := super(55000 + i)
			c.far.send(t, vnet, data)
		}
		whole, cut, i := 0, 0, 0
		r.all(t, p, count, func(f *frame.Frame) {
			want := 55000 + i
			i++
			if f.Truncated {
				cut++
				return
			}
			whole++
			if got := binary.BigEndian.Uint32(f.Data()[38:]); len(f.Data()) != want || int(got) != want {
				t.Fatalf("round %d: frame of %d bytes is of %d, sent as %d", round, want, len(f.Data()), got)
			}
		})
		if whole == 0 || cut == 0 {
			t.Errorf("round %d: %d whole, %d cut: the test wants both", round, whole, cut)
		}
	}
	if lost := p.Lost(); lost != 0 {
		t.Errorf("%d lost besides", lost)
	}
}

// A frame longer than any that the switch takes (BIG TCP) costs nobody else's.
func TestPacketGiantFrame(t *testing.T) {
	l := newLab(t, "giant")
	c := l.cable(t, 1500)
	err := l.end.Do(func() error {
		link, err := netlink.LinkByName(c.farName())
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetGSOMaxSize(link, 200000), netlink.LinkSetGSOIPv4MaxSize(link, 200000))
	})
	if err != nil {
		t.Skipf("needs gso_max_size above 64 KiB: %v", err)
	}
	p := c.open(t, ports.PacketOptions{})
	defer p.Close()
	lengths := []int{60000, frame.MaxLen, 66000, 100000, 60001, 3000}
	for _, n := range lengths {
		vnet, data := super(n)
		c.far.send(t, vnet, data)
	}
	i := 0
	newReader().all(t, p, len(lengths), func(f *frame.Frame) {
		n := lengths[i]
		i++
		if tooLong := n > frame.MaxLen; f.Truncated != tooLong {
			t.Errorf("%d bytes: cut is %v", n, f.Truncated)
		} else if !tooLong && len(f.Data()) != n {
			t.Errorf("%d bytes: came as %d", n, len(f.Data()))
		}
	})
}

// On a kernel that refuses super-frames the other end gets the wire's frames,
// complete to the last checksum.
func TestPacketSegmentsInSoftware(t *testing.T) {
	c := newLab(t, "segment").cable(t, 1500)
	p := c.open(t, ports.PacketOptions{})
	defer p.Close()
	p.RefuseGSO()
	vnet, data := super(54 + 64000)
	binary.BigEndian.PutUint32(data[38:], 1) // sequence number
	f := &frame.Frame{}
	f.Reset(append(vnet, data...))
	if reason := f.Parse(); reason != frame.Pass {
		t.Fatal(reason)
	}
	const segments = (64000 + 1447) / 1448
	for _, tag := range []bool{false, true} {
		got := p.Write([]ports.Send{{Frame: f, TCI: 0x2064, Tagged: tag}}, ports.NewScratch())
		if want := (ports.Result{Packets: segments, Bytes: uint64(f.WireBytes(tag))}); got != want {
			t.Fatalf("Write: %+v, want %+v", got, want)
		}
		next := uint32(1)
		for i := range segments {
			vnet, d := c.far.next(t)
			if vnet[0]&1 != 0 || vnet[1] != 0 {
				t.Fatalf("segment %d left with virtio-net header %x", i, vnet)
			}
			next += checkTCP(t, d, next, tag)
		}
		if next != 64001 {
			t.Errorf("the segments end at %d, want 64001", next)
		}
	}
}

// checkTCP lets gopacket judge a frame and returns the length of its payload.
func checkTCP(t *testing.T, d []byte, seq uint32, tagged bool) uint32 {
	t.Helper()
	p := gopacket.NewPacket(d, layers.LayerTypeEthernet, gopacket.Default)
	tcp, ok := p.TransportLayer().(*layers.TCP)
	if !ok || p.ErrorLayer() != nil || (p.Layer(layers.LayerTypeDot1Q) != nil) != tagged || tcp.Seq != seq {
		t.Fatalf("want sequence number %d: %v", seq, p)
	}
	if err := tcp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
		t.Fatal(err)
	}
	if err, bad := p.VerifyChecksums(); err != nil || len(bad) != 0 {
		t.Fatalf("segment at %d: %v, wrong checksums %+v", seq, err, bad)
	}
	return uint32(len(tcp.Payload))
}

func TestPacketOpenErrors(t *testing.T) {
	l := newLab(t, "open")
	before := descriptors(t)
	err := l.sw.Do(func() error {
		_, err := ports.OpenPacket(9999, ports.PacketOptions{})
		return err
	})
	if !errors.Is(err, unix.ENODEV) || !strings.Contains(err.Error(), "9999") {
		t.Errorf("an interface that is not there: %v", err)
	}
	if n := descriptors(t); n > before {
		t.Errorf("a failed open left %d descriptors", n-before)
	}
}

func TestPacketPromiscuous(t *testing.T) {
	l := newLab(t, "promisc")
	c := l.cable(t, 1500)
	promiscuous := func() (n int) {
		err := l.sw.Do(func() error {
			link, err := netlink.LinkByIndex(c.index)
			if err == nil {
				n = link.Attrs().Promisc
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	p := c.open(t, ports.PacketOptions{Promiscuous: true})
	if promiscuous() != 1 {
		t.Error("not promiscuous")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if promiscuous() != 0 {
		t.Error("promiscuous after Close")
	}
}

// An idle port costs at most 1 MiB: its ring, its sockets, its Go objects.
func TestPacketMemory(t *testing.T) {
	c := newLab(t, "memory").cable(t, 1500)
	const count = 16
	var opened [count]*ports.Packet
	heap, rings := heapBytes(), ringBytes(t)
	for i := range opened {
		opened[i] = c.open(t, ports.PacketOptions{})
	}
	goBytes, mapped := (heapBytes()-heap)/count, (ringBytes(t)-rings)/count
	t.Logf("a port: %d KiB of ring, %d bytes of Go heap", mapped>>10, goBytes)
	if mapped == 0 || mapped+max(goBytes, 0) > 1<<20 {
		t.Errorf("a port takes %d bytes mapped and %d of Go heap; 1 MiB is what it may", mapped, goBytes)
	}
	for _, p := range opened {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := ringBytes(t); n != rings {
		t.Errorf("%d bytes of rings are still mapped", n-rings)
	}
}

func heapBytes() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// ringBytes sums the sockets' mappings of this process.
func ringBytes(t *testing.T) (sum int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs /proc/self/smaps")
	}
	if err != nil {
		t.Fatal(err)
	}
	ring := false
	for line := range strings.Lines(string(text)) {
		field := strings.Fields(line)
		switch {
		case strings.Contains(field[0], "-"): // a mapping's first line
			ring = strings.Contains(line, "socket:")
		case ring && field[0] == "Size:":
			var kib int
			for _, d := range field[1] {
				kib = kib*10 + int(d-'0')
			}
			sum += kib << 10
		}
	}
	return sum
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// A longer ring takes the place of a full one: what the old one holds is read,
// then what came meanwhile, each frame once and in order.
func TestPacketResize(t *testing.T) {
	l := newLab(t, "resize")
	c := l.cable(t, 1500)
	p := c.open(t, ports.PacketOptions{Slots: 32})
	defer p.Close()
	sent, read := 0, 0
	send := func(n int) {
		for range n {
			data := make([]byte, 60)
			copy(data, "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x88\xb5")
			binary.BigEndian.PutUint32(data[14:], uint32(sent))
			c.far.send(t, nil, data)
			sent++
		}
	}
	r := newReader()
	expect := func(n int) {
		t.Helper()
		r.all(t, p, n, func(f *frame.Frame) {
			if got := int(binary.BigEndian.Uint32(f.Data()[14:])); got != read {
				t.Fatalf("frame %d came where %d was due", got, read)
			}
			read++
		})
	}

	send(32)
	var ex *ports.Exchange
	err := l.sw.Do(func() (err error) {
		ex, err = p.Resize(500)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ex.Redirect(); err != nil {
		t.Fatal(err)
	}
	send(500)
	expect(32)
	if n := p.Read(r.batch, r.buffers); n != 0 {
		t.Fatalf("the old ring has %d frames of the new one's", n)
	}
	ex.Swap()
	expect(500)
	send(10)
	expect(10)
	if err := ex.Dispose(); err != nil {
		t.Error(err)
	}
	if p.Slots() != 512 || p.Lost() != 0 {
		t.Errorf("%d slots and %d lost, want 512 and none", p.Slots(), p.Lost())
	}
}

package traffic

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// batch is how many frames go with one system call.
const batch = 64

// Generator sends a stream: sendmmsg on a packet socket past the queueing
// discipline, from one thread.
type Generator struct {
	stream Stream
	fd     int
	frames [][]byte // the slots, built once; only what differs is written again
	iovs   []unix.Iovec
	msgs   []mmsghdr

	offered atomic.Uint64
	refused atomic.Uint64
	outside time.Duration // of the thread's time, what it was not in sendmmsg or waiting
	running time.Duration
	halt    atomic.Bool
	done    <-chan error
}

// Load says how a generator sends.
type Load struct {
	Core   int           // to be pinned to, or AnyCore
	Rate   float64       // frames a second, open loop: what is late is made up for; 0: as fast as it goes
	Frames uint64        // to end after; 0: at Stop
	Yield  bool          // sleep, not spin, until a frame is due
	Drag   time.Duration // idle work after every batch: tests make a slow generator with it

	// Flood is not to be slowed by a queue on the way: a frame that waits in
	// the kernel counts against its sender's socket, on a veth also behind it,
	// and when 208 KiB of them wait the sender is blocked.
	Flood bool
}

// floodBuffer is more than any queue on the way holds, in bytes.
const floodBuffer = 64 << 20

func unblock(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, floodBuffer); err != nil {
		return fmt.Errorf("send buffer: %w", err)
	}
	return nil
}

// NewGenerator opens a generator at the sender's end of the stream's lane.
func NewGenerator(s Stream) (*Generator, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	fd, err := packetSocket(s.Lane.From, 0, unix.PACKET_QDISC_BYPASS)
	if err != nil {
		return nil, err
	}
	if err := timeouts(fd, time.Second); err != nil { // a switch that keeps frames must not keep the sender
		unix.Close(fd)
		return nil, err
	}
	// Whole rounds of the lengths, so that a slot's length never changes.
	slots := batch / len(s.Len) * len(s.Len)
	g := &Generator{stream: s, fd: fd, iovs: make([]unix.Iovec, slots), msgs: make([]mmsghdr, slots)}
	for i := range slots {
		f := s.build(s.Len[i%len(s.Len)])
		g.frames = append(g.frames, f)
		g.iovs[i].Base = &f[0]
		g.iovs[i].SetLen(len(f))
		g.msgs[i].hdr.Iov, g.msgs[i].hdr.Iovlen = &g.iovs[i], 1
	}
	return g, nil
}

// Start sends until Stop, or until all of Load.Frames are sent. A generator is
// started once.
func (g *Generator) Start(l Load) {
	g.done = onThread(l.Core, func() error { return g.run(l) })
}

// Stop ends the sending, waits for the thread and closes the socket. It may be
// called without Start.
func (g *Generator) Stop() error {
	g.Halt()
	return g.Wait()
}

// Halt ends the sending soon, without waiting.
func (g *Generator) Halt() { g.halt.Store(true) }

// Wait returns when Load.Frames are sent, and closes the socket.
func (g *Generator) Wait() error {
	var err error
	if g.done != nil {
		err = <-g.done
		g.done = nil
	}
	if g.fd >= 0 {
		unix.Close(g.fd)
		g.fd = -1
	}
	runtime.KeepAlive(g.frames)
	return err
}

// Offered is how many frames it has tried to send, those that the sender's own
// interface refused included.
func (g *Generator) Offered() uint64 { return g.offered.Load() }

// Refused is how many frames the sender's own interface did not take.
func (g *Generator) Refused() uint64 { return g.refused.Load() }

// Outside is the share of its time that the generator, at full speed, spent
// elsewhere than in the kernel: what it costs itself. Call it after Wait.
func (g *Generator) Outside() float64 {
	if g.running == 0 {
		return 0
	}
	return float64(g.outside) / float64(g.running)
}

func (g *Generator) run(l Load) error {
	if l.Flood {
		if err := unblock(g.fd); err != nil {
			return err
		}
	}
	var offered, inside = uint64(0), time.Duration(0)
	start := time.Now()
	for slot := 0; !g.halt.Load() && (l.Frames == 0 || offered < l.Frames); {
		now := time.Since(start)
		n := min(batch, len(g.msgs)-slot)
		if l.Frames > 0 {
			n = int(min(uint64(n), l.Frames-offered))
		}
		if l.Rate > 0 {
			// A batch of its own for each frame that is due costs more than
			// what is tested, so up to a millisecond's worth waits for company.
			company := min(n, max(1, int(l.Rate/1000)))
			due := int64(now.Seconds()*l.Rate) - int64(offered)
			if due < int64(company) {
				if l.Yield {
					wait := time.Duration(float64(offered+uint64(company))/l.Rate*1e9) - now
					ts := unix.NsecToTimespec(max(1, wait.Nanoseconds()))
					_ = unix.Nanosleep(&ts, nil)
				}
				continue
			}
			n = int(min(int64(n), due))
		}
		g.fill(slot, n, uint32(offered), now)
		before := time.Since(start)
		err := g.send(slot, n)
		inside += time.Since(start) - before
		if err != nil {
			return fmt.Errorf("send from %s: %w", g.stream.Lane.From.Name, err)
		}
		offered += uint64(n)
		g.offered.Store(offered)
		if slot += n; slot == len(g.msgs) {
			slot = 0
		}
		if l.Drag > 0 {
			for until := time.Since(start) + l.Drag; time.Since(start) < until; {
			}
		}
	}
	g.running = time.Since(start)
	g.outside = g.running - inside
	return nil
}

// fill writes what differs from frame to frame.
func (g *Generator) fill(slot, n int, seq uint32, now time.Duration) {
	s := &g.stream
	for i := range n {
		f := g.frames[slot+i]
		binary.BigEndian.PutUint32(f[offSeq:], seq)
		binary.BigEndian.PutUint64(f[offTime:], uint64(now))
		if len(s.DstMACs) > 0 {
			copy(f[0:6], s.DstMACs[int(seq)%len(s.DstMACs)][:])
		}
		if len(s.SrcMACs) > 0 {
			copy(f[6:12], s.SrcMACs[int(seq)%len(s.SrcMACs)][:])
		}
		if s.Sessions {
			src, dst := sessionPorts(seq)
			binary.BigEndian.PutUint16(f[offPorts:], src)
			binary.BigEndian.PutUint16(f[offPorts+2:], dst)
		}
		seq++
	}
}

// send gives n slots to the kernel. A frame that the interface has no room for
// (ENOBUFS) is not sent again: it was offered.
func (g *Generator) send(slot, n int) error {
	for end := slot + n; slot < end; {
		sent, errno := sendmmsg(g.fd, g.msgs[slot:end])
		slot += sent
		switch {
		case errno == 0, errno == unix.EINTR:
		case errno == unix.ENOBUFS || errno == unix.EAGAIN:
			g.refused.Add(1)
			slot++
		default:
			return errno
		}
	}
	return nil
}

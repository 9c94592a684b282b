package traffic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Verdict is what became of a stream whose every frame was looked at.
type Verdict struct {
	Sent       uint64 `json:"sent"`
	Received   uint64 `json:"received"`   // different frames
	Lost       uint64 `json:"lost"`       // never seen
	Duplicated uint64 `json:"duplicated"` // further copies
	Reordered  uint64 `json:"reordered"`  // came after a frame that was sent later
	Corrupted  uint64 `json:"corrupted"`  // of the stream, but not as sent
}

// Faultless reports whether every frame arrived once, in order and as sent.
func (v Verdict) Faultless() bool {
	return v.Sent > 0 && v.Received == v.Sent && v.Lost+v.Duplicated+v.Reordered+v.Corrupted == 0
}

// Add takes another stream's verdict in.
func (v *Verdict) Add(o Verdict) {
	v.Sent += o.Sent
	v.Received += o.Received
	v.Lost += o.Lost
	v.Duplicated += o.Duplicated
	v.Reordered += o.Reordered
	v.Corrupted += o.Corrupted
}

func (v Verdict) String() string {
	if v.Faultless() {
		return fmt.Sprintf("%d frames, each once, in order, unchanged", v.Sent)
	}
	parts := []string{}
	for _, c := range []struct {
		n    uint64
		word string
	}{{v.Lost, "lost"}, {v.Duplicated, "duplicated"}, {v.Reordered, "out of order"}, {v.Corrupted, "corrupted"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	return fmt.Sprintf("of %d frames %s", v.Sent, strings.Join(parts, ", "))
}

// errOverrun says that a receiver could not keep up.
var errOverrun = errors.New("the receiver itself lost frames")

// settleTime is how long a receiver waits for a frame when all have been sent;
// tick is how soon it learns that they have.
const (
	settleTime = 200 * time.Millisecond
	tick       = 5 * time.Millisecond
)

// Verify sends frames of a stream at a rate that any switch bears, and looks at
// every one that arrives.
func Verify(s Stream, frames uint64, rate float64) (Verdict, error) {
	v, err := newVerifier(s, frames)
	if err != nil {
		return Verdict{}, err
	}
	defer v.close()
	g, err := NewGenerator(s)
	if err != nil {
		return Verdict{}, err
	}
	received := onThread(AnyCore, v.run)
	g.Start(Load{Core: AnyCore, Rate: rate, Frames: frames, Yield: true})
	err = g.Wait()
	v.sent.Store(true)
	if err := errors.Join(err, <-received); err != nil {
		return Verdict{}, fmt.Errorf("verify: %w", err)
	}
	if n := g.Refused(); n > 0 {
		return Verdict{}, fmt.Errorf("verify: the sender's interface had no room for %d frames", n)
	}
	return v.verdict, nil
}

// verifier hears everything at the receiving end, before the counter drops it.
type verifier struct {
	fd       int
	stream   Stream
	expected map[int][]byte // length → frame, as built
	seen     []bool         // by sequence number
	next     uint32         // one above the highest sequence number seen
	sent     atomic.Bool    // the sender has ended
	verdict  Verdict
}

func newVerifier(s Stream, frames uint64) (*verifier, error) {
	v := &verifier{stream: s, expected: map[int][]byte{}, seen: make([]bool, frames)}
	v.verdict.Sent = frames
	for _, n := range s.Len {
		v.expected[n] = s.build(n)
	}
	fd, err := packetSocket(s.Lane.To, unix.ETH_P_ALL, unix.PACKET_IGNORE_OUTGOING)
	if err != nil {
		return nil, err
	}
	v.fd = fd
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 256<<20); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("receive buffer: %w", err)
	}
	return v, nil
}

func (v *verifier) close() { unix.Close(v.fd) }

// run ends when every frame has come, or none any more.
func (v *verifier) run() error {
	buf := make([]byte, 1<<16)
	poll := []unix.PollFd{{Fd: int32(v.fd), Events: unix.POLLIN}}
	for quiet := time.Duration(0); quiet < settleTime && (v.verdict.Received < v.verdict.Sent || !v.sent.Load()); {
		ended := v.sent.Load()
		n, err := unix.Poll(poll, int(tick/time.Millisecond))
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case n > 0:
			quiet = 0
		case ended:
			quiet += tick
		}
		if err := v.drain(buf); err != nil {
			return err
		}
	}
	if err := v.drain(buf); err != nil { // copies of the last frames
		return err
	}
	v.verdict.Lost = v.verdict.Sent - v.verdict.Received
	n, err := lost(v.fd)
	if err == nil && n > 0 {
		err = fmt.Errorf("%w: %d", errOverrun, n)
	}
	return err
}

func (v *verifier) drain(buf []byte) error {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, uintptr(v.fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)),
			unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			v.look(buf[:n])
		case unix.EINTR:
		case unix.EAGAIN:
			return nil
		default:
			return errno
		}
	}
}

// look judges one frame. What does not bear the stream's mark is not its.
func (v *verifier) look(f []byte) {
	if len(f) < MinLen || binary.BigEndian.Uint16(f[12:]) != 0x0800 ||
		binary.BigEndian.Uint16(f[offMagic:]) != magic || binary.BigEndian.Uint16(f[offFlow:]) != v.stream.Flow {
		return
	}
	seq := binary.BigEndian.Uint32(f[offSeq:])
	if uint64(seq) >= v.verdict.Sent || !v.asSent(f, seq) {
		v.verdict.Corrupted++
		return
	}
	if v.seen[seq] {
		v.verdict.Duplicated++
		return
	}
	v.seen[seq] = true
	v.verdict.Received++
	if seq < v.next {
		v.verdict.Reordered++
	} else {
		v.next = seq + 1
	}
}

// asSent compares all but the sequence number and the time.
func (v *verifier) asSent(f []byte, seq uint32) bool {
	n := v.stream.Len[int(seq)%len(v.stream.Len)]
	want := v.expected[n]
	if len(f) != n || !bytes.Equal(f[12:offSeq], want[12:offSeq]) || !bytes.Equal(f[offPattern:], want[offPattern:]) {
		return false
	}
	dst, src := want[0:6], want[6:12]
	if macs := v.stream.DstMACs; len(macs) > 0 {
		dst = macs[int(seq)%len(macs)][:]
	}
	if macs := v.stream.SrcMACs; len(macs) > 0 {
		src = macs[int(seq)%len(macs)][:]
	}
	return bytes.Equal(f[0:6], dst) && bytes.Equal(f[6:12], src)
}

// lost is how many frames a packet socket had no room for.
func lost(fd int) (uint32, error) {
	st, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return 0, err
	}
	return st.Drops, nil
}

// Package ports moves frames between the switch and interfaces, a batch at a
// time. It knows nothing of networks, addresses or policy.
//
// A Port is read by one worker at a time and written by any number of them.
// What Read returns is borrowed: it stays the port's, and stays unchanged,
// until Release. So a frame can go from one interface's receive ring to another
// interface without being copied in user space.
//
// Kinds: Packet, an AF_PACKET socket on an interface; Memory, for tests. Every
// kind passes the suite in ports/porttest.
package ports

import "gxswitch/internal/frame"

// Port is one interface of the switch.
type Port interface {
	// Read takes frames that have arrived, in the order of arrival, at most
	// len(batch) of them, and sets Raw, TCI, Tagged and Truncated of each. It
	// never blocks; 0 means that nothing is there. Frames that need memory of
	// the reader's take it from buf, and wait where it has no more. Only one goroutine may read or release at a time.
	Read(batch []frame.Frame, buf *Buffers) int

	// Release gives back every frame that was read since the last Release.
	Release()

	// Write sends frames in order. It never blocks: what the interface can't
	// take now is dropped and counted in the result. No frame may be in frames
	// twice: it has room for one tag. Safe for concurrent use with different
	// scratch.
	Write(frames []Send, scratch *Scratch) Result

	// FD is a descriptor that poll(2) finds readable when Read has something.
	FD() int

	// Lost is how many frames the interface had no room to keep since the port
	// was opened. Safe for concurrent use.
	Lost() uint64

	// Losing reports whether the last Read learned that frames were lost since
	// Lost was last called. Only the reader may call it.
	Losing() bool

	// Close releases everything. Nobody may be reading or writing, and frames
	// that were read are gone.
	Close() error
}

// Resizer is a Port whose receive ring can be exchanged for another while frames
// come: for a longer one where bursts overflow it, for a new one where it got
// stuck.
type Resizer interface {
	// Slots is how many frames the ring holds, Resize's and Open's argument
	// rounded up.
	Slots() int

	// Resize prepares another ring, which may take long and touches nothing yet.
	Resize(slots int) (*Exchange, error)
}

// Exchange is a ring that waits to take another's place. Redirect and Swap are
// called once each, in this order, where no frame is lent; Dispose comes last,
// and alone where the exchange is given up.
type Exchange struct {
	// Redirect lets new frames into the new ring alone. Read still reads the old
	// one, to its end. A frame that arrives within this call, some microseconds
	// long, is lost: nobody counts it. After an error the old ring is in use as
	// before, and the exchange is given up.
	Redirect func() error

	// Swap puts the new ring in place of the old: FD changes.
	Swap func()

	// Dispose releases the ring that is not in place.
	Dispose func() error
}

// BatchSize is how many frames a worker takes and gives at once.
const BatchSize = 64

// Send is one frame to write. Tagged asks for an 802.1Q tag with the TCI given.
type Send struct {
	Frame  *frame.Frame
	TCI    uint16
	Tagged bool
}

// Result is what became of the frames of one Write, as the wire would count.
type Result struct {
	Packets, Bytes              uint64
	TxFull, MTU, UnsupportedGSO uint64
}

func (r *Result) sent(s *Send) {
	r.Packets += uint64(s.Frame.Segments)
	r.Bytes += uint64(s.Frame.WireBytes(s.Tagged))
}

// Buffers is memory for the frames of one batch that a port can't lend from
// its own. Each worker has one, as large as it wants a batch of such frames.
type Buffers struct {
	mem  []byte
	next int
}

// bufferLen holds the longest frame with its virtio-net header and a tag's room.
const bufferLen = (frame.TagLen + frame.VNetLen + frame.MaxLen + 63) &^ 63

// NewBuffers makes room for n frames of 64 KiB each.
func NewBuffers(n int) *Buffers { return &Buffers{mem: make([]byte, n*bufferLen)} }

// Reset takes all buffers back, at the start of a batch.
func (b *Buffers) Reset() { b.next = 0 }

// full reports whether all buffers are lent.
func (b *Buffers) full() bool { return b.next+bufferLen > len(b.mem) }

// take lends the next buffer; there must be one.
func (b *Buffers) take() []byte {
	p := b.mem[b.next : b.next+bufferLen : b.next+bufferLen]
	b.next += bufferLen
	return p
}

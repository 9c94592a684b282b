package ports

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// Memory is a port without a kernel: tests put frames in with Inject and take
// what the switch sent with Sent. It keeps at most Limit frames each way.
type Memory struct {
	Limit int // frames a direction holds; set before use
	MTU   int // bytes at layer 3 that may leave, 0 for any; set before use

	fd int // an eventfd, readable while frames wait; -1 once closed

	mu      sync.Mutex
	in      [][]byte
	lent    int // of in: read and not released
	out     [][]byte
	lost    atomic.Uint64
	discard bool
}

// NewMemory makes a memory port of 1024 frames a direction.
func NewMemory() (*Memory, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &Memory{Limit: 1024, fd: fd}, nil
}

// Inject makes the frame arrive: virtio-net header (nil for none) and bytes
// from the destination MAC on, tags included. Both are copied.
func (m *Memory) Inject(vnet, data []byte) {
	mem := make([]byte, frame.VNetLen+len(data))
	copy(mem, vnet)
	copy(mem[frame.VNetLen:], data)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.in) >= m.Limit || m.fd < 0 {
		m.lost.Add(1)
		return
	}
	m.in = append(m.in, mem)
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(m.fd, one[:])
}

// Sent returns what was written since the last call, virtio-net header first,
// tags in place.
func (m *Memory) Sent() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.out
	m.out = nil
	return out
}

// Discard makes the port forget what is written to it, for benchmarks.
func (m *Memory) Discard() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.discard = true
}

// Read implements Port.
func (m *Memory) Read(batch []frame.Frame, _ *Buffers) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for n < len(batch) && m.lent < len(m.in) {
		f := &batch[n]
		f.Reset(m.in[m.lent])
		f.Untag()
		m.lent++
		n++
	}
	return n
}

// Release implements Port.
func (m *Memory) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.in = m.in[m.lent:]
	m.lent = 0
	if len(m.in) == 0 {
		var count [8]byte
		_, _ = unix.Read(m.fd, count[:])
	}
}

// Write implements Port.
func (m *Memory) Write(frames []Send, _ *Scratch) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	var r Result
	for i := range frames {
		s := &frames[i]
		if m.MTU > 0 && s.Frame.Len > m.MTU+frame.HeaderLen {
			r.MTU += uint64(s.Frame.Segments)
			continue
		}
		if m.discard {
			r.sent(s)
			continue
		}
		if len(m.out) >= m.Limit {
			r.TxFull += uint64(s.Frame.Segments)
			continue
		}
		raw := s.Frame.Raw
		var b []byte
		if s.Tagged {
			b = append(append(b, s.Frame.Tagging(s.TCI)...), raw[frame.VNetLen+12:]...)
		} else {
			b = append(b, raw...)
		}
		m.out = append(m.out, b)
		r.sent(s)
	}
	return r
}

// FD implements Port.
func (m *Memory) FD() int { return m.fd }

// Losing implements Port: nobody needs to know at once.
func (m *Memory) Losing() bool { return false }

// Lost implements Port.
func (m *Memory) Lost() uint64 { return m.lost.Load() }

// Close implements Port. What is injected from then on is lost.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := unix.Close(m.fd)
	m.fd = -1
	return err
}

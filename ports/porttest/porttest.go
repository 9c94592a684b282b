// Package porttest is what every kind of port has to pass: the contract of
// ports.Port, tried out from both sides.
//
// A kind says how to open a port of it, and what is at the other end; the suite
// does the rest. Nothing here knows how a kind works.
package porttest

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// Config is what a test wants of the port it opens.
type Config struct {
	MTU  int // bytes at layer 3
	Keep int // frames that the port keeps while nobody reads; 0: a few hundred
}

// Harness is a port and the other end of its wire. The suite closes the port;
// whatever else there is, the factory's t.Cleanup does.
type Harness struct {
	Port ports.Port

	// Send makes a frame arrive at the port: virtio-net header, nil for none,
	// and the bytes from the destination MAC on, tags in place.
	Send func(vnet, data []byte)

	// Next waits for the next frame that the port sent and returns it as Send
	// takes it. It ends the test if there is none within reason.
	Next func() (vnet, data []byte)

	// SetUp takes the interface down and up again, Delete removes it. A kind
	// without an interface has neither.
	SetUp  func(up bool)
	Delete func()
}

// Factory opens a port for one test.
type Factory func(t *testing.T, cfg Config) *Harness

// patience is how long the suite waits for what must come.
const patience = 5 * time.Second

// Suite runs every test against ports that the factory opens.
func Suite(t *testing.T, open Factory) {
	for _, c := range []struct {
		name string
		cfg  Config
		test func(t *testing.T, r *rig)
	}{
		{"order and batch limits", Config{MTU: 1500}, testOrder},
		{"borrowed until released", Config{MTU: 1500}, testBorrowed},
		{"slots go round", Config{MTU: 1500, Keep: 64}, testGoRound},
		{"no echo", Config{MTU: 1500}, testNoEcho},
		{"tags in", Config{MTU: 1500}, testTagsIn},
		{"tags out", Config{MTU: 1500}, testTagsOut},
		{"tags in again out", Config{MTU: 1500}, testTagsThrough},
		{"partial checksums", Config{MTU: 1500}, testPartialChecksum},
		{"GSO frames stay whole", Config{MTU: 1500}, testGSO},
		{"jumbo frames", Config{MTU: 9000}, testJumbo},
		{"runts", Config{MTU: 1500}, testRunts},
		{"larger than the MTU", Config{MTU: 1500}, testTooLong},
		{"no room", Config{MTU: 1500, Keep: 32}, testNoRoom},
		{"no room for long frames", Config{MTU: 9000, Keep: 32}, testNoRoomForLong},
		{"two writers", Config{MTU: 1500}, testTwoWriters},
		{"pollable", Config{MTU: 1500}, testPollable},
		{"interface down and up", Config{MTU: 1500}, testDown},
		{"interface deleted", Config{MTU: 9000}, testDeleted},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newRig(t, open, c.cfg)) })
	}
	t.Run("close frees everything", func(t *testing.T) { testClose(t, open) })
}

// rig is a harness and what a worker has.
type rig struct {
	*Harness
	t       *testing.T
	batch   []frame.Frame
	buffers *ports.Buffers
	scratch *ports.Scratch
	closed  bool
}

func newRig(t *testing.T, open Factory, cfg Config) *rig {
	t.Helper()
	r := &rig{
		Harness: open(t, cfg), t: t,
		batch:   make([]frame.Frame, ports.BatchSize),
		buffers: ports.NewBuffers(ports.BatchSize),
		scratch: ports.NewScratch(),
	}
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	if r.closed {
		return
	}
	r.closed = true
	if err := r.Port.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
}

// read waits for at least one frame.
func (r *rig) read(batch []frame.Frame) []frame.Frame {
	r.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if n := r.Port.Read(batch, r.buffers); n > len(batch) {
			r.t.Fatalf("Read gave %d frames for a batch of %d", n, len(batch))
		} else if n > 0 {
			return batch[:n]
		}
		r.readable(100 * time.Millisecond)
	}
	r.t.Fatal("no frame arrived")
	return nil
}

// readable polls the port's descriptor.
func (r *rig) readable(wait time.Duration) bool {
	r.t.Helper()
	p := []unix.PollFd{{Fd: int32(r.Port.FD()), Events: unix.POLLIN}}
	ts := unix.NsecToTimespec(int64(wait))
	n, err := unix.Ppoll(p, &ts, nil)
	if err != nil && err != unix.EINTR {
		r.t.Fatalf("poll: %v", err)
	}
	return n > 0
}

// one reads a single frame, which is not released.
func (r *rig) one() *frame.Frame {
	r.t.Helper()
	return &r.read(r.batch[:1])[0]
}

func (r *rig) release() {
	r.Port.Release()
	r.buffers.Reset()
}

// write sends frames and fails unless all of them went.
func (r *rig) write(frames ...ports.Send) {
	r.t.Helper()
	var want ports.Result
	for _, s := range frames {
		want.Packets += uint64(s.Frame.Segments)
		want.Bytes += uint64(s.Frame.WireBytes(s.Tagged))
	}
	if got := r.Port.Write(frames, r.scratch); got != want {
		r.t.Fatalf("Write: %+v, want %+v", got, want)
	}
}

// next waits for a frame that the port sent and compares it, but for hdr_len,
// which is the kernel's.
func (r *rig) next(what string, vnet, data []byte) {
	r.t.Helper()
	gotVNet, got := r.Next()
	if !bytes.Equal(got, data) {
		r.t.Fatalf("%s: left as %s\nwant %s", what, brief(got), brief(data))
	}
	if !sameVNet(gotVNet, vnet) {
		r.t.Fatalf("%s: left with virtio-net header %x, want %x", what, gotVNet, vnet)
	}
}

// await waits until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// held is what the process has open and mapped.
func held(t *testing.T) (descriptors, maps int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return len(fds), strings.Count(string(text), "socket:")
}

package dataplane

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// How a worker waits. A port that has had frames lately is *hot*: the worker
// looks into its ring at every turn, and a sleeping worker polls it by itself.
// All others are *cold*: one epoll set holds them, so that a thousand idle
// ports cost nothing. (A hot port in an epoll set would cost the sender a
// wake-up call a frame.)
const (
	maxHot = 64

	// longFrames is how many frames of up to 64 KiB one batch holds: few, so
	// that they are still in the CPU's cache when they are sent on, and so that
	// a bulk transfer does not hold up other ports' frames for long.
	longFrames = 8

	// coolTime is how long a hot port may be silent before it is cold.
	coolTime = 250 * time.Millisecond

	// coldEvery is after how many batches a busy worker looks at cold ports.
	coldEvery = 16
)

// worker reads its ports and runs their frames to completion.
type worker struct {
	sw    *Switch
	index int
	now   int64 // seconds of the switch's clock, as of this batch
	nanos int64 // since Switch.started, as of the end of the last batch or rest

	rested atomic.Int64 // nanoseconds without frames, of nanos

	epoll   int
	wake    int               // eventfd
	readers map[int32]*reader // by wire.id
	hot     []*reader
	next    int // of hot: whose turn it is

	batch   [ports.BatchSize]frame.Frame
	buffers *ports.Buffers
	scratch *ports.Scratch
	runs    []run // whose frames are in batch
	dirty   []*port

	pacing   []*pacer // that it owns
	released []*held  // by one pacer
	segment  []byte   // scratch of pace; nil until a super-frame was cut
	spares   spareFrames
	lately   []lately // flows; nil until there was one

	pollfds []unix.PollFd
	events  [maxHot]unix.EpollEvent
	base    time.Time

	mu       sync.Mutex // guards commands
	commands []func()
	called   atomic.Bool // commands is not empty
	stopping bool
	done     chan struct{}
}

// reader is an interface as the worker that reads it sees it.
type reader struct {
	*wire
	hot      bool
	lastSeen time.Duration // when it last had frames, since worker.base
}

// run is a stretch of the batch that came from one interface.
type run struct {
	from     *reader
	in       *entry
	off, end int
}

func newWorker(s *Switch, index int) (*worker, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &worker{
		sw:      s,
		index:   index,
		epoll:   epoll,
		wake:    wake,
		readers: map[int32]*reader{},
		buffers: ports.NewBuffers(longFrames),
		scratch: ports.NewScratch(),
		base:    s.started,
		done:    make(chan struct{}),
	}, nil
}

// loop runs until stop.
func (w *worker) loop() {
	runtime.LockOSThread()
	defer close(w.done)
	// Naps as long as they are meant, without the usual slack of 50 µs.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	var rest rest
	for turn := 0; ; turn++ {
		if w.called.Load() && w.runCommands() {
			return
		}
		n := w.turn()
		var due time.Duration // 0: no frame waits
		if len(w.pacing) > 0 {
			var m int
			w.tell()
			m, due = w.drainPacers()
			n += m
		}
		if n > 0 {
			now := w.tell()
			rest.took(n, now)
			for _, r := range w.runs {
				r.from.lastSeen = now
				r.from.taken.Store(r.from.taken.Load() + uint64(r.end-r.off))
			}
			if turn%coldEvery == 0 {
				w.pollCold()
			}
			continue
		}
		if turn%coldEvery == 0 && w.pollCold() {
			continue
		}
		worked := w.nanos
		switch now := w.tell(); rest.next(now) {
		case nap:
			doze(napTime, now, due)
			w.tell()
		case sleep:
			w.sleep(now, due)
			w.tell()
		}
		w.rested.Store(w.rested.Load() + w.nanos - worked)
	}
}

// tell reads the clock.
func (w *worker) tell() time.Duration {
	now := time.Since(w.base)
	w.nanos = int64(now)
	return now
}

// turn takes one batch through the switch and returns how many frames it had.
func (w *worker) turn() int {
	v := w.sw.view.Load()
	w.now = w.sw.clock.Load()
	w.buffers.Reset()
	w.runs = w.runs[:0]
	n := 0
	for range w.hot {
		if w.next >= len(w.hot) {
			w.next = 0
		}
		r := w.hot[w.next]
		if e := v.entry(r.wire); e != nil {
			if got := r.io.Read(w.batch[n:], w.buffers); got > 0 {
				w.runs = append(w.runs, run{r, e, n, n + got})
				if r.io.Losing() && !r.losing.Swap(true) {
					w.sw.losing.Store(true)
				}
				n += got
			}
		}
		if n == len(w.batch) {
			break // it may have more: it stays first
		}
		w.next++
	}
	if n == 0 {
		return 0
	}
	if len(w.hot) > 1 && len(w.runs) == 1 {
		w.next++ // a port that fills batches alone lets the others go first
	}
	w.forward(v)
	return n
}

// forward takes the batch's runs through the switch and gives them back.
func (w *worker) forward(v *view) {
	for _, r := range w.runs {
		w.enter(v, r.in, w.batch[r.off:r.end])
	}
	w.flush()
	for _, r := range w.runs {
		r.from.io.Release()
	}
}

// enter takes the frames of one interface to the port that they are of.
func (w *worker) enter(v *view, e *entry, frames []frame.Frame) {
	switch {
	case e.one != nil:
		w.process(v, e.one, frames)
	case e.many:
		w.scatter(v, frames)
	default:
		w.sort(v, e, frames)
	}
}

// drain forwards what one interface has, to the last frame.
func (w *worker) drain(on *wire) {
	v, r := w.sw.view.Load(), w.readers[on.id]
	e := v.entry(on)
	if r == nil || e == nil {
		return
	}
	for {
		w.buffers.Reset()
		n := on.io.Read(w.batch[:], w.buffers)
		if n == 0 {
			return
		}
		w.runs = append(w.runs[:0], run{r, e, 0, n})
		w.forward(v)
	}
}

// pollCold looks which cold ports have frames and makes them hot.
func (w *worker) pollCold() bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll), uintptr(unsafe.Pointer(&w.events[0])),
		uintptr(len(w.events)), 0, 0, 0)
	if errno != 0 || n == 0 {
		return false
	}
	now := time.Since(w.base)
	for _, e := range w.events[:n] {
		if r := w.readers[e.Fd]; r != nil && len(w.hot) < maxHot {
			w.heat(r, now)
		}
	}
	if len(w.hot) == maxHot {
		w.cool(now, 0)
	}
	return true
}

func (w *worker) heat(r *reader, now time.Duration) {
	r.hot, r.lastSeen = true, now
	w.hot = append(w.hot, r)
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, r.io.FD(), nil)
}

// cool makes ports cold that have been silent for longer than age.
func (w *worker) cool(now, age time.Duration) {
	w.hot = slices.DeleteFunc(w.hot, func(r *reader) bool {
		if now-r.lastSeen <= age {
			return false
		}
		r.hot = false
		w.watch(r)
		return true
	})
}

// watch puts a port into the set of cold ones. An error (a descriptor that is
// being closed) leaves it out: its removal is on the way.
func (w *worker) watch(r *reader) {
	_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, r.io.FD(),
		&unix.EpollEvent{Events: unix.EPOLLIN, Fd: r.id})
}

// sleep waits for a frame, a command, or until due, 0 for never.
func (w *worker) sleep(now, due time.Duration) {
	w.cool(now, coolTime)
	w.pollfds = append(w.pollfds[:0],
		unix.PollFd{Fd: int32(w.wake), Events: unix.POLLIN},
		unix.PollFd{Fd: int32(w.epoll), Events: unix.POLLIN})
	for _, r := range w.hot {
		w.pollfds = append(w.pollfds, unix.PollFd{Fd: int32(r.io.FD()), Events: unix.POLLIN})
	}
	var timeout *unix.Timespec
	if len(w.hot) > 0 || due > 0 {
		wait := coolTime
		if due > 0 {
			wait = min(wait, max(due-now, 0))
		}
		ts := unix.NsecToTimespec(int64(wait))
		timeout = &ts
	}
	n, err := unix.Ppoll(w.pollfds, timeout, nil)
	if err != nil || n == 0 {
		return
	}
	if w.pollfds[0].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(w.wake, count[:])
	}
	for _, p := range w.pollfds[2:] {
		if p.Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
			clearError(int(p.Fd))
		}
	}
	if w.pollfds[1].Revents != 0 {
		w.pollCold()
	}
}

// clearError takes a pending error (ENETDOWN when the link went) off a socket,
// which would wake the worker for ever. What it means comes by netlink.
func clearError(fd int) { _, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR) }

// call runs f in the worker between two batches and waits for it. When it
// returns, no frame is on its way that saw an older view.
func (w *worker) call(f func()) {
	ran := make(chan struct{})
	w.post(func() { f(); close(ran) })
	<-ran
}

// post is call without waiting.
func (w *worker) post(f func()) {
	w.mu.Lock()
	w.commands = append(w.commands, f)
	w.mu.Unlock()
	w.called.Store(true)
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(w.wake, one[:])
}

func (w *worker) runCommands() (stop bool) {
	w.called.Store(false)
	w.mu.Lock()
	commands := w.commands
	w.commands = nil
	w.mu.Unlock()
	for _, f := range commands {
		f()
	}
	return w.stopping
}

// add and remove say whether the worker reads an interface.
func (w *worker) add(on *wire) {
	r := &reader{wire: on}
	w.readers[on.id] = r
	w.watch(r)
}

func (w *worker) remove(on *wire) {
	r := w.readers[on.id]
	if r == nil || r.wire != on {
		return
	}
	delete(w.readers, on.id)
	if r.hot {
		w.hot = slices.DeleteFunc(w.hot, func(h *reader) bool { return h == r })
	} else {
		_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, r.io.FD(), nil)
	}
}

// stop ends the loop and releases the worker's descriptors.
func (w *worker) stop() {
	w.call(func() { w.stopping = true })
	<-w.done
	unix.Close(w.epoll)
	unix.Close(w.wake)
}

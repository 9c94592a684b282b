package dataplane

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How a worker rests when its rings are empty. Each way suits another load:
//
//	frames come            rest
//	dense (over napRate)   nap: a fixed sleep, then a whole batch at once. Senders
//	                       wake nobody, and on a shared CPU they get to run.
//	in ping-pong           spin: waking a thread takes longer than the reply.
//	now and then, never    sleep in the kernel until one comes.
//
// A spin that keeps finding nothing, because whoever would send wants this very
// CPU, is given up for a while.
const (
	napTime = 100 * time.Microsecond
	napRate = 100_000 // frames a second

	spinTime = 50 * time.Microsecond

	// spinCredit is how many spins in vain it takes to stop spinning, and
	// spinRetry after how many sleeps one is tried again.
	spinCredit = 8
	spinRetry  = 64
)

// rest is what the worker knows of its load, between two rests. Times are since
// worker.base.
type rest struct {
	since  time.Duration // when the last rest began
	frames int           // taken since then
	seen   time.Duration // when the last frame was taken
	credit int           // spins in vain that are left
	slept  int           // sleeps since the last spin
	spins  bool          // a spin is under way
}

// took notes frames of a turn.
func (r *rest) took(frames int, now time.Duration) {
	r.frames += frames
	r.seen = now
	if r.spins {
		r.spins, r.credit = false, spinCredit
	}
}

// way is how to rest now.
type way uint8

const (
	spinOn way = iota
	nap
	sleep
)

// next chooses. It is called at every turn that found nothing.
func (r *rest) next(now time.Duration) way {
	if r.frames > 0 && !r.spins && int64(r.frames)*int64(time.Second) > napRate*int64(now-r.since) {
		r.begin(now)
		return nap
	}
	if r.credit > 0 || r.slept >= spinRetry {
		if r.spins = now-r.seen <= spinTime; r.spins {
			return spinOn
		}
		r.credit, r.slept = max(r.credit-1, 0), 0
	}
	r.slept++
	r.begin(now)
	return sleep
}

func (r *rest) begin(now time.Duration) { r.since, r.frames, r.spins = now, 0, false }

// doze sleeps for a time, but not beyond due, 0 for never.
func doze(d, now, due time.Duration) {
	if due > 0 {
		d = min(d, due-now)
	}
	if d <= 0 {
		return
	}
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.Syscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

package dataplane

import "time"

// spinTime is how long a worker that ran out of frames goes on looking before it
// sleeps: waking a thread takes longer than most replies take to come. A spin
// that keeps finding nothing, because whoever would send wants this very CPU,
// is given up: after spinCredit spins in vain one in spinRetry sleeps tries
// again.
const (
	spinTime   = 50 * time.Microsecond
	spinCredit = 8
	spinRetry  = 64
)

// rest decides what a worker does while its rings are empty.
type rest struct {
	seen   time.Duration // when the last frame was taken, since worker.base
	spins  bool          // a spin is under way
	credit int           // spins in vain that are left
	slept  int           // sleeps since the last spin
}

// took notes that a turn had frames.
func (r *rest) took(now time.Duration) {
	r.seen = now
	if r.spins {
		r.spins, r.credit = false, spinCredit
	}
}

// spin reports whether to look again at once; otherwise it is time to sleep.
// It is called at every turn that found nothing.
func (r *rest) spin(now time.Duration) bool {
	if r.credit > 0 || r.slept >= spinRetry {
		if r.spins = now-r.seen <= spinTime; r.spins {
			return true
		}
		r.credit, r.slept = max(r.credit-1, 0), 0
	}
	r.slept++
	return false
}

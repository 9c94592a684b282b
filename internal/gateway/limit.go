package gateway

import (
	"math/rand/v2"
	"sync/atomic"
)

// Rates of errors. Of a side as Linux has it (icmp_msgs_per_sec); an address may
// have more at a time than Linux gives it (one a second after six), since behind
// one there may be hundreds of connections that look for their path's MTU.
const (
	errorsPerSecond        = 1000
	errorBurst             = 50
	errorsPerAddressSecond = 50
	errorBurstPerAddress   = 20

	errorCells = 1024 // a power of two
)

// ErrorLimit bounds the ICMP errors that go to a side, and of them those that go
// to one address (RFC 1812, 4.3.2.8), so that no guest takes all of them. It
// outlives the gateways that use it, takes no lock and is never wrong by more than
// an error a goroutine.
type ErrorLimit struct {
	seed      uint64
	sides     [2]bucket
	addresses [errorCells]bucket // some addresses share one; which do, nobody can foresee
}

// NewErrorLimit returns a limit that nothing has used yet.
func NewErrorLimit() *ErrorLimit { return &ErrorLimit{seed: rand.Uint64() | 1} }

// allow takes one error's share, and reports whether there was one.
func (l *ErrorLimit) allow(to Side, dst uint32, nanos int64) bool {
	cell := (uint64(to)<<32 | uint64(dst)) * l.seed >> 32 % errorCells
	return l.addresses[cell].take(nanos, errorsPerAddressSecond, errorBurstPerAddress) &&
		l.sides[to].take(nanos, errorsPerSecond, errorBurst)
}

// bucket is a token bucket in one word: the time at which it is full again, plus
// one, and 0 while it has never been used (the virtual scheduling algorithm of
// ITU-T I.371, A.1).
type bucket struct{ full atomic.Int64 }

func (b *bucket) take(nanos, perSecond, burst int64) bool {
	interval := 1_000_000_000 / perSecond
	for {
		was := b.full.Load()
		full := nanos
		if was != 0 {
			full = max(full, was-1)
		}
		full += interval
		if full-nanos > burst*interval {
			return false
		}
		if b.full.CompareAndSwap(was, full+1) {
			return true
		}
	}
}

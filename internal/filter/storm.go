package filter

import (
	"math"
	"strconv"
	"strings"
)

// StormRate is how many frames a second of each Class a port may send; zero is
// no limit.
type StormRate uint32

// MaxStormRate is beyond what any interface can carry in small frames, and keeps
// a bucket's arithmetic in 64 bits.
const MaxStormRate StormRate = 1_000_000_000

const (
	stormUnit = "pps"
	stormNone = "none"
)

// ParseStormRate reads frames a second, "2000pps", or "none". The error is an
// *Error.
func ParseStormRate(s string) (StormRate, error) {
	if s == stormNone {
		return 0, nil
	}
	fail := func(at int, msg, hint string) (StormRate, error) {
		return 0, &Error{What: "storm", Text: s, Pos: at + 1, Msg: msg, Hint: hint}
	}
	const asIn = `frames a second, as in "2000pps"`
	digits := 0
	for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
		digits++
	}
	n, unit := s[:digits], s[digits:]
	switch {
	case digits == 0:
		return fail(0, "want a number", asIn)
	case strings.Trim(n, "0") == "":
		return fail(0, "a rate of 0 lets nothing through", `"none" is no limit; ARP needs some broadcasts`)
	case n[0] == '0':
		return fail(0, "a number has no leading zeros", "write "+strconv.Quote(strings.TrimLeft(n, "0")+stormUnit))
	case digits > 10:
		return fail(0, "too many frames", "at most "+MaxStormRate.String())
	}
	v, err := strconv.ParseUint(n, 10, 64)
	switch {
	case err != nil || v > uint64(MaxStormRate):
		return fail(0, "too many frames", "at most "+MaxStormRate.String())
	case unit == "":
		return fail(digits, "the unit is missing", "write "+strconv.Quote(n+stormUnit))
	case unit != stormUnit:
		return fail(digits, "not the unit", asIn)
	}
	return StormRate(v), nil
}

// String is what ParseStormRate reads.
func (r StormRate) String() string {
	if r == 0 {
		return stormNone
	}
	return strconv.FormatUint(uint64(r), 10) + stormUnit
}

// MarshalText implements encoding.TextMarshaler. No limit is "".
func (r StormRate) MarshalText() ([]byte, error) {
	if r == 0 {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. "" is no limit.
func (r *StormRate) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*r = 0
		return nil
	}
	v, err := ParseStormRate(string(b))
	if err == nil {
		*r = v
	}
	return err
}

// Class is what a frame that goes to many is: each has a limit of its own.
type Class uint8

// The classes.
const (
	Broadcast Class = iota
	Multicast
	UnknownUnicast // flooded, since nobody has heard from its destination
	numClasses
)

// Storm holds a port's floods to a rate. It has a token bucket for each Class
// that holds 50 ms of the rate, at least 8 frames: enough for a host's ARP and
// ND when it starts, too little to be felt. The zero Storm lets everything
// through.
type Storm struct {
	rate    int64 // frames a second
	burst   int64 // in tokens
	buckets [numClasses]bucket
}

// bucket counts in tokens, of which a frame takes one thousand million: then a
// nanosecond brings as many as the rate has frames, and nothing is rounded.
type bucket struct {
	tokens int64 // negative: a super-frame's debt
	last   int64 // nanoseconds
}

const (
	perFrame    = 1_000_000_000
	burstMillis = 50
	minBurst    = 8 // frames
)

// NewStorm returns a Storm with full buckets.
func NewStorm(r StormRate) *Storm {
	s := &Storm{rate: int64(min(r, MaxStormRate))}
	s.burst = max(s.rate*burstMillis*1_000_000, minBurst*perFrame)
	for i := range s.buckets {
		s.buckets[i] = bucket{s.burst, math.MinInt64}
	}
	return s
}

// Rate is what s was made with.
func (s *Storm) Rate() StormRate { return StormRate(s.rate) }

// Allow reports whether frames of a class may pass now, and if so counts them. A
// GSO super-frame is all of its segments. One with more than the bucket holds
// passes when the bucket is full, and what it took too much is paid off before
// anything else passes.
func (s *Storm) Allow(c Class, frames int, now int64) bool {
	if s.rate == 0 {
		return true
	}
	b := &s.buckets[c]
	if b.last == math.MinInt64 {
		b.last = now
	}
	if elapsed := now - b.last; elapsed > 0 {
		b.last = now
		if missing := s.burst - b.tokens; elapsed > missing/s.rate {
			b.tokens = s.burst
		} else {
			b.tokens += elapsed * s.rate
		}
	}
	need := int64(frames) * perFrame
	if b.tokens < need && b.tokens < s.burst {
		return false
	}
	b.tokens -= need
	return true
}

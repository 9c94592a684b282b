package shaping

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// DefaultInterval is the interval of a limit that names none, as xl has it.
const DefaultInterval = 50 * time.Millisecond

// Limit is a rate, and how much of it may pass at once: what arrives within an
// interval at the rate is the credit. It is comparable: equal limits are
// written alike by String. The zero value is no limit.
//
// Its values are those that xl's rate= can express.
type Limit struct {
	bytesPerSecond uint64
	intervalUsec   uint32
}

// FromCredit is the limit that xl means by the credit,interval that it writes to
// xenstore: bytes each usec microseconds. Either of them 0 is no limit.
//
// The rate is the lowest that comes to as much in an interval and that xl can
// express. So Credit gives bytes back for all that xl's rate= can produce; for
// other values, and an interval of more than a second, it may be some bytes
// higher. More than 16 TiB counts as 16 TiB.
func FromCredit(bytes uint64, usec uint32) Limit {
	if bytes == 0 || usec == 0 {
		return Limit{}
	}
	const most = 1 << 44 // times usecPerSecond fits 64 bits
	rate := (min(bytes, most)*usecPerSecond-1)/uint64(usec) + 1
	for _, u := range units {
		if n := (rate-1)/u.bytes + 1; n <= math.MaxUint32 {
			return Limit{n * u.bytes, usec}
		}
	}
	return Limit{math.MaxUint32 * bytesPerGB, usec}
}

// IsZero reports whether there is no limit.
func (l Limit) IsZero() bool { return l == Limit{} }

// BytesPerSecond is the rate, 0 for no limit.
func (l Limit) BytesPerSecond() uint64 { return l.bytesPerSecond }

// Interval is the time whose worth of bytes may pass at once.
func (l Limit) Interval() time.Duration { return time.Duration(l.intervalUsec) * time.Microsecond }

// Credit is the bytes that may pass at once: rate × interval, without fraction,
// as xl counts. It is at least 1 unless there is no limit.
func (l Limit) Credit() uint64 {
	return l.bytesPerSecond * uint64(l.intervalUsec) / usecPerSecond
}

// String is the limit in xl's words, "100Mb/s@20ms", in bits where they come out
// even and without the default interval; "none" for no limit. ParseLimit reads
// it.
func (l Limit) String() string {
	if l.IsZero() {
		return none
	}
	s := l.rate()
	if l.Interval() == DefaultInterval {
		return s
	}
	return s + "@" + showInterval(l.intervalUsec)
}

// MarshalText implements encoding.TextMarshaler. No limit is "".
func (l Limit) MarshalText() ([]byte, error) {
	if l.IsZero() {
		return nil, nil
	}
	return []byte(l.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. "" is no limit.
func (l *Limit) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = Limit{}
		return nil
	}
	parsed, err := ParseLimit(string(text))
	if err == nil {
		*l = parsed
	}
	return err
}

const (
	none          = "none"
	usecPerSecond = 1_000_000
	bytesPerGB    = 1_000_000_000
)

// unit is a way to write a rate; xl's multipliers are decimal.
type unit struct {
	name  string
	bytes uint64 // per second, in one of it
}

// units are those of a whole number of bytes, from the finest to the coarsest.
// Each divides the next.
var units = [...]unit{
	{"B", 1}, {"Kb", 125}, {"KB", 1000}, {"Mb", 125_000}, {"MB", 1_000_000},
	{"Gb", 125_000_000}, {"GB", bytesPerGB},
}

// rate is the rate as xl writes it: the coarsest unit in bits that makes a whole
// number, else in bytes.
func (l Limit) rate() string {
	for _, want := range []byte{'b', 'B'} {
		for i := len(units) - 1; i >= 0; i-- {
			u := units[i]
			n := l.bytesPerSecond / u.bytes
			if u.name[len(u.name)-1] == want && n*u.bytes == l.bytesPerSecond && n <= math.MaxUint32 {
				return fmt.Sprintf("%d%s/s", n, u.name)
			}
		}
		if n := l.bytesPerSecond; want == 'b' && n <= math.MaxUint32/8 {
			return fmt.Sprintf("%db/s", n*8)
		}
	}
	panic("shaping: a rate that xl cannot write")
}

func showInterval(usec uint32) string {
	n := uint64(usec)
	switch {
	case n%usecPerSecond == 0:
		return strconv.FormatUint(n/usecPerSecond, 10) + "s"
	case n%1000 == 0:
		return strconv.FormatUint(n/1000, 10) + "ms"
	}
	return strconv.FormatUint(n, 10) + "us"
}

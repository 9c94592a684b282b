package shaping

import (
	"math"
	"strconv"
	"strings"
)

// ParseLimit reads a rate as xl's rate= takes it (xl-network-configuration(5),
// libxlu_vif.c):
//
//	N[G|M|K](b|B)/s[@I[m|u][s]]
//
//	N   1 to 4294967295; G, M and K are decimal, b is bits and B bytes
//	I   the interval, in seconds without m or u; up to 4294967295 µs; 50 ms if not given
//
// and "none", which is no limit. As in xl the rate is a whole number of bytes a
// second: a fraction that bits leave is lost. The error is an *Error.
func ParseLimit(s string) (Limit, error) {
	l, e := parse(s)
	if e == nil {
		return l, nil
	}
	if e.Hint == "" {
		e.Hint = meant(s)
	}
	e.Text = s
	return Limit{}, e
}

func parse(s string) (Limit, *Error) {
	if s == none {
		return Limit{}, nil
	}
	if s == "" {
		return Limit{}, wrong(0, "it is empty")
	}
	rate, at, e := parseRate(s)
	if e != nil {
		return Limit{}, e
	}
	usec := uint64(DefaultInterval.Microseconds())
	if at < len(s) {
		if usec, e = parseInterval(s, at); e != nil {
			return Limit{}, e
		}
	}
	if rate > math.MaxUint64/usec {
		return Limit{}, wrong(0, "so much in %s does not fit 64 bits", showInterval(uint32(usec))).hint("a shorter interval")
	}
	l := Limit{rate, uint32(usec)}
	if rate == 0 {
		return Limit{}, wrong(0, "it is less than a byte a second").hint("at least 8b/s@1s")
	}
	if l.Credit() == 0 {
		shortest := (usecPerSecond-1)/rate + 1
		return Limit{}, wrong(0, "it is less than a byte in its interval of %s, so nothing could pass", showInterval(uint32(usec))).
			hint("a longer interval: %s@%s", l.rate(), showInterval(uint32(shortest)))
	}
	return l, nil
}

// parseRate reads N[G|M|K](b|B)/s and returns bytes a second, and the index of
// what follows: an @ or the end.
func parseRate(s string) (rate uint64, at int, e *Error) {
	n, at, e := parseNumber(s, 0, "rate")
	if e != nil {
		return 0, 0, e
	}
	if at < len(s) {
		switch s[at] {
		case 'G':
			n, at = n*1_000_000_000, at+1
		case 'M':
			n, at = n*1_000_000, at+1
		case 'K':
			n, at = n*1_000, at+1
		}
	}
	switch {
	case at < len(s) && s[at] == 'b':
		n /= 8
	case at < len(s) && s[at] == 'B':
	default:
		return 0, 0, wrong(at, "want b or B, with G, M or K before it at most, not %s", rest(s, at))
	}
	at++
	if !strings.HasPrefix(s[at:], "/s") {
		return 0, 0, wrong(at, "want /s, not %s", rest(s, at))
	}
	at += len("/s")
	if at < len(s) && s[at] != '@' {
		return 0, 0, wrong(at, "want @ and an interval or the end, not %s", rest(s, at))
	}
	return n, at, nil
}

// parseInterval reads @I[m|u][s] at s[at:] and returns microseconds.
func parseInterval(s string, at int) (usec uint64, e *Error) {
	from := at + 1
	n, at, e := parseNumber(s, from, "interval")
	if e != nil {
		return 0, e
	}
	scale := uint64(usecPerSecond)
	if at < len(s) {
		switch s[at] {
		case 'm':
			scale, at = 1000, at+1
		case 'u':
			scale, at = 1, at+1
		}
	}
	if at < len(s) && s[at] == 's' {
		at++
	}
	if at < len(s) {
		return 0, wrong(at, "want s, ms or us, not %s", rest(s, at)).hint("as in 20ms; without a unit it is seconds")
	}
	if n *= scale; n > math.MaxUint32 {
		return 0, wrong(from, "the interval %s is too long: at most 4294967295us, which is 71 minutes", clip(s[from:])).
			hint("as in 20ms; without a unit it is seconds")
	}
	return n, nil
}

// parseNumber reads digits at s[at:] and returns where they end.
func parseNumber(s string, at int, of string) (n uint64, end int, e *Error) {
	end = at
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	digits := s[at:end]
	switch {
	case digits == "":
		return 0, 0, wrong(at, "want the %s's number, not %s", of, rest(s, at))
	case end < len(s) && (s[end] == '.' || s[end] == ','):
		return 0, 0, wrong(end, "the %s has to be a whole number", of)
	case strings.Trim(digits, "0") == "":
		e = wrong(at, "the %s is 0", of)
		if of == "rate" {
			e.Hint = `"none" is no limit`
		}
		return 0, 0, e
	case digits[0] == '0':
		// strtoull with base 0.
		return 0, 0, wrong(at, "the %s begins with 0, which xl reads as octal", of)
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, 0, wrong(at, "the number %s is more than xl takes: at most 4294967295", clip(digits))
	}
	return n, end, nil
}

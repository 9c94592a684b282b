package shaping

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is why a text is not a rate.
type Error struct {
	Text     string
	Position int // in Text, in bytes from 1
	Msg      string
	Hint     string // "" where nothing helps
}

// Error is one line, without the hint.
func (e *Error) Error() string {
	return fmt.Sprintf("%s is not a rate: at %d: %s", quote(e.Text), e.Position, e.Msg)
}

// wrong is an Error at index at, that is yet to be given its text.
func wrong(at int, format string, args ...any) *Error {
	return &Error{Position: at + 1, Msg: fmt.Sprintf(format, args...)}
}

// hint says what to do about e.
func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// rest is s[at:] for a message.
func rest(s string, at int) string {
	if at == len(s) {
		return "the end"
	}
	return quote(s[at:])
}

// meant is the hint for a text that is nearly a rate: other cases of the
// letters, other words for the units, a fraction, blanks.
func meant(s string) string {
	rate, interval, split := strings.Cut(strings.Join(strings.Fields(clip(s)), ""), "@")
	n := leading(rate, "0123456789.,")
	word := strings.ToLower(rate[len(n):])
	scale := leading(word, "gmk")
	if len(scale) > 1 {
		return example
	}
	of := byte('b')
	switch word = word[len(scale):]; word {
	case "b", "b/s", "bps", "b/sec":
		// Mbps and mb/s are bits to most people, as a capital B is bytes.
		if at := len(n) + len(scale); rate[at] == 'B' {
			of = 'B'
		}
	case "", "ps", "/s", "bit", "bits", "bit/s", "bits/s", "bits/sec", "bitps":
	case "byte", "bytes", "byte/s", "bytes/s", "bytes/sec":
		of = 'B'
	default:
		return example
	}
	n, scale, ok := whole(n, strings.ToUpper(scale))
	if !ok {
		return example
	}
	candidate := n + scale + string(of) + "/s"
	if split {
		candidate += "@" + withoutZeros(strings.ToLower(interval))
	}
	if _, e := parse(candidate); e != nil {
		return example
	}
	return "write " + candidate
}

const example = "as in 100Mb/s or 100Mb/s@20ms"

// whole makes a number without fraction of n times scale, in a smaller unit
// where that needs one and in a larger one where n is too large.
func whole(n, scale string) (_, _ string, ok bool) {
	v, ok := new(big.Rat).SetString(strings.ReplaceAll(n, ",", "."))
	if !ok {
		return "", "", false
	}
	const scales = " KMG"
	i := max(0, strings.Index(scales, scale))
	if scale == "" {
		i = 0
	}
	thousand := big.NewRat(1000, 1)
	for ; i > 0 && !v.IsInt(); i-- {
		v.Mul(v, thousand)
	}
	if !v.IsInt() {
		return "", "", false
	}
	if v.Num().BitLen() <= 32 {
		return v.Num().String(), strings.TrimSpace(scales[i : i+1]), true
	}
	for ; i < len(scales)-1; i++ {
		w := new(big.Rat).Quo(v, thousand)
		if !w.IsInt() {
			break
		}
		v = w
	}
	return v.Num().String(), strings.TrimSpace(scales[i : i+1]), true
}

func leading(s, of string) string { return s[:len(s)-len(strings.TrimLeft(s, of))] }

func withoutZeros(s string) string {
	if t := strings.TrimLeft(s, "0"); t != "" {
		return t
	}
	return s
}

// shown is how much of a foreign text a message repeats, in bytes.
const shown = 64

func clip(s string) string {
	if len(s) <= shown {
		return s
	}
	n := shown
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// quote is a foreign text for a message: in quotes, no control characters, not
// too long.
func quote(s string) string { return strconv.Quote(clip(s)) }

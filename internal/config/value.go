package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/internal/frame"
)

// kind is how a Go type stands in a file, and which of its values can be right.
type kind[V any] interface {
	read(*node) (V, *Error) // the type and the grammar
	check(V) *Error         // the value; also for what comes by the command line
	show(V) string          // as TOML
}

// text is a string in quotes; valid is its check.
type text[S ~string] struct{ valid func(string) *Error }

func (text[S]) read(n *node) (S, *Error) {
	if n.kind == unstable.String {
		return S(n.text), nil
	}
	e := problem("want text in quotes, not %s", describe(n))
	if n.kind == unstable.Integer || n.kind == unstable.Float || n.kind == unstable.Bool {
		e = e.hint("write %s", quote(n.text))
	}
	return "", e
}

func (k text[S]) check(s S) *Error { return k.valid(string(s)) }

func (text[S]) show(s S) string { return tomlString(string(s)) }

// number is an integer within bounds.
type number[N int | uint16] struct{ least, most N }

func (k number[N]) read(n *node) (N, *Error) {
	switch n.kind {
	case unstable.Integer:
		// The decoder has seen that it fits 64 bits.
		v, err := strconv.ParseInt(n.text, 0, strconv.IntSize)
		if err != nil {
			return 0, problem("%s is out of range", clip(n.text))
		}
		if int64(N(v)) != v {
			return 0, k.outOfRange(v)
		}
		return N(v), nil
	case unstable.String:
		e := problem("want a number, not the text %s", quote(n.text))
		if v, err := strconv.Atoi(n.text); err == nil {
			e = e.hint("write %d, without the quotes", v)
		}
		return 0, e
	case unstable.Float:
		return 0, problem("want a whole number, not %s", clip(n.text))
	default:
		return 0, problem("want a number, not %s", describe(n))
	}
}

func (k number[N]) check(v N) *Error {
	if v < k.least || v > k.most {
		return k.outOfRange(int64(v))
	}
	return nil
}

func (k number[N]) outOfRange(v int64) *Error {
	return problem("%d is out of range: %d to %d", v, k.least, k.most)
}

func (number[N]) show(v N) string { return strconv.FormatInt(int64(v), 10) }

// duration is a Go duration in quotes, within bounds.
type duration struct{ least, most time.Duration }

func (duration) read(n *node) (time.Duration, *Error) {
	if n.kind == unstable.Integer || n.kind == unstable.Float {
		return 0, problem("want a duration in quotes, not the number %s", clip(n.text)).
			hint("write %s", quote(n.text+"s"))
	}
	if n.kind != unstable.String {
		return 0, problem("want a duration in quotes, not %s", describe(n)).hint(`as in "300s"`)
	}
	d, err := time.ParseDuration(n.text)
	bare := strings.Trim(n.text, "0123456789.") == "" // "0" has no unit either, but ParseDuration takes it
	if err == nil && !bare {
		return d, nil
	}
	if _, err := strconv.ParseFloat(n.text, 64); err == nil && bare {
		return 0, problem("the duration %s has no unit", quote(n.text)).hint("write %s", quote(n.text+"s"))
	}
	return 0, problem("%s is not a duration", quote(n.text)).hint(`a number with a unit, as in "300s", "5m" or "1h30m"`)
}

func (k duration) check(d time.Duration) *Error {
	if d < k.least || d > k.most {
		return problem("%s is out of range: %s to %s", showDuration(d), showDuration(k.least), showDuration(k.most))
	}
	return nil
}

func (duration) show(d time.Duration) string { return `"` + showDuration(d) + `"` }

// showDuration says 300s, not 5m0s: a file reads as it was written.
func showDuration(d time.Duration) string {
	switch {
	case d%time.Hour == 0 && d != 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Second == 0:
		return fmt.Sprintf("%ds", d/time.Second)
	default:
		return d.String()
	}
}

// hostAddress is an address a host may have, with the length of its prefix.
type hostAddress struct{}

func (hostAddress) read(n *node) (netip.Prefix, *Error) {
	s, e := text[string]{}.read(n)
	if e != nil {
		return netip.Prefix{}, e
	}
	return parseAddress(s)
}

func (hostAddress) check(p netip.Prefix) *Error { return checkAddress(p) }

func (hostAddress) show(p netip.Prefix) string { return `"` + p.String() + `"` }

// ParseAddress reads what the key address takes, "192.168.60.1/24", and keeps
// the host bits. The error is an *Error. Network.Validate has yet to say
// whether the address can be a host's.
func ParseAddress(s string) (netip.Prefix, error) {
	p, e := parseAddress(s)
	if e != nil {
		return netip.Prefix{}, e
	}
	return p, nil
}

func parseAddress(s string) (netip.Prefix, *Error) {
	p, err := netip.ParsePrefix(s)
	if err == nil {
		return p, nil
	}
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		length := 24
		if a.Is6() {
			length = 64
		}
		return netip.Prefix{}, problem("the address %s has no prefix length", quote(s)).
			hint(`as in "%s/%d"`, s, length)
	}
	return netip.Prefix{}, problem("%s is not an address with a prefix length", quote(s)).hint(`as in "192.168.60.1/24"`)
}

// station is the MAC address of one station.
type station struct{}

func (station) read(n *node) (frame.MAC, *Error) {
	s, e := text[string]{}.read(n)
	if e != nil {
		return frame.MAC{}, e
	}
	m, err := frame.ParseMAC(s)
	if err != nil {
		return frame.MAC{}, problem("%s is not a MAC address", quote(s)).
			hint("six hexadecimal octets, as in 00:16:3e:11:22:33")
	}
	return m, nil
}

func (station) check(m frame.MAC) *Error {
	switch {
	case m.IsZero():
		return problem("%s is the null address, which no station has", m)
	case m == frame.Broadcast:
		return problem("%s is the broadcast address, not a station's", m)
	case m.IsMulticast():
		return problem("%s is a multicast address, not a station's", m)
	}
	return nil
}

func (station) show(m frame.MAC) string { return `"` + m.String() + `"` }

// describe is a value that was not wanted, in words.
func describe(n *node) string {
	switch n.kind {
	case unstable.String:
		return "the text " + quote(n.text)
	case unstable.Integer, unstable.Float:
		return "the number " + clip(n.text)
	case unstable.Bool:
		return n.text + " without quotes"
	case unstable.Table:
		return "a table"
	case unstable.Array:
		return "an array"
	default:
		return "the date or time " + clip(n.text)
	}
}

// literal is a scalar as TOML writes it, "" for a table or an array.
func (n *node) literal() string {
	if n.kind == unstable.String {
		return tomlString(n.text)
	}
	return n.text
}

// tomlString is s as a basic string (TOML 1.0, "String"). What is not UTF-8 has
// no place in TOML and becomes U+FFFD.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

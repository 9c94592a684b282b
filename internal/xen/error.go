package xen

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValueError is a value that can't be right, or that is not there: a key of
// xenstore, a variable of the environment or an argument.
type ValueError struct {
	Key     string // a path in xenstore, or a variable's name
	Value   string // as it was found
	Missing bool   // there is none
	Msg     string // what is wrong
	Hint    string // what to do; there always is one
}

// Error is one line, without the hint. Of a long value it repeats the
// beginning.
func (e *ValueError) Error() string {
	if e.Missing {
		return fmt.Sprintf("%s: %s", e.Key, e.Msg)
	}
	return fmt.Sprintf("%s: %s: %s", e.Key, quote(e.Value), e.Msg)
}

// wrong is a ValueError that is yet to be given its key and value.
func wrong(hint, format string, args ...any) *ValueError {
	return &ValueError{Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// of gives e its key and value. A nil e stays nil.
func (e *ValueError) of(key, value string) *ValueError {
	if e != nil {
		e.Key, e.Value = key, value
	}
	return e
}

// Message is an error as xl is to print it: with its hint if it is a
// *ValueError. Failed takes it.
func Message(err error) string {
	if e, ok := errors.AsType[*ValueError](err); ok {
		return err.Error() + "; " + e.Hint
	}
	return err.Error()
}

// maxMessage is how much of a message goes to xenstore, in bytes: more than a
// line of a terminal, less than what a value may hold.
const maxMessage = 1024

// oneLine makes any text fit to be a value of xenstore, and a line in xl's
// output: 1024 bytes, without control characters.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	return clipTo(strings.Join(strings.Fields(s), " "), maxMessage)
}

// shown is how much of a foreign text a message repeats, in bytes.
const shown = 64

// quote is a foreign text for a message: in quotes, no control characters, not
// too long.
func quote(s string) string { return strconv.Quote(clipTo(s, shown)) }

// clipTo is s, or its first n bytes and an ellipsis.
func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

package vlan

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Error says why a text is no Set.
type Error struct {
	Text string // as it was given
	Pos  int    // of the character that can't be right, from 1; one past the end where something is missing there
	Msg  string // what is wrong
	Hint string // what to do; there always is one
}

// Error is one line, without the hint. Of a long text it repeats what is around
// the character.
func (e *Error) Error() string {
	return fmt.Sprintf("vlan %s: character %d: %s", quote(e.Text, e.Pos-1), e.Pos, e.Msg)
}

// shown is how much of a text a message repeats, in bytes.
const shown = 64

// quote is a foreign text for a message: in quotes, no control characters, and
// no more than shown bytes of it, those around at. What stands before at is ASCII.
func quote(s string, at int) string {
	if len(s) <= shown {
		return strconv.Quote(s)
	}
	from := min(max(at-shown/2, 0), len(s)-shown)
	to := from + shown
	for to < len(s) && to > from && !utf8.RuneStart(s[to]) {
		to--
	}
	before, after := "", ""
	if from > 0 {
		before = "…"
	}
	if to < len(s) {
		after = "…"
	}
	return strconv.Quote(before + s[from:to] + after)
}

// clip is a text of digits for a message.
func clip(s string) string {
	if len(s) <= shown {
		return s
	}
	return s[:shown] + "…"
}

package filter

import (
	"fmt"
	"strconv"
)

// Error says why a text is none of the values of its type.
type Error struct {
	What string // what the text was to be
	Text string // as it was given
	Pos  int    // of the character that can't be right, from 1; one past the end where something is missing there
	Msg  string // what is wrong
	Hint string // what to do; there always is one
}

// Error is one line, without the hint.
func (e *Error) Error() string {
	return fmt.Sprintf("%s %s: character %d: %s", e.What, quote(e.Text), e.Pos, e.Msg)
}

// quote is a foreign text for a message: in quotes, and no more of it than
// anyone would have meant.
func quote(s string) string {
	const shown = 32
	if len(s) > shown {
		return strconv.Quote(s[:shown]) + "…"
	}
	return strconv.Quote(s)
}

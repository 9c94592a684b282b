package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Position is a place in a file. The zero value is no place: what stands there
// came by the command line.
type Position struct {
	File   string
	Line   int // from 1; 0: the file as a whole
	Column int // from 1, in bytes; 0: the line as a whole
}

// String is FILE, FILE:LINE or FILE:LINE:COLUMN, "" for no place.
func (p Position) String() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
		if p.Column > 0 {
			s += ":" + strconv.Itoa(p.Column)
		}
	}
	return s
}

// in is " (FILE:LINE)", to follow the name of what stands there.
func (p Position) in() string {
	if p == (Position{}) {
		return ""
	}
	return " (" + p.String() + ")"
}

// Error is one problem: where, of what, what is wrong, and what to do.
type Error struct {
	Pos  Position // zero for an object from the command line
	Key  string   // as TOML would write it: network.lab.mode, port."vif*.0".mac
	Msg  string
	Hint string // "" where nothing helps

	steps []string // from the table that is read to where the problem is; see below
}

// Error is one line, without the hint.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.Pos.String(), e.Key, e.Msg} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// problem is an Error that is yet to be given its place and key.
func problem(format string, args ...any) *Error { return &Error{Msg: fmt.Sprintf(format, args...)} }

// alone is the one problem that there is, if there is one.
func (e *Error) alone() Errors {
	if e == nil {
		return nil
	}
	return Errors{e}
}

// hint says what to do about e.
func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// below gives a problem of a table in a table, or of one in a list, its way there:
// the step to it, and what the key says of that.
func (e *Error) below(step, key string) *Error {
	e.steps = append([]string{step}, e.steps...)
	e.Key = dotted(key, e.Key)
	return e
}

// Errors is every problem that was found, at least one.
type Errors []*Error

// Error is a line for each problem, with its hint, if any, on a line below.
func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
		if e.Hint != "" {
			b.WriteString("\n  hint: " + e.Hint)
		}
	}
	return b.String()
}

// Unwrap lets errors.As find the first *Error.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// err is es as an error, nil where there is no problem.
func (es Errors) err() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

// keyPath is a dotted key as TOML writes it, its odd parts in quotes.
func keyPath(parts ...string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('.')
		}
		if isBareKey(p) {
			b.WriteString(clip(p))
		} else {
			b.WriteString(quote(p))
		}
	}
	return b.String()
}

// sub is the path of a key of the table at path, or of the table itself for "".
func sub(path, key string) string {
	if key == "" {
		return path
	}
	return path + "." + keyPath(key)
}

// dotted joins two paths, each of which may be "".
func dotted(path, rest string) string {
	if path == "" || rest == "" {
		return path + rest
	}
	return path + "." + rest
}

// isBareKey reports whether TOML takes s as a key without quotes.
func isBareKey(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
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

// word is quote for a name: a plain one needs no quotes.
func word(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == '"' || r == utf8.RuneError
	}) {
		return quote(s)
	}
	return clip(s)
}

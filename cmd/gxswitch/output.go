package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

// print prints v as JSON, if that was asked for, else the text.
func (a *app) print(v any, text func(b *strings.Builder)) error {
	if a.json {
		return writeJSON(a.out, v, "  ")
	}
	var b strings.Builder
	text(&b)
	_, err := a.out.WriteString(b.String())
	return err
}

// printTable prints v as JSON or rows under header.
func (a *app) printTable(v any, header []string, rows [][]string) error {
	return a.print(v, func(b *strings.Builder) { a.table(b, header, rows) })
}

// table prints rows under header. A column is as wide as it needs to be; a
// cell with nothing in it is "-", so that columns can be counted.
func (a *app) table(b *strings.Builder, header []string, rows [][]string) {
	var lines [][]string
	if !a.noHeader {
		lines = append(lines, header)
	}
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = orDash(cell)
		}
		lines = append(lines, cells)
	}
	columns(b, "", lines)
}

// columns prints lines, each after indent, with their cells in columns. The
// cells have no control characters, nor does a Builder fail.
func columns(b *strings.Builder, indent string, lines [][]string) {
	tw := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	for _, cells := range lines {
		_, _ = io.WriteString(tw, indent+strings.Join(cells, "\t")+"\n")
	}
	_ = tw.Flush()
}

// field is one line of a show command.
type field struct {
	key   string
	value any
}

// fields prints "key: value" lines.
func fields(b *strings.Builder, all []field) {
	for _, f := range all {
		fmt.Fprintf(b, "%s: %s\n", f.key, orDash(fmt.Sprint(f.value)))
	}
}

// numberOrNone is n, "" for 0.
func numberOrNone(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

// printable escapes what a terminal might obey, or can't show: control
// characters, those that turn the direction of writing, bytes that are no
// UTF-8. What is printed this way may have been chosen by a guest.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// writeJSON writes v as one value on lines of its own, or on one line where
// there is no indent. Strings in it are as harmless to a terminal as printable
// makes them.
func writeJSON(w io.Writer, v any, indent string) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range buf.String() {
		switch {
		case r == '\n' || unicode.IsPrint(r):
			b.WriteRune(r)
		case r > 0xffff:
			// Beyond the basic plane JSON wants a surrogate pair (RFC 8259, 7).
			high, low := (r-0x10000)>>10+0xd800, (r-0x10000)&0x3ff+0xdc00
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

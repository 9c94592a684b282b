package vlan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const terms = `terms are 10p (the PVID), 20 (tagged), 20u (untagged), 30-39 and 100+10x4, joined by "/"`

// fail is an Error at a byte, counted from 0.
func (p *parser) fail(at int, hint, format string, args ...any) *Error {
	return &Error{Text: p.text, Pos: at + 1, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// mend is the hint to write the text with by in the place of from to to. The new
// text may have its next mistake further on.
func (p *parser) mend(from, to int, by string) string {
	if len(p.text)-(to-from)+len(by) <= shown {
		return "write " + strconv.Quote(p.text[:from]+by+p.text[to:])
	}
	if by == "" {
		return "leave out " + quote(p.text[from:to], 0)
	}
	return fmt.Sprintf("in place of %s write %s", quote(p.text[from:to], 0), quote(by, 0))
}

// want says that something else than what has to stand here.
func (p *parser) want(what string) *Error {
	if p.pos == len(p.text) {
		return p.fail(p.pos, terms, "want %s, but the text ends", what)
	}
	c, hint := p.odd()
	return p.fail(p.pos, hint, "want %s, not %s", what, strconv.Quote(c))
}

// unended says that a term is complete here and the text goes on.
func (p *parser) unended(t term) *Error {
	c, hint := p.odd()
	switch {
	case strings.Contains(digits, c):
		hint = p.mend(p.pos, p.pos, "/")
	case t.single && t.flag != 0 && c == "p":
		hint = p.mend(p.pos-1, p.pos+1, "p") // p implies u
	case t.flag != 0 && (c == "p" || c == "u"):
		hint = p.mend(p.pos, p.pos+1, "")
	}
	return p.fail(p.pos, hint, `want "/" or the end after %q, not %s`, p.text[t.from:p.pos], strconv.Quote(c))
}

// odd is the character that stands here, where it has no place, and a hint by
// what was likely meant.
func (p *parser) odd() (c, hint string) {
	r, n := utf8.DecodeRuneInString(p.text[p.pos:])
	c = p.text[p.pos : p.pos+n]
	switch {
	case unicode.IsSpace(r):
		return c, `leave out all spaces; terms are joined by "/"`
	case strings.ContainsRune("PUX", r):
		return c, p.mend(p.pos, p.pos+n, strings.ToLower(c))
	case strings.ContainsRune(",;|", r):
		return c, p.mend(p.pos, p.pos+n, "/")
	case strings.ContainsRune("‐‑–−", r): // what typography makes of a hyphen
		return c, p.mend(p.pos, p.pos+n, "-")
	}
	return c, terms
}

// twice says that the term names a VLAN that is in the set. By the hint a range
// gives way to a single VLAN, and of two ranges the later one.
func (p *parser) twice(t term, vid int) *Error {
	earlier := p.terms[slices.IndexFunc(p.terms, func(t term) bool { return t.has(vid) })]
	less := earlier.without(func(v uint16) bool { return int(v) == vid })
	rest := t.without(p.set.Carries)
	hint := "name it in one term only"
	switch {
	case rest != "" && len(rest) <= shown:
		hint = p.mend(t.from, t.to, rest)
	case rest == "" && t.flag != 'p' && p.has(t):
		hint = p.mend(t.from-1, t.to, "") // with the "/" before it
	case t.single && less != "" && len(less) <= shown:
		hint = p.mend(earlier.from, earlier.to, less)
	}
	return p.fail(t.from, hint, "VLAN %d is named a second time", vid)
}

// has reports whether the set has all of the term, and has it tagged or untagged
// as the term does.
func (p *parser) has(t term) bool {
	for vid := t.first; vid <= t.last; vid += t.step {
		if !p.set.Carries(uint16(vid)) || p.set.Untagged(uint16(vid)) != (t.flag != 0) {
			return false
		}
	}
	return true
}

// without is terms for what is left of t, "" for nothing.
func (t term) without(out func(vid uint16) bool) string { return string(t.appendWithout(nil, out)) }

// withPVID is terms for t with its first VLAN as the PVID.
func (t term) withPVID() string {
	b := append(strconv.AppendInt(nil, int64(t.first), 10), 'p')
	return string(t.appendWithout(b, func(vid uint16) bool { return int(vid) == t.first }))
}

func (t term) appendWithout(b []byte, out func(vid uint16) bool) []byte {
	suffix := ""
	if t.flag == 'u' {
		suffix = "u"
	}
	return appendTerms(b, suffix, func(vid uint16) bool { return t.has(int(vid)) && !out(vid) })
}

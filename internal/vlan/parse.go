package vlan

import (
	"fmt"
	"strconv"
	"strings"
)

// Parse reads a set. The error is an *Error.
func Parse(s string) (Set, error) {
	p := parser{text: s}
	if e := p.parse(); e != nil {
		return Set{}, e
	}
	return p.set, nil
}

// parser reads from left to right, so an Error is about the first mistake, and
// what stands before it is right and ASCII.
type parser struct {
	text  string
	pos   int    // of the next byte, from 0
	terms []term // so far
	set   Set    // of these terms
}

// term is one of the text: the VLANs first, first+step, … last.
type term struct {
	from, to          int // where it stands in the text
	first, last, step int
	single            bool // N, not a range or progression
	flag              byte // 'p', 'u' or 0
}

func (t term) has(vid int) bool {
	return vid >= t.first && vid <= t.last && (vid-t.first)%t.step == 0
}

func (p *parser) parse() *Error {
	if strings.Trim(p.text, "/") == "" {
		return p.fail(0, `as in "10" or "10p/20"`, "the text names no VLAN")
	}
	lone := strings.Trim(p.text, digits) == ""
	for {
		t, e := p.term()
		if e != nil {
			return e
		}
		if lone {
			t.flag = 'p'
		}
		if e := p.add(t); e != nil {
			return e
		}
		if p.pos == len(p.text) {
			break
		}
		p.pos++ // the "/"
		if p.pos == len(p.text) {
			return p.fail(p.pos-1, p.mend(p.pos-1, p.pos, ""), `no term follows the "/"`)
		}
	}
	if p.set.pvid == 0 {
		t := p.terms[0]
		hint := fmt.Sprintf("%s if untagged frames belong to VLAN %d", p.mend(t.from, t.to, t.withPVID()), t.first)
		return p.fail(p.pos, hint, "the text ends without a PVID")
	}
	return nil
}

// term reads up to the next "/" or the end.
func (p *parser) term() (term, *Error) {
	t := term{from: p.pos, step: 1, single: true}
	if p.at("/") {
		return t, p.fail(p.pos, p.mend(p.pos, p.pos+1, ""), `no term stands before the "/"`)
	}
	var e *Error
	if t.first, e = p.vid("a VLAN"); e != nil {
		return t, e
	}
	t.last = t.first
	switch {
	case p.at("-"):
		e = p.rangeEnd(&t)
	case p.at("+"):
		e = p.progression(&t)
	}
	if e != nil {
		return t, e
	}
	if p.at("p") && !t.single {
		t.to = p.pos + 1
		return t, p.fail(p.pos, p.mend(t.from, t.to, t.withPVID()), "the PVID is one VLAN, not a range")
	}
	if p.at("p") || p.at("u") {
		t.flag = p.text[p.pos]
		p.pos++
	}
	t.to = p.pos
	if p.pos < len(p.text) && !p.at("/") {
		return t, p.unended(t)
	}
	return t, nil
}

// rangeEnd reads "-B".
func (p *parser) rangeEnd(t *term) *Error {
	t.single = false
	p.pos++
	at := p.pos
	var e *Error
	if t.last, e = p.vid("the end of the range"); e != nil {
		return e
	}
	if t.last < t.first {
		return p.fail(at, p.mend(t.from, p.pos, strconv.Itoa(t.last)+"-"+strconv.Itoa(t.first)), "the range runs backwards, from %d to %d", t.first, t.last)
	}
	return nil
}

// progression reads "+OFFxCOUNT".
func (p *parser) progression(t *term) *Error {
	t.single = false
	p.pos++
	offsetAt := p.pos
	offset, e := p.number("the offset")
	if e != nil {
		return e
	}
	if !p.at("x") {
		return p.want(`"x" and the count`)
	}
	p.pos++
	countAt := p.pos
	count, e := p.number("the count")
	if e != nil {
		return e
	}

	one := p.mend(t.from, p.pos, strconv.Itoa(t.first))
	switch {
	case offset == 0:
		return p.fail(offsetAt, one+", or an offset of 1 or more", "the offset is 0")
	case count == 0:
		return p.fail(countAt, one+", or a count of 1 or more", "the count is 0")
	case t.first+offset > MaxVID:
		return p.fail(offsetAt, one, "the offset leads beyond VLAN %d", MaxVID)
	case t.first+offset*count > MaxVID:
		most := p.mend(countAt, p.pos, strconv.Itoa((MaxVID-t.first)/offset))
		return p.fail(countAt, most, "the count leads beyond VLAN %d", MaxVID)
	}
	t.last, t.step = t.first+offset*count, offset
	return nil
}

// vid reads the number of a VLAN.
func (p *parser) vid(what string) (int, *Error) {
	at := p.pos
	n, e := p.number(what)
	if e != nil || n >= MinVID && n <= MaxVID {
		return n, e
	}
	hint := "VLANs are 1 to 4094"
	if n > MaxVID && at > 0 && p.text[at-1] == '-' {
		hint = p.mend(at, p.pos, strconv.Itoa(MaxVID))
	}
	if n == MaxVID+1 {
		return 0, p.fail(at, hint, "VLAN %d is reserved", n)
	}
	return 0, p.fail(at, hint, "%s is not a VLAN", clip(p.text[at:p.pos]))
}

const (
	digits = "0123456789"

	// huge is what a number beyond all bounds counts as. Its square fits an int
	// of 32 bits.
	huge = 1 << 15
)

func (p *parser) number(what string) (int, *Error) {
	at, n := p.pos, 0
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' {
		n = min(n*10+int(p.text[p.pos]-'0'), huge)
		p.pos++
	}
	if p.pos == at {
		return 0, p.want(what)
	}
	written := p.text[at:p.pos]
	if n > 0 && written[0] == '0' {
		return 0, p.fail(at, p.mend(at, p.pos, strings.TrimLeft(written, "0")), "the number %s begins with 0", clip(written))
	}
	return n, nil
}

// add enters the term's VLANs in the set.
func (p *parser) add(t term) *Error {
	for vid := t.first; vid <= t.last; vid += t.step {
		if p.set.Carries(uint16(vid)) {
			return p.twice(t, vid)
		}
	}
	if t.flag == 'p' && p.set.pvid != 0 {
		hint := fmt.Sprintf("%s, or %du if it is to leave untagged", p.mend(t.to-1, t.to, ""), t.first)
		return p.fail(t.to-1, hint, "a second PVID, %d; the first is %d", t.first, p.set.pvid)
	}
	for vid := t.first; vid <= t.last; vid += t.step {
		p.set.add(uint16(vid), t.flag != 0)
	}
	if t.flag == 'p' {
		p.set.pvid = uint16(t.first)
	}
	p.terms = append(p.terms, t)
	return nil
}

func (p *parser) at(s string) bool { return strings.HasPrefix(p.text[p.pos:], s) }

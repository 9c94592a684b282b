package vlan

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// longText is right and has some 970 characters.
func longText() string {
	var b strings.Builder
	b.WriteString("1p")
	for vid := 10; vid < 310; vid += 3 {
		b.WriteString("/" + strconv.Itoa(vid) + "/" + strconv.Itoa(vid+1000) + "u")
	}
	return b.String()
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in               string
		pvid             uint16
		tagged, untagged []uint16 // besides the PVID
	}{
		{"10", 10, nil, nil},
		{"1", 1, nil, nil},
		{"4094", 4094, nil, nil},
		{"10p", 10, nil, nil},
		{"10p/20", 10, []uint16{20}, nil},
		{"20/10p", 10, []uint16{20}, nil},
		{"10p/20u", 10, nil, []uint16{20}},
		{"10u/20p/30", 20, []uint16{30}, []uint16{10}},
		{"10p/20-23", 10, []uint16{20, 21, 22, 23}, nil},
		{"10p/20-22u", 10, nil, []uint16{20, 21, 22}},
		{"10p/20-20", 10, []uint16{20}, nil},
		{"10p/100+10x4", 10, []uint16{100, 110, 120, 130, 140}, nil}, // the manual's example but for its 150
		{"10p/100+10x4u", 10, nil, []uint16{100, 110, 120, 130, 140}},
		{"10p/100+1x1", 10, []uint16{100, 101}, nil},
		{"10p/1+4093x1", 10, []uint16{1, 4094}, nil},
		{"4094p/4092-4093/1", 4094, []uint16{1, 4092, 4093}, nil},
		{"3p/1-2/4-5u/6", 3, []uint16{1, 2, 6}, []uint16{4, 5}},
		{"65p/63/64/127/128u", 65, []uint16{63, 64, 127}, []uint16{128}},
	} {
		s, err := Parse(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if s.PVID() != c.pvid {
			t.Errorf("%s: PVID %d, want %d", c.in, s.PVID(), c.pvid)
		}
		for vid := range uint16(5000) {
			tagged, untagged := slices.Contains(c.tagged, vid), vid == c.pvid || slices.Contains(c.untagged, vid)
			if s.Carries(vid) != (tagged || untagged) || s.Untagged(vid) != untagged {
				t.Errorf("%s: VLAN %d carried %v, untagged %v; want %v, %v", c.in, vid, s.Carries(vid), s.Untagged(vid), tagged || untagged, untagged)
			}
		}
	}
}

const (
	example = `as in "10" or "10p/20"`
	between = "VLANs are 1 to 4094"
	spaces  = `leave out all spaces; terms are joined by "/"`
)

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ in, err, hint string }{
		{"", `vlan "": character 1: the text names no VLAN`, example},
		{"/", `vlan "/": character 1: the text names no VLAN`, example},
		{"//", `vlan "//": character 1: the text names no VLAN`, example},

		// The PVID.
		{"10/20", `vlan "10/20": character 6: the text ends without a PVID`, `write "10p/20" if untagged frames belong to VLAN 10`},
		{"10u", `vlan "10u": character 4: the text ends without a PVID`, `write "10p" if untagged frames belong to VLAN 10`},
		{"10-10", `vlan "10-10": character 6: the text ends without a PVID`, `write "10p" if untagged frames belong to VLAN 10`},
		{"10-20u/30", `vlan "10-20u/30": character 10: the text ends without a PVID`, `write "10p/11-20u/30" if untagged frames belong to VLAN 10`},
		{"100+10x4", `vlan "100+10x4": character 9: the text ends without a PVID`, `write "100p/110+10x3" if untagged frames belong to VLAN 100`},
		{"10p/20p", `vlan "10p/20p": character 7: a second PVID, 20; the first is 10`, `write "10p/20", or 20u if it is to leave untagged`},
		{"10p/30/20p", `vlan "10p/30/20p": character 10: a second PVID, 20; the first is 10`, `write "10p/30/20", or 20u if it is to leave untagged`},
		{"10-20p", `vlan "10-20p": character 6: the PVID is one VLAN, not a range`, `write "10p/11-20"`},
		{"10-10p", `vlan "10-10p": character 6: the PVID is one VLAN, not a range`, `write "10p"`},
		{"100+10x4p", `vlan "100+10x4p": character 9: the PVID is one VLAN, not a range`, `write "100p/110+10x3"`},

		// Twice.
		{"10p/10p", `vlan "10p/10p": character 5: VLAN 10 is named a second time`, "name it in one term only"},
		{"10p/10u", `vlan "10p/10u": character 5: VLAN 10 is named a second time`, `write "10p"`},
		{"10p/20/20", `vlan "10p/20/20": character 8: VLAN 20 is named a second time`, `write "10p/20"`},
		{"10p/20/20u", `vlan "10p/20/20u": character 8: VLAN 20 is named a second time`, "name it in one term only"},
		{"10p/10-10", `vlan "10p/10-10": character 5: VLAN 10 is named a second time`, "name it in one term only"},
		{"1p/1-4094", `vlan "1p/1-4094": character 4: VLAN 1 is named a second time`, `write "1p/2-4094"`},
		{"10p/5-15u", `vlan "10p/5-15u": character 5: VLAN 10 is named a second time`, `write "10p/5-9u/11-15u"`},
		{"1p/20-30/25-35", `vlan "1p/20-30/25-35": character 10: VLAN 25 is named a second time`, `write "1p/20-30/31-35"`},
		{"1p/20-30/10+5x4", `vlan "1p/20-30/10+5x4": character 10: VLAN 20 is named a second time`, `write "1p/20-30/10/15"`},
		{"10-20/15p", `vlan "10-20/15p": character 7: VLAN 15 is named a second time`, `write "10-14/16-20/15p"`},
		{"1p/10-20/15u", `vlan "1p/10-20/15u": character 10: VLAN 15 is named a second time`, `write "1p/10-14/16-20/15u"`},
		{"1p/10-20/15", `vlan "1p/10-20/15": character 10: VLAN 15 is named a second time`, `write "1p/10-20"`},
		{"1p/2+2x2000/2-4094", `vlan "1p/2+2x2000/2-4094": character 13: VLAN 2 is named a second time`, `write "1p/2+2x2000/3+2x1999/4003-4094"`},

		// VLANs and numbers.
		{"0", `vlan "0": character 1: 0 is not a VLAN`, between},
		{"0p", `vlan "0p": character 1: 0 is not a VLAN`, between},
		{"1p/0-5", `vlan "1p/0-5": character 4: 0 is not a VLAN`, between},
		{"00", `vlan "00": character 1: 00 is not a VLAN`, between},
		{"0x10", `vlan "0x10": character 1: 0 is not a VLAN`, between},
		{"4095", `vlan "4095": character 1: VLAN 4095 is reserved`, between},
		{"10p/4096u", `vlan "10p/4096u": character 5: 4096 is not a VLAN`, between},
		{"65537", `vlan "65537": character 1: 65537 is not a VLAN`, between},
		{"18446744073709551626", `vlan "18446744073709551626": character 1: 18446744073709551626 is not a VLAN`, between},
		{"1p/2-4095", `vlan "1p/2-4095": character 6: VLAN 4095 is reserved`, `write "1p/2-4094"`},
		{"1p/2-99999999999", `vlan "1p/2-99999999999": character 6: 99999999999 is not a VLAN`, `write "1p/2-4094"`},
		{"1p/2-0", `vlan "1p/2-0": character 6: 0 is not a VLAN`, between},
		{"010", `vlan "010": character 1: the number 010 begins with 0`, `write "10"`},
		{"10p/020", `vlan "10p/020": character 5: the number 020 begins with 0`, `write "10p/20"`},
		{"10p/20+010x4", `vlan "10p/20+010x4": character 8: the number 010 begins with 0`, `write "10p/20+10x4"`},

		// Ranges and progressions.
		{"1p/20-10", `vlan "1p/20-10": character 7: the range runs backwards, from 20 to 10`, `write "1p/10-20"`},
		{"1p/20-10u", `vlan "1p/20-10u": character 7: the range runs backwards, from 20 to 10`, `write "1p/10-20u"`},
		{"1p/100+0x4", `vlan "1p/100+0x4": character 8: the offset is 0`, `write "1p/100", or an offset of 1 or more`},
		{"1p/100+10x0u", `vlan "1p/100+10x0u": character 11: the count is 0`, `write "1p/100u", or a count of 1 or more`},
		{"1p/4000+10x10", `vlan "1p/4000+10x10": character 12: the count leads beyond VLAN 4094`, `write "1p/4000+10x9"`},
		{"1p/4093+1x2", `vlan "1p/4093+1x2": character 11: the count leads beyond VLAN 4094`, `write "1p/4093+1x1"`},
		{"1p/20+1x99999999999", `vlan "1p/20+1x99999999999": character 9: the count leads beyond VLAN 4094`, `write "1p/20+1x4074"`},
		{"1p/4085+10x1", `vlan "1p/4085+10x1": character 9: the offset leads beyond VLAN 4094`, `write "1p/4085"`},
		{"1p/2+99999999999x99999999999", `vlan "1p/2+99999999999x99999999999": character 6: the offset leads beyond VLAN 4094`, `write "1p/2"`},
		{"1p/100+10", `vlan "1p/100+10": character 10: want "x" and the count, but the text ends`, terms},
		{"1p/100+10*4", `vlan "1p/100+10*4": character 10: want "x" and the count, not "*"`, terms},
		{"1p/100+x4", `vlan "1p/100+x4": character 8: want the offset, not "x"`, terms},
		{"1p/100+10x", `vlan "1p/100+10x": character 11: want the count, but the text ends`, terms},
		{"10-", `vlan "10-": character 4: want the end of the range, but the text ends`, terms},
		{"10-/20", `vlan "10-/20": character 4: want the end of the range, not "/"`, terms},
		{"10--20", `vlan "10--20": character 4: want the end of the range, not "-"`, terms},
		{"10-20-30", `vlan "10-20-30": character 6: want "/" or the end after "10-20", not "-"`, terms},
		{"-5", `vlan "-5": character 1: want a VLAN, not "-"`, terms},
		{"+5", `vlan "+5": character 1: want a VLAN, not "+"`, terms},

		// Terms.
		{"10p/", `vlan "10p/": character 4: no term follows the "/"`, `write "10p"`},
		{"10/", `vlan "10/": character 3: no term follows the "/"`, `write "10"`},
		{"/10p", `vlan "/10p": character 1: no term stands before the "/"`, `write "10p"`},
		{"10p//20", `vlan "10p//20": character 5: no term stands before the "/"`, `write "10p/20"`},
		{"10pp", `vlan "10pp": character 4: want "/" or the end after "10p", not "p"`, `write "10p"`},
		{"10pu", `vlan "10pu": character 4: want "/" or the end after "10p", not "u"`, `write "10p"`},
		{"10up", `vlan "10up": character 4: want "/" or the end after "10u", not "p"`, `write "10p"`},
		{"10uu/1p", `vlan "10uu/1p": character 4: want "/" or the end after "10u", not "u"`, `write "10u/1p"`},
		{"1p/10-20up", `vlan "1p/10-20up": character 10: want "/" or the end after "10-20u", not "p"`, `write "1p/10-20u"`},
		{"10p20", `vlan "10p20": character 4: want "/" or the end after "10p", not "2"`, `write "10p/20"`},
		{"10x4", `vlan "10x4": character 3: want "/" or the end after "10", not "x"`, terms},
		{"p", `vlan "p": character 1: want a VLAN, not "p"`, terms},
		{"all", `vlan "all": character 1: want a VLAN, not "a"`, terms},
		{"10t", `vlan "10t": character 3: want "/" or the end after "10", not "t"`, terms},

		// Characters.
		{" 10p", `vlan " 10p": character 1: want a VLAN, not " "`, spaces},
		{"10p /20", `vlan "10p /20": character 4: want "/" or the end after "10p", not " "`, spaces},
		{"10p/ 20", `vlan "10p/ 20": character 5: want a VLAN, not " "`, spaces},
		{"10 20", `vlan "10 20": character 3: want "/" or the end after "10", not " "`, spaces},
		{"10p\n", `vlan "10p\n": character 4: want "/" or the end after "10p", not "\n"`, spaces},
		{"10P", `vlan "10P": character 3: want "/" or the end after "10", not "P"`, `write "10p"`},
		{"10p/20U", `vlan "10p/20U": character 7: want "/" or the end after "20", not "U"`, `write "10p/20u"`},
		{"1p/100+10X4", `vlan "1p/100+10X4": character 10: want "x" and the count, not "X"`, `write "1p/100+10x4"`},
		{"10p,20", `vlan "10p,20": character 4: want "/" or the end after "10p", not ","`, `write "10p/20"`},
		{"1p/10–20", `vlan "1p/10–20": character 6: want "/" or the end after "10", not "–"`, `write "1p/10-20"`},
		{"10p\x1b[31m", `vlan "10p\x1b[31m": character 4: want "/" or the end after "10p", not "\x1b"`, terms},
		{"\x00", `vlan "\x00": character 1: want a VLAN, not "\x00"`, terms},
		{"\xe2", `vlan "\xe2": character 1: want a VLAN, not "\xe2"`, terms},
	} {
		s, err := Parse(c.in)
		if err == nil {
			t.Errorf("%q is %v, want an error", c.in, s)
			continue
		}
		if !s.IsZero() {
			t.Errorf("%q: an error and the set %v", c.in, s)
		}
		e := err.(*Error)
		if e.Error() != c.err || e.Hint != c.hint {
			t.Errorf("%q:\n got %s\n     %s\nwant %s\n     %s", c.in, e, e.Hint, c.err, c.hint)
		}
		if e.Text != c.in {
			t.Errorf("%q: the error is about %q", c.in, e.Text)
		}
		if mended, ok := mended(e); ok {
			if _, err := Parse(mended); err != nil {
				t.Errorf("%q: the hint is %s, but %v", c.in, e.Hint, err)
			}
		}
	}
}

// mended is the text that the hint says to write, if it says so.
func mended(e *Error) (string, bool) {
	rest, ok := strings.CutPrefix(e.Hint, "write ")
	if !ok {
		return "", false
	}
	quoted, err := strconv.QuotedPrefix(rest)
	if err != nil {
		return "", false
	}
	text, err := strconv.Unquote(quoted)
	return text, err == nil
}

func TestErrorOfALongTextShowsThePlace(t *testing.T) {
	many := longText()
	for _, c := range []struct{ in, err, hint string }{
		{many + "/0", `vlan "…9u/292/1292u/295/1295u/298/1298u/301/1301u/304/1304u/307/1307u/0": character 974: 0 is not a VLAN`, between},
		{"1p/1/" + many, `vlan "1p/1/1p/10/1010u/13/1013u/16/1016u/19/1019u/22/1022u/25/1025u/28…": character 4: VLAN 1 is named a second time`, "name it in one term only"},
		{"2p/1,3/" + many, `vlan "2p/1,3/1p/10/1010u/13/1013u/16/1016u/19/1019u/22/1022u/25/1025u/…": character 5: want "/" or the end after "1", not ","`, `in place of "," write "/"`},
		{"2p//3/" + many, `vlan "2p//3/1p/10/1010u/13/1013u/16/1016u/19/1019u/22/1022u/25/1025u/2…": character 4: no term stands before the "/"`, `leave out "/"`},
		{"2p/3" + strings.Repeat("–", 40), `vlan "2p/3––––––––––––––––––––…": character 5: want "/" or the end after "3", not "–"`, `in place of "–" write "-"`},
		{strings.Repeat("9", 1000), `vlan "` + strings.Repeat("9", 64) + `…": character 1: ` + strings.Repeat("9", 64) + `… is not a VLAN`, between},
	} {
		_, err := Parse(c.in)
		var e *Error
		if !errors.As(err, &e) || e.Error() != c.err || e.Hint != c.hint {
			t.Errorf("%s…:\n got %v\n     %s\nwant %s\n     %s", c.in[:20], err, e.Hint, c.err, c.hint)
		}
	}
}

// A request may have a text of 1 MiB. What took time by its square would not end.
func TestEndlessTextIsRefusedInAFewWords(t *testing.T) {
	const long = 1 << 20
	for _, in := range []string{
		strings.Repeat("9", long),
		strings.Repeat("0", long) + "1",
		strings.Repeat("/", long),
		"10p/" + strings.Repeat("20-4000/", long/8),
		"10p" + strings.Repeat(" ", long),
		strings.Repeat("p", long),
		strings.Repeat("é", long/2),
	} {
		_, err := Parse(in)
		if err == nil {
			t.Errorf("%s…: no error", in[:10])
		} else if e := err.(*Error); len(e.Error()) > 600 || len(e.Hint) > 600 {
			t.Errorf("%s…: an error of %d bytes, a hint of %d", in[:10], len(e.Error()), len(e.Hint))
		}
	}
	mustParse(t, longText())
}

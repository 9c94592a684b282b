package vlan

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// model is a set as the grammar puts it: each VLAN with its letter, 't' where it
// has none.
type model map[int]byte

const modelNumber = `(0|[1-9][0-9]*)`

var modelTerms = []struct {
	re   *regexp.Regexp
	vids func(n []int) []int
}{
	{regexp.MustCompile(`^` + modelNumber + `([pu]?)$`), func(n []int) []int { return n }},
	{regexp.MustCompile(`^` + modelNumber + `-` + modelNumber + `(u?)$`), func(n []int) (all []int) {
		for vid := n[0]; vid <= min(n[1], MaxVID+1); vid++ {
			all = append(all, vid)
		}
		return all
	}},
	{regexp.MustCompile(`^` + modelNumber + `\+` + modelNumber + `x` + modelNumber + `(u?)$`), func(n []int) (all []int) {
		if n[1] == 0 || n[2] == 0 {
			return nil
		}
		for i := 0; i <= n[2] && n[0]+i*n[1] <= MaxVID+n[1]; i++ {
			all = append(all, n[0]+i*n[1])
		}
		return all
	}},
}

// parseModel reads the grammar term by term, and knows only that a text is wrong.
func parseModel(text string) (model, bool) {
	if regexp.MustCompile(`^` + modelNumber + `$`).MatchString(text) {
		text += "p"
	}
	m, pvids := model{}, 0
	for term := range strings.SplitSeq(text, "/") {
		vids, letter := modelTerm(term)
		if len(vids) == 0 {
			return nil, false
		}
		for _, vid := range vids {
			if _, twice := m[vid]; twice || vid < 1 || vid > 4094 {
				return nil, false
			}
			m[vid] = letter
		}
		if letter == 'p' {
			pvids++
		}
	}
	return m, pvids == 1
}

func modelTerm(term string) (vids []int, letter byte) {
	for _, mt := range modelTerms {
		match := mt.re.FindStringSubmatch(term)
		if match == nil {
			continue
		}
		var n []int
		for _, s := range match[1 : len(match)-1] {
			v, err := strconv.Atoi(s)
			if err != nil || v > 1<<20 {
				v = 1 << 20
			}
			n = append(n, v)
		}
		return mt.vids(n), (match[len(match)-1] + "t")[0]
	}
	return nil, 0
}

func (m model) pvid() int {
	for vid, letter := range m {
		if letter == 'p' {
			return vid
		}
	}
	return 0
}

func (m model) admit(tagged bool, vid int) (int, bool) {
	switch {
	case !tagged, vid == 0:
		return m.pvid(), true
	default:
		return vid, m[vid] != 0
	}
}

// numbers are those near an edge, small ones that meet, and any.
var numbers = rapid.OneOf(
	rapid.IntRange(1, 30),
	rapid.SampledFrom([]int{0, 1, 2, 62, 63, 64, 65, 127, 128, 4030, 4031, 4032, 4093, 4094, 4095, 4096, 32767, 32768, 65535, 65536, 65537, 1 << 40}),
	rapid.IntRange(1, 4094),
)

var texts = rapid.OneOf(
	rapid.StringMatching(`[0-9pu+x/-]{0,12}`),
	rapid.Custom(func(t *rapid.T) string {
		terms := []string{}
		for range rapid.IntRange(1, 6).Draw(t, "terms") {
			n := func(what string) int { return numbers.Draw(t, what) }
			u := rapid.SampledFrom([]string{"", "", "u"}).Draw(t, "letter")
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				terms = append(terms, fmt.Sprint(n("VLAN"), "p"))
			case 1:
				terms = append(terms, fmt.Sprint(n("VLAN"))+u)
			case 2:
				terms = append(terms, fmt.Sprintf("%d-%d%s", n("from"), n("to"), u))
			case 3:
				from := n("from")
				terms = append(terms, fmt.Sprintf("%d-%d%s", from, from+rapid.IntRange(0, 9).Draw(t, "more"), u))
			default:
				terms = append(terms, fmt.Sprintf("%d+%dx%d%s", n("from"), n("offset"), n("count"), u))
			}
		}
		return strings.Join(terms, "/")
	}),
	// Always right: every VLAN of a few has its letter.
	rapid.Custom(func(t *rapid.T) string {
		step := rapid.IntRange(1, 40).Draw(t, "step")
		letters := rapid.SliceOfN(rapid.SampledFrom([]string{"", "", "u", "-"}), 0, 100).Draw(t, "letters")
		pvid := rapid.IntRange(1, 4094).Draw(t, "pvid")
		terms := []string{strconv.Itoa(pvid) + "p"}
		for i, l := range letters {
			if vid := 1 + i*step; l != "-" && vid != pvid {
				terms = append(terms, strconv.Itoa(vid)+l)
			}
		}
		return strings.Join(terms, "/")
	}),
)

func TestParseIsItsModel(t *testing.T) {
	right := 0
	rapid.Check(t, func(t *rapid.T) {
		text := texts.Draw(t, "text")
		if _, ok := parseModel(text); ok {
			right++
		}
		parseIsItsModel(t, text)
	})
	if right == 0 {
		t.Error("no text was right: nothing is tested")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "10", "1p/2-4094", "10p/20/30u", "10p/100+10x4u", "10p/20p", "10-20/15p", "1p/2-4095", "010", "20-10",
		"100+0x4", "100+10x0", "1p/4000+10x20", "10p/", "//", "10up", "10P", "10p, 20", "1p/10–20", "99999999999999999999p", "\xe2\x00",
		longText(), longText() + "/0", "10-20p/5u", "1p/2+2x2000/2-4094",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { parseIsItsModel(t, text) })
}

func parseIsItsModel(t rapid.TB, text string) {
	s, err := Parse(text)
	m, ok := parseModel(text)
	if ok != (err == nil) {
		t.Fatalf("%q: right is %v, but Parse says %v", text, ok, err)
	}
	if !ok {
		checkError(t, text, err)
		return
	}
	if int(s.PVID()) != m.pvid() {
		t.Fatalf("%q: PVID %d, want %d", text, s.PVID(), m.pvid())
	}
	for vid := range 4100 {
		letter := m[vid]
		if s.Carries(uint16(vid)) != (letter != 0) || s.Untagged(uint16(vid)) != (letter == 'p' || letter == 'u') {
			t.Fatalf("%q: VLAN %d is %q, but carried %v, untagged %v", text, vid, letter, s.Carries(uint16(vid)), s.Untagged(uint16(vid)))
		}
		for _, tagged := range []bool{false, true} {
			want, wantOK := m.admit(tagged, vid)
			if got, ok := s.Admit(tagged, uint16(vid)); int(got) != want || ok != wantOK {
				t.Fatalf("%q: a frame with VID %d, tagged %v, is of VLAN %d, admitted %v; want %d, %v", text, vid, tagged, got, ok, want, wantOK)
			}
		}
	}
	var all []int
	for vid := range s.All() {
		all = append(all, int(vid))
	}
	if want := slices.Sorted(maps.Keys(m)); !slices.Equal(all, want) {
		t.Fatalf("%q: carries %v, want %v", text, all, want)
	}

	canonical := s.String()
	if len(canonical) > len(text) && !strings.ContainsAny(text, "-+") {
		t.Fatalf("%q is written longer, %s", text, canonical)
	}
	back, err := Parse(canonical)
	if err != nil || back != s || back.String() != canonical {
		t.Fatalf("%q is written %s, which reads as %v, %v", text, canonical, back, err)
	}
}

// checkError holds an error to what every one promises: a place, a line that a
// terminal can take, and a hint that leads somewhere.
func checkError(t rapid.TB, text string, err error) {
	for range 10 + 2*len(text) {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("%q: not an *Error: %v", text, err)
		}
		if e.Pos < 1 || e.Pos > len(text)+1 || e.Msg == "" || e.Hint == "" {
			t.Fatalf("%q: incomplete: %+v", text, *e)
		}
		if before := text[:e.Pos-1]; strings.Trim(before, digits+"pu-+x/") != "" {
			t.Fatalf("%q: the mistake is before character %d", text, e.Pos)
		}
		for _, line := range []string{e.Error(), e.Hint} {
			if strings.ContainsFunc(line, func(r rune) bool { return !strconv.IsPrint(r) }) || len(line) > 600 {
				t.Fatalf("%q: not a line for a terminal: %q", text, line)
			}
		}
		next, ok := mended(e)
		if !ok {
			return
		}
		text = next
		if _, err = Parse(text); err == nil {
			return
		}
	}
	t.Fatalf("the hints never end: %q", text)
}

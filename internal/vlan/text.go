package vlan

import "strconv"

// String is s in the grammar of Parse, "" for no set: the PVID first, then what
// is untagged besides it, then what is tagged, each in ascending order and with
// ranges and progressions where they are shorter. Equal sets have equal strings,
// and Parse gives back the set.
func (s Set) String() string {
	if s.IsZero() {
		return ""
	}
	if s == Access(s.pvid) {
		return strconv.Itoa(int(s.pvid))
	}
	b := append(strconv.AppendUint(nil, uint64(s.pvid), 10), 'p')
	b = appendTerms(b, "u", func(vid uint16) bool { return s.Untagged(vid) && vid != s.pvid })
	b = appendTerms(b, "", func(vid uint16) bool { return s.Carries(vid) && !s.Untagged(vid) })
	return string(b)
}

// MarshalText implements encoding.TextMarshaler. No set is "".
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. "" is no set; for Parse it
// is an error.
func (s *Set) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*s = Set{}
		return nil
	}
	p, err := Parse(string(b))
	if err == nil {
		*s = p
	}
	return err
}

// run is a stretch of VLANs without a gap.
type run struct{ first, last uint16 }

// appendTerms appends terms for the VLANs that in holds for, each with the suffix,
// and a "/" before each but the very first of the text. From the lowest VLAN on it
// takes what covers most of them; a progression has three or more, and is shorter
// than their list.
func appendTerms(b []byte, suffix string, in func(vid uint16) bool) []byte {
	rs := runs(in)
	for i := 0; i < len(rs); {
		n := 1
		if rs[i].first == rs[i].last {
			n = alike(rs[i:])
		}
		if n > 2 {
			list := appendRuns(nil, suffix, rs[i:i+n])
			if p := appendProgression(nil, suffix, rs[i:i+n]); len(p) < len(list) {
				b = append(separate(b), p...)
				i += n
				continue
			}
		}
		b = appendRuns(b, suffix, rs[i:i+1])
		i++
	}
	return b
}

func runs(in func(vid uint16) bool) []run {
	var rs []run
	for vid := uint16(MinVID); vid <= MaxVID; vid++ {
		switch {
		case !in(vid):
		case len(rs) > 0 && rs[len(rs)-1].last == vid-1:
			rs[len(rs)-1].last = vid
		default:
			rs = append(rs, run{vid, vid})
		}
	}
	return rs
}

// alike is how many of the runs, from the first on, are one VLAN each and
// equally far apart.
func alike(rs []run) int {
	n := 1
	for n < len(rs) && rs[n].first == rs[n].last && rs[n].first-rs[n-1].first == rs[1].first-rs[0].first {
		n++
	}
	return n
}

func appendRuns(b []byte, suffix string, rs []run) []byte {
	for _, r := range rs {
		b = strconv.AppendUint(separate(b), uint64(r.first), 10)
		if r.last > r.first {
			b = strconv.AppendUint(append(b, '-'), uint64(r.last), 10)
		}
		b = append(b, suffix...)
	}
	return b
}

func appendProgression(b []byte, suffix string, rs []run) []byte {
	b = strconv.AppendUint(b, uint64(rs[0].first), 10)
	b = strconv.AppendUint(append(b, '+'), uint64(rs[1].first-rs[0].first), 10)
	b = strconv.AppendUint(append(b, 'x'), uint64(len(rs)-1), 10)
	return append(b, suffix...)
}

func separate(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, '/')
	}
	return b
}

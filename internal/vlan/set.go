package vlan

import (
	"fmt"
	"iter"
)

// The VLAN identifiers a port can carry. 0 is no VLAN but marks a tag that has
// a priority alone, 4095 is reserved (802.1Q-2018, table 9-2).
const (
	MinVID = 1
	MaxVID = 4094
)

// Set is the VLAN membership of one port. It is comparable. The zero value is no
// set: it carries no VLAN and admits no frame.
type Set struct {
	pvid  uint16
	words [(MaxVID + 64) / 64]word
}

// word is 64 VLANs. Both bits of a VLAN are in one cache line, as a frame that
// leaves needs both.
type word struct{ carried, untagged uint64 }

// Default is the set of a port that was given none, 1p/2-4094: untagged frames
// are VLAN 1, tagged ones pass as they are. It is made anew by each call, at the
// cost of writing 1 KiB.
func Default() Set {
	s := Set{pvid: MinVID}
	for i := range s.words {
		s.words[i].carried = ^uint64(0)
	}
	s.words[0].carried &^= 1 << 0
	s.words[len(s.words)-1].carried &^= 1 << 63
	s.words[0].untagged = 1 << MinVID
	return s
}

// Access is the set of an access port: vid and no other, untagged. It panics
// where vid is none that a port can carry.
func Access(vid uint16) Set {
	if vid < MinVID || vid > MaxVID {
		panic(fmt.Sprintf("vlan: an access port of VLAN %d", vid))
	}
	var s Set
	s.add(vid, true)
	s.pvid = vid
	return s
}

// PVID is the VLAN that untagged frames belong to; 0 in the zero Set.
func (s *Set) PVID() uint16 { return s.pvid }

// Carries reports whether the port is a member of the VLAN: whether a frame of
// it may come in (ingress filtering, 802.1Q-2018, 8.6.2) and go out (8.6.4).
func (s *Set) Carries(vid uint16) bool {
	i := int(vid >> 6)
	return i < len(s.words) && s.words[i].carried>>(vid&63)&1 != 0
}

// Untagged reports whether frames of the VLAN leave the port without a tag. It
// is false for a VLAN that the port does not carry.
func (s *Set) Untagged(vid uint16) bool {
	i := int(vid >> 6)
	return i < len(s.words) && s.words[i].untagged>>(vid&63)&1 != 0
}

// Admit is the VLAN of a frame that came in at the port, from its 802.1Q tag if
// it has one, and whether the port takes it (802.1Q-2018, 6.9.1). A frame without
// a tag, or whose tag has a priority alone (VID 0), belongs to the PVID. A tag
// may name any VLAN that the port carries, also the PVID and one that leaves
// untagged. VID 4095 is never taken.
func (s *Set) Admit(tagged bool, vid uint16) (uint16, bool) {
	if !tagged || vid == 0 {
		vid = s.pvid
	}
	return vid, s.Carries(vid)
}

// All yields the VLANs that the port carries, in ascending order.
func (s Set) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for vid := uint16(MinVID); vid <= MaxVID; vid++ {
			if s.Carries(vid) && !yield(vid) {
				return
			}
		}
	}
}

// IsZero reports whether s is no set.
func (s Set) IsZero() bool { return s == Set{} }

// add enters a VLAN, which is one that a port can carry.
func (s *Set) add(vid uint16, untagged bool) {
	w := &s.words[vid>>6]
	w.carried |= 1 << (vid & 63)
	if untagged {
		w.untagged |= 1 << (vid & 63)
	}
}

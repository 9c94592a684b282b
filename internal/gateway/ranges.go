package gateway

import (
	"net/netip"
	"slices"
)

// ranges gives every IPv4 address a value, that of the longest prefix it is in. It
// is the prefixes laid out flat: ranges of addresses without overlap, in order,
// found by a binary search among those that begin with the same bits. A full
// internet table takes some 20 MiB; a multibit trie would be as fast and larger
// to read.
type ranges struct {
	starts []uint32 // the first address of each range; starts[0] is 0
	values []uint32
	index  []uint32 // by the first bits: the range that their lowest address is in
	shift  uint8    // of an address, for those bits
}

// maxIndexBits makes an index of 4 MiB, for half a million ranges and more. The
// internet's prefixes end at 24 bits, so that five steps find one of them.
const maxIndexBits = 20

// span is a prefix with its value. Where hasLast is true the last address of it has
// one of its own, unless a longer prefix ends there too.
type span struct {
	prefix  netip.Prefix // of IPv4
	value   uint32
	last    uint32
	hasLast bool
}

// maxSpans is what a key of newRanges can number.
const maxSpans = 1 << 26

// newRanges lays out spans. Of equal prefixes the first counts; addresses in no
// prefix have the value rest.
func newRanges(spans []span, rest uint32) ranges {
	// By address, the shorter first, so that a prefix comes before those in it.
	keys := make([]uint64, 0, len(spans))
	for i := range spans[:min(len(spans), maxSpans)] {
		p := spans[i].prefix.Masked()
		keys = append(keys, uint64(addressFrom(p.Addr()))<<32|uint64(p.Bits())<<26|uint64(i))
	}
	slices.Sort(keys)

	l := layout{open: make([]open, 1, 34)}
	l.open[0] = open{to: ^uint32(0), span: span{value: rest}}
	l.put(0, rest)
	for i, k := range keys {
		if i > 0 && k>>26 == keys[i-1]>>26 {
			continue
		}
		first, bits := uint32(k>>32), k>>26&0x3f
		for l.top().to < first {
			l.close()
		}
		s := spans[k&(maxSpans-1)]
		l.open = append(l.open, open{to: first | uint32(uint64(1)<<(32-bits)-1), span: s})
		l.put(first, s.value)
	}
	for len(l.open) > 1 {
		l.close()
	}
	r := ranges{starts: slices.Clip(l.starts), values: slices.Clip(l.values)}
	r.makeIndex()
	return r
}

// layout is ranges in the making: from the lowest address up, with the prefixes
// that the next address may be in, each within the one before.
type layout struct {
	starts, values []uint32
	open           []open
}

type open struct {
	span
	to       uint32 // its last address
	lastGone bool   // to a longer prefix
}

func (l *layout) top() *open { return &l.open[len(l.open)-1] }

// close ends the innermost prefix.
func (l *layout) close() {
	o := *l.top()
	l.open = l.open[:len(l.open)-1]
	outer := l.top()
	if o.hasLast && !o.lastGone {
		l.put(o.to, o.last)
	}
	if outer.to == o.to {
		outer.lastGone = true
	}
	if o.to != ^uint32(0) {
		l.put(o.to+1, outer.value)
	}
}

// put begins a range. Ranges that would be empty, or go on with the value of the
// one before, are left out.
func (l *layout) put(start, value uint32) {
	if n := len(l.starts); n > 0 && l.starts[n-1] == start {
		l.starts, l.values = l.starts[:n-1], l.values[:n-1]
	}
	if n := len(l.values); n > 0 && l.values[n-1] == value {
		return
	}
	l.starts, l.values = append(l.starts, start), append(l.values, value)
}

func (r *ranges) makeIndex() {
	bits := 0
	for bits < maxIndexBits && 1<<bits < 2*len(r.starts) {
		bits++
	}
	r.shift = uint8(32 - bits)
	r.index = make([]uint32, 1<<bits+1)
	at := 0
	for b := range 1 << bits {
		for at+1 < len(r.starts) && uint64(r.starts[at+1]) <= uint64(b)<<r.shift {
			at++
		}
		r.index[b] = uint32(at)
	}
	r.index[1<<bits] = uint32(len(r.starts) - 1)
}

func (r *ranges) lookup(a uint32) uint32 {
	block := uint64(a) >> r.shift
	lo, hi := r.index[block], r.index[block+1]
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if r.starts[mid] <= a {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return r.values[lo]
}

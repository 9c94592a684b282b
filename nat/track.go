package nat

import (
	"encoding/binary"
	"sync/atomic"
)

// track is what one end of a TCP connection has said of what it expects next, in
// one word so that no reader gets half of it:
//
//	63 acknowledgement 32 | 31 known | 19 scale 16 | 15 window 0
//
// From it follows whether a RST or FIN to that end can be genuine. Who is not on
// the path must guess the sequence number, within a window out of 2^32, besides
// both ports: RFC 5961's attacker gets no further than without NAT. The receiver
// checks more closely, so a segment that fails is passed on, and does not change
// the session's state.
type track uint64

const (
	trackKnown track = 1 << 31

	// trackStep is how far the acknowledgement moves before it is stored again:
	// two workers that wrote the session's cache line with every segment would
	// pass it to and fro.
	trackStep = 1 << 15

	// trackSlack is allowed on both sides of the window: for trackStep, and for
	// segments that were on their way when the window moved.
	trackSlack = 1 << 16
)

// note takes over what a segment, t, says of what its sender expects.
func note(w *atomic.Uint64, t []byte, flags byte) {
	is := track(w.Load())
	if flags&syn != 0 {
		is = windowScale(t) << 16
	} else if flags&(ack|rst) != ack {
		return
	}
	n := binary.BigEndian.Uint32(t[8:])
	if moved := n - uint32(is>>32); is&trackKnown != 0 && (moved < trackStep || moved >= 1<<31) {
		return
	}
	is &= 0xf << 16
	if flags&ack != 0 {
		is |= track(n)<<32 | trackKnown
	}
	w.Store(uint64(is | track(binary.BigEndian.Uint16(t[14:]))))
}

// expects reports whether a segment with that sequence number can be one that
// this end waits for. Nothing is known of an end that has acknowledged nothing.
func (k track) expects(seq uint32) bool {
	if k&trackKnown == 0 {
		return true
	}
	window := uint32(k&0xffff) << (k >> 16 & 0xf)
	return seq-uint32(k>>32)+trackSlack <= window+2*trackSlack
}

// windowScale is the shift that a SYN offers (RFC 7323, 2), at most 14.
func windowScale(t []byte) track {
	options := t[tcpLen:min(len(t), max(tcpLen, int(t[12]>>4)*4))]
	for len(options) > 0 && options[0] != 0 {
		if options[0] == 1 {
			options = options[1:]
			continue
		}
		if len(options) < 2 || options[1] < 2 || int(options[1]) > len(options) {
			break
		}
		if options[0] == 3 && options[1] == 3 {
			return track(min(options[2], 14))
		}
		options = options[options[1]:]
	}
	return 0
}

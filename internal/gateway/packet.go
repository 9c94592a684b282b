package gateway

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

const (
	l3    = frame.VNetLen + frame.HeaderLen // where the IP header begins
	ipLen = 20                              // of an IPv4 header without options

	protoICMP = 1
	protoUDP  = 17
)

// Fields of the fragment word (RFC 791, 3.1).
const (
	dontFragment   = 0x4000
	moreFragments  = 0x2000
	fragmentOffset = 0x1fff // in units of 8 bytes
)

// packet is what routing needs to know of an IPv4 packet.
type packet struct {
	d        []byte // from the IP header on, without Ethernet's padding
	hlen     int    // of the IP header
	longest  int    // the packet's length, or that of a super-frame's longest segment
	src, dst uint32
}

func (p *packet) fragmentWord() uint16 { return binary.BigEndian.Uint16(p.d[6:]) }

// isIPv4 is false of a frame that is too short to tell.
func isIPv4(raw []byte) bool {
	return len(raw) >= l3 && binary.BigEndian.Uint16(raw[l3-2:]) == frame.EtherTypeIPv4
}

// parse reads the header of an IPv4 packet and checks it as Linux does (ip_rcv_core
// in net/ipv4/ip_input.c; RFC 1812, 5.2.2).
func (p *packet) parse(raw []byte) bool {
	if len(raw) < l3+ipLen {
		return false
	}
	d := raw[l3:]
	hlen, end := int(d[0]&0x0f)*4, int(binary.BigEndian.Uint16(d[2:]))
	if end == 0 && raw[1] != 0 {
		end = len(d) // a super-frame beyond 64 KiB (BIG TCP)
	}
	if d[0]>>4 != 4 || hlen < ipLen || end < hlen || end > len(d) || !intact(d[:hlen]) {
		return false
	}
	p.d, p.hlen, p.longest = d[:end], hlen, end
	if raw[1] != 0 {
		// Frame.Parse has written hdr_len.
		header, size := int(binary.LittleEndian.Uint16(raw[2:])), int(binary.LittleEndian.Uint16(raw[4:]))
		p.longest = min(end, header-frame.HeaderLen+size)
	}
	p.src, p.dst = binary.BigEndian.Uint32(d[12:]), binary.BigEndian.Uint32(d[16:])
	return true
}

// intact verifies the checksum of an IP header.
func intact(h []byte) bool {
	if len(h) > ipLen {
		return frame.Sum(h) == 0xffff
	}
	_ = h[19]
	s := uint64(binary.BigEndian.Uint32(h)) + uint64(binary.BigEndian.Uint32(h[4:])) + uint64(binary.BigEndian.Uint32(h[8:])) +
		uint64(binary.BigEndian.Uint32(h[12:])) + uint64(binary.BigEndian.Uint32(h[16:]))
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return s>>16+s&0xffff == 0xffff
}

// IP options (RFC 791, 3.1).
const (
	optionEnd    = 0
	optionNop    = 1
	optionLSRR   = 131
	optionSSRR   = 137
	optionCopied = 0x80
)

// options says whether the packet's options let it pass. A source route is how
// somebody outside gets around filters (RFC 7126, 4.3). Record Route and Timestamp
// pass as they are, without our address.
func (p *packet) options() frame.DropReason {
	for o := p.d[ipLen:p.hlen]; len(o) > 0 && o[0] != optionEnd; {
		n := optionLen(o)
		switch {
		case n == 0:
			return frame.Malformed
		case o[0] == optionLSRR || o[0] == optionSSRR:
			return frame.NoRoute
		}
		o = o[n:]
	}
	return frame.Pass
}

// optionLen is the length of the first of some options, 0 where that can't be.
func optionLen(o []byte) int {
	if o[0] == optionNop {
		return 1
	}
	if len(o) < 2 || o[1] < 2 || int(o[1]) > len(o) {
		return 0
	}
	return int(o[1])
}

// decrementTTL takes one hop off.
func decrementTTL(d []byte) {
	was := binary.BigEndian.Uint16(d[8:])
	d[8]--
	frame.ChecksumDelta(0).Replace16(was, was-0x100).Patch(d[10:12])
}

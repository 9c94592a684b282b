package gateway

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// Fragment cuts a packet that Route has rewritten for a side, to the MTU there (RFC 791,
// 3.2), and calls emit with each piece: virtio-net header and frame, without
// checksums that are left to others. The bytes are buf's, which must hold
// FragmentLen of the side, and last until emit returns. A partial checksum is
// completed in raw.
//
// A super-frame is nothing that can be cut: the caller has it segmented
// (Frame.Segment), and the segments cut. Nothing is emitted for one, and nothing
// for what is no IPv4 packet.
func (g *Gateway) Fragment(buf, raw []byte, to Side, emit func(frame []byte)) {
	var p packet
	if !isIPv4(raw) || raw[1] != 0 || !p.parse(raw) {
		return
	}
	completeChecksum(raw, p.d)

	data, word := p.d[p.hlen:], p.fragmentWord()
	offset, flags := int(word&fragmentOffset), word&^fragmentOffset
	clear(buf[:frame.VNetLen])
	copy(buf[frame.VNetLen:l3], raw[frame.VNetLen:l3])
	h := buf[l3:]
	hlen := copy(h, p.d[:p.hlen])
	for {
		n := g.link[to].MTU - hlen
		if len(data) > n {
			n &^= 7 // offsets count eights
		} else {
			n = len(data)
		}
		is := flags | uint16(offset)
		if n < len(data) {
			is |= moreFragments
		}
		h[0] = 0x40 | byte(hlen/4)
		binary.BigEndian.PutUint16(h[2:], uint16(hlen+n))
		binary.BigEndian.PutUint16(h[6:], is)
		h[10], h[11] = 0, 0
		binary.BigEndian.PutUint16(h[10:], ^frame.Sum(h[:hlen]))
		copy(h[hlen:], data[:n])
		emit(buf[:l3+hlen+n])

		data, offset = data[n:], offset+n/8
		if len(data) == 0 {
			return
		}
		hlen = ipLen + copyOptions(h[ipLen:], p.d[ipLen:p.hlen])
	}
}

// FragmentLen is what a buffer for Fragment must hold.
func (g *Gateway) FragmentLen(to Side) int { return l3 + g.link[to].MTU }

// copyOptions writes those options that every fragment has, and returns their
// length with padding.
func copyOptions(dst, options []byte) int {
	n := 0
	for len(options) > 0 && options[0] != optionEnd {
		l := optionLen(options)
		if l == 0 {
			break
		}
		if options[0]&optionCopied != 0 {
			n += copy(dst[n:], options[:l])
		}
		options = options[l:]
	}
	for n%4 != 0 {
		dst[n] = optionEnd
		n++
	}
	return n
}

// completeChecksum writes the checksum that was left to the receiver, who gets the
// packet in pieces. packet is raw from the IP header to the packet's end.
func completeChecksum(raw, packet []byte) {
	start, ok := frame.PartialChecksum(raw)
	if !ok {
		return
	}
	raw[0] = 0
	start -= frame.HeaderLen
	offset := int(binary.LittleEndian.Uint16(raw[8:]))
	if start < ipLen || start+offset+2 > len(packet) {
		return
	}
	sum := ^frame.Sum(packet[start:])
	if sum == 0 && packet[9] == protoUDP {
		sum = 0xffff // RFC 768: zero means no checksum
	}
	binary.BigEndian.PutUint16(packet[start+offset:], sum)
}

package frame

import "encoding/binary"

// ChecksumDelta is what a ones' complement sum changes by when words under it
// change (RFC 1624). The zero value is no change. It holds some 2^31 changes
// before it overflows.
type ChecksumDelta uint64

// Replace32 is the delta with one more change, of two words. They begin at an
// even offset of what is summed.
func (c ChecksumDelta) Replace32(was, is uint32) ChecksumDelta {
	return c + ChecksumDelta(^was) + ChecksumDelta(is)
}

// Replace16 is the delta with one more change, of one word.
func (c ChecksumDelta) Replace16(was, is uint16) ChecksumDelta {
	return c + ChecksumDelta(^was) + ChecksumDelta(is)
}

// Patch changes a complete checksum, the field's two bytes, as equation 3 of
// RFC 1624 says. A checksum that was wrong stays wrong.
func (c ChecksumDelta) Patch(field []byte) {
	binary.BigEndian.PutUint16(field, ^c.addTo(^binary.BigEndian.Uint16(field)))
}

// PatchUDP is Patch for UDP over IPv4, where zero says that there is no
// checksum, and a sum that comes to zero is written 0xffff (RFC 768).
func (c ChecksumDelta) PatchUDP(field []byte) {
	was := binary.BigEndian.Uint16(field)
	if was == 0 {
		return
	}
	is := ^c.addTo(^was)
	if is == 0 {
		is = 0xffff
	}
	binary.BigEndian.PutUint16(field, is)
}

// PatchPartial changes the field of a checksum that the receiver of the frame
// is to complete (VIRTIO_NET_HDR_F_NEEDS_CSUM). It holds the sum of the pseudo
// header, not complemented, so that addresses change it and ports do not.
func (c ChecksumDelta) PatchPartial(field []byte) {
	binary.BigEndian.PutUint16(field, c.addTo(binary.BigEndian.Uint16(field)))
}

func (c ChecksumDelta) addTo(s uint16) uint16 {
	v := uint64(c)
	v = v>>32 + v&0xffffffff + uint64(s) // below 2^33
	v = v>>16 + v&0xffff                 // below 2^18
	v = v>>16 + v&0xffff
	return uint16(v>>16 + v&0xffff)
}

// Sum is the ones' complement sum of at most 64 KiB (RFC 1071), not
// complemented.
func Sum(b []byte) uint16 { return fold(sum(0, b)) }

// PartialChecksum returns where the checksum begins that is left to the
// receiver of a frame, from the destination MAC on. raw begins with the
// virtio-net header. ok is false where every checksum is complete.
func PartialChecksum(raw []byte) (start int, ok bool) {
	return vnetCsumStart(raw), raw[0]&vnetNeedsCsum != 0
}

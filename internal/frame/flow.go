package frame

import "encoding/binary"

// FlowHash is a number that frames of one flow have in common, and others seldom:
// of addresses, protocol and ports for TCP and UDP, else of what there is. It is
// for taking turns between flows, not against somebody who wants collisions.
func (f *Frame) FlowHash() uint32 {
	d := f.Data()
	if len(d) < HeaderLen {
		return 0
	}
	p := d[HeaderLen:]
	switch kind := binary.BigEndian.Uint16(d[12:]); {
	case kind == EtherTypeIPv4 && len(p) >= 20:
		h := mix(0, binary.LittleEndian.Uint64(p[12:]))
		h = mix(h, uint64(p[9]))
		l4 := int(p[0]&0x0f) * 4
		if fragment := binary.BigEndian.Uint16(p[6:]) & 0x3fff; fragment == 0 && hasPorts(p[9]) && len(p) >= l4+4 {
			h = mix(h, uint64(binary.LittleEndian.Uint32(p[l4:])))
		}
		return uint32(h >> 32)
	case kind == EtherTypeIPv6 && len(p) >= 40:
		h := mix(0, binary.LittleEndian.Uint64(p[8:]))
		h = mix(h, binary.LittleEndian.Uint64(p[16:]))
		h = mix(h, binary.LittleEndian.Uint64(p[24:]))
		h = mix(h, binary.LittleEndian.Uint64(p[32:]))
		h = mix(h, uint64(p[6]))
		if hasPorts(p[6]) && len(p) >= 44 {
			h = mix(h, uint64(binary.LittleEndian.Uint32(p[40:])))
		}
		return uint32(h >> 32)
	}
	return uint32(mix(mix(0, binary.LittleEndian.Uint64(d)), uint64(binary.LittleEndian.Uint32(d[8:])))>>32) ^ uint32(d[12])<<8 ^ uint32(d[13])
}

func hasPorts(protocol byte) bool { return protocol == protoTCP || protocol == protoUDP }

// mix is one step of a multiplicative hash; the constant is 2^64 by the golden
// ratio.
func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

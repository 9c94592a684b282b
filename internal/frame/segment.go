package frame

import "encoding/binary"

// IP protocol numbers.
const (
	protoTCP = 6
	protoUDP = 17
)

// Segment cuts a super-frame into the frames of the wire, each with complete
// checksums, and calls emit with each: virtio-net header and frame in one
// piece, tagged where tagged is true. The bytes belong to scratch, which must
// hold VNetLen+TagLen+f.Len, and last until emit returns. It reports false,
// having emitted nothing, for a kind it does not know. Parse has passed f.
//
// It is for kernels that refuse a GSO type on transmission (UDP_L4 before
// Linux 6.2), not for speed. What it does to the headers is what
// net/ipv4/tcp_offload.c and udp_offload.c do.
func (f *Frame) Segment(tagged bool, tci uint16, scratch []byte, emit func(raw []byte)) bool {
	d := f.Data()
	kind := f.Raw[1] &^ gsoECN
	if kind != gsoTCPv4 && kind != gsoTCPv6 && kind != gsoUDPL4 {
		return false
	}
	l4 := vnetCsumStart(f.Raw)
	if f.Raw[0]&vnetNeedsCsum == 0 {
		l4 = transportOffset(d)
	}
	hdr := int(binary.LittleEndian.Uint16(f.Raw[2:]))
	proto := byte(protoTCP)
	if kind == gsoUDPL4 {
		proto = protoUDP
	}
	l3 := networkOffset(d, l4, proto)
	if l3 == 0 || hdr <= l4 || hdr >= len(d) {
		return false
	}
	shift := 0
	if tagged {
		shift = TagLen
	}
	size, payload := vnetGSOSize(f.Raw), d[hdr:]
	for i := 0; i < f.Segments; i++ {
		n := min(size, len(payload)-i*size)
		clear(scratch[:VNetLen])
		out := scratch[VNetLen:]
		copy(out, d[:12])
		if tagged {
			binary.BigEndian.PutUint16(out[12:], EtherTypeVLAN)
			binary.BigEndian.PutUint16(out[14:], tci)
		}
		seg := out[shift:] // offsets of d hold in seg from 12 on
		copy(seg[12:hdr], d[12:hdr])
		copy(seg[hdr:], payload[i*size:i*size+n])
		seg = seg[:hdr+n]
		finishNetwork(seg, l3, i)
		finishTransport(seg, l3, l4, proto, i, f.Segments, i*size)
		emit(scratch[:VNetLen+shift+hdr+n])
	}
	return true
}

// networkOffset finds the IP header whose payload is the transport header at
// l4. Zero: there is none, or it is not the frame's outermost one, so that the
// frame is a tunnel's.
func networkOffset(d []byte, l4 int, proto byte) int {
	l3 := HeaderLen
	for l3+TagLen < l4 {
		t := binary.BigEndian.Uint16(d[l3-2:])
		if t != EtherTypeVLAN && t != EtherTypeQinQ {
			break
		}
		l3 += TagLen
	}
	switch {
	case l3+20 <= l4 && d[l3]>>4 == 4 && l3+int(d[l3]&0x0f)*4 == l4 && d[l3+9] == proto:
		return l3
	case l3+40 <= l4 && d[l3]>>4 == 6 && transportFollows(d[l3:l4], proto):
		return l3
	}
	return 0
}

// transportFollows reports whether the IPv6 header ip and the extension headers
// behind it end with proto as what comes next (RFC 8200, section 4).
func transportFollows(ip []byte, proto byte) bool {
	next, ext := ip[6], ip[40:]
	for len(ext) >= 8 {
		const hopByHop, routing, destination = 0, 43, 60
		n := (int(ext[1]) + 1) * 8
		if next != hopByHop && next != routing && next != destination || n > len(ext) {
			return false
		}
		next, ext = ext[0], ext[n:]
	}
	return len(ext) == 0 && next == proto
}

func finishNetwork(seg []byte, l3, i int) {
	ip := seg[l3:]
	if ip[0]>>4 == 6 {
		binary.BigEndian.PutUint16(ip[4:], uint16(len(ip)-40))
		return
	}
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	binary.BigEndian.PutUint16(ip[4:], binary.BigEndian.Uint16(ip[4:])+uint16(i))
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(0, ip[:int(ip[0]&0x0f)*4])))
}

func finishTransport(seg []byte, l3, l4 int, proto byte, i, count, offset int) {
	t := seg[l4:]
	at := 16
	if proto == protoUDP {
		at = 6
		binary.BigEndian.PutUint16(t[4:], uint16(len(t)))
	} else {
		binary.BigEndian.PutUint32(t[4:], binary.BigEndian.Uint32(t[4:])+uint32(offset))
		const fin, psh, cwr = 0x01, 0x08, 0x80
		if i > 0 {
			t[13] &^= cwr
		}
		if i < count-1 {
			t[13] &^= fin | psh
		}
	}
	t[at], t[at+1] = 0, 0
	s := uint32(proto) + uint32(len(t))
	if ip := seg[l3:]; ip[0]>>4 == 4 {
		s = sum(s, ip[12:20])
	} else {
		s = sum(s, ip[8:40])
	}
	c := ^fold(sum(s, t))
	if c == 0 && proto == protoUDP {
		c = 0xffff // RFC 768: zero means no checksum
	}
	binary.BigEndian.PutUint16(t[at:], c)
}

// sum adds b to a ones' complement sum (RFC 1071) of at most 64 KiB.
func sum(s uint32, b []byte) uint32 {
	for len(b) >= 2 {
		s += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

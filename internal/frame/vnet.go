package frame

import "encoding/binary"

// VNetLen is the length of struct virtio_net_hdr, which a packet socket with
// PACKET_VNET_HDR puts before each frame (packet(7), linux/virtio_net.h):
//
//	0 flags  1 gso_type  2 hdr_len  4 gso_size  6 csum_start  8 csum_offset
//
// Fields of 16 bits are in the byte order of the machine; every machine that
// gxswitch runs on is little-endian.
const VNetLen = 10

// Flags and GSO types of linux/virtio_net.h.
const (
	vnetNeedsCsum = 1

	gsoNone  = 0
	gsoTCPv4 = 1
	gsoUDP   = 3 // IPv4 fragmentation offload, gone from Linux 4.14 but for tap guests
	gsoTCPv6 = 4
	gsoUDPL4 = 5
	gsoECN   = 0x80 // with a TCP type: CWR is on the first segment only
)

func vnetCsumStart(h []byte) int { return int(binary.LittleEndian.Uint16(h[6:])) }
func vnetGSOSize(h []byte) int   { return int(binary.LittleEndian.Uint16(h[4:])) }

// shiftVNet follows n bytes put in (or, negative, taken out) before the layers
// that the header's offsets point at.
func shiftVNet(h []byte, n int) {
	if l := binary.LittleEndian.Uint16(h[2:]); l != 0 {
		binary.LittleEndian.PutUint16(h[2:], uint16(int(l)+n))
	}
	if h[0]&vnetNeedsCsum != 0 {
		binary.LittleEndian.PutUint16(h[6:], uint16(vnetCsumStart(h)+n))
	}
}

// IsGSO reports whether the frame stands for several frames of the wire.
func (f *Frame) IsGSO() bool { return f.Raw[1] != gsoNone }

// parseGSO works out the segments of a super-frame and writes hdr_len, which
// the kernel allocates linearly when the frame is sent: reception fills it with
// whatever happened to be linear there.
func (f *Frame) parseGSO(d []byte) DropReason {
	size, hdr := vnetGSOSize(f.Raw), 0
	l4 := vnetCsumStart(f.Raw)
	if f.Raw[0]&vnetNeedsCsum == 0 {
		l4 = transportOffset(d)
	}
	switch f.Raw[1] &^ gsoECN {
	case gsoTCPv4, gsoTCPv6:
		if l4 < HeaderLen || l4+20 > len(d) {
			return Malformed
		}
		hdr = l4 + int(d[l4+12]>>4)*4
		if hdr < l4+20 {
			return Malformed
		}
	case gsoUDPL4:
		if l4 < HeaderLen {
			return Malformed
		}
		hdr = l4 + 8
	default:
		return UnsupportedGSO
	}
	if size == 0 || hdr >= len(d) {
		return Malformed
	}
	payload := len(d) - hdr
	f.Segments = (payload + size - 1) / size
	f.Bytes = len(d) + (f.Segments-1)*hdr
	f.Len = hdr + min(size, payload)
	binary.LittleEndian.PutUint16(f.Raw[2:], uint16(hdr))
	return Pass
}

// transportOffset finds the transport header of an IPv4 packet, or of an IPv6
// packet without extension headers; 0 if it is neither.
func transportOffset(d []byte) int {
	l3 := HeaderLen
	t := binary.BigEndian.Uint16(d[12:])
	for (t == EtherTypeVLAN || t == EtherTypeQinQ) && len(d) >= l3+TagLen {
		t = binary.BigEndian.Uint16(d[l3+2:])
		l3 += TagLen
	}
	switch {
	case t == EtherTypeIPv4 && len(d) >= l3+20:
		return l3 + int(d[l3]&0x0f)*4
	case t == EtherTypeIPv6 && len(d) >= l3+40:
		return l3 + 40
	}
	return 0
}

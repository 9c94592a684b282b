package dhcpd

import (
	"encoding/binary"
	"net/netip"

	"gxswitch/internal/frame"
)

const (
	serverPort = 67
	clientPort = 68

	etherLen = 14
	ipLen    = 20
	udpLen   = 8

	etherTypeIPv4 = 0x0800
	etherTypeARP  = 0x0806
	protoUDP      = 17
)

// datagram is what a frame carried.
type datagram struct {
	srcMAC, dstMAC frame.MAC
	src, dst       netip.Addr
	payload        []byte // of the frame's memory
}

// parseUDP takes a whole, untagged frame apart, if it is UDP to the server's
// port and right in every length and checksum.
func parseUDP(b []byte) (d datagram, ok bool) {
	if len(b) < etherLen+ipLen+udpLen || binary.BigEndian.Uint16(b[12:]) != etherTypeIPv4 {
		return d, false
	}
	p := b[etherLen:]
	head, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if p[0]>>4 != 4 || head < ipLen || total < head+udpLen || total > len(p) || p[9] != protoUDP {
		return d, false
	}
	if fragment := binary.BigEndian.Uint16(p[6:]) & 0x3fff; fragment != 0 || fold(sum(0, p[:head])) != 0xffff {
		return d, false
	}
	u := p[head:total]
	length := int(binary.BigEndian.Uint16(u[4:]))
	if length < udpLen || length > len(u) || binary.BigEndian.Uint16(u[2:]) != serverPort {
		return d, false
	}
	u = u[:length]
	pseudo := sum(protoUDP+uint32(length), p[12:20])
	// A guest of the same machine may send with checksum offload: then the field
	// holds the sum of the pseudo-header, and nobody has finished it on the way.
	if c := binary.BigEndian.Uint16(u[6:]); c != 0 && c != fold(pseudo) && fold(sum(pseudo, u)) != 0xffff {
		return d, false
	}
	d.dstMAC, d.srcMAC = frame.MAC(b[0:6]), frame.MAC(b[6:12])
	d.src, d.dst = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	d.payload = u[udpLen:]
	return d, true
}

// buildUDP makes a whole frame from the server's port to the client's, with
// complete checksums.
func buildUDP(d datagram) []byte {
	b := make([]byte, etherLen+ipLen+udpLen+len(d.payload))
	copy(b, d.dstMAC[:])
	copy(b[6:], d.srcMAC[:])
	binary.BigEndian.PutUint16(b[12:], etherTypeIPv4)

	p := b[etherLen:]
	p[0], p[8], p[9] = 4<<4|ipLen/4, 64, protoUDP
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	p[6] = 0x40 // don't fragment: the message is made to fit
	src, dst := d.src.As4(), d.dst.As4()
	copy(p[12:], src[:])
	copy(p[16:], dst[:])
	binary.BigEndian.PutUint16(p[10:], ^fold(sum(0, p[:ipLen])))

	u := p[ipLen:]
	binary.BigEndian.PutUint16(u, serverPort)
	binary.BigEndian.PutUint16(u[2:], clientPort)
	binary.BigEndian.PutUint16(u[4:], uint16(len(u)))
	copy(u[udpLen:], d.payload)
	check := ^fold(sum(sum(protoUDP+uint32(len(u)), p[12:20]), u))
	if check == 0 {
		check = 0xffff // zero would say that there is none (RFC 768)
	}
	binary.BigEndian.PutUint16(u[6:], check)
	return b
}

// sum adds 16-bit words as RFC 1071 does, up to 64 KiB of them.
func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

const arpLen = 28

// buildProbe asks who has the address, without saying an address of ours, which
// would make guests learn it (RFC 5227, 2.1.1).
func buildProbe(own frame.MAC, a netip.Addr) []byte {
	b := make([]byte, etherLen+arpLen)
	copy(b, frame.Broadcast[:])
	copy(b[6:], own[:])
	binary.BigEndian.PutUint16(b[12:], etherTypeARP)
	p := b[etherLen:]
	copy(p, []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(p[8:], own[:])
	target := a.As4()
	copy(p[24:], target[:])
	return b
}

// parseReply takes an ARP reply apart: who has which address. A reply in another
// station's name says nothing.
func parseReply(b []byte) (frame.MAC, netip.Addr, bool) {
	if len(b) < etherLen+arpLen || binary.BigEndian.Uint16(b[12:]) != etherTypeARP {
		return frame.MAC{}, netip.Addr{}, false
	}
	p := b[etherLen:]
	if [8]byte(p) != [8]byte{0, 1, 8, 0, 6, 4, 0, 2} || frame.MAC(p[8:14]) != frame.MAC(b[6:12]) {
		return frame.MAC{}, netip.Addr{}, false
	}
	return frame.MAC(p[8:14]), netip.AddrFrom4([4]byte(p[14:18])), true
}

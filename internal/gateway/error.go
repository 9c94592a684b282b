package gateway

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// ICMPError is a message about a packet that goes no further. The zero value is
// none.
type ICMPError struct {
	Type, Code uint8
	MTU        uint16 // of FragmentationNeeded: of the link it did not fit (RFC 1191, 4)
}

// Types of ICMP errors, and codes of Unreachable (RFC 792, RFC 1812 5.2.7.1).
const (
	Unreachable  = 3
	TimeExceeded = 11

	NetUnreachable      = 0
	HostUnreachable     = 1
	FragmentationNeeded = 4
)

const (
	icmpLen = 8

	// maxError is the length of an error's packet at most (RFC 1812, 4.3.2.3).
	maxError = 576
)

// ErrorLen is room enough for what AppendError appends.
const ErrorLen = frame.VNetLen + frame.HeaderLen + maxError

// AppendError appends to buf a frame, with its virtio-net header, that carries an
// ICMP error about a packet to the station that sent it. raw is the packet's frame
// as it came from the side. It reports false where there must not be an error, or
// where nanos, in nanoseconds of any clock, is too soon for one more.
func (g *Gateway) AppendError(buf []byte, from Side, raw []byte, e ICMPError, nanos int64) ([]byte, bool) {
	var p packet
	if e == (ICMPError{}) || !isIPv4(raw) || !p.parse(raw) || !g.mayTell(from, raw, &p) || g.speaker[from] == 0 {
		return buf, false
	}
	if !g.errors.allow(from, p.src, nanos) {
		return buf, false
	}
	about := p.d[:min(len(p.d), maxError-ipLen-icmpLen)]
	d := raw[frame.VNetLen:]

	var h [l3 + ipLen + icmpLen]byte
	copy(h[frame.VNetLen:], d[6:12])
	copy(h[frame.VNetLen+6:], g.link[from].MAC[:])
	binary.BigEndian.PutUint16(h[frame.VNetLen+12:], frame.EtherTypeIPv4)

	ip := h[l3:]
	ip[0] = 0x45
	ip[1] = 0xc0 | p.d[1]&0x1c // internetwork control (RFC 1812, 4.3.2.5)
	binary.BigEndian.PutUint16(ip[2:], uint16(ipLen+icmpLen+len(about)))
	// With DF the identification means nothing (RFC 6864, 4.1).
	binary.BigEndian.PutUint16(ip[6:], dontFragment)
	ip[8], ip[9] = 64, protoICMP
	binary.BigEndian.PutUint32(ip[12:], g.speaker[from])
	binary.BigEndian.PutUint32(ip[16:], p.src)
	binary.BigEndian.PutUint16(ip[10:], ^frame.Sum(ip[:ipLen]))

	icmp := ip[ipLen:]
	icmp[0], icmp[1] = e.Type, e.Code
	binary.BigEndian.PutUint16(icmp[6:], e.MTU)
	sum := uint32(frame.Sum(icmp)) + uint32(frame.Sum(about))
	binary.BigEndian.PutUint16(icmp[2:], ^uint16(sum+sum>>16))

	return append(append(buf, h[:]...), about...), true
}

// mayTell reports whether there may be an error about a packet (RFC 1122, 3.2.2;
// RFC 1812, 4.3.2.7): only about one of a single station to a single station, and
// never about an error. Nobody is told who is not on the side that the packet came
// from: its source was forged, or the packet is not as its sender sent it.
func (g *Gateway) mayTell(from Side, raw []byte, p *packet) bool {
	d := raw[frame.VNetLen:]
	if (d[0]|d[6])&1 != 0 {
		return false
	}
	sender := guest
	if from == Outside {
		sender = elsewhere
	}
	if isGroup(g.classes.lookup(p.dst)) || g.classes.lookup(p.src) != sender {
		return false
	}
	if p.fragmentWord()&fragmentOffset != 0 {
		return false
	}
	return p.d[9] != protoICMP || len(p.d) > p.hlen && isQuery(p.d[p.hlen])
}

// isQuery is true of ICMP's questions and answers. What is unknown may be an error,
// as for Linux (__icmp_send in net/ipv4/icmp.c).
func isQuery(icmpType byte) bool {
	switch icmpType {
	case 0, 8, // echo
		9, 10, // router discovery
		13, 14, 15, 16, 17, 18: // timestamp, information, address mask
		return true
	}
	return false
}

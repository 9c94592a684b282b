package nat

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// IP protocol numbers.
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// Lengths of headers without options, in bytes.
const (
	ipLen   = 20
	tcpLen  = 20
	udpLen  = 8
	icmpLen = 8
)

// ICMP types (RFC 792).
const (
	icmpEchoReply    = 0
	icmpUnreachable  = 3
	icmpSourceQuench = 4
	icmpEchoRequest  = 8
	icmpTimeExceeded = 11
	icmpParameter    = 12
)

// Fields of the fragment word.
const (
	moreFragments  = 0x2000
	fragmentOffset = 0x1fff // in units of 8 bytes
)

// kind says what can be done with a packet.
type kind uint8

const (
	unknown       kind = iota // no protocol that sessions are made of
	endpoints                 // has a key
	laterFragment             // has no ports: they were in the first fragment
	icmpError                 // is about another packet, within it
)

// packet is what the rewriting needs to know of an IPv4 packet.
type packet struct {
	d       []byte // from the IP header on, to the packet's end
	l4      int    // where the transport header begins
	key     key    // without ports unless kind is endpoints
	kind    kind
	flags   byte // of TCP
	first   bool // the first of several fragments
	partial bool // the checksum is left to the receiver
}

// parse reads the headers of a packet, raw from the virtio-net header on.
func (p *packet) parse(raw []byte, from side) frame.DropReason {
	const l2 = frame.VNetLen + frame.HeaderLen
	if len(raw) < l2+ipLen || binary.BigEndian.Uint16(raw[l2-2:]) != frame.EtherTypeIPv4 {
		return frame.Malformed
	}
	d := raw[l2:]
	l4, end := int(d[0]&0x0f)*4, int(binary.BigEndian.Uint16(d[2:]))
	if end == 0 && raw[1] != 0 {
		end = len(d) // a super-frame beyond 64 KiB (BIG TCP)
	}
	if d[0]>>4 != 4 || l4 < ipLen || end < l4 || end > len(d) {
		return frame.Malformed
	}
	d = d[:end]
	start, partial := frame.PartialChecksum(raw)
	p.d, p.l4, p.partial = d, l4, partial && start == frame.HeaderLen+l4
	p.key.addrs = binary.BigEndian.Uint64(d[12:])
	p.key.ends = uint64(d[9])<<8 | uint64(from)

	fragment := binary.BigEndian.Uint16(d[6:])
	if offset := fragment & fragmentOffset; offset != 0 {
		// Eight bytes in: nobody cuts a TCP header but to hide its flags from us
		// (RFC 1858, 3 and RFC 3128).
		if offset == 1 && d[9] == protoTCP {
			return frame.Malformed
		}
		p.kind = laterFragment
		return frame.Pass
	}
	p.first = fragment&moreFragments != 0
	if p.first && (end-l4)%8 != 0 {
		return frame.Malformed // offsets count eights (RFC 791, 3.2)
	}

	t := d[l4:]
	switch d[9] {
	case protoTCP:
		if len(t) < tcpLen {
			return frame.Malformed
		}
		p.kind, p.flags = endpoints, t[13]
		p.key.ends = portsOf(t)<<32 | protoTCP<<8 | uint64(from)
	case protoUDP:
		if len(t) < udpLen {
			return frame.Malformed
		}
		p.kind = endpoints
		p.key.ends = portsOf(t)<<32 | protoUDP<<8 | uint64(from)
	case protoICMP:
		if len(t) < icmpLen {
			return frame.Malformed
		}
		switch t[0] {
		case icmpEchoRequest:
			p.kind = endpoints
			p.key.ends |= uint64(binary.BigEndian.Uint16(t[4:])) << 48
		case icmpEchoReply:
			p.kind = endpoints
			p.key.ends |= uint64(binary.BigEndian.Uint16(t[4:])) << 32
		case icmpUnreachable, icmpSourceQuench, icmpTimeExceeded, icmpParameter:
			p.kind = icmpError
		}
	}
	return frame.Pass
}

// portsOf is the two ports of TCP or UDP, as a key has them.
func portsOf(t []byte) uint64 { return uint64(binary.BigEndian.Uint32(t)) }

// opens reports whether the packet may open a session. A TCP segment in the
// middle of a connection may not: it would get another port than the connection
// had, and a guest could open sessions that nobody has to answer.
func (p *packet) opens() bool {
	switch p.key.proto() {
	case protoTCP:
		return p.flags&(syn|ack|rst|fin) == syn
	case protoICMP:
		return p.d[p.l4] == icmpEchoRequest
	}
	return true
}

// rewrite gives the packet the addresses and ports of is.
func (p *packet) rewrite(is key) {
	was, d := p.key, p.d
	t := d[p.l4:]
	addresses := frame.ChecksumDelta(0).
		Replace32(was.src(), is.src()).
		Replace32(was.dst(), is.dst())
	binary.BigEndian.PutUint64(d[12:], is.addrs)
	addresses.Patch(d[10:12])

	ports := addresses.Replace32(uint32(was.ends>>32), uint32(is.ends>>32))
	switch was.proto() {
	case protoTCP:
		binary.BigEndian.PutUint32(t, uint32(is.ends>>32))
		if p.partial {
			addresses.PatchPartial(t[16:18])
		} else {
			ports.Patch(t[16:18])
		}
	case protoUDP:
		binary.BigEndian.PutUint32(t, uint32(is.ends>>32))
		if p.partial {
			addresses.PatchPartial(t[6:8])
		} else {
			ports.PatchUDP(t[6:8])
		}
	case protoICMP:
		rewriteEcho(t, was, is)
	}
}

// rewriteEcho gives an echo request or reply the identifier of is.
func rewriteEcho(t []byte, was, is key) {
	// One of the two ports is 0.
	from, to := was.sport()|was.dport(), is.sport()|is.dport()
	binary.BigEndian.PutUint16(t[4:], to)
	frame.ChecksumDelta(0).Replace16(from, to).Patch(t[2:4])
}

// rewriteAddresses gives the packet the addresses of is, and leaves what is
// behind the IP header alone.
func (p *packet) rewriteAddresses(is uint64) {
	was := p.key.addrs
	delta := frame.ChecksumDelta(0).
		Replace32(uint32(was>>32), uint32(is>>32)).
		Replace32(uint32(was), uint32(is))
	binary.BigEndian.PutUint64(p.d[12:], is)
	delta.Patch(p.d[10:12])
}

// rewriteID gives a fragment the identification of its packet.
func (p *packet) rewriteID(id uint16) {
	frame.ChecksumDelta(0).Replace16(binary.BigEndian.Uint16(p.d[4:]), id).Patch(p.d[10:12])
	binary.BigEndian.PutUint16(p.d[4:], id)
}

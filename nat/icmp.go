package nat

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// translateError rewrites an ICMP error, which carries the beginning of the
// packet that it is about, as whoever sent the error saw it. ok is false where
// that is of no session.
//
// It neither refreshes nor ends the session (RFC 5508, REQ-6 and RFC 7857, 7.1):
// an error can be forged by who knows no more than addresses and ports. What a
// host makes of it is for its own TCP to judge, by the sequence number that is in
// it (RFC 5927). Checksums are changed by difference, so that one that was wrong
// is wrong still, and the receiver finds out.
func (t *Table) translateError(p *packet, now int64) (v Verdict, ok bool) {
	from := p.key.from()
	about, l4, ok := embedded(p.d[p.l4+icmpLen:], from)
	if !ok || about.src() != p.key.dst() {
		return Verdict{}, false
	}
	var m match
	if !t.find(about.reversed(from), &m) || t.overdue(&m, now) {
		return Verdict{}, false
	}
	src := p.key.src()
	if from == inside {
		if !t.isInside(src) {
			return drop(frame.SpoofIP), true
		}
		src = m.reply.dst() // as the other end knows this side (RFC 5508, REQ-5 c)
	} else if t.impossibleOutside(src) {
		return drop(frame.SpoofIP), true
	}

	e := p.d[p.l4+icmpLen:]
	changed := e[:min(len(e), l4+tcpLen)]
	was := frame.Sum(changed)
	rewriteEmbedded(e, l4, about, m.reply)
	frame.ChecksumDelta(0).Replace16(was, frame.Sum(changed)).Patch(p.d[p.l4+2 : p.l4+4])

	to, addrs := placeOf(m.reply.from()), uint64(src)<<32|uint64(m.reply.src())
	p.rewriteAddresses(addrs)
	if p.first {
		t.leadFragments(p, addrs, to, m.owner(), now)
	}
	return deliver(to, m.reply.src()), true
}

// embedded reads the packet that an error is about: its key, as one that comes
// from that side, and where its transport header begins. Eight bytes of that are
// all that an error must carry (RFC 792).
func embedded(e []byte, from side) (k key, l4 int, ok bool) {
	if len(e) < ipLen {
		return key{}, 0, false
	}
	l4 = int(e[0]&0x0f) * 4
	if e[0]>>4 != 4 || l4 < ipLen || len(e) < l4+8 || binary.BigEndian.Uint16(e[6:])&fragmentOffset != 0 {
		return key{}, 0, false
	}
	var sport, dport uint16
	switch t := e[l4:]; e[9] {
	case protoTCP, protoUDP:
		sport, dport = binary.BigEndian.Uint16(t), binary.BigEndian.Uint16(t[2:])
	case protoICMP:
		switch id := binary.BigEndian.Uint16(t[4:]); t[0] {
		case icmpEchoRequest:
			sport = id
		case icmpEchoReply:
			dport = id
		default:
			return key{}, 0, false
		}
	default:
		return key{}, 0, false
	}
	return makeKey(from, e[9], binary.BigEndian.Uint32(e[12:]), binary.BigEndian.Uint32(e[16:]), sport, dport), l4, true
}

// rewriteEmbedded gives the packet within an error the addresses and ports of is.
// Of TCP the checksum may be beyond the end.
func rewriteEmbedded(e []byte, l4 int, was, is key) {
	delta := frame.ChecksumDelta(0).
		Replace32(was.src(), is.src()).
		Replace32(was.dst(), is.dst())
	binary.BigEndian.PutUint64(e[12:], is.addrs)
	delta.Patch(e[10:12])
	t := e[l4:]
	if was.proto() == protoICMP {
		rewriteEcho(t, was, is)
		return
	}
	binary.BigEndian.PutUint32(t, uint32(is.ends>>32))
	delta = delta.Replace32(uint32(was.ends>>32), uint32(is.ends>>32))
	switch {
	case was.proto() == protoUDP:
		delta.PatchUDP(t[6:8])
	case len(t) >= 18:
		delta.Patch(t[16:18])
	}
}

package filter

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// Leased takes up the lease in a DHCP server's answer, and reports whether it
// gave the guest an address that is new. The caller shows it what a trusted port
// sends towards the guest, d like Ingress, before the guest gets it; any worker
// may. Nothing is learned where Policy.IP says which addresses are the guest's,
// or while its MAC is not known. Antispoof is no matter: so turning it on later
// does not cut the guest off.
func (g *Guard) Leased(d []byte, now int64) bool {
	if len(d) < frame.HeaderLen+ipv4Min+udpLen {
		return false
	}
	switch binary.BigEndian.Uint16(d[12:]) {
	case frame.EtherTypeIPv4:
		if d[frame.HeaderLen+9] != protoUDP {
			return false
		}
	case frame.EtherTypeIPv6:
		if d[frame.HeaderLen+6] != protoUDP {
			return false
		}
	}
	return g.leased(d, now)
}

const ipv4Min = 20

// leased is Leased, for a frame that may be UDP.
func (g *Guard) leased(d []byte, now int64) bool {
	mac := g.learned.mac.Load()
	if g.listed != nil || mac == 0 {
		return false
	}
	kind, p, reason := unwrap(d)
	if reason != frame.Pass {
		return false
	}
	to := macFrom(d)
	switch kind {
	case frame.EtherTypeIPv4:
		if to == mac || to == macFrom(frame.Broadcast[:]) {
			return g.ack(p, mac, now)
		}
	case frame.EtherTypeIPv6:
		if to == mac {
			return g.reply(p, mac, now)
		}
	}
	return false
}

// Fields of a DHCP message (RFC 2131, 2), options (RFC 2132).
const (
	bootpYourOffset   = 16
	bootpServerOffset = 44 // sname
	bootpFileOffset   = 108
	bootpLen          = 236
	magicCookie       = 0x63825363

	optionPad       = 0
	optionLeaseTime = 51
	optionOverload  = 52
	optionType      = 53
	optionEnd       = 255
	typeACK         = 5
)

// ack takes up a DHCPACK.
func (g *Guard) ack(p []byte, mac uint64, now int64) bool {
	header := ipv4Header(p)
	if header == 0 || p[9] != protoUDP || binary.BigEndian.Uint16(p[6:])&moreAndOffset != 0 {
		return false
	}
	m := udpPayload(p[header:], dhcpServerPort, dhcpClientPort)
	if len(m) < bootpLen+4 || binary.BigEndian.Uint32(m[bootpLen:]) != magicCookie {
		return false
	}
	if m[0] != bootpReply || m[1] != 1 || m[2] != 6 || macFrom(m[bootpMACOffset:]) != mac {
		return false
	}
	your := address4(m[bootpYourOffset:])
	if to := address4(p[16:]); to != your && to != address4([]byte{255, 255, 255, 255}) {
		return false // see Leases in the package's documentation
	}
	if a := your.addr(); a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.As4()[0] >= 240 {
		return false
	}
	var o ackOptions
	o.read(m[bootpLen+4:])
	overload := o.overload
	if overload&1 != 0 {
		o.read(m[bootpFileOffset:bootpLen])
	}
	if overload&2 != 0 {
		o.read(m[bootpServerOffset:bootpFileOffset])
	}
	if o.kind != typeACK || !o.hasTime {
		return false
	}
	return g.learned.add(your, ends(now, o.seconds), now)
}

// ends is when a lease that begins now ends; all ones is infinity in DHCP
// (RFC 2131, 3.3) and DHCPv6 (RFC 8415, 7.7).
func ends(now int64, seconds uint32) int64 {
	if seconds == 1<<32-1 {
		return Forever
	}
	return now + int64(seconds)
}

// udpPayload is what a UDP datagram between two ports carries, else nil.
func udpPayload(u []byte, from, to uint16) []byte {
	if len(u) < udpLen || binary.BigEndian.Uint16(u) != from || binary.BigEndian.Uint16(u[2:]) != to {
		return nil
	}
	n := int(binary.BigEndian.Uint16(u[4:]))
	if n < udpLen || n > len(u) {
		return nil
	}
	return u[udpLen:n]
}

// ackOptions are the options of a DHCP message that matter here.
type ackOptions struct {
	kind     byte
	overload byte // 1: the file field has options, 2: sname has (RFC 2132, 9.3)
	seconds  uint32
	hasTime  bool
}

// read goes through one field of options; the first of a kind counts.
func (o *ackOptions) read(b []byte) {
	for len(b) > 0 && b[0] != optionEnd {
		if b[0] == optionPad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return
		}
		v := b[2 : 2+int(b[1])]
		switch {
		case b[0] == optionType && len(v) == 1 && o.kind == 0:
			o.kind = v[0]
		case b[0] == optionOverload && len(v) == 1 && o.overload == 0:
			o.overload = v[0]
		case b[0] == optionLeaseTime && len(v) == 4 && !o.hasTime:
			o.seconds, o.hasTime = binary.BigEndian.Uint32(v), true
		}
		b = b[2+int(b[1]):]
	}
}

// Options of DHCPv6 (RFC 8415, 21.4 to 21.6).
const (
	option6NonTemporary = 3
	option6Temporary    = 4
	option6Address      = 5
)

// reply takes up a DHCPv6 Reply.
func (g *Guard) reply(p []byte, mac uint64, now int64) bool {
	if len(p) < ipv6Len || p[0]>>4 != 6 || p[6] != protoUDP || address6(p[24:]) != linkLocal(mac) {
		return false
	}
	m := udpPayload(p[ipv6Len:], dhcp6ServerPort, dhcp6ClientPort)
	if len(m) < 4 || m[0] != dhcp6Reply {
		return false
	}
	learned := false
	for code, v := range options6(m[4:]) {
		fixed := 12 // IAID, T1, T2
		switch code {
		case option6Temporary:
			fixed = 4 // IAID
		case option6NonTemporary:
		default:
			continue
		}
		if len(v) < fixed {
			continue
		}
		for code, v := range options6(v[fixed:]) {
			if code == option6Address && len(v) >= 24 && g.address(v, now) {
				learned = true
			}
		}
	}
	return learned
}

// address takes up an IA Address option: address, preferred and valid lifetime.
func (g *Guard) address(v []byte, now int64) bool {
	a, valid := address6(v), binary.BigEndian.Uint32(v[20:])
	if ip := a.addr(); !ip.IsGlobalUnicast() {
		return false
	}
	if valid == 0 {
		g.learned.remove(a) // RFC 8415, 18.2.10.1: the client stops using it
		return false
	}
	return g.learned.add(a, ends(now, valid), now)
}

// options6 yields the options of DHCPv6, up to one that is cut.
func options6(b []byte) func(yield func(uint16, []byte) bool) {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= 4 {
			n := 4 + int(binary.BigEndian.Uint16(b[2:]))
			if n > len(b) || !yield(binary.BigEndian.Uint16(b), b[4:n]) {
				return
			}
			b = b[n:]
		}
	}
}

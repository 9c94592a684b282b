package filter

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

const ipv6Len = 40

// Next header values (RFC 8200; IANA, "Protocol Numbers").
const (
	nextHopByHop    = 0
	nextRouting     = 43
	nextFragment    = 44
	nextAuth        = 51
	nextICMPv6      = 58
	nextNone        = 59
	nextDestination = 60
	nextMobility    = 135
	nextHIP         = 139
	nextShim6       = 140
)

// maxHeaders bounds the chain. RFC 8200, 4.1 knows seven, one of them twice.
const maxHeaders = 8

// ipv6 checks an IPv6 packet. What a message says comes before where it says it
// is from, so that a forged advertisement counts as that.
func (g *Guard) ipv6(p []byte, now int64) frame.DropReason {
	if len(p) < ipv6Len || p[0]>>4 != 6 {
		return frame.Malformed
	}
	src := address6(p[8:])
	nameless := false // it may come from ::
	if p[6] != protoTCP {
		next, u, part := upper(p)
		switch {
		case part == unknown:
			return g.hidden()
		case part == later:
		case next == nextICMPv6:
			var reason frame.DropReason
			if nameless, reason = g.icmp(u, src, part, now); reason != frame.Pass {
				return reason
			}
		case next == protoUDP && g.policy.DHCPGuard:
			if reason := udp6(u); reason != frame.Pass {
				return reason
			}
		}
	}
	if g.macip && !g.allowed(src, now) && !(nameless && src.isUnspecified()) {
		return frame.SpoofIP
	}
	return frame.Pass
}

// part is how much of a datagram a packet is.
type part uint8

const (
	whole   part = iota
	first        // it begins the datagram and has a Fragment header, maybe an atomic one
	later        // it is a fragment from further behind
	unknown      // its header chain does not end in it
)

// upper follows the header chain to the upper layer, u, of kind next.
func upper(p []byte) (next byte, u []byte, _ part) {
	// A receiver ignores what is behind the payload. A length of 0 is a jumbogram
	// (RFC 2675), or a super-frame that the kernel has yet to cut.
	if n := ipv6Len + int(binary.BigEndian.Uint16(p[4:])); n > ipv6Len && n < len(p) {
		p = p[:n]
	}
	next, u = p[6], p[ipv6Len:]
	is, more := whole, false
	for range maxHeaders + 1 {
		n := 0
		switch next {
		case nextHopByHop, nextRouting, nextDestination, nextMobility, nextHIP, nextShim6:
			if len(u) < 8 || more {
				return 0, nil, unknown
			}
			n = 8 + int(u[1])*8
		case nextAuth:
			if len(u) < 8 {
				return 0, nil, unknown
			}
			n = 8 + int(u[1])*4 // RFC 4302, 2.2: words of 4 bytes, minus 2
		case nextFragment:
			if len(u) < 8 || is != whole {
				return 0, nil, unknown
			}
			field := binary.BigEndian.Uint16(u[2:])
			if field>>3 != 0 {
				return 0, nil, later
			}
			is, more, n = first, field&1 != 0, 8
		default:
			if len(u) == 0 && next != nextNone {
				return 0, nil, unknown
			}
			return next, u, is
		}
		if n > len(u) {
			return 0, nil, unknown
		}
		next, u = u[0], u[n:]
	}
	return 0, nil, unknown
}

// DHCPv6 messages to a relay or server that only a server sends (RFC 8415, 7.3).
const (
	dhcp6Advertise   = 2
	dhcp6Reply       = 7
	dhcp6Reconfigure = 10
	dhcp6RelayReply  = 13
)

// udp6 looks for a DHCPv6 server in a UDP datagram, or the first fragment of one.
func udp6(u []byte) frame.DropReason {
	if len(u) < udpLen {
		return frame.DHCPGuard
	}
	switch binary.BigEndian.Uint16(u[2:]) {
	case dhcp6ClientPort:
		return frame.DHCPGuard
	case dhcp6ServerPort:
		if len(u) == udpLen {
			return frame.DHCPGuard
		}
		switch u[udpLen] {
		case dhcp6Advertise, dhcp6Reply, dhcp6Reconfigure, dhcp6RelayReply:
			return frame.DHCPGuard
		}
	}
	return frame.Pass
}

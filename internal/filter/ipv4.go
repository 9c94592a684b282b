package filter

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// Protocol numbers, of IPv4 and IPv6 alike.
const (
	protoTCP = 6
	protoUDP = 17
)

const udpLen = 8

// UDP ports of DHCP (RFC 2131, 4.1; RFC 8415, 7.2).
const (
	dhcpServerPort   = 67
	dhcpClientPort   = 68
	dhcp6ClientPort  = 546
	dhcp6ServerPort  = 547
	moreAndOffset    = 0x3fff // of the fragment field: MF and offset
	offset           = 0x1fff // in units of 8 bytes
	bootpRequest     = 1
	bootpReply       = 2
	bootpRelayOffset = 24 // giaddr
	bootpMACOffset   = 28 // chaddr
)

// ipv4 checks an IPv4 packet.
func (g *Guard) ipv4(p []byte, now int64) frame.DropReason {
	header := ipv4Header(p)
	if header == 0 {
		return frame.Malformed
	}
	client := false
	if p[9] == protoUDP {
		var reason frame.DropReason
		if client, reason = g.udp4(p, p[header:]); reason != frame.Pass {
			return reason
		}
	}
	if g.macip {
		if src := address4(p[12:]); !g.allowed(src, now) && (!client || !src.isUnspecified()) {
			return frame.SpoofIP
		}
	}
	return frame.Pass
}

// ipv4Header is the length of the header, 0 if it is none. The packet's length
// is not looked at: a receiver takes what we look at, or less and drops it.
func ipv4Header(p []byte) int {
	if len(p) < 20 || p[0]>>4 != 4 {
		return 0
	}
	n := int(p[0]&15) * 4
	if n < 20 || n > len(p) {
		return 0
	}
	return n
}

// udp4 looks for DHCP in a UDP datagram, u, or a fragment of one. client tells a
// request of a client that may not have an address yet.
func (g *Guard) udp4(p, u []byte) (client bool, _ frame.DropReason) {
	fragment := binary.BigEndian.Uint16(p[6:]) & moreAndOffset
	if fragment&offset != 0 {
		// The second eight bytes alone: nobody cuts a datagram that small but to
		// keep the message behind the ports from being read (RFC 1858, RFC 3128).
		if g.policy.DHCPGuard && fragment&offset == 1 {
			return false, frame.DHCPGuard
		}
		return false, frame.Pass
	}
	if len(u) < udpLen {
		if g.policy.DHCPGuard {
			return false, frame.DHCPGuard
		}
		return false, frame.Pass
	}
	switch binary.BigEndian.Uint16(u[2:]) {
	case dhcpClientPort:
		if g.policy.DHCPGuard {
			return false, frame.DHCPGuard
		}
	case dhcpServerPort:
		m := u[udpLen:]
		client = binary.BigEndian.Uint16(u) == dhcpClientPort && len(m) > 0 && m[0] == bootpRequest
		return client, g.toServer(m, fragment == 0)
	}
	return false, frame.Pass
}

// toServer checks what a guest sends to a DHCP server or relay.
func (g *Guard) toServer(m []byte, whole bool) frame.DropReason {
	if g.policy.DHCPGuard && (len(m) == 0 || m[0] == bootpReply) {
		return frame.DHCPGuard
	}
	if !g.mac || len(m) > 0 && m[0] == bootpReply {
		return frame.Pass
	}
	// A request in another's name gets another's lease released, and makes the
	// server answer that other, whose guard then learns from it. A relay has
	// giaddr, where the answer goes.
	if !whole || len(m) < bootpMACOffset+6 {
		return frame.SpoofMAC
	}
	if binary.BigEndian.Uint32(m[bootpRelayOffset:]) == 0 && !g.isMAC(m[bootpMACOffset:]) {
		return frame.SpoofMAC
	}
	return frame.Pass
}

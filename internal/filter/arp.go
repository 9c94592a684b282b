package filter

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// An ARP packet for IPv4 over Ethernet (RFC 826); RARP (RFC 903) has the same.
//
//	0 hardware  2 protocol  4 lengths  6 operation  8 sender MAC  14 sender IP  18 target MAC  24 target IP
const (
	arpLen = 28

	arpRequest  = 1
	rarpRequest = 3 // also how QEMU announces a guest that has moved
)

// arp checks who an ARP or RARP packet says its sender is. What it says of the
// target nobody believes.
func (g *Guard) arp(p []byte, now int64) frame.DropReason {
	if len(p) < arpLen {
		return frame.SpoofARP
	}
	// Linux takes hardware type 6, IEEE 802, for Ethernet (arp_process in
	// net/ipv4/arp.c). Whoever reads other kinds is not held to these fields.
	hardware, rest := binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])
	if hardware != 1 && hardware != 6 || rest != 0x0800_0604 || !g.isMAC(p[8:]) {
		return frame.SpoofARP
	}
	if g.macip {
		sender := address4(p[14:])
		operation := binary.BigEndian.Uint16(p[6:])
		probe := sender.isUnspecified() && (operation == arpRequest || operation == rarpRequest)
		if !probe && !g.allowed(sender, now) {
			return frame.SpoofARP
		}
	}
	return frame.Pass
}

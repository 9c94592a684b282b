package gateway

import (
	"encoding/binary"
	"net/netip"

	"gxswitch/internal/frame"
)

// ARPLen is the length of a frame that ARP and AppendAnnouncement make, with its
// virtio-net header.
const ARPLen = frame.VNetLen + frame.HeaderLen + arpLen

// arpLen is the length of ARP for IPv4 over Ethernet:
//
//	0 hardware 2 protocol 4 lengths 6 operation 8 sender MAC 14 sender IP 18 target MAC 24 target IP 28
const arpLen = 28

const (
	arpEthernetIPv4 = 0x0001_0800_06_04 // hardware, protocol and both lengths (RFC 826)
	arpRequest      = 1
	arpReply        = 2
)

// ARP answers a request that was heard on a side, if the gateway is to speak for
// the address that is asked for. data is the frame from the destination MAC on,
// without tag. The answer, with its virtio-net header, is written to the beginning
// of buf, which is to hold ARPLen.
//
// On the uplink, with Config.ProxyARP, it speaks for guests. Nobody who says to be
// a guest is answered there. A probe is (RFC 5227, 2.1.1): the guest has the
// address.
//
// Inside it speaks for what is behind the uplink, to a guest whose netmask says
// that it is on the link: any address with a route that is nobody's here. The
// host's own addresses are the host's to answer for. A probe is not answered: the
// address is the guest's to take.
func (g *Gateway) ARP(buf []byte, from Side, data []byte) (reply []byte, ok bool) {
	if len(data) < frame.HeaderLen+arpLen || binary.BigEndian.Uint16(data[12:]) != frame.EtherTypeARP {
		return nil, false
	}
	a := data[frame.HeaderLen:]
	if binary.BigEndian.Uint64(a)>>16 != arpEthernetIPv4 || binary.BigEndian.Uint16(a[6:]) != arpRequest {
		return nil, false
	}
	to, asker := frame.MAC(data[:6]), frame.MAC(a[8:14])
	if to != frame.Broadcast && to != g.link[from].MAC || asker.IsZero() || asker.IsMulticast() {
		return nil, false
	}
	if !g.speaksFor(from, binary.BigEndian.Uint32(a[14:]), binary.BigEndian.Uint32(a[24:])) {
		return nil, false
	}
	return appendARP(buf[:0], arpReply, asker, g.link[from].MAC, [4]byte(a[24:28]), asker, [4]byte(a[14:18])), true
}

// speaksFor reports whether the asker's request for an address is the gateway's to
// answer. One who asks for its own address, to announce it, is refused with those
// who are on the same side.
func (g *Gateway) speaksFor(from Side, asker, target uint32) bool {
	by, about := g.classes.lookup(asker), g.classes.lookup(target)
	if from == Outside {
		mine := g.proxyARP && about == guest || about == elsewhere && g.nat != nil && g.nat.External() == addr4(target)
		return mine && (asker == 0 || by == elsewhere || asker>>16 == 0xa9fe)
	}
	return by == guest && about == elsewhere && g.routes.next(target) != noRoute
}

// AppendAnnouncement appends a frame, with its virtio-net header, that tells the
// uplink's link that a guest's address is here (RFC 5227, 2.3).
func (g *Gateway) AppendAnnouncement(buf []byte, addr netip.Addr) []byte {
	if !addr.Is4() {
		return buf
	}
	return appendARP(buf, arpRequest, frame.Broadcast, g.link[Outside].MAC, addr.As4(), frame.MAC{}, addr.As4())
}

// appendARP appends a frame to dst with an ARP message of the sender.
func appendARP(buf []byte, operation uint16, dst, sender frame.MAC, senderIP [4]byte, target frame.MAC, targetIP [4]byte) []byte {
	var f [ARPLen]byte
	d := f[frame.VNetLen:]
	copy(d, dst[:])
	copy(d[6:], sender[:])
	binary.BigEndian.PutUint16(d[12:], frame.EtherTypeARP)
	a := d[frame.HeaderLen:]
	binary.BigEndian.PutUint64(a, arpEthernetIPv4<<16|uint64(operation))
	copy(a[8:], sender[:])
	copy(a[14:], senderIP[:])
	copy(a[18:], target[:])
	copy(a[24:], targetIP[:])
	return append(buf, f[:]...)
}

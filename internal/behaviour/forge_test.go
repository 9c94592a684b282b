package behaviour

import (
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
)

// forge is a frame with its lengths and checksums.
func forge(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	var ip gopacket.NetworkLayer
	for _, l := range all {
		switch l := l.(type) {
		case *layers.IPv4:
			l.Version, l.TTL, ip = 4, 64, l
		case *layers.IPv6:
			l.Version, l.HopLimit, ip = 6, 255, l
		case *layers.UDP:
			_ = l.SetNetworkLayerForChecksum(ip)
		case *layers.ICMPv6:
			_ = l.SetNetworkLayerForChecksum(ip)
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return append([]byte{}, b.Bytes()...)
}

func eth(dst, src frame.MAC, kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{DstMAC: dst[:], SrcMAC: src[:], EthernetType: kind}
}

// udp4 and udp6 are datagrams in a frame from src to guest 1.
func udp4(t *testing.T, src frame.MAC, ip string, from, to layers.UDPPort, payload gopacket.SerializableLayer) []byte {
	return forge(t, eth(guestMAC(1), src, layers.EthernetTypeIPv4),
		&layers.IPv4{Protocol: layers.IPProtocolUDP, SrcIP: net.ParseIP(ip).To4(), DstIP: net.ParseIP(guestIP(1)).To4()},
		&layers.UDP{SrcPort: from, DstPort: to}, payload)
}

func udp6(t *testing.T, src frame.MAC, ip string, from, to layers.UDPPort) []byte {
	return forge(t, eth(guestMAC(1), src, layers.EthernetTypeIPv6),
		&layers.IPv6{NextHeader: layers.IPProtocolUDP, SrcIP: net.ParseIP(ip), DstIP: net.ParseIP(linkLocal(1))},
		&layers.UDP{SrcPort: from, DstPort: to}, gopacket.Payload("x"))
}

// arp is an ARP reply to guest 1, in a frame of src.
func arp(t *testing.T, src, sender frame.MAC, ip string) []byte {
	to := guestMAC(1)
	return forge(t, eth(to, src, layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPReply,
		SourceHwAddress: sender[:], SourceProtAddress: net.ParseIP(ip).To4(), DstHwAddress: to[:], DstProtAddress: net.ParseIP(guestIP(1)).To4(),
	})
}

// nd is a message of neighbour discovery to all nodes.
func nd(t *testing.T, src frame.MAC, ip string, kind uint8, body gopacket.SerializableLayer) []byte {
	return forge(t, eth(frame.MAC{0x33, 0x33, 0, 0, 0, 1}, src, layers.EthernetTypeIPv6),
		&layers.IPv6{NextHeader: layers.IPProtocolICMPv6, SrcIP: net.ParseIP(ip), DstIP: net.ParseIP("ff02::1")},
		&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, 0)}, body)
}

func advert(target string, link frame.MAC) *layers.ICMPv6NeighborAdvertisement {
	return &layers.ICMPv6NeighborAdvertisement{Flags: 0x20, TargetAddress: net.ParseIP(target),
		Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: link[:]}}}
}

// dhcp is a message of DHCP with the client's MAC in it.
func dhcp(kind layers.DHCPMsgType, client frame.MAC) *layers.DHCPv4 {
	op := layers.DHCPOpRequest
	if kind == layers.DHCPMsgTypeOffer {
		op = layers.DHCPOpReply
	}
	return &layers.DHCPv4{
		Operation: op, HardwareType: layers.LinkTypeEthernet, HardwareLen: 6, Xid: 1,
		ClientHWAddr: client[:], YourClientIP: net.ParseIP(guestIP(66)).To4(),
		Options: layers.DHCPOptions{layers.NewDHCPOption(layers.DHCPOptMessageType, []byte{byte(kind)}), layers.NewDHCPOption(layers.DHCPOptEnd, nil)},
	}
}

// linkLocal is the address that guest i makes from its MAC (RFC 4291, appendix A).
func linkLocal(i int) string {
	m := guestMAC(i)
	return net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}.String()
}

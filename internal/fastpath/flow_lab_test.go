package fastpath

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/nat"
)

// flowLab is a guest and a router, whose port is an uplink, with a gateway and NAT
// between them:
//
//	guest 10.20.0.5 [eth0]--p1--(gateway 10.20.0.1, external 192.0.2.7)--p2--[eth0] router
type flowLab struct {
	*lab
	table         *nat.Table
	guest, router *guest
	in, out       int // packet sockets with virtio-net headers on the eth0 of each
	era           uint32
	sessions      map[uint32]Session
}

var (
	gatewayMAC = frame.MAC{2, 0, 0, 0, 0, 0xf1}
	uplinkMAC  = frame.MAC{2, 0, 0, 0, 0, 0xe0}
)

const (
	guestIP, externalIP, remoteIP = "10.20.0.5", "192.0.2.7", "198.51.100.9"
	guestPort, remotePort         = 61500, 443
)

func newFlowLab(t testing.TB) *flowLab {
	l := &flowLab{lab: newLab(t), sessions: map[uint32]Session{}}
	l.open(Options{})
	l.guest = l.lab.guest(func(r *Rules) { r.Gateway = gatewayMAC })
	l.router = l.lab.guest(nil)
	if err := l.router.port.Close(); err != nil {
		t.Fatal(err)
	}
	l.router.attach(PortOptions{Uplink: true})
	l.uplink()
	leg := l.lab.guest(func(r *Rules) { r.To = false })
	l.e.Put(l.nw, fdb.MakeKey(vlan.MinVID, gatewayMAC), leg.port.Number(), 0)
	l.guest.known(vlan.MinVID)
	l.in, l.out = l.guest.vnet(), l.router.vnet()
	var err error
	if l.table, err = nat.New(nat.Config{Gateway: netip.MustParsePrefix("10.20.0.1/24")}); err != nil {
		t.Fatal(err)
	}
	if err := l.table.SetExternal(addr(externalIP)); err != nil {
		t.Fatal(err)
	}
	l.table.SetBypass(l)
	if err := l.e.ClearFlows(); err != nil {
		t.Fatal(err)
	}
	l.era = l.e.NextEra()
	return l
}

// uplink gives the router's port the rules of a NIC that gateways share.
func (l *flowLab) uplink() {
	if err := l.router.port.SetRules(Rules{Gateway: uplinkMAC}); err != nil {
		l.t.Fatal(err)
	}
}

// The lab is the table's Bypass.

func (l *flowLab) Heard(id uint32) int64 { return l.e.SessionAge(id) }
func (l *flowLab) End(id uint32)         { l.e.EndSession(id) }
func (l *flowLab) Acknowledged(id uint32, end int) (uint32, uint16, bool) {
	return l.e.Acknowledged(id, end)
}

// vnet is a packet socket on the guest's eth0, with virtio-net headers.
func (g *guest) vnet() (fd int) {
	g.t.Helper()
	err := g.ns.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(htons(unix.ETH_P_IP))); err != nil {
			return err
		}
		eth0, err := g.ns.Link("eth0")
		if err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: eth0.Index}))
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// await is what comes to such a socket; nil if nothing does for that long.
func await(t interface{ Fatal(...any) }, fd int, wait time.Duration) []byte {
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(wait/time.Millisecond)); n == 0 {
		return nil
	}
	b := make([]byte, 70000)
	n, err := unix.Read(fd, b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// shape is what varies of a packet.
type shape struct {
	proto   uint8
	payload int
	segment int // bytes of payload in each of a super-frame's segments; 0: it is none
	partial bool
	noSum   bool // UDP without a checksum
	flags   byte // of TCP
	ack     uint32
	ttl     uint8
	id      uint16
	tos     uint8
}

// packet is one with its virtio-net header.
func (s shape) packet(dst, src frame.MAC, from, to netip.AddrPort) []byte {
	ip := &layers.IPv4{Version: 4, TTL: s.ttl, Id: s.id, TOS: s.tos, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocol(s.proto), SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	eth := &layers.Ethernet{SrcMAC: src[:], DstMAC: dst[:], EthernetType: layers.EthernetTypeIPv4}
	payload := make([]byte, s.payload)
	for i := range payload {
		payload[i] = byte(i*7 + int(s.id))
	}
	var l4 gopacket.SerializableLayer
	at, hlen := 6, 8
	if s.proto == unix.IPPROTO_TCP {
		t := &layers.TCP{SrcPort: layers.TCPPort(from.Port()), DstPort: layers.TCPPort(to.Port()), Seq: 77, Ack: s.ack, Window: 1000,
			FIN: s.flags&1 != 0, SYN: s.flags&2 != 0, RST: s.flags&4 != 0, PSH: s.flags&8 != 0, ACK: s.flags&16 != 0}
		_ = t.SetNetworkLayerForChecksum(ip)
		l4, at, hlen = t, 16, 20
	} else {
		u := &layers.UDP{SrcPort: layers.UDPPort(from.Port()), DstPort: layers.UDPPort(to.Port())}
		_ = u.SetNetworkLayerForChecksum(ip)
		l4 = u
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, l4, gopacket.Payload(payload)); err != nil {
		panic(err)
	}
	raw := append(make([]byte, frame.VNetLen), b.Bytes()...)
	sum := raw[frame.VNetLen+34+at:][:2]
	if s.partial {
		raw[0] = unix.VIRTIO_NET_HDR_F_NEEDS_CSUM
		binary.LittleEndian.PutUint16(raw[6:], 34)
		binary.LittleEndian.PutUint16(raw[8:], uint16(at))
		l := uint32(len(raw) - frame.VNetLen - 34)
		pseudo := append(append([]byte{}, raw[frame.VNetLen+26:frame.VNetLen+34]...), 0, s.proto, byte(l>>8), byte(l))
		binary.BigEndian.PutUint16(sum, frame.Sum(pseudo))
	}
	if s.noSum {
		sum[0], sum[1] = 0, 0
	}
	if s.segment > 0 {
		raw[1] = 1 // VIRTIO_NET_HDR_GSO_TCPV4
		if s.proto == unix.IPPROTO_UDP {
			raw[1] = 5 // VIRTIO_NET_HDR_GSO_UDP_L4
		}
		binary.LittleEndian.PutUint16(raw[2:], uint16(34+hlen))
		binary.LittleEndian.PutUint16(raw[4:], uint16(s.segment))
	}
	return raw
}

// outbound and inbound are packets of the session of one guest's port.
func (l *flowLab) outbound(s shape) []byte {
	return s.packet(gatewayMAC, l.guest.mac(), netip.AddrPortFrom(addr(guestIP), guestPort), netip.AddrPortFrom(addr(remoteIP), remotePort))
}

func (l *flowLab) inbound(s shape) []byte {
	return s.packet(uplinkMAC, l.router.mac(), netip.AddrPortFrom(addr(remoteIP), remotePort), netip.AddrPortFrom(addr(externalIP), guestPort))
}

// establish opens a session of that protocol in the table, and gives the engine its
// two flows.
func (l *flowLab) establish(proto uint8, change func(*Flow)) {
	l.t.Helper()
	open := shape{proto: proto, ttl: 64, flags: 2}
	answer := open
	answer.flags = 0x12
	v := l.table.Outbound(l.outbound(open), 0, 0)
	if v.To != nat.Outside {
		l.t.Fatalf("the first packet: %+v", v)
	}
	if v := l.table.Inbound(l.inbound(answer), 0); v.To != nat.Inside {
		l.t.Fatalf("the answer: %+v", v)
	}
	open.flags, answer.flags = 0x10, 0x10
	l.bind(l.table.Outbound(l.outbound(open), 0, 0).Session, change)
	l.bind(l.table.Inbound(l.inbound(answer), 0).Session, change)
}

func (l *flowLab) bind(r nat.Ref, change func(*Flow)) {
	l.t.Helper()
	s, id, ok := l.table.Bind(r, func() uint32 {
		s, _ := l.e.OpenSession()
		l.sessions[s.ID] = s
		return s.ID
	})
	if !ok {
		l.t.Fatalf("%+v is not to be passed by", r)
	}
	f := &Flow{FlowKey: FlowKey{Src: s.Src, Dst: s.Dst, Proto: uint8(s.Protocol), Network: l.nw}, NewSrc: s.NewSrc, NewDst: s.NewDst,
		DstMAC: l.router.mac(), SrcMAC: uplinkMAC, In: l.guest.port.Number(), Out: l.router.port.Number(), MaxLen: 1514,
		Gateway: l.nw, Era: l.era, Session: l.sessions[id], End: s.End}
	if s.Outside {
		f.Network, f.VLAN = 0, 1
		f.DstMAC, f.SrcMAC, f.In, f.Out = l.guest.mac(), gatewayMAC, f.Out, f.In
	}
	if change != nil {
		change(f)
	}
	if err := l.e.PutFlow(f); err != nil {
		l.t.Fatal(err)
	}
}

// setMTU lets the guest send longer packets than the way out takes.
func setMTU(l *flowLab, mtu int) error {
	set := func(name string) error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, mtu)
	}
	return errors.Join(l.sw.Do(func() error { return set("p1") }), l.guest.ns.Do(func() error { return set("eth0") }))
}

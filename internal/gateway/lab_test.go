package gateway

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"go.uber.org/goleak"

	"gxswitch/internal/frame"
	"gxswitch/nat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Routed and NAT:
//
//	10.20.0.5, .6 ── 10.20.0.1 │ 192.0.2.7 ── 192.0.2.0/24 ── router 192.0.2.254 ── the rest
//
// Unnumbered, the recipe of SUSE: the guest has an address of the uplink's network.
//
//	192.168.1.21 ── │ 192.168.1.20 ── 192.168.1.0/24 ── router 192.168.1.1 ── the rest
const (
	guestA   = "10.20.0.5"
	guestB   = "10.20.0.6"
	inner    = "10.20.0.1"
	outer    = "192.0.2.7"
	onLAN    = "192.0.2.9" // a neighbour
	silent   = "192.0.2.10"
	router   = "192.0.2.254"
	remote   = "198.51.100.9" // by the router
	nowhere  = "203.0.113.5"
	now      = int64(1000)
	millisec = int64(1_000_000)
)

var (
	guestMAC   = frame.MAC{2, 0, 0, 0, 0, 0xa}
	insideMAC  = frame.MAC{2, 0, 0, 0, 0, 1}
	outsideMAC = frame.MAC{2, 0, 0, 0, 0, 2}
	lanMAC     = frame.MAC{2, 0, 0, 0, 0, 9}
	routerMAC  = frame.MAC{2, 0, 0, 0, 0, 0xfe}
)

func ip(s string) netip.Addr       { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func set(as ...string) map[netip.Addr]struct{} {
	m := map[netip.Addr]struct{}{}
	for _, a := range as {
		m[ip(a)] = struct{}{}
	}
	return m
}

func via(to, router string) Route {
	r := Route{To: prefix(to)}
	if router != "" {
		r.Via = ip(router)
	}
	return r
}

func routed() Config {
	return Config{
		Link: [2]Link{
			Inside:  {MAC: insideMAC, MTU: 1500, Addr: ip(inner)},
			Outside: {MAC: outsideMAC, MTU: 1400, Addr: ip(outer)},
		},
		Hosts:  set(inner, outer, "127.0.0.1", "172.16.0.1", "fe80::1"),
		Guests: []netip.Prefix{prefix("10.20.0.0/24")},
		Routes: NewRoutes([]Route{
			via("192.0.2.0/24", ""), via("198.51.100.0/24", router),
			{To: prefix("198.51.100.128/25"), Unreachable: true},
		}),
		Neighbours: [2]*Neighbours{
			Inside:  NewNeighbours(map[netip.Addr]frame.MAC{ip(guestA): guestMAC}),
			Outside: NewNeighbours(map[netip.Addr]frame.MAC{ip(router): routerMAC, ip(onLAN): lanMAC}),
		},
	}
}

func natted(t testing.TB) Config {
	n, err := nat.New(nat.Config{Gateway: prefix(inner + "/24")})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.SetExternal(ip(outer)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"tcp/8080", "udp/8080"} {
		l, err := nat.ParseListen(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.AddForward(nat.Forward{Listen: l, To: netip.AddrPortFrom(ip(guestA), 80)}); err != nil {
			t.Fatal(err)
		}
	}
	c := routed()
	c.NAT = n
	return c
}

func unnumbered() Config {
	c := routed()
	c.Hosts = set("192.168.1.20")
	c.Guests = []netip.Prefix{prefix("192.168.1.21/32"), prefix("192.168.1.22/32")}
	c.Link[Inside].Addr, c.Link[Outside].Addr = netip.Addr{}, ip("192.168.1.20")
	c.Routes = NewRoutes([]Route{via("192.168.1.0/24", ""), via("0.0.0.0/0", "192.168.1.1")})
	c.ProxyARP = true
	return c
}

func newGateway(t testing.TB, c Config) *Gateway {
	t.Helper()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// packetTo is a UDP packet to a side's MAC address, changed by the functions before
// lengths and checksums are filled in.
func packetTo(side Side, src, dst string, change ...func(*layers.IPv4, *layers.UDP)) []byte {
	l3 := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: layers.IPProtocolUDP, SrcIP: ip(src).AsSlice(), DstIP: ip(dst).AsSlice()}
	l4 := &layers.UDP{SrcPort: 5000, DstPort: 7777}
	for _, f := range change {
		f(l3, l4)
	}
	l4.SetNetworkLayerForChecksum(l3)
	return serialize(side, l3, l4, gopacket.Payload("question"))
}

func ttl(n uint8) func(*layers.IPv4, *layers.UDP) {
	return func(l *layers.IPv4, _ *layers.UDP) { l.TTL = n }
}

func dport(n uint16) func(*layers.IPv4, *layers.UDP) {
	return func(_ *layers.IPv4, l *layers.UDP) { l.DstPort = layers.UDPPort(n) }
}

func option(kind byte, data ...byte) func(*layers.IPv4, *layers.UDP) {
	return func(l *layers.IPv4, _ *layers.UDP) {
		l.Options = append(l.Options, layers.IPv4Option{OptionType: kind, OptionLength: byte(len(data) + 2), OptionData: data})
	}
}

// serialize makes a virtio-net header and a frame with every length and checksum
// as gopacket computes them.
func serialize(side Side, ls ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{SrcMAC: guestMAC[:], DstMAC: insideMAC[:], EthernetType: layers.EthernetTypeIPv4}
	if side == Outside {
		eth.SrcMAC, eth.DstMAC = routerMAC[:], outsideMAC[:]
	}
	b := gopacket.NewSerializeBuffer()
	opt := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, opt, append([]gopacket.SerializableLayer{eth}, ls...)...); err != nil {
		panic(err)
	}
	d := b.Bytes()
	if l, ok := ls[0].(*layers.IPv4); ok {
		d = d[:frame.HeaderLen+int(l.Length)] // without padding
	}
	return append(make([]byte, frame.VNetLen), d...)
}

// sized is a packet of that length.
func sized(side Side, src, dst string, length int, df bool, change ...func(*layers.IPv4, *layers.UDP)) []byte {
	l3 := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: layers.IPProtocolUDP, SrcIP: ip(src).AsSlice(), DstIP: ip(dst).AsSlice()}
	if df {
		l3.Flags = layers.IPv4DontFragment
	}
	l4 := &layers.UDP{SrcPort: 5000, DstPort: 7777}
	for _, f := range change {
		f(l3, l4)
	}
	l4.SetNetworkLayerForChecksum(l3)
	options := 0
	for _, o := range l3.Options {
		options += max(int(o.OptionLength), 1)
	}
	payload := make([]byte, length-28-(options+3)&^3)
	for i := range payload {
		payload[i] = byte(i*7 + i>>8)
	}
	return serialize(side, l3, l4, gopacket.Payload(payload))
}

// superFrame is TCP of that length in segments of size.
func superFrame(side Side, src, dst string, length, size int, df bool) []byte {
	l3 := &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: layers.IPProtocolTCP, SrcIP: ip(src).AsSlice(), DstIP: ip(dst).AsSlice()}
	if df {
		l3.Flags = layers.IPv4DontFragment
	}
	l4 := &layers.TCP{SrcPort: 5000, DstPort: 80, Seq: 100, SYN: true, Window: 1000}
	l4.SetNetworkLayerForChecksum(l3)
	raw := serialize(side, l3, l4, gopacket.Payload(make([]byte, length-40)))
	raw[0], raw[1] = 1, 1
	binary.LittleEndian.PutUint16(raw[4:], uint16(size))
	binary.LittleEndian.PutUint16(raw[6:], frame.HeaderLen+20)
	binary.LittleEndian.PutUint16(raw[8:], 16)
	var f frame.Frame
	f.Reset(raw)
	if r := f.Parse(); r != frame.Pass {
		panic(r)
	}
	return raw
}

// decode reads a frame and checks every checksum in it.
func decode(t testing.TB, raw []byte) gopacket.Packet {
	t.Helper()
	if !bytes.Equal(raw[:frame.VNetLen], make([]byte, frame.VNetLen)) {
		t.Fatalf("virtio-net header %x, but nothing is left to do", raw[:frame.VNetLen])
	}
	p := gopacket.NewPacket(raw[frame.VNetLen:], layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatal(e.Error())
	}
	for _, l := range p.Layers() {
		if l, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			l.SetNetworkLayerForChecksum(p.NetworkLayer())
		}
	}
	if err, bad := p.VerifyChecksums(); err != nil || len(bad) != 0 {
		t.Fatalf("%v, wrong checksums %+v", err, bad)
	}
	return p
}

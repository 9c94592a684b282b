package nat

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"go.uber.org/goleak"

	"gxswitch/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// 10.20.0.5, .6, .7 ── gateway 10.20.0.1 │ external 192.0.2.7 ── 198.51.100.9, .10
const (
	guestA   = "10.20.0.5"
	guestB   = "10.20.0.6"
	server   = "10.20.0.7"
	gateway  = "10.20.0.1"
	external = "192.0.2.7"
	remote   = "198.51.100.9"
	remote2  = "198.51.100.10"

	at = int64(1000) // a now

	numberA, numberB, numberS = Guest(0), Guest(1), Guest(2)
)

func newTable(t testing.TB, change func(*Config)) *Table {
	t.Helper()
	c := Config{Gateway: netip.MustParsePrefix(gateway + "/24")}
	if change != nil {
		change(&c)
	}
	table, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.SetExternal(netip.MustParseAddr(external)); err != nil {
		t.Fatal(err)
	}
	return table
}

// end is an address and a port, or an echo identifier.
type end struct {
	ip   string
	port uint16
}

func (e end) addrPort() netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(e.ip), e.port) }

// build makes packets from one end to another, of which everything else is given.
type build func(src, dst end) []byte

func ip(e end) []byte { return netip.MustParseAddr(e.ip).AsSlice() }

// serialize makes a virtio-net header and a frame with every length and checksum
// as gopacket computes them.
func serialize(ls ...gopacket.SerializableLayer) []byte {
	eth := &layers.Ethernet{
		SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4,
	}
	return append(make([]byte, frame.VNetLen), layersOf(append([]gopacket.SerializableLayer{eth}, ls...)...)...)
}

func layersOf(ls ...gopacket.SerializableLayer) []byte {
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...)
	if err != nil {
		panic(err)
	}
	return slices.Clone(b.Bytes())
}

func ipv4(src, dst end, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Id: 7, Protocol: proto, SrcIP: ip(src), DstIP: ip(dst)}
}

func payload(n int) gopacket.Payload {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + 3)
	}
	return b
}

// segment is what varies of a TCP segment.
type segment struct {
	flags    byte
	seq, ack uint32
	window   uint16
	length   int
	options  []layers.TCPOption
}

func (s segment) layer(src, dst end) *layers.TCP {
	f := s.flags
	return &layers.TCP{
		SrcPort: layers.TCPPort(src.port), DstPort: layers.TCPPort(dst.port), Seq: s.seq, Ack: s.ack, Window: s.window,
		FIN: f&fin != 0, SYN: f&syn != 0, RST: f&rst != 0, ACK: f&ack != 0, Options: s.options,
	}
}

func (s segment) build(src, dst end) []byte {
	l3, l4 := ipv4(src, dst, layers.IPProtocolTCP), s.layer(src, dst)
	l4.SetNetworkLayerForChecksum(l3)
	return serialize(l3, l4, payload(s.length))
}

func udp(n int) build {
	return func(src, dst end) []byte {
		l3, l4 := ipv4(src, dst, layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(src.port), DstPort: layers.UDPPort(dst.port)}
		l4.SetNetworkLayerForChecksum(l3)
		return serialize(l3, l4, payload(n))
	}
}

// echo is a request from the end that has a port, else a reply to the other.
func echo(src, dst end) []byte {
	l4 := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(icmpEchoRequest, 0), Id: src.port, Seq: 1}
	if src.port == 0 {
		l4.TypeCode, l4.Id = layers.CreateICMPv4TypeCode(icmpEchoReply, 0), dst.port
	}
	return serialize(ipv4(src, dst, layers.IPProtocolICMPv4), l4, payload(56))
}

var (
	synSegment    = segment{flags: syn, seq: 100, window: 1000}
	synAckSegment = segment{flags: syn | ack, seq: 900, ack: 101, window: 1000}
	ackSegment    = segment{flags: ack, seq: 101, ack: 901, window: 1000}
)

// packetOf reads a packet of a test.
func packetOf(t testing.TB, raw []byte) (src, dst end) {
	t.Helper()
	var p packet
	if reason := p.parse(raw, inside); reason != frame.Pass {
		t.Fatalf("rewritten to something %v", reason)
	}
	k := p.key
	return end{addr4(k.src()).String(), k.sport()}, end{addr4(k.dst()).String(), k.dport()}
}

// outbound sends a packet of a guest, which must pass to that place, and returns
// its ends as they are then.
func outbound(t testing.TB, n *Table, from Guest, raw []byte, to Place, now int64) (src, dst end) {
	t.Helper()
	return passed(t, n.Outbound(raw, from, now), raw, to)
}

func inbound(t testing.TB, n *Table, raw []byte, now int64) (src, dst end) {
	t.Helper()
	return passed(t, n.Inbound(raw, now), raw, Inside)
}

func passed(t testing.TB, v Verdict, raw []byte, to Place) (src, dst end) {
	t.Helper()
	if v.To != to || v.Reason != frame.Pass {
		t.Fatalf("%v, %v; want %v", v.To, v.Reason, to)
	}
	src, dst = packetOf(t, raw)
	if v.Dst.String() != dst.ip {
		t.Fatalf("the verdict says to %v, the packet to %v", v.Dst, dst)
	}
	return src, dst
}

// dropped checks that a packet is dropped for that reason, and left as it was.
func dropped(t testing.TB, name string, f func(raw []byte) Verdict, raw []byte, want frame.DropReason) {
	t.Helper()
	was := slices.Clone(raw)
	v := f(raw)
	if v != drop(want) {
		t.Errorf("%s: %v, %v; want %v", name, v.To, v.Reason, want)
	}
	if !slices.Equal(raw, was) {
		t.Errorf("%s: dropped, and changed", name)
	}
}

func forHost(t testing.TB, name string, v Verdict) {
	t.Helper()
	if v != (Verdict{To: Host}) {
		t.Errorf("%s: %v, %v; want host", name, v.To, v.Reason)
	}
}

// open makes an outbound session and returns its external end.
func open(t testing.TB, n *Table, from Guest, b build, guest, remote end, now int64) end {
	t.Helper()
	src, dst := outbound(t, n, from, b(guest, remote), Outside, now)
	if src.ip != external || dst != remote {
		t.Fatalf("left as %v to %v", src, dst)
	}
	return src
}

func forwardTo(t testing.TB, n *Table, listen string, to end) {
	t.Helper()
	l, err := ParseListen(listen)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.AddForward(Forward{l, to.addrPort()}); err != nil {
		t.Fatal(err)
	}
}

// makePartial leaves the checksum at offset of the transport header, behind an IP
// header without options, to the receiver.
func makePartial(raw []byte, offset int) []byte {
	const l3 = frame.VNetLen + frame.HeaderLen
	raw[0] = 1
	binary.LittleEndian.PutUint16(raw[6:], frame.HeaderLen+ipLen)
	binary.LittleEndian.PutUint16(raw[8:], uint16(offset))
	d := raw[l3:]
	pseudo := append(slices.Clone(d[12:20]), 0, d[9], 0, 0)
	binary.BigEndian.PutUint16(pseudo[10:], uint16(len(d)-ipLen))
	binary.BigEndian.PutUint16(d[ipLen+offset:], frame.Sum(pseudo))
	return raw
}

package frame

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"
)

// superFrame is a GSO frame as a guest's kernel makes it, and what it was made
// from. The layers are gopacket's: what Segment does is judged by other code.
type superFrame struct {
	eth     layers.Ethernet
	inner   *layers.Dot1Q
	ip4     *layers.IPv4
	ip6     *layers.IPv6
	tcp     *layers.TCP
	udp     *layers.UDP
	payload []byte
	size    int
	partial bool // the checksum is left to the receiver
	data    []byte
	vnet    [VNetLen]byte
}

func drawSuperFrame(t *rapid.T) *superFrame {
	s := &superFrame{
		eth: layers.Ethernet{
			DstMAC: []byte{2, 0, 0, 0, 0, 2}, SrcMAC: []byte{2, 0, 0, 0, 0, 1},
		},
		size:    rapid.IntRange(1, 9000).Draw(t, "gso_size"),
		partial: rapid.Bool().Draw(t, "partial"),
	}
	segments := rapid.IntRange(1, min(45, 64000/s.size)).Draw(t, "segments")
	last := rapid.IntRange(1, s.size).Draw(t, "last")
	s.payload = make([]byte, (segments-1)*s.size+last)
	seed := rapid.Uint32().Draw(t, "payload")
	for i := range s.payload {
		seed = seed*1664525 + 1013904223
		s.payload[i] = byte(seed >> 24)
	}

	var stack []gopacket.SerializableLayer
	next := &s.eth.EthernetType
	stack = append(stack, &s.eth)
	if rapid.Bool().Draw(t, "inner tag") {
		s.inner = &layers.Dot1Q{VLANIdentifier: 20, Priority: 3}
		*next, next = layers.EthernetTypeDot1Q, &s.inner.Type
		stack = append(stack, s.inner)
	}
	isTCP := rapid.Bool().Draw(t, "tcp")
	proto := layers.IPProtocolUDP
	if isTCP {
		proto = layers.IPProtocolTCP
	}
	var network gopacket.NetworkLayer
	if rapid.Bool().Draw(t, "v4") {
		*next = layers.EthernetTypeIPv4
		s.ip4 = &layers.IPv4{
			Version: 4, TTL: 64, Protocol: proto, Id: rapid.Uint16().Draw(t, "id"), Flags: layers.IPv4DontFragment,
			SrcIP: []byte{10, 0, 0, 1}, DstIP: rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "dst"),
		}
		if rapid.Bool().Draw(t, "router alert") {
			s.ip4.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
		}
		network = s.ip4
		stack = append(stack, s.ip4)
	} else {
		*next = layers.EthernetTypeIPv6
		s.ip6 = &layers.IPv6{
			Version: 6, HopLimit: 64, NextHeader: proto, FlowLabel: 0x12345,
			SrcIP: bytes.Repeat([]byte{0xfd}, 16), DstIP: rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "dst"),
		}
		network = s.ip6
		stack = append(stack, s.ip6)
		if s.partial && rapid.Bool().Draw(t, "destination options") {
			s.ip6.NextHeader = layers.IPProtocolIPv6Destination
			o := &layers.IPv6Destination{Options: []*layers.IPv6DestinationOption{{OptionType: 1, OptionData: make([]byte, 12)}}}
			o.NextHeader = proto
			stack = append(stack, o)
		}
	}
	if isTCP {
		s.tcp = &layers.TCP{
			SrcPort: 32768, DstPort: 9, Seq: rapid.Uint32().Draw(t, "seq"), Ack: 7, Window: 500, ACK: true,
			PSH: rapid.Bool().Draw(t, "psh"), FIN: rapid.Bool().Draw(t, "fin"), CWR: rapid.Bool().Draw(t, "cwr"),
			ECE: rapid.Bool().Draw(t, "ece"),
		}
		if rapid.Bool().Draw(t, "timestamps") {
			nop := layers.TCPOption{OptionType: layers.TCPOptionKindNop, OptionLength: 1}
			s.tcp.Options = []layers.TCPOption{nop, nop, {OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: []byte("12345678")}}
		}
		if err := s.tcp.SetNetworkLayerForChecksum(network); err != nil {
			t.Fatal(err)
		}
		stack = append(stack, s.tcp)
	} else {
		s.udp = &layers.UDP{SrcPort: 32768, DstPort: 9}
		if err := s.udp.SetNetworkLayerForChecksum(network); err != nil {
			t.Fatal(err)
		}
		stack = append(stack, s.udp)
	}
	buf := gopacket.NewSerializeBuffer()
	opt := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(buf, opt, append(stack, gopacket.Payload(s.payload))...); err != nil {
		t.Fatal(err)
	}
	end := HeaderLen
	if s.inner != nil {
		end += TagLen
	}
	if s.ip4 != nil {
		end += int(s.ip4.Length)
	} else {
		end += 40 + int(s.ip6.Length)
	}
	s.data = buf.Bytes()[:end] // without padding
	s.fillVNet()
	return s
}

func (s *superFrame) fillVNet() {
	var kind byte
	var header, csum int
	switch {
	case s.tcp == nil:
		kind, header, csum = 5, 8, 6
	case s.ip4 != nil:
		kind, header, csum = 1, 20, 16
	default:
		kind, header, csum = 4, 20, 16
	}
	if s.tcp != nil {
		header += 12 * min(1, len(s.tcp.Options))
		if s.tcp.CWR {
			kind |= 0x80
		}
	}
	l4 := len(s.data) - len(s.payload) - header
	s.vnet[1] = kind
	binary.LittleEndian.PutUint16(s.vnet[4:], uint16(s.size))
	if s.partial {
		s.vnet[0] = 1
		binary.LittleEndian.PutUint16(s.vnet[6:], uint16(l4))
		binary.LittleEndian.PutUint16(s.vnet[8:], uint16(csum))
		copy(s.data[l4+csum:], "??") // whatever is there, it is not the checksum
	}
}

// What Segment emits is what the wire would carry: the payload in order, every
// header as the super-frame's but for what must differ, every checksum whole.
func TestSegment(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSuperFrame(t)
		tagged := rapid.Bool().Draw(t, "tagged")
		tci := rapid.Uint16().Draw(t, "tci")
		f := slot(s.vnet[:], s.data)
		if got := f.Parse(); got != Pass {
			t.Fatalf("Parse: %v", got)
		}
		raw := bytes.Clone(f.Raw)

		var payload []byte
		i, total := 0, 0
		scratch := make([]byte, VNetLen+TagLen+f.Len)
		known := f.Segment(tagged, tci, scratch, func(raw []byte) {
			if !bytes.Equal(raw[:VNetLen], make([]byte, VNetLen)) {
				t.Fatalf("segment %d has virtio-net header %x, but nothing is left to do", i, raw[:VNetLen])
			}
			total += len(raw) - VNetLen
			payload = append(payload, s.check(t, raw[VNetLen:], i, f.Segments, tagged, tci)...)
			i++
		})
		if !known {
			t.Fatal("not segmented")
		}
		if i != f.Segments || total != f.WireBytes(tagged) {
			t.Errorf("%d segments of %d bytes, counted as %d of %d", i, total, f.Segments, f.WireBytes(tagged))
		}
		if !bytes.Equal(payload, s.payload) {
			t.Errorf("the segments carry %d bytes that are not the payload's %d", len(payload), len(s.payload))
		}
		if !bytes.Equal(f.Raw, raw) {
			t.Error("Segment changed the frame")
		}
	})
}

// check looks at segment i of n and returns its payload.
func (s *superFrame) check(t *rapid.T, data []byte, i, n int, tagged bool, tci uint16) []byte {
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.Default)
	if e := p.ErrorLayer(); e != nil {
		t.Fatalf("segment %d: %v", i, e.Error())
	}
	for _, l := range p.Layers() {
		if l, ok := l.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			if err := l.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
				t.Fatalf("segment %d: %v", i, err)
			}
		}
	}
	if err, bad := p.VerifyChecksums(); err != nil || len(bad) != 0 {
		t.Fatalf("segment %d: %v, wrong checksums %+v", i, err, bad)
	}
	s.checkTags(t, p, i, tagged, tci)
	offset := uint32(i * s.size)
	length := min(s.size, len(s.payload)-i*s.size)
	if s.ip4 != nil {
		ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		if ip.Id != s.ip4.Id+uint16(i) || ip.TTL != 64 || ip.Flags != layers.IPv4DontFragment || len(ip.Options) != len(s.ip4.Options) {
			t.Fatalf("segment %d: IPv4 %+v of %+v", i, ip, s.ip4)
		}
	} else if ip := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6); ip.FlowLabel != s.ip6.FlowLabel || ip.HopLimit != 64 {
		t.Fatalf("segment %d: IPv6 %+v of %+v", i, ip, s.ip6)
	}
	if s.udp != nil {
		udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if int(udp.Length) != 8+length || udp.Checksum == 0 {
			t.Fatalf("segment %d: UDP length %d, checksum %#x; want %d and one", i, udp.Length, udp.Checksum, 8+length)
		}
		return udp.Payload
	}
	tcp := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	type flags struct{ ack, ece, psh, fin, cwr bool }
	last, first := i == n-1, i == 0
	want := flags{true, s.tcp.ECE, s.tcp.PSH && last, s.tcp.FIN && last, s.tcp.CWR && first}
	if got := (flags{tcp.ACK, tcp.ECE, tcp.PSH, tcp.FIN, tcp.CWR}); got != want {
		t.Fatalf("segment %d of %d: flags %+v, want %+v", i, n, got, want)
	}
	if tcp.Seq != s.tcp.Seq+offset || tcp.Ack != 7 || tcp.Window != 500 || len(tcp.Payload) != length {
		t.Fatalf("segment %d: seq %d ack %d window %d, %d bytes; want seq %d, %d bytes", i, tcp.Seq, tcp.Ack, tcp.Window,
			len(tcp.Payload), s.tcp.Seq+offset, length)
	}
	if d := cmp.Diff(s.tcp.Options, tcp.Options); len(s.tcp.Options) > 0 && d != "" {
		t.Fatalf("segment %d: options %s", i, d)
	}
	return tcp.Payload
}

func (s *superFrame) checkTags(t *rapid.T, p gopacket.Packet, i int, tagged bool, tci uint16) {
	var got, want []uint16
	if tagged {
		want = append(want, tci)
	}
	if s.inner != nil {
		want = append(want, 3<<13|20)
	}
	for _, l := range p.Layers() {
		switch l := l.(type) {
		case *layers.Ethernet:
			if !bytes.Equal(l.SrcMAC, s.eth.SrcMAC) || !bytes.Equal(l.DstMAC, s.eth.DstMAC) {
				t.Fatalf("segment %d: from %v to %v", i, l.SrcMAC, l.DstMAC)
			}
		case *layers.Dot1Q:
			got = append(got, binary.BigEndian.Uint16(l.Contents))
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("segment %d: tags (-want +got)\n%s", i, d)
	}
}

func TestSegmentRefuses(t *testing.T) {
	const inner = "8000 12b5 0000 0000 08000000 00000100" + macs + "0800" + ip4 + tcp // behind UDP: VXLAN
	for _, c := range []struct{ name, vnet, header string }{
		{"UDP fragmentation", "01 03 2a00 e803 2200 0600", macs + "0800" + ip4 + udp},
		{"a tunnel in IPv4", "01 01 6800 e803 5400 1000", macs + "0800" + ip4 + inner},
		{"a tunnel in IPv6", "01 01 7c00 e803 6800 1000", macs + "86dd" + ip6 + inner},
		{"IPv4 with a header of no length", "01 05 1600 e803 0e00 0600", macs + "0800" + "4000 0000 0001 4000"},
		{"IPv4 header longer than where TCP begins", "01 01 3600 e803 2200 1000", macs + "0800" + "46" + ip4[2:] + tcp},
		{"TCP that says it is UDP", "01 05 2a00 e803 2200 0600", macs + "0800" + ip4 + udp},
		{"IPv6 with an unknown header", "01 04 5200 e803 3e00 1000",
			macs + "86dd" + "60000000 0000 3340" + ip6[19:] + "0600 0000 0000 0000" + tcp},
		{"not IP", "01 01 3600 e803 2200 1000", macs + "0806" + "00" + ip4[2:] + tcp},
	} {
		f := slot(unhex(t, c.vnet), append(unhex(t, c.header), make([]byte, 2000)...))
		f.Parse()
		if f.Segment(false, 0, make([]byte, 1<<16), func([]byte) { t.Errorf("%s: emitted a frame", c.name) }) {
			t.Errorf("%s: said to be segmented", c.name)
		}
	}
}

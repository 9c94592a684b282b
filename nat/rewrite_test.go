package nat

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// with changes what a build makes.
func with(b build, change func(raw []byte) []byte) build {
	return func(src, dst end) []byte { return change(b(src, dst)) }
}

func options(src, dst end) []byte {
	l3 := ipv4(src, dst, layers.IPProtocolTCP)
	l3.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}} // router alert
	l4 := ackSegment.layer(src, dst)
	l4.SetNetworkLayerForChecksum(l3)
	return serialize(l3, l4, payload(5))
}

func super(raw []byte, gso byte) []byte {
	raw[1] = gso
	binary.LittleEndian.PutUint16(raw[4:], 1448)
	return raw
}

// tunnel is a VXLAN packet whose inner checksum is partial, and the outer one
// complete.
func tunnel(raw []byte) []byte {
	raw[0] = 1
	binary.LittleEndian.PutUint16(raw[6:], frame.HeaderLen+ipLen+udpLen+8+14+20)
	return raw
}

var shapes = map[string]build{
	"TCP SYN":                  synSegment.build,
	"TCP SYN with options":     segment{flags: syn, options: []layers.TCPOption{{OptionType: 3, OptionLength: 3, OptionData: []byte{7}}}}.build,
	"TCP, odd length":          segment{flags: ack, seq: 101, window: 3, length: 1447}.build,
	"TCP, IP options":          options,
	"TCP, partial":             with(segment{flags: ack, length: 100}.build, func(raw []byte) []byte { return makePartial(raw, 16) }),
	"TCP, GSO":                 with(segment{flags: ack, length: 40000}.build, func(raw []byte) []byte { return super(makePartial(raw, 16), 1) }),
	"TCP, GSO, complete":       with(segment{flags: ack, length: 40000}.build, func(raw []byte) []byte { return super(raw, 1) }),
	"UDP":                      udp(100),
	"UDP, empty":               udp(0),
	"UDP, odd":                 udp(1),
	"UDP, partial":             with(udp(333), func(raw []byte) []byte { return makePartial(raw, 6) }),
	"UDP, GSO":                 with(udp(30000), func(raw []byte) []byte { return super(makePartial(raw, 6), 5) }),
	"UDP, tunnel's partial":    with(udp(333), tunnel),
	"UDP, without checksum":    with(udp(100), func(raw []byte) []byte { raw[50], raw[51] = 0, 0; return raw }),
	"UDP, padded by Ethernet":  with(udp(3), func(raw []byte) []byte { return append(raw, make([]byte, 15)...) }),
	"UDP, padded with rubbish": with(udp(3), func(raw []byte) []byte { return append(raw, 1, 2, 3, 4, 5) }),
}

func TestRewrittenPacketIsAsIfFreshlyMade(t *testing.T) {
	for name, b := range shapes {
		n := newTable(t, nil)
		g, r := end{guestA, 40000}, end{remote, 443}
		opening := b
		if b(g, r)[frame.VNetLen+frame.HeaderLen+9] == protoTCP {
			opening = synSegment.build
		}
		e := open(t, n, numberA, opening, g, r, at)

		raw := b(g, r)
		outbound(t, n, numberA, raw, Outside, at)
		if want := b(e, r); !bytes.Equal(raw, want) {
			t.Errorf("%s, out:\n got % x\nwant % x", name, head(raw), head(want))
		}
		raw = b(r, e)
		inbound(t, n, raw, at)
		if want := b(r, g); !bytes.Equal(raw, want) {
			t.Errorf("%s, in:\n got % x\nwant % x", name, head(raw), head(want))
		}
	}
}

func head(b []byte) []byte { return b[:min(len(b), 80)] }

func TestEchoIsAsIfFreshlyMade(t *testing.T) {
	n := newTable(t, nil)
	g, r := end{guestA, 77}, end{remote, 0}
	raw := echo(g, r)
	e, _ := outbound(t, n, numberA, raw, Outside, at)
	if want := echo(e, r); !bytes.Equal(raw, want) {
		t.Errorf("out:\n got % x\nwant % x", raw, want)
	}
	raw = echo(r, e)
	inbound(t, n, raw, at)
	if want := echo(r, g); !bytes.Equal(raw, want) {
		t.Errorf("in:\n got % x\nwant % x", raw, want)
	}
}

func TestAnyUDPPacketIsAsIfFreshlyMade(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, err := New(Config{Gateway: prefix("10.0.0.1/8")})
		if err != nil {
			t.Fatal(err)
		}
		address := func(first byte, name string) string {
			b := rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, name)
			return addr4(uint32(first)<<24 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) | 2).String()
		}
		ext := end{address(192, "external"), 0}
		if err := n.SetExternal(ext.addrPort().Addr()); err != nil {
			t.Fatal(err)
		}
		g := end{address(10, "guest"), rapid.Uint16().Draw(t, "guest's port")}
		r := end{address(198, "remote"), rapid.Uint16().Draw(t, "remote's port")}
		b := udp(rapid.IntRange(0, 64).Draw(t, "length"))
		raw := b(g, r)
		if v := n.Outbound(raw, 0, at); v.To != Outside {
			t.Fatalf("%v", v)
		}
		ext.port = binary.BigEndian.Uint16(raw[frame.VNetLen+34:])
		if want := b(ext, r); !bytes.Equal(raw, want) {
			t.Fatalf("out:\n got % x\nwant % x", raw, want)
		}
		raw = b(r, ext)
		if v := n.Inbound(raw, at); v.To != Inside {
			t.Fatalf("%v", v)
		}
		if want := b(r, g); !bytes.Equal(raw, want) {
			t.Fatalf("in:\n got % x\nwant % x", raw, want)
		}
	})
}

func TestMalformedPacketsAreDropped(t *testing.T) {
	g, r := end{guestA, 40000}, end{remote, 443}
	cut := func(b build, n int) []byte { // to n bytes of IP packet, whose length says so
		raw := b(g, r)[:frame.VNetLen+frame.HeaderLen+n]
		binary.BigEndian.PutUint16(raw[frame.VNetLen+frame.HeaderLen+2:], uint16(n))
		return raw
	}
	set := func(at int, v byte) []byte {
		raw := udp(100)(g, r)
		raw[frame.VNetLen+at] = v
		return raw
	}
	for name, raw := range map[string][]byte{
		"nothing":                      {},
		"no IP header":                 udp(0)(g, r)[:frame.VNetLen+frame.HeaderLen+19],
		"no IPv4":                      set(12, 0x86),
		"version 6":                    set(14, 0x65),
		"IHL of 4":                     set(14, 0x44),
		"IHL beyond the end":           cut(udp(0), 20)[:frame.VNetLen+frame.HeaderLen+20],
		"longer than the frame":        set(16, 9),
		"shorter than its header":      set(17, 19),
		"TCP header cut":               cut(synSegment.build, 39),
		"UDP header cut":               cut(udp(0), 27),
		"ICMP header cut":              cut(echo, 27),
		"length 0 without GSO":         func() []byte { raw := set(16, 0); raw[frame.VNetLen+17] = 0; return raw }(),
		"TCP fragment 8 bytes in":      fragmentOf(synSegment.build(g, r), 8, 8, true),
		"first fragment of 17 bytes":   fragmentOf(udp(100)(g, r), 0, 17, true),
		"first fragment without ports": fragmentOf(synSegment.build(g, r), 0, 8, true),
	} {
		n := newTable(t, nil)
		dropped(t, name+", out", func(raw []byte) Verdict { return n.Outbound(raw, numberA, at) }, raw, frame.Malformed)
		dropped(t, name+", in", func(raw []byte) Verdict { return n.Inbound(raw, at) }, raw, frame.Malformed)
	}
}

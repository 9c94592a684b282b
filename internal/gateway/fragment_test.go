package gateway

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// pieces cuts a packet and returns copies of what is emitted.
func pieces(g *Gateway, raw []byte, to Side) (all [][]byte) {
	g.Fragment(make([]byte, g.FragmentLen(to)), raw, to, func(f []byte) { all = append(all, bytes.Clone(f)) })
	return all
}

// Another's reassembly makes the packet again of its fragments, in any order.
func TestFragmentsMakeThePacketAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := routed()
		c.Link[Outside].MTU = rapid.IntRange(68, 1500).Draw(t, "mtu")
		g, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		var options []func(*layers.IPv4, *layers.UDP)
		for range rapid.IntRange(0, 4).Draw(t, "options") {
			kind := rapid.SampledFrom([]byte{148, 7, 68, 130}).Draw(t, "option")
			options = append(options, option(kind, make([]byte, rapid.IntRange(0, 8).Draw(t, "option length"))...))
		}
		raw := sized(Inside, guestA, remote, rapid.IntRange(c.Link[Outside].MTU+1, 9000).Draw(t, "length"), false, options...)
		if rapid.Bool().Draw(t, "partial checksum") {
			raw = leavePartial(raw)
		}
		whole := bytes.Clone(raw)
		if v := g.Route(Inside, raw, 0, now); !v.Fragment {
			t.Fatalf("%+v", v)
		}
		all := pieces(g, raw, Outside)
		if len(all) < 2 {
			t.Fatalf("%d pieces", len(all))
		}
		for i, f := range all {
			if n := len(f) - l3; n > c.Link[Outside].MTU || !bytes.Equal(f[:frame.VNetLen], make([]byte, frame.VNetLen)) {
				t.Fatalf("piece %d has %d bytes, MTU %d; virtio-net header %x", i, n, c.Link[Outside].MTU, f[:frame.VNetLen])
			}
			if !bytes.Equal(f[frame.VNetLen:l3], raw[frame.VNetLen:l3]) {
				t.Fatalf("piece %d has Ethernet header %x", i, f[frame.VNetLen:l3])
			}
		}
		order := rapid.Permutation(all).Draw(t, "order")
		d := ip4defrag.NewIPv4Defragmenter()
		var got *layers.IPv4
		for i, f := range order {
			p := gopacket.NewPacket(f[frame.VNetLen:], layers.LayerTypeEthernet, gopacket.Default)
			ip := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
			if !intact(f[l3 : l3+int(ip.IHL)*4]) {
				t.Fatalf("piece %x has a wrong sum", f[l3:])
			}
			r, err := d.DefragIPv4(ip)
			if err != nil {
				t.Fatal(err)
			}
			if (r != nil) != (i == len(order)-1) {
				t.Fatalf("put together after %d of %d pieces", i+1, len(order))
			}
			got = r
		}
		want := gopacket.NewPacket(whole[frame.VNetLen:], layers.LayerTypeEthernet, gopacket.Default).Layer(layers.LayerTypeIPv4).(*layers.IPv4)
		payload := bytes.Clone(want.Payload)
		if whole[0] != 0 { // completed on the way
			binary.BigEndian.PutUint16(payload[6:], 0)
			udp := &layers.UDP{}
			if err := udp.DecodeFromBytes(got.Payload, gopacket.NilDecodeFeedback); err != nil {
				t.Fatal(err)
			}
			udp.SetNetworkLayerForChecksum(want)
			if err, r := udp.VerifyChecksum(); err != nil || !r.Valid || udp.Checksum == 0 {
				t.Fatalf("UDP checksum %#x: %v %+v", udp.Checksum, err, r)
			}
			binary.BigEndian.PutUint16(got.Payload[6:], 0)
		}
		if !bytes.Equal(got.Payload, payload) {
			t.Fatal("another payload came out")
		}
	})
}

// leavePartial leaves the checksum of a UDP packet to the receiver.
func leavePartial(raw []byte) []byte {
	hlen := int(raw[l3]&15) * 4
	d := raw[l3:]
	raw[0] = 1
	binary.LittleEndian.PutUint16(raw[6:], uint16(frame.HeaderLen+hlen))
	binary.LittleEndian.PutUint16(raw[8:], 6)
	pseudo := append(bytes.Clone(d[12:20]), 0, 17, 0, 0)
	binary.BigEndian.PutUint16(pseudo[10:], uint16(len(d)-hlen))
	binary.BigEndian.PutUint16(d[hlen+6:], frame.Sum(pseudo))
	return raw
}

// A fragment is cut into fragments of the same packet.
func TestFragmentOfAFragment(t *testing.T) {
	c := routed()
	c.Link[Outside].MTU = 100
	g := newGateway(t, c)
	for _, f := range []struct {
		word uint16
		want []uint16
	}{
		{0x0000, []uint16{0x2000, 0x200a, 0x0014}},
		{0x2000, []uint16{0x2000, 0x200a, 0x2014}},
		{0x2064, []uint16{0x2064, 0x206e, 0x2078}},
		{0x0064, []uint16{0x2064, 0x206e, 0x0078}},
		{0x8064, []uint16{0xa064, 0xa06e, 0x8078}}, // the reserved bit is not ours to clear
	} {
		raw := sized(Inside, guestA, remote, 20+80+80+24, false)
		binary.BigEndian.PutUint16(raw[l3+6:], f.word)
		all := pieces(g, resum(raw), Outside)
		if len(all) != len(f.want) {
			t.Errorf("%#x: %d pieces, want %d", f.word, len(all), len(f.want))
			continue
		}
		for i, p := range all {
			if got := binary.BigEndian.Uint16(p[l3+6:]); got != f.want[i] {
				t.Errorf("%#x: piece %d has %#x, want %#x", f.word, i, got, f.want[i])
			}
		}
	}
}

func TestFragmentsHaveTheOptionsThatAreCopied(t *testing.T) {
	c := routed()
	c.Link[Outside].MTU = 100
	g := newGateway(t, c)
	nop := func(l *layers.IPv4, _ *layers.UDP) {
		l.Options = append(l.Options, layers.IPv4Option{OptionType: optionNop, OptionLength: 1})
	}
	for _, o := range []struct {
		name    string
		options []func(*layers.IPv4, *layers.UDP)
		first   string
		later   string
	}{
		{"router alert", []func(*layers.IPv4, *layers.UDP){option(148, 0, 0)}, "\x94\x04\x00\x00", "\x94\x04\x00\x00"},
		{"record route", []func(*layers.IPv4, *layers.UDP){option(7, 4, 0, 0, 0, 0, 0)}, "\x07\x08\x04\x00\x00\x00\x00\x00", ""},
		{"one of both", []func(*layers.IPv4, *layers.UDP){nop, option(7, 4), option(136, 1), nop}, "\x01\x07\x03\x04\x88\x03\x01\x01", "\x88\x03\x01\x00"},
	} {
		all := pieces(g, sized(Inside, guestA, remote, 300, false, o.options...), Outside)
		for i, p := range all {
			want := o.later
			if i == 0 {
				want = o.first
			}
			if got := string(p[l3+20 : l3+int(p[l3]&15)*4]); got != want {
				t.Errorf("%s: piece %d has options %x, want %x", o.name, i, got, want)
			}
		}
	}
}

func TestFragmentLeavesAlone(t *testing.T) {
	g := newGateway(t, routed())
	if got := pieces(g, superFrame(Inside, guestA, remote, 30000, 1448, false), Outside); len(got) != 0 {
		t.Errorf("cut a super-frame into %d", len(got))
	}
	if got := pieces(g, packetTo(Inside, guestA, remote)[:l3+5], Outside); len(got) != 0 {
		t.Errorf("cut no packet into %d", len(got))
	}
	short := append(packetTo(Inside, guestA, remote), 0, 0, 0)
	if got := pieces(g, short, Outside); len(got) != 1 || !bytes.Equal(got[0], short[:len(short)-3]) {
		t.Errorf("a packet that fits: %x, want %x", got, short)
	}
}

// A sum that comes to zero is written ffff (RFC 768), and completed once.
func TestFragmentCompletesTheChecksum(t *testing.T) {
	g := newGateway(t, routed())
	raw := leavePartial(packetTo(Inside, guestA, remote))
	udp := raw[l3+20:]
	udp[8], udp[9] = 0, 0
	binary.BigEndian.PutUint16(udp[8:], ^frame.Sum(udp))
	all := pieces(g, raw, Outside)
	if len(all) != 1 || binary.BigEndian.Uint16(all[0][l3+26:]) != 0xffff || raw[0] != 0 {
		t.Errorf("%x of %x, want checksum ffff and nothing left to do", all, raw)
	}
}

package gateway

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
)

func icmp(side Side, src, dst string, kind byte) []byte {
	l3 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: ip(src).AsSlice(), DstIP: ip(dst).AsSlice()}
	return serialize(side, l3, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0)}, gopacket.Payload(make([]byte, 28)))
}

// What comes back is a packet that a sender's stack takes, about the one it sent.
func TestErrors(t *testing.T) {
	quiet := routed()
	quiet.Link[Inside].Addr = netip.Addr{}
	for _, c := range []struct {
		name   string
		config Config
		from   Side
		raw    []byte
		src    string
		length int // of the packet
	}{
		{"TTL", routed(), Inside, packetTo(Inside, guestA, remote, ttl(1)), inner, 28 + 36},
		{"no route", routed(), Inside, packetTo(Inside, guestA, nowhere), inner, 28 + 36},
		{"no route, to an address of the other side", quiet, Inside, packetTo(Inside, guestA, nowhere), outer, 28 + 36},
		{"MTU", routed(), Inside, sized(Inside, guestA, remote, 1500, true), inner, 576},
		{"super-frame", routed(), Inside, superFrame(Inside, guestA, remote, 30000, 1448, true), inner, 576},
		{"options", routed(), Inside, packetTo(Inside, guestA, remote, ttl(1), option(148, 0, 0)), inner, 28 + 40},
		{"echo request", routed(), Inside, func() []byte {
			raw := icmp(Inside, guestA, remote, 8)
			raw[l3+8] = 1
			return resum(raw)
		}(), inner, 28 + 56},
		{"from outside", routed(), Outside, packetTo(Outside, remote, guestA, ttl(1)), outer, 28 + 36},
		{"padding is not shown", routed(), Inside, append(packetTo(Inside, guestA, remote, ttl(1)), make([]byte, 30)...), inner, 28 + 36},
		{"forward", natted(t), Outside, packetTo(Outside, remote, outer, dport(8080), ttl(1)), outer, 28 + 36},
		{"forward, long", natted(t), Outside, sized(Outside, remote, outer, 1501, true, dport(8080)), outer, 576},
		{"hairpin", natted(t), Inside, packetTo(Inside, guestB, outer, dport(8080), ttl(1)), inner, 28 + 36},
	} {
		g := newGateway(t, c.config)
		v := route(t, c.name, g, c.from, c.raw)
		if v.Error == (ICMPError{}) {
			t.Errorf("%s: %+v", c.name, v)
			continue
		}
		head := []byte("head")
		raw, ok := g.AppendError(head, c.from, c.raw, v.Error, 0)
		if !ok || !bytes.HasPrefix(raw, head) {
			t.Errorf("%s: no error", c.name)
			continue
		}
		p := decode(t, raw[len(head):])
		eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		l3, l4 := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4), p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4)
		about := c.raw[frame.VNetLen+frame.HeaderLen:]
		about = about[:min(len(about), c.length-28)]
		mac := map[Side][]byte{Inside: insideMAC[:], Outside: outsideMAC[:]}[c.from]
		if !bytes.Equal(eth.SrcMAC, mac) || !bytes.Equal(eth.DstMAC, c.raw[frame.VNetLen+6:frame.VNetLen+12]) {
			t.Errorf("%s: from %v to %v", c.name, eth.SrcMAC, eth.DstMAC)
		}
		if l3.SrcIP.String() != c.src || !bytes.Equal(l3.DstIP, about[12:16]) || int(l3.Length) != c.length || l3.TTL != 64 || l3.TOS != 0xc0 {
			t.Errorf("%s: %+v, want %d bytes from %s", c.name, l3, c.length, c.src)
		}
		if l4.TypeCode != layers.CreateICMPv4TypeCode(v.Error.Type, v.Error.Code) || l4.Id != 0 || l4.Seq != v.Error.MTU {
			t.Errorf("%s: %+v, want %+v", c.name, l4, v.Error)
		}
		if !bytes.Equal(l4.Payload, about) {
			t.Errorf("%s: is about\n     %x\nsent %x", c.name, l4.Payload, about)
		}
	}
}

func TestErrorsNobodyMaySend(t *testing.T) {
	g := newGateway(t, routed())
	fragment := func(word uint16) []byte {
		raw := packetTo(Inside, guestA, remote)
		binary.BigEndian.PutUint16(raw[l3+6:], word)
		return resum(raw)
	}
	to := func(mac frame.MAC) []byte {
		raw := packetTo(Inside, guestA, remote)
		copy(raw[frame.VNetLen:], mac[:])
		return raw
	}
	for i, c := range []struct {
		name string
		raw  []byte
		want bool
	}{
		{"a packet", packetTo(Inside, guestA, remote), true},
		{"echo request", icmp(Inside, guestA, remote, 8), true},
		{"echo reply", icmp(Inside, guestA, remote, 0), true},
		{"timestamp", icmp(Inside, guestA, remote, 13), true},
		{"unreachable", icmp(Inside, guestA, remote, 3), false},
		{"source quench", icmp(Inside, guestA, remote, 4), false},
		{"redirect", icmp(Inside, guestA, remote, 5), false},
		{"time exceeded", icmp(Inside, guestA, remote, 11), false},
		{"parameter problem", icmp(Inside, guestA, remote, 12), false},
		{"ICMP nobody knows", icmp(Inside, guestA, remote, 42), false},
		{"ICMP without a type", func() []byte {
			raw := icmp(Inside, guestA, remote, 8)[:l3+20]
			raw[l3+2], raw[l3+3] = 0, 20
			return resum(raw)
		}(), false},
		{"first fragment", fragment(0x2000), true},
		{"second fragment", fragment(0x2001), false},
		{"last fragment", fragment(0x0001), false},
		{"in a broadcast frame", to(frame.Broadcast), false},
		{"in a multicast frame", to(frame.MAC{1, 0, 0x5e, 0, 0, 1}), false},
		{"to the network's broadcast", packetTo(Inside, guestA, "10.20.0.255"), false},
		{"to all", packetTo(Inside, guestA, "255.255.255.255"), false},
		{"to a group", packetTo(Inside, guestA, "224.0.0.9"), false},
		{"from nobody", packetTo(Inside, "0.0.0.0", remote), false},
		{"from loopback", packetTo(Inside, "127.0.0.1", remote), false},
		{"from a group", packetTo(Inside, "224.0.0.9", remote), false},
		{"from all", packetTo(Inside, "255.255.255.255", remote), false},
		{"from the network's broadcast", packetTo(Inside, "10.20.0.255", remote), false},
		{"from somebody else", packetTo(Inside, remote, onLAN), false},
		{"from the host, as the NAT sends it", packetTo(Inside, outer, remote), false},
		{"from reserved", packetTo(Inside, "240.0.0.9", remote), false},
		{"no packet", packetTo(Inside, guestA, remote)[:l3+10], false},
		{"not IPv4", func() []byte { raw := packetTo(Inside, guestA, remote); raw[l3-2] = 0x86; return raw }(), false},
	} {
		buf, ok := g.AppendError(nil, Inside, c.raw, expired.Error, int64(i)*1000*millisec)
		if ok != c.want || (len(buf) != 0) != c.want {
			t.Errorf("%s: %v, %d bytes; want %v", c.name, ok, len(buf), c.want)
		}
	}
	if _, ok := g.AppendError(nil, Inside, packetTo(Inside, guestA, remote), ICMPError{}, 1e12); ok {
		t.Error("made an error of none")
	}
	c := routed()
	c.Link[Inside].Addr, c.Link[Outside].Addr = netip.Addr{}, netip.Addr{}
	if _, ok := newGateway(t, c).AppendError(nil, Inside, packetTo(Inside, guestA, remote), expired.Error, 0); ok {
		t.Error("made an error from nobody")
	}
}

func TestErrorsAreLimited(t *testing.T) {
	l := NewErrorLimit()
	a, b := addressFrom(ip(guestA)), addressFrom(ip(guestB))
	for (uint64(a)*l.seed>>32)%errorCells == (uint64(b)*l.seed>>32)%errorCells {
		b++
	}
	count := func(to Side, dst uint32, nanos int64, n int) (allowed int) {
		for range n {
			if l.allow(to, dst, nanos) {
				allowed++
			}
		}
		return allowed
	}
	for _, c := range []struct {
		name  string
		to    Side
		dst   uint32
		nanos int64
		want  int
	}{
		{"at once", Inside, a, 0, 20},
		{"at once, once more", Inside, a, 0, 0},
		{"another address", Inside, b, 0, 20},
		{"nearly 20 ms later", Inside, a, 20*millisec - 1, 0},
		{"20 ms later", Inside, a, 20 * millisec, 1},
		{"a clock that is behind", Inside, a, 19 * millisec, 0},
		{"a second later", Inside, a, 1020 * millisec, 20},
		{"years later", Inside, a, 1 << 60, 20},
	} {
		if got := count(c.to, c.dst, c.nanos, 100); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	// Many addresses have the side's share, and the other side its own.
	at, got := int64(1<<60)+10000*millisec, 0
	for n := range uint32(1000) {
		got += count(Inside, 0xc0000000+n*7, at, 1)
	}
	if got != errorBurst {
		t.Errorf("%d errors to a side, want %d", got, errorBurst)
	}
	if !l.sides[Outside].take(at, errorsPerSecond, errorBurst) {
		t.Error("the other side has none left")
	}
}

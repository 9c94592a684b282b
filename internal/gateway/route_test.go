package gateway

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
	"gxswitch/nat"
)

// route gives a packet to a gateway and checks what must be so of every one: what
// does not go to a side is as it was, and the length and the virtio-net header are.
func route(t testing.TB, name string, g *Gateway, from Side, raw []byte) Verdict {
	t.Helper()
	was := bytes.Clone(raw)
	v := besides(g.Route(from, raw, 0, now))
	if (v.To == Dropped) != (v.Reason != frame.Pass) || v.Error != (ICMPError{}) && v.To != Dropped {
		t.Errorf("%s: %+v contradicts itself", name, v)
	}
	if v.To == ToInside || v.To == ToOutside {
		if !bytes.Equal(raw[:frame.VNetLen], was[:frame.VNetLen]) || raw[l3+8] != was[l3+8]-1 {
			t.Errorf("%s: virtio-net header %x of %x, TTL %d of %d", name, raw[:frame.VNetLen], was[:frame.VNetLen], raw[l3+8], was[l3+8])
		}
		return v
	}
	if v.Fragment || v.Resolved || v.NextHop.IsValid() {
		t.Errorf("%s: %+v contradicts itself", name, v)
	}
	if !bytes.Equal(raw, was) {
		t.Errorf("%s: %v, and changed", name, v.To)
	}
	return v
}

// besides is a verdict but for which session it is of.
func besides(v Verdict) Verdict {
	v.Session = nat.Ref{}
	return v
}

var (
	toHost    = Verdict{To: Host}
	refused   = drop(frame.NoRoute)
	spoofed   = drop(frame.SpoofIP)
	malformed = drop(frame.Malformed)
	noNet     = Verdict{Reason: frame.NoRoute, Error: ICMPError{Unreachable, NetUnreachable, 0}}
	expired   = Verdict{Reason: frame.TTL, Error: ICMPError{TimeExceeded, 0, 0}}
)

func tooBig(mtu uint16) Verdict {
	return Verdict{Reason: frame.MTU, Error: ICMPError{Unreachable, FragmentationNeeded, mtu}}
}

func sent(to Place, next string, resolved bool) Verdict {
	return Verdict{To: to, NextHop: ip(next), Resolved: resolved}
}

func inPieces(v Verdict) Verdict {
	v.Fragment = true
	return v
}

type decision struct {
	name string
	from Side
	raw  []byte
	want Verdict
}

func decide(t *testing.T, g *Gateway, cases []decision) {
	t.Helper()
	for _, c := range cases {
		if got := route(t, c.name, g, c.from, c.raw); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// brokenOption is a packet with an option of four bytes that says another length.
func brokenOption(length byte) []byte {
	raw := packetTo(Inside, guestA, remote, option(148, 0, 0))
	raw[l3+21] = length
	return resum(raw)
}

// resum makes the sum of a header without options, or with one of four bytes, right.
func resum(raw []byte) []byte {
	n := 20
	if raw[l3] == 0x46 {
		n = 24
	}
	raw[l3+10], raw[l3+11] = 0, 0
	binary.BigEndian.PutUint16(raw[l3+10:], ^frame.Sum(raw[l3:l3+n]))
	return raw
}

func TestRouted(t *testing.T) {
	in, out := Inside, Outside
	decide(t, newGateway(t, routed()), []decision{
		{"by a router", in, packetTo(in, guestA, remote), sent(ToOutside, router, true)},
		{"on the link", in, packetTo(in, guestA, onLAN), sent(ToOutside, onLAN, true)},
		{"on the link, not yet known", in, packetTo(in, guestA, silent), sent(ToOutside, silent, false)},
		{"to another guest", in, packetTo(in, guestB, guestA), sent(ToInside, guestA, true)},
		{"to another guest, not yet known", in, packetTo(in, guestA, guestB), sent(ToInside, guestB, false)},
		{"no route", in, packetTo(in, guestA, nowhere), noNet},
		{"unreachable route", in, packetTo(in, guestA, "198.51.100.200"), noNet},
		{"broadcast of the uplink's network", in, packetTo(in, guestA, "192.0.2.255"), noNet},
		{"to the gateway", in, packetTo(in, guestA, inner), toHost},
		{"to the host's address outside", in, packetTo(in, guestA, outer), toHost},
		{"to the host's address elsewhere", in, packetTo(in, guestA, "172.16.0.1"), toHost},
		{"to the host, by somebody else", in, packetTo(in, "192.168.7.7", inner), toHost},
		{"to the host, without an address", in, packetTo(in, "0.0.0.0", inner), toHost},
		{"to the host, last hop", in, packetTo(in, guestA, inner, ttl(1)), toHost},
		{"to the host, long", in, sized(in, guestA, inner, 3000, true), toHost},
		{"to the host, source route", in, packetTo(in, guestA, inner, option(optionLSRR, 4, 8, 8, 8, 8)), toHost},
		{"broadcast of the network", in, packetTo(in, guestA, "10.20.0.255"), toHost},
		{"limited broadcast", in, packetTo(in, "0.0.0.0", "255.255.255.255"), toHost},
		{"multicast", in, packetTo(in, guestA, "224.0.0.251"), toHost},
		{"to this network", in, packetTo(in, guestA, "0.1.2.3"), refused},
		{"to loopback", in, packetTo(in, guestA, "127.0.0.1"), refused},
		{"to link-local", in, packetTo(in, guestA, "169.254.169.254"), refused},
		{"to reserved", in, packetTo(in, guestA, "240.0.0.1"), refused},
		{"from this network", in, packetTo(in, "0.0.0.0", remote), refused},
		{"from loopback", in, packetTo(in, "127.0.0.1", remote), refused},
		{"from link-local", in, packetTo(in, "169.254.1.1", guestA), refused},
		{"from multicast", in, packetTo(in, "224.0.0.1", remote), refused},
		{"from broadcast", in, packetTo(in, "255.255.255.255", remote), refused},
		{"from the network's broadcast", in, packetTo(in, "10.20.0.255", remote), refused},
		{"from elsewhere", in, packetTo(in, "8.8.8.8", remote), spoofed},
		{"from elsewhere, to a guest", in, packetTo(in, "8.8.8.8", guestA), spoofed},
		{"from the gateway", in, packetTo(in, inner, remote), spoofed},
		{"from elsewhere, no route", in, packetTo(in, "8.8.8.8", nowhere), spoofed},

		{"last hop", in, packetTo(in, guestA, remote, ttl(1)), expired},
		{"no hop", in, packetTo(in, guestA, remote, ttl(0)), expired},
		{"one hop left", in, packetTo(in, guestA, remote, ttl(2)), sent(ToOutside, router, true)},
		{"last hop, no route", in, packetTo(in, guestA, nowhere, ttl(1)), noNet},
		{"fits", in, sized(in, guestA, remote, 1400, true), sent(ToOutside, router, true)},
		{"does not fit", in, sized(in, guestA, remote, 1401, true), tooBig(1400)},
		{"does not fit, last hop", in, sized(in, guestA, remote, 1401, true, ttl(1)), expired},
		{"may be cut", in, sized(in, guestA, remote, 1401, false), inPieces(sent(ToOutside, router, true))},
		{"may be cut, not yet known", in, sized(in, guestA, silent, 1401, false), inPieces(sent(ToOutside, silent, false))},
		{"segments fit", in, superFrame(in, guestA, remote, 30000, 1360, true), sent(ToOutside, router, true)},
		{"segments do not fit", in, superFrame(in, guestA, remote, 30000, 1361, true), tooBig(1400)},
		{"segments may be cut", in, superFrame(in, guestA, remote, 30000, 1361, false), inPieces(sent(ToOutside, router, true))},
		{"one segment, shorter than it may be", in, superFrame(in, guestA, remote, 1400, 9000, true), sent(ToOutside, router, true)},
		{"segments fit inside", in, superFrame(in, guestB, guestA, 30000, 1460, true), sent(ToInside, guestA, true)},
		{"does not fit inside", in, sized(in, guestB, guestA, 1501, true), tooBig(1500)},

		{"loose source route", in, packetTo(in, guestA, remote, option(optionLSRR, 4, 8, 8, 8, 8)), refused},
		{"strict source route", in, packetTo(in, guestA, remote, option(optionSSRR, 4, 8, 8, 8, 8)), refused},
		{"source route behind another", in, packetTo(in, guestA, remote, option(148, 0, 0), option(optionLSRR, 4, 8, 8, 8, 8)), refused},
		{"router alert", in, packetTo(in, guestA, remote, option(148, 0, 0)), sent(ToOutside, router, true)},
		{"option longer than the header", in, brokenOption(5), malformed},
		{"option of one byte with a length", in, brokenOption(1), malformed},

		{"to a guest", out, packetTo(out, remote, guestA), sent(ToInside, guestA, true)},
		{"to a guest, not yet known", out, packetTo(out, remote, guestB), sent(ToInside, guestB, false)},
		{"to a guest, last hop", out, packetTo(out, remote, guestA, ttl(1)), expired},
		{"to a guest, does not fit", out, sized(out, remote, guestA, 1501, true), tooBig(1500)},
		{"to a guest, may be cut", out, sized(out, remote, guestA, 1501, false), inPieces(sent(ToInside, guestA, true))},
		{"to a guest, source route", out, packetTo(out, remote, guestA, option(optionSSRR, 4, 8, 8, 8, 8)), refused},
		{"to a guest, from a guest", out, packetTo(out, guestB, guestA), spoofed},
		{"to a guest, from the host", out, packetTo(out, outer, guestA), spoofed},
		{"to a guest, from loopback", out, packetTo(out, "127.0.0.1", guestA), refused},
		{"to a guest, from multicast", out, packetTo(out, "224.0.0.1", guestA), refused},
		{"to the guests' broadcast", out, packetTo(out, remote, "10.20.0.255"), refused},
		{"to the gateway from outside", out, packetTo(out, remote, inner), toHost},
		{"to the host", out, packetTo(out, remote, outer), toHost},
		{"to the host, from a guest", out, packetTo(out, guestA, outer), spoofed},
		{"in transit", out, packetTo(out, remote, nowhere), toHost},
		{"outside: multicast", out, packetTo(out, remote, "224.0.0.251"), toHost},
		{"outside: DHCP", out, packetTo(out, "192.0.2.254", "255.255.255.255"), toHost},
	})
}

func TestUnnumbered(t *testing.T) {
	in, out := Inside, Outside
	const guest, other = "192.168.1.21", "192.168.1.22"
	decide(t, newGateway(t, unnumbered()), []decision{
		{"to a neighbour of the uplink", in, packetTo(in, guest, "192.168.1.77"), sent(ToOutside, "192.168.1.77", false)},
		{"beyond", in, packetTo(in, guest, "8.8.8.8"), sent(ToOutside, "192.168.1.1", false)},
		{"to another guest", in, packetTo(in, guest, other), sent(ToInside, other, false)},
		{"to the host", in, packetTo(in, guest, "192.168.1.20"), toHost},
		{"as somebody of the uplink's network", in, packetTo(in, "192.168.1.77", "8.8.8.8"), spoofed},
		{"broadcast of the uplink's network", in, packetTo(in, guest, "192.168.1.255"), noNet},
		{"to the guest", out, packetTo(out, "192.168.1.77", guest), sent(ToInside, guest, false)},
		{"to the host from outside", out, packetTo(out, "192.168.1.77", "192.168.1.20"), toHost},
		{"to a neighbour, as the guest", out, packetTo(out, guest, "192.168.1.20"), spoofed},
	})
}

func TestNAT(t *testing.T) {
	in, out := Inside, Outside
	decide(t, newGateway(t, natted(t)), []decision{
		{"by a router", in, packetTo(in, guestA, remote), sent(ToOutside, router, true)},
		{"on the link, not yet known", in, packetTo(in, guestA, silent), sent(ToOutside, silent, false)},
		{"to another guest", in, packetTo(in, guestB, guestA), sent(ToInside, guestA, true)},
		{"no route", in, packetTo(in, guestA, nowhere), noNet},
		{"last hop", in, packetTo(in, guestA, remote, ttl(1)), expired},
		{"does not fit", in, sized(in, guestA, remote, 1401, true), tooBig(1400)},
		{"may be cut", in, sized(in, guestA, remote, 1401, false), inPieces(sent(ToOutside, router, true))},
		{"segments do not fit", in, superFrame(in, guestA, remote, 30000, 1361, true), tooBig(1400)},
		{"segments fit", in, superFrame(in, guestA, remote, 30000, 1360, true), sent(ToOutside, router, true)},
		{"from elsewhere", in, packetTo(in, "8.8.8.8", remote), spoofed},
		{"to the gateway", in, packetTo(in, guestA, inner), toHost},
		{"to the gateway, by somebody else", in, packetTo(in, "8.8.8.8", inner), spoofed},
		{"to the external address", in, packetTo(in, guestA, outer), toHost},
		{"to the external address, last hop", in, packetTo(in, guestA, outer, ttl(1)), toHost},
		{"to the external address, long", in, sized(in, guestA, outer, 3000, true), toHost},
		{"to the host's address elsewhere", in, packetTo(in, guestA, "172.16.0.1"), toHost},
		{"multicast", in, packetTo(in, guestA, "224.0.0.251"), toHost},
		{"a protocol without sessions", in, packetTo(in, guestA, remote, func(l *layers.IPv4, _ *layers.UDP) { l.Protocol = 47 }), drop(frame.NATNoSession)},

		{"hairpin", in, packetTo(in, guestB, outer, dport(8080)), sent(ToInside, guestA, true)},
		{"hairpin, last hop", in, packetTo(in, guestB, outer, dport(8080), ttl(1)), expired},
		{"hairpin, does not fit", in, sized(in, guestB, outer, 1501, true, dport(8080)), tooBig(1500)},
		{"hairpin, may be cut", in, sized(in, guestB, outer, 1501, false, dport(8080)), inPieces(sent(ToInside, guestA, true))},
		{"hairpin, source route", in, packetTo(in, guestB, outer, dport(8080), option(optionLSRR, 4, 8, 8, 8, 8)), refused},

		{"forward", out, packetTo(out, remote, outer, dport(8080)), sent(ToInside, guestA, true)},
		{"forward, last hop", out, packetTo(out, remote, outer, dport(8080), ttl(1)), expired},
		{"forward, does not fit", out, sized(out, remote, outer, 1501, true, dport(8080)), tooBig(1500)},
		{"forward, segments do not fit", out, func() []byte {
			raw := superFrame(out, remote, outer, 30000, 1461, true)
			binary.BigEndian.PutUint16(raw[l3+22:], 8080) // the checksum is partial
			return raw
		}(), tooBig(1500)},
		{"forward, from link-local", out, packetTo(out, "169.254.1.1", outer, dport(8080)), toHost},
		{"forward, from a guest", out, packetTo(out, guestB, outer, dport(8080)), spoofed},
		{"forward, from the host", out, packetTo(out, "172.16.0.1", outer, dport(8080)), spoofed},
		{"to the host", out, packetTo(out, remote, outer), toHost},
		{"to the host, last hop", out, packetTo(out, remote, outer, ttl(1)), toHost},
		{"to the host's address elsewhere", out, packetTo(out, remote, "172.16.0.1"), toHost},
		{"to a session's port", out, packetTo(out, remote, outer, dport(61234)), drop(frame.NATNoSession)},
		{"to a guest's own address", out, packetTo(out, remote, guestA), refused},
	})
}

func TestNATAddressOfItsOwn(t *testing.T) {
	c := natted(t)
	if err := c.NAT.SetExternal(ip("192.0.2.70")); err != nil {
		t.Fatal(err)
	}
	decide(t, newGateway(t, c), []decision{
		{"hairpin", Inside, packetTo(Inside, guestB, "192.0.2.70", dport(8080)), sent(ToInside, guestA, true)},
		{"to the host", Inside, packetTo(Inside, guestB, outer, dport(8080)), toHost},
		{"forward", Outside, packetTo(Outside, remote, "192.0.2.70", dport(8080)), sent(ToInside, guestA, true)},
		{"to the host from outside", Outside, packetTo(Outside, remote, outer, dport(8080)), toHost},
	})
	if err := c.NAT.SetExternal(netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	decide(t, newGateway(t, c), []decision{
		{"no external address", Inside, packetTo(Inside, guestA, remote), noNet},
	})
}

// An answer comes back to the guest that asked, and a guest hears of a hop between.
func TestNATAnswers(t *testing.T) {
	g := newGateway(t, natted(t))
	raw := packetTo(Inside, guestA, remote)
	if v := g.Route(Inside, raw, 0, now); v.To != ToOutside {
		t.Fatalf("%+v", v)
	}
	asked := decode(t, raw)
	l3, l4 := asked.Layer(layers.LayerTypeIPv4).(*layers.IPv4), asked.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if l3.SrcIP.String() != outer || l3.DstIP.String() != remote || l3.TTL != 63 {
		t.Fatalf("left as %v", l3)
	}
	answer := packetTo(Outside, remote, outer, func(_ *layers.IPv4, l *layers.UDP) { l.SrcPort, l.DstPort = 7777, l4.SrcPort })
	again := bytes.Clone(answer)
	if v := besides(g.Route(Outside, answer, 0, now)); v != sent(ToInside, guestA, true) {
		t.Fatalf("%+v", v)
	}
	got := decode(t, answer)
	l3, l4 = got.Layer(layers.LayerTypeIPv4).(*layers.IPv4), got.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if l3.DstIP.String() != guestA || l4.DstPort != 5000 {
		t.Fatalf("came to %v port %v", l3.DstIP, l4.DstPort)
	}

	hop, ok := g.AppendError(nil, Outside, again, ICMPError{Type: TimeExceeded}, 0)
	if !ok {
		t.Fatal("no error")
	}
	_ = decode(t, hop)
}

// The bytes of a frame are exactly these, before and behind.
func TestRouteRewrites(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const vnet = "01 01 3600 b004 2200 1000"
	// The example of RFC 1624, 5, is about such a sum: it must not come out as 0000 for ffff.
	raw := unhex(vnet + "020000000001 02000000000a 0800 4500 0028 0007 4000 4006 8b47 0a140005 c6336409" + strings.Repeat("11", 20))
	binary.BigEndian.PutUint16(raw[l3+10:], 0)
	binary.BigEndian.PutUint16(raw[l3+10:], ^frame.Sum(raw[l3:l3+20]))
	want := bytes.Clone(raw)
	copy(want[frame.VNetLen:], unhex("0200000000fe 020000000002"))
	want[l3+8] = 63
	binary.BigEndian.PutUint16(want[l3+10:], 0)
	binary.BigEndian.PutUint16(want[l3+10:], ^frame.Sum(want[l3:l3+20]))

	if v := newGateway(t, routed()).Route(Inside, raw, 0, now); v != sent(ToOutside, router, true) {
		t.Fatalf("%+v", v)
	}
	if !bytes.Equal(raw, want) {
		t.Errorf("\n got %x\nwant %x", raw, want)
	}
}

func TestAddress(t *testing.T) {
	g := newGateway(t, routed())
	raw := packetTo(Inside, guestA, silent)
	if v := g.Route(Inside, raw, 0, now); v.Resolved || !bytes.Equal(raw[frame.VNetLen:frame.VNetLen+6], insideMAC[:]) {
		t.Fatalf("%+v, %x", v, raw[frame.VNetLen:])
	}
	g.Address(raw, Outside, lanMAC)
	if d := raw[frame.VNetLen:]; !bytes.Equal(d[:6], lanMAC[:]) || !bytes.Equal(d[6:12], outsideMAC[:]) {
		t.Errorf("%x", d)
	}
}

func TestEveryTTLKeepsTheSumRight(t *testing.T) {
	for n := 2; n < 256; n++ {
		for _, id := range []uint16{0, 1, 0x7fff, 0xfffe, 0xffff} {
			raw := packetTo(Inside, guestA, remote, ttl(uint8(n)), func(l *layers.IPv4, _ *layers.UDP) { l.Id = id })
			decrementTTL(raw[l3:])
			if int(raw[l3+8]) != n-1 || !intact(raw[l3:l3+20]) {
				t.Fatalf("TTL %d, identification %d: TTL %d, sum %v", n, id, raw[l3+8], intact(raw[l3:l3+20]))
			}
		}
	}
}

func TestNotIPv4(t *testing.T) {
	g := newGateway(t, natted(t))
	good := packetTo(Inside, guestA, remote)
	with := func(at int, b ...byte) []byte {
		raw := bytes.Clone(good)
		copy(raw[at:], b)
		return raw
	}
	for _, side := range []Side{Inside, Outside} {
		decide(t, g, []decision{
			{"IPv6", side, with(l3-2, 0x86, 0xdd), toHost},
			{"ARP", side, with(l3-2, 8, 6), toHost},
			{"LLC", side, with(l3-2, 0, 40), toHost},
			{"a tag", side, with(l3-2, 0x81, 0), toHost},
			{"nothing", side, good[:frame.VNetLen], malformed},
			{"13 bytes", side, good[:l3-1], malformed},
			{"no packet", side, good[:l3], malformed},
			{"19 bytes of a header", side, good[:l3+19], malformed},
			{"cut", side, good[:len(good)-1], malformed},
			{"version 6", side, resum(with(l3, 0x65)), malformed},
			{"header of 16 bytes", side, resum(with(l3, 0x44)), malformed},
			{"header of 60 bytes", side, resum(with(l3, 0x4f)), malformed},
			{"shorter than its header", side, resum(with(l3+2, 0, 19)), malformed},
			{"no length", side, resum(with(l3+2, 0, 0)), malformed},
			{"wrong sum", side, with(l3+10, good[l3+10]^1), malformed},
		})
	}
	padded := append(bytes.Clone(good), make([]byte, 20)...)
	if v := route(t, "padding", g, Inside, padded); v != sent(ToOutside, router, true) {
		t.Errorf("with padding: %+v", v)
	}
	big := superFrame(Inside, guestA, remote, 60000, 1360, true)
	big[l3+2], big[l3+3] = 0, 0
	if v := route(t, "BIG TCP", g, Inside, resum(big)); v != sent(ToOutside, router, true) {
		t.Errorf("BIG TCP: %+v", v)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"MAC address inside 00:00":            func(c *Config) { c.Link[Inside].MAC = frame.MAC{} },
		"MAC address outside ff:ff":           func(c *Config) { c.Link[Outside].MAC = frame.Broadcast },
		"MTU 67 outside":                      func(c *Config) { c.Link[Outside].MTU = 67 },
		"address fe80::1 inside":              func(c *Config) { c.Link[Inside].Addr = ip("fe80::1") },
		"guests' network fd00::/8":            func(c *Config) { c.Guests = []netip.Prefix{prefix("fd00::/8")} },
		"guests' network invalid":             func(c *Config) { c.Guests = []netip.Prefix{{}} },
		"guests' network 169.254.1.0/24: 169": func(c *Config) { c.Guests = []netip.Prefix{prefix("169.254.1.0/24")} },
		"guests' network 0.0.0.0/0: 0":        func(c *Config) { c.Guests = []netip.Prefix{prefix("0.0.0.0/0")} },
	} {
		c := routed()
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingGiven(t *testing.T) {
	c := routed()
	c.Routes, c.Neighbours, c.Hosts = nil, [2]*Neighbours{}, nil
	decide(t, newGateway(t, c), []decision{
		{"out", Inside, packetTo(Inside, guestA, remote), noNet},
		{"in", Outside, packetTo(Outside, remote, guestA), sent(ToInside, guestA, false)},
	})
	c = natted(t)
	c.Guests = nil
	decide(t, newGateway(t, c), []decision{
		{"guests are the NAT's", Inside, packetTo(Inside, guestA, remote), sent(ToOutside, router, true)},
	})
}

func TestRouteAllocatesNothing(t *testing.T) {
	for name, c := range map[string]Config{"routed": routed(), "nat": natted(t)} {
		g := newGateway(t, c)
		out, in := packetTo(Inside, guestA, remote), packetTo(Outside, remote, guestA)
		hairpin, bad := packetTo(Inside, guestB, outer, dport(8080), ttl(1)), packetTo(Inside, guestA, remote, ttl(1))
		raw, buf := make([]byte, 0, 2048), make([]byte, 0, 2048)
		nanos := int64(0)
		if n := testing.AllocsPerRun(1000, func() {
			nanos += 1000 * millisec
			g.Route(Inside, append(raw[:0], out...), nat.Guest(0), now)
			g.Route(Outside, append(raw[:0], in...), 0, now)
			g.Route(Inside, append(raw[:0], hairpin...), 1, now)
			if _, ok := g.AppendError(buf[:0], Inside, bad, expired.Error, nanos); !ok {
				t.Fatal("no error")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

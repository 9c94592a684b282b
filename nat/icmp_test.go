package nat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
)

// errorOf is an ICMP error from one address to another about a packet, of which
// it carries so many bytes behind the IP header. rest is the second word: the MTU.
func errorOf(from, to string, typ, code uint8, about []byte, length int, rest uint16) []byte {
	d := about[testL3:]
	d = d[:min(len(d), ipLen+length)]
	l4 := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, code), Seq: rest}
	return serialize(ipv4(end{ip: from}, end{ip: to}, layers.IPProtocolICMPv4), l4, gopacket.Payload(d))
}

const router = "203.0.113.1"

var embeddable = map[string]struct {
	open, about build
}{
	"TCP":                   {synSegment.build, segment{flags: ack, seq: 101, length: 500}.build},
	"UDP":                   {udp(100), udp(100)},
	"UDP, without checksum": {udp(100), with(udp(100), func(raw []byte) []byte { raw[50], raw[51] = 0, 0; return raw })},
	"echo":                  {echo, echo},
}

// TestPathMTUDiscovery is also that of every other error: from a router outside to
// a guest.
func TestPathMTUDiscovery(t *testing.T) {
	for name, c := range embeddable {
		for _, length := range []int{8, 16, 18, 20, 21, 200, 548} {
			n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 443}
			if name == "echo" {
				r.port = 0
			}
			e := open(t, n, numberA, c.open, g, r, at)
			raw := errorOf(router, external, icmpUnreachable, 4, c.about(e, r), length, 1400)
			v := n.Inbound(raw, at)
			if v.To != Inside || v.Dst.String() != guestA {
				t.Fatalf("%s: %v, %v", name, v.To, v.Reason)
			}
			if want := errorOf(router, guestA, icmpUnreachable, 4, c.about(g, r), length, 1400); !bytes.Equal(raw, want) {
				t.Errorf("%s, %d bytes:\n got % x\nwant % x", name, length, head(raw), head(want))
			}
		}
	}
}

func TestGuestsErrorLeavesAsTheExternalAddresss(t *testing.T) {
	n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 53}
	e := open(t, n, numberA, udp(0), g, r, at)
	raw := errorOf(guestA, remote, icmpUnreachable, 3, udp(60)(r, g), 100, 0)
	if v := n.Outbound(raw, numberA, at); v.To != Outside {
		t.Fatalf("%v, %v", v.To, v.Reason)
	}
	if want := errorOf(external, remote, icmpUnreachable, 3, udp(60)(r, e), 100, 0); !bytes.Equal(raw, want) {
		t.Errorf("\n got % x\nwant % x", raw, want)
	}
}

func TestErrorsOfForwards(t *testing.T) {
	n, r, s := newTable(t, nil), end{remote, 5000}, end{server, 53}
	forwardTo(t, n, "udp/5353", s)
	listen := end{external, 5353}
	inbound(t, n, udp(0)(r, listen), at)

	raw := errorOf(server, remote, icmpUnreachable, 3, udp(60)(r, s), 8, 0)
	n.Outbound(raw, numberS, at)
	if want := errorOf(external, remote, icmpUnreachable, 3, udp(60)(r, listen), 8, 0); !bytes.Equal(raw, want) {
		t.Errorf("out:\n got % x\nwant % x", raw, want)
	}
	raw = errorOf(router, external, icmpTimeExceeded, 0, udp(60)(listen, r), 8, 0)
	n.Inbound(raw, at)
	if want := errorOf(router, server, icmpTimeExceeded, 0, udp(60)(s, r), 8, 0); !bytes.Equal(raw, want) {
		t.Errorf("in:\n got % x\nwant % x", raw, want)
	}
}

func TestErrorsOfHairpins(t *testing.T) {
	n, g, s, listen := newTable(t, nil), end{guestA, 40000}, end{server, 53}, end{external, 5353}
	forwardTo(t, n, "udp/5353", s)
	w, _ := outbound(t, n, numberA, udp(0)(g, listen), Inside, at)

	raw := errorOf(server, gateway, icmpUnreachable, 3, udp(60)(w, s), 8, 0)
	n.Outbound(raw, numberS, at)
	if want := errorOf(external, guestA, icmpUnreachable, 3, udp(60)(g, listen), 8, 0); !bytes.Equal(raw, want) {
		t.Errorf("of the server:\n got % x\nwant % x", raw, want)
	}
	raw = errorOf(guestA, external, icmpUnreachable, 3, udp(60)(listen, g), 8, 0)
	n.Outbound(raw, numberA, at)
	if want := errorOf(gateway, server, icmpUnreachable, 3, udp(60)(s, w), 8, 0); !bytes.Equal(raw, want) {
		t.Errorf("of the guest:\n got % x\nwant % x", raw, want)
	}
}

func TestForgedErrorsDoNothing(t *testing.T) {
	n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 443}
	e := open(t, n, numberA, synSegment.build, g, r, at)
	inbound(t, n, synAckSegment.build(r, e), at)
	before := n.Sessions(at)
	about := func(src, dst end) []byte { return segment{flags: ack}.build(src, dst) }
	for name, raw := range map[string][]byte{
		"another port":      errorOf(router, external, 3, 1, about(end{external, e.port ^ 1}, r), 8, 0),
		"another remote":    errorOf(router, external, 3, 1, about(e, end{remote2, 443}), 8, 0),
		"another protocol":  errorOf(router, external, 3, 1, udp(0)(e, r), 8, 0),
		"the answer":        errorOf(router, external, 3, 1, about(r, e), 8, 0),
		"the guest's view":  errorOf(router, external, 3, 1, about(g, r), 8, 0),
		"to another":        errorOf(router, remote2, 3, 1, about(e, r), 8, 0),
		"seven bytes":       errorOf(router, external, 3, 1, about(e, r), 7, 0),
		"half an IP header": errorOf(router, external, 3, 1, about(e, r), -10, 0),
		"redirect":          errorOf(router, external, 5, 1, about(e, r), 8, 0),
		"later fragment":    errorOf(router, external, 3, 1, fragmentOf(segment{length: 80}.build(e, r), 16, 64, false), 8, 0),
	} {
		was := slices.Clone(raw)
		forHost(t, name, n.Inbound(raw, at+100))
		if !bytes.Equal(raw, was) {
			t.Errorf("%s: changed", name)
		}
	}
	dropped(t, "from a guest's address", func(raw []byte) Verdict { return n.Inbound(raw, at) },
		errorOf(guestB, external, 3, 1, about(e, r), 8, 0), frame.SpoofIP)
	dropped(t, "from no guest's address", func(raw []byte) Verdict { return n.Outbound(raw, numberA, at) },
		errorOf(router, remote, 3, 1, about(r, g), 8, 0), frame.SpoofIP)

	// One that matches is passed on, for the guest to judge, and changes no more.
	for range 10 {
		n.Inbound(errorOf(router, external, 3, 1, about(e, r), 8, 0), at+100)
	}
	if got := n.Sessions(at); !slices.Equal(got, before) {
		t.Errorf("%v, before %v", got, before)
	}
}

func TestDamagedErrorStaysDamaged(t *testing.T) {
	n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 443}
	e := open(t, n, numberA, udp(0), g, r, at)
	raw := errorOf(router, external, icmpUnreachable, 4, udp(100)(e, r), 60, 1400)
	binary.BigEndian.PutUint16(raw[testL3+ipLen+6:], 68) // an MTU that nobody sent
	n.Inbound(raw, at)
	if frame.Sum(raw[testL3+ipLen:]) == 0xffff {
		t.Error("made good")
	}
}

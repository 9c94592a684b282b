package nat

import (
	"bytes"
	"testing"

	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
)

func seeds() [][]byte {
	g, r, s := end{guestA, 40000}, end{remote, 443}, end{server, 80}
	var l [][]byte
	for _, b := range shapes {
		l = append(l, head(b(g, r)), head(b(r, end{external, 8080})), head(b(g, end{external, 8080})), head(b(s, r)))
	}
	return append(l,
		echo(g, end{remote, 0}), echo(end{remote, 0}, end{external, 62000}),
		errorOf(router, external, icmpUnreachable, 4, udp(60)(end{external, 62000}, r), 60, 1400),
		errorOf(guestA, remote, icmpUnreachable, 3, udp(60)(r, g), 8, 0),
		errorOf(router, external, icmpTimeExceeded, 0, echo(end{external, 62000}, end{remote, 0}), 8, 0),
		fragmentOf(udp(100)(g, r), 0, 16, true), fragmentOf(udp(100)(g, r), 16, 16, true), fragmentOf(udp(100)(g, r), 96, 12, false),
		serialize(ipv4(g, r, layers.IPProtocolGRE), payload(8)),
	)
}

func FuzzOutbound(f *testing.F) {
	fuzz(f, func(n *Table, raw []byte, now int64) Verdict { return n.Outbound(raw, numberA, now) })
}

func FuzzInbound(f *testing.F) {
	fuzz(f, func(n *Table, raw []byte, now int64) Verdict { return n.Inbound(raw, now) })
}

// fuzz looks for a packet that makes a table read or write beyond it, write where
// nothing is to be written, or break a checksum that was right. Sessions are kept
// from one input to the next; inputs that open none find some.
func fuzz(f *testing.F, handle func(n *Table, raw []byte, now int64) Verdict) {
	for _, s := range seeds() {
		f.Add(s)
	}
	n := newTable(f, func(c *Config) { c.Limit = 64 })
	forwardTo(f, n, "tcp/8080", end{server, 80})
	forwardTo(f, n, "udp/8080", end{server, 80})
	now := at
	f.Fuzz(func(t *testing.T, data []byte) {
		now++
		g, r := end{guestA, 62000}, end{remote, 443}
		n.Outbound(udp(0)(g, r), numberA, now)
		n.Outbound(synSegment.build(g, r), numberA, now)
		n.Outbound(echo(g, end{remote, 0}), numberA, now)

		raw := bytes.Clone(data)[:len(data):len(data)]
		v := handle(n, raw, now)
		switch {
		case (v.To == Dropped) != (v.Reason != frame.Pass):
			t.Fatalf("to %v for %v", v.To, v.Reason)
		case v.To == Dropped || v.To == Host:
			if !bytes.Equal(raw, data) {
				t.Fatalf("%v, and changed", v.To)
			}
			return
		case !bytes.Equal(raw[:frame.VNetLen+frame.HeaderLen], data[:frame.VNetLen+frame.HeaderLen]):
			t.Fatal("changed what is not IP")
		}
		was, is := data[testL3:], raw[testL3:]
		l4 := int(was[0]&15) * 4
		if (frame.Sum(was[:l4]) == 0xffff) != (frame.Sum(is[:l4]) == 0xffff) {
			t.Fatal("the IP checksum was right, and is not, or the other way about")
		}
		if l := int(was[2])<<8 | int(was[3]); was[9] == protoICMP && was[6]&0x3f|was[7] == 0 && l != 0 &&
			(frame.Sum(was[l4:l]) == 0xffff) != (frame.Sum(is[l4:l]) == 0xffff) {
			t.Fatal("the ICMP checksum was right, and is not, or the other way about")
		}
		checkIntegrity(t, n)
	})
}

package gateway

import (
	"bytes"
	"encoding/binary"
	"testing"

	"gxswitch/internal/frame"
)

func seeds() [][]byte {
	s := [][]byte{
		packetTo(Inside, guestA, remote), packetTo(Inside, guestA, remote, ttl(1)), packetTo(Inside, guestA, nowhere),
		packetTo(Inside, guestB, outer, dport(8080)), packetTo(Outside, remote, outer, dport(8080), ttl(1)),
		packetTo(Outside, remote, guestA, option(148, 0, 0), option(optionLSRR, 4, 8, 8, 8, 8)),
		sized(Inside, guestA, remote, 1401, true), sized(Inside, guestA, remote, 1401, false, option(136, 0, 1), option(7, 4)),
		superFrame(Inside, guestA, remote, 5000, 1448, true), icmp(Inside, guestA, remote, 8), icmp(Outside, remote, outer, 3),
		leavePartial(sized(Inside, guestA, remote, 1401, false)), request("192.168.1.77", "192.168.1.21"), nil,
	}
	return s
}

// fuzzed is an input as something that a port could hand over, with a right sum
// where there is room for one: a fuzzer would not find it.
func fuzzed(data []byte) []byte {
	raw := bytes.Clone(data)
	raw = raw[:len(raw):len(raw)]
	if len(raw) >= l3+20 {
		hlen := max(int(raw[l3]&15)*4, 20)
		if len(raw) >= l3+hlen {
			raw[l3+10], raw[l3+11] = 0, 0
			binary.BigEndian.PutUint16(raw[l3+10:], ^frame.Sum(raw[l3:l3+hlen]))
		}
	}
	return raw
}

func FuzzRoute(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	gs := []*Gateway{newGateway(f, routed()), newGateway(f, natted(f)), newGateway(f, unnumbered())}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < frame.VNetLen {
			return // no virtio-net header: a port gives no such frame
		}
		for _, g := range gs {
			for _, from := range []Side{Inside, Outside} {
				raw := fuzzed(data)
				was := bytes.Clone(raw)
				v := route(t, "fuzzed", g, from, raw)
				if v.To != ToInside && v.To != ToOutside {
					if buf, ok := g.AppendError(nil, from, raw, v.Error, 1<<60); ok {
						decode(t, buf)
					}
					continue
				}
				if d := raw[l3:]; !intact(d[:int(d[0]&15)*4]) {
					t.Fatal("a wrong sum came out")
				}
				if to := Side(v.To - ToInside); v.Fragment && raw[1] == 0 {
					checkPieces(t, g, raw, was, to)
				}
			}
		}
	})
}

func checkPieces(t *testing.T, g *Gateway, raw, was []byte, to Side) {
	total := 0
	for _, p := range pieces(g, raw, to) {
		hlen := int(p[l3]&15) * 4
		if len(p)-l3 > g.link[to].MTU || !intact(p[l3:l3+hlen]) {
			t.Fatalf("a piece of %d bytes, MTU %d", len(p)-l3, g.link[to].MTU)
		}
		total += len(p) - l3 - hlen
	}
	if want := int(binary.BigEndian.Uint16(was[l3+2:])) - int(was[l3]&15)*4; total != want {
		t.Fatalf("the pieces have %d bytes of %d", total, want)
	}
}

func FuzzAppendError(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s, byte(Unreachable), byte(FragmentationNeeded), uint16(1400))
	}
	g := newGateway(f, natted(f))
	nanos := int64(0)
	f.Fuzz(func(t *testing.T, data []byte, kind, code byte, mtu uint16) {
		if len(data) < frame.VNetLen {
			return // no virtio-net header: a port gives no such frame
		}
		nanos += 1000 * millisec
		raw := fuzzed(data)
		was := bytes.Clone(raw)
		buf, ok := g.AppendError(nil, Inside, raw, ICMPError{kind, code, mtu}, nanos)
		if !bytes.Equal(raw, was) {
			t.Fatal("changed what the error is about")
		}
		if !ok {
			return
		}
		if len(buf) > ErrorLen || frame.Sum(buf[l3+20:]) != 0xffff || !intact(buf[l3:l3+20]) {
			t.Fatalf("%d bytes, or a wrong sum: %x", len(buf), buf)
		}
	})
}

func FuzzARP(f *testing.F) {
	f.Add(request("192.168.1.77", "192.168.1.21"))
	f.Add(request("192.168.1.21", "8.8.8.8"))
	f.Add([]byte(nil))
	g := newGateway(f, unnumbered())
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.Clone(data)[:len(data):len(data)]
		for _, from := range []Side{Inside, Outside} {
			reply, ok := g.ARP(make([]byte, 0, ARPLen), from, data)
			if ok && (len(reply) != ARPLen || !bytes.Equal(reply[frame.VNetLen+28:frame.VNetLen+32], data[38:42])) {
				t.Fatalf("%x", reply)
			}
		}
	})
}

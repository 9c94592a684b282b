package frame

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// Headers of super-frames, up to where the payload begins. Lengths and checksums
// are the kernel's to fill in.
const (
	macs    = "020000000002 020000000001"
	ip4     = "4500 0000 0001 4000 4006 0000 0a000001 0a000002"
	ip4opt  = "4600 0000 0001 4000 4006 0000 0a000001 0a000002 94040000"
	ip6     = "60000000 0000 0640 fd000000000000000000000000000001 fd000000000000000000000000000002"
	tcp     = "8000 0050 00000001 00000000 5010 ffff 0000 0000"
	tcpTS   = "8000 0050 00000001 00000000 8010 ffff 0000 0000 0101080a 00000001 00000002"
	tcpDoff = "8000 0050 00000001 00000000 4010 ffff 0000 0000" // 16 bytes, less than a header
	udp     = "8000 0035 0000 0000"
)

func TestParseGSO(t *testing.T) {
	for _, c := range []struct {
		name, vnet, header string
		payload            int
		reason             DropReason
		segments, bytes    int
		longest, hdr       int
	}{
		// flags type hdr_len gso_size csum_start csum_offset, little-endian
		{"TCPv4, exact multiple", "01 01 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 3000, Pass, 3, 3 * 1054, 1054, 54},
		{"TCPv4, remainder", "01 01 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 3001, Pass, 4, 4*54 + 3001, 1054, 54},
		{"TCPv4, timestamps", "01 01 0000 e803 2200 1000", macs + "0800" + ip4 + tcpTS, 2500, Pass, 3, 3*66 + 2500, 1066, 66},
		{"TCPv4, IP options", "01 01 0000 e803 2600 1000", macs + "0800" + ip4opt + tcp, 2000, Pass, 2, 2*58 + 2000, 1058, 58},
		{"TCPv4, one segment", "01 01 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 10, Pass, 1, 64, 64, 54},
		{"TCPv4, ECN", "01 81 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 2000, Pass, 2, 2 * 1054, 1054, 54},
		{"TCPv4, checksums complete", "00 01 0000 e803 0000 0000", macs + "0800" + ip4 + tcp, 2000, Pass, 2, 2 * 1054, 1054, 54},
		{"TCPv4, complete, behind a tag", "00 01 0000 e803 0000 0000", macs + "8100 0014 0800" + ip4 + tcp, 2000, Pass, 2, 2 * 1058, 1058, 58},
		{"TCPv4, wrong hdr_len is mended", "01 01 ffff e803 2200 1000", macs + "0800" + ip4 + tcp, 2000, Pass, 2, 2 * 1054, 1054, 54},
		{"TCPv6, exact multiple", "01 04 0000 e803 3600 1000", macs + "86dd" + ip6 + tcp, 64000, Pass, 64, 64 * 1074, 1074, 74},
		{"TCPv6, remainder", "01 04 0000 e803 3600 1000", macs + "86dd" + ip6 + tcp, 999, Pass, 1, 1073, 1073, 74},
		{"TCPv6, checksums complete", "00 04 0000 e803 0000 0000", macs + "86dd" + ip6 + tcp, 1999, Pass, 2, 2*74 + 1999, 1074, 74},
		{"UDP, exact multiple", "01 05 0000 e803 2200 0600", macs + "0800" + ip4 + udp, 5000, Pass, 5, 5 * 1042, 1042, 42},
		{"UDP, remainder", "01 05 0000 e803 3600 0600", macs + "86dd" + ip6 + udp, 1001, Pass, 2, 2*62 + 1001, 1062, 62},

		{"gso_size 0", "01 01 0000 0000 2200 1000", macs + "0800" + ip4 + tcp, 3000, Malformed, 1, 3054, 3054, 0},
		{"csum_start beyond the end", "01 01 0000 e803 ffff 1000", macs + "0800" + ip4 + tcp, 3000, Malformed, 1, 3054, 3054, 0},
		{"csum_start 19 before the end", "01 01 0000 e803 2300 1000", macs + "0800" + ip4 + tcp, 0, Malformed, 1, 54, 54, 0},
		{"csum_start in the Ethernet header", "01 01 0000 e803 0d00 1000", macs + "0800" + ip4 + tcp, 3000, Malformed, 1, 3054, 3054, 0},
		{"UDP csum_start in the Ethernet header", "01 05 0000 e803 0d00 0600", macs + "0800" + ip4 + udp, 3000, Malformed, 1, 3042, 3042, 0},
		{"doff below 5", "01 01 0000 e803 2200 1000", macs + "0800" + ip4 + tcpDoff, 3000, Malformed, 1, 3054, 3054, 0},
		{"TCP header longer than the frame", "01 01 0000 e803 2200 1000", macs + "0800" + ip4 + tcpTS, -4, Malformed, 1, 62, 62, 0},
		{"TCP header and nothing else", "01 01 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 0, Malformed, 1, 54, 54, 0},
		{"UDP header and nothing else", "01 05 0000 e803 2200 0600", macs + "0800" + ip4 + udp, 0, Malformed, 1, 42, 42, 0},
		{"checksums complete and no IP", "00 01 0000 e803 0000 0000", macs + "0806" + ip4 + tcp, 3000, Malformed, 1, 3054, 3054, 0},
		{"kind 2", "01 02 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 3000, UnsupportedGSO, 1, 3054, 3054, 0},
		{"UDP fragmentation", "01 03 0000 e803 2200 0600", macs + "0800" + ip4 + udp, 3000, UnsupportedGSO, 1, 3042, 3042, 0},
		{"kind 6", "01 06 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 3000, UnsupportedGSO, 1, 3054, 3054, 0},
		{"ECN of nothing", "01 80 0000 e803 2200 1000", macs + "0800" + ip4 + tcp, 3000, UnsupportedGSO, 1, 3054, 3054, 0},
	} {
		data := unhex(t, c.header)
		if c.payload < 0 {
			data = data[:len(data)+c.payload]
		} else {
			data = append(data, make([]byte, c.payload)...)
		}
		f := slot(unhex(t, c.vnet), data)
		if got := f.Parse(); got != c.reason {
			t.Errorf("%s: %v, want %v", c.name, got, c.reason)
		}
		if f.Segments != c.segments || f.Bytes != c.bytes || f.Len != c.longest {
			t.Errorf("%s: %d segments of %d bytes, longest %d; want %d, %d, %d", c.name, f.Segments, f.Bytes, f.Len, c.segments, c.bytes, c.longest)
		}
		if hdr := int(binary.LittleEndian.Uint16(f.Raw[2:])); c.reason == Pass && hdr != c.hdr {
			t.Errorf("%s: hdr_len %d, want %d", c.name, hdr, c.hdr)
		}
		if got, want := f.WireBytes(true)-f.WireBytes(false), 4*c.segments; got != want {
			t.Errorf("%s: tags add %d bytes, want %d", c.name, got, want)
		}
		if !f.IsGSO() {
			t.Errorf("%s: not taken for a super-frame", c.name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(unhex(f, noVNet), unhex(f, arp))
	f.Add(unhex(f, "01 01 0000 0100 2200 1000"), append(unhex(f, macs+"0800"+ip4+tcp), make([]byte, 9)...))
	f.Add(unhex(f, "00 84 0000 0400 0000 0000"), append(unhex(f, macs+"8100 0014 86dd"+ip6+tcpTS), make([]byte, 9)...))
	f.Add(unhex(f, "01 05 0000 0200 2200 0600"), append(unhex(f, macs+"0800"+ip4opt+udp), make([]byte, 9)...))
	// An IP header of no length, so that the transport header lies on it.
	f.Add(unhex(f, "01 05 0000 0100 0e00 0600"), append(unhex(f, macs+"0800 4000 0000 0000 0000"), 1))
	f.Fuzz(func(t *testing.T, vnet, data []byte) {
		if len(vnet) != VNetLen || len(data) > MaxLen {
			t.Skip("no frame")
		}
		s := slot(vnet, data)
		reason := s.Parse()
		if s.Segments < 1 || s.Bytes < len(data) || s.Len > len(data) || s.WireBytes(true) != s.Bytes+TagLen*s.Segments {
			t.Fatalf("%v: %d segments, %d bytes, longest %d of a frame of %d", reason, s.Segments, s.Bytes, s.Len, len(data))
		}
		if s.Raw[0] != vnet[0] || !bytes.Equal(s.Raw[4:VNetLen], vnet[4:]) || s.Raw[1] != vnet[1] || !bytes.Equal(s.Data(), data) {
			t.Fatal("Parse changed more than hdr_len")
		}
		IPAddresses(data)
		if reason != Pass {
			return
		}
		s.Tagging(1)
		count, total := 0, 0
		scratch := make([]byte, VNetLen+TagLen+s.Len)
		known := s.Segment(true, 1, scratch, func(raw []byte) {
			count++
			total += len(raw) - VNetLen
		})
		switch {
		case !known && count != 0:
			t.Fatalf("an unknown kind gave %d frames", count)
		case known && (count != s.Segments || total != s.WireBytes(true)):
			t.Fatalf("%d frames of %d bytes, counted as %d of %d", count, total, s.Segments, s.WireBytes(true))
		}
	})
}

package frame

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unhex reads bytes as the tables write them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const noVNet = "00 00 0000 0000 0000 0000"

// slot is a frame as a port hands it over.
func slot(vnet, data []byte) *Frame {
	f := &Frame{}
	f.Reset(append(append(make([]byte, 0, VNetLen+len(data)), vnet...), data...))
	return f
}

// arp is a request without padding, as veth carries it.
const arp = "ffffffffffff 00163e000001 0806 0001 0800 06 04 0001 00163e000001 0a000001 000000000000 0a000002"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       DropReason
	}{
		{"nothing", "", Malformed},
		{"1 byte", "02", Malformed},
		{"6 bytes", "020000000002", Malformed},
		{"13 bytes", "020000000002 020000000001 08", Malformed},
		{"14 bytes", "020000000002 020000000001 0800", Pass},
		{"ARP of 42 bytes", arp, Pass},
		{"source null", "020000000002 000000000000 0800", Malformed},
		{"source almost null, front", "020000000002 020000000000 0800", Pass},
		{"source almost null, back", "020000000002 000000000100 0800", Pass},
		{"source a group", "020000000002 010000000001 0800", Malformed},
		{"source broadcast", "020000000002 ffffffffffff 0800", Malformed},
		{"source an IPv6 group", "020000000002 333300000001 0800", Malformed},
		{"destination null", "000000000000 020000000001 0800", Pass},
		{"BPDU", "0180c2000000 020000000001 0026 424203", Pass},
		{"PAUSE", "0180c2000001 020000000001 8808", Reserved},
		{"LLDP", "0180c200000e 020000000001 88cc", Reserved},
		{"last reserved", "0180c200000f 020000000001 0800", Reserved},
		{"all bridges", "0180c2000010 020000000001 0800", Pass},
		{"GMRP", "0180c2000020 020000000001 0800", Pass},
		{"reserved but for one byte", "0180c2000101 020000000001 0800", Pass},
		{"reserved and from nobody", "0180c2000001 000000000000 0800", Malformed},
		{"length field instead of a type", "020000000002 020000000001 0003 f0f003", Pass},
		{"IPv4 cut short", "020000000002 020000000001 0800 45", Pass},
		{"two tags", "020000000002 020000000001 88a8 0064 8100 0014 0800", Pass},
	} {
		f := slot(unhex(t, noVNet), unhex(t, c.data))
		raw := bytes.Clone(f.Raw)
		if got := f.Parse(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		n := len(raw) - VNetLen
		if f.Segments != 1 || f.Len != n || f.Bytes != n {
			t.Errorf("%s: %d segments, %d bytes, longest %d; want 1, %d, %d", c.name, f.Segments, f.Bytes, f.Len, n, n)
		}
		if !bytes.Equal(f.Raw, raw) {
			t.Errorf("%s: Parse changed the bytes", c.name)
		}
	}
}

func TestParseTruncated(t *testing.T) {
	f := slot(unhex(t, noVNet), unhex(t, arp))
	f.Truncated = true
	if got := f.Parse(); got != RingFull || f.Segments != 1 {
		t.Errorf("a frame that was cut: %v, %d segments; want ring_full, 1", got, f.Segments)
	}
	f.Reset(f.Raw)
	if got := f.Parse(); got != Pass {
		t.Errorf("the slot's next frame: %v, want pass", got)
	}
}

func TestReasonWords(t *testing.T) {
	// These are names in counters, JSON and the manual.
	want := "pass malformed reserved vlan_denied spoof_mac spoof_ip spoof_arp bpdu_guard ra_guard dhcp_guard storm isolated rate no_destination same_port no_route ttl nat_exhausted nat_no_session ring_full tx_full mtu unsupported_gso"
	for i, w := range strings.Fields(want) {
		if got := DropReason(i).String(); got != w {
			t.Errorf("reason %d is %q, want %q", i, got, w)
		}
	}
	for r := range NumReasons {
		if DropReason(r).String() == "" {
			t.Errorf("reason %d has no word", r)
		}
	}
}

const (
	untagged = "020000000002 020000000001 0800 4500"
	tagged   = "020000000002 020000000001 8100 a064 0800 4500" // PCP 5, VID 100
)

func TestTagging(t *testing.T) {
	for _, c := range []struct{ name, vnet, want string }{
		{"no offsets", noVNet, noVNet},
		{"partial checksum", "01 00 0000 0000 2200 1000", "01 00 0000 0000 2600 1000"},
		{"complete checksum: csum_start means nothing", "02 00 0000 0000 2200 1000", "02 00 0000 0000 2200 1000"},
		{"GSO", "01 01 3600 a805 2200 1000", "01 01 3a00 a805 2600 1000"},
	} {
		f := slot(unhex(t, c.vnet), unhex(t, untagged))
		raw := bytes.Clone(f.Raw)
		got := append(bytes.Clone(f.Tagging(0xa064)), f.Raw[VNetLen+12:]...)
		if want := unhex(t, c.want+tagged); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, got, want)
		}
		if !bytes.Equal(f.Raw, raw) {
			t.Errorf("%s: Tagging changed the frame", c.name)
		}
	}
}

func TestTaggingFollowsTheTag(t *testing.T) {
	f := slot(unhex(t, noVNet), unhex(t, untagged))
	for _, tci := range []uint16{1, 2, 2, 0, 0xffff} {
		if got := binary.BigEndian.Uint16(f.Tagging(tci)[VNetLen+14:]); got != tci {
			t.Errorf("asked for TCI %#x, got %#x", tci, got)
		}
	}
	f.Tagging(7)
	f.Reset(append(unhex(t, noVNet), unhex(t, arp)...)) // the slot's next frame, same tag
	if got := f.Tagging(7)[VNetLen : VNetLen+6]; !bytes.Equal(got, Broadcast[:]) {
		t.Errorf("the slot's next frame is tagged with the former one's destination, %x", got)
	}
}

func TestUntag(t *testing.T) {
	for _, c := range []struct {
		name, vnet, data   string
		wantVNet, wantData string
		tci                uint16
		tagged             bool
	}{
		{"802.1Q", noVNet, tagged, noVNet, untagged, 0xa064, true},
		{"offsets", "01 01 3a00 a805 2600 1000", tagged, "01 01 3600 a805 2200 1000", untagged, 0xa064, true},
		{"priority only", noVNet, "020000000002 020000000001 8100 e000 0800", noVNet, "020000000002 020000000001 0800", 0xe000, true},
		{"none", noVNet, untagged, noVNet, untagged, 0, false},
		{"802.1ad is payload", noVNet, "020000000002 020000000001 88a8 0064 0800", noVNet, "020000000002 020000000001 88a8 0064 0800", 0, false},
		{"two: the outer one", noVNet, "020000000002 020000000001 8100 0064 8100 0014 0800", noVNet, "020000000002 020000000001 8100 0014 0800", 100, true},
		{"tag cut short", noVNet, "020000000002 020000000001 8100 0064 08", noVNet, "020000000002 020000000001 8100 0064 08", 0, false},
		{"runt", noVNet, "0200", noVNet, "0200", 0, false},
	} {
		f := slot(unhex(t, c.vnet), unhex(t, c.data))
		f.Untag()
		if want := unhex(t, c.wantVNet+c.wantData); !bytes.Equal(f.Raw, want) || f.TCI != c.tci || f.Tagged != c.tagged {
			t.Errorf("%s:\n got %x tagged %v TCI %#x\nwant %x tagged %v TCI %#x", c.name, f.Raw, f.Tagged, f.TCI, want, c.tagged, c.tci)
		}
	}
}

func TestRetag(t *testing.T) {
	mem := unhex(t, "eeeeeeee eeeeeeee 01 01 3600 a805 2200 1000"+untagged)
	got := Retag(mem, 8, EtherTypeQinQ, 0x0064)
	want := unhex(t, "01 01 3a00 a805 2600 1000 020000000002 020000000001 88a8 0064 0800 4500")
	if !bytes.Equal(got, want) {
		t.Errorf("\n got %x\nwant %x", got, want)
	}
	if !bytes.Equal(mem[:4], []byte{0xee, 0xee, 0xee, 0xee}) {
		t.Errorf("Retag wrote before its room: %x", mem[:4])
	}
}

func TestVID(t *testing.T) {
	for _, c := range []struct{ tci, vid uint16 }{{0, 0}, {0xe000, 0}, {0x1001, 1}, {0xffff, 4095}} {
		if f := (Frame{TCI: c.tci}); f.VID() != c.vid {
			t.Errorf("TCI %#x has VID %d, want %d", c.tci, f.VID(), c.vid)
		}
	}
}

func FuzzTagRoundTrip(f *testing.F) {
	f.Add(unhex(f, noVNet), unhex(f, untagged), uint16(100))
	f.Add(unhex(f, "01 01 3600 a805 2200 1000"), unhex(f, tagged), uint16(0xffff))
	f.Fuzz(func(t *testing.T, vnet, data []byte, tci uint16) {
		if len(vnet) != VNetLen || len(data) < HeaderLen {
			t.Skip("no frame")
		}
		if binary.LittleEndian.Uint16(vnet[2:]) > 0xffff-TagLen {
			t.Skip("hdr_len is longer than any header")
		}
		a := slot(vnet, data)
		wire := append(bytes.Clone(a.Tagging(tci)), a.Raw[VNetLen+12:]...)

		mem := append(make([]byte, TagLen), a.Raw...)
		if retagged := Retag(mem, TagLen, EtherTypeVLAN, tci); !bytes.Equal(retagged, wire) {
			t.Errorf("Retag makes %x\nTagging makes %x", retagged, wire)
		}

		var b Frame
		b.Reset(wire)
		b.Untag()
		if !b.Tagged || b.TCI != tci || !bytes.Equal(b.Raw, a.Raw) {
			t.Errorf("tagged %v TCI %#x %x\n    want TCI %#x %x", b.Tagged, b.TCI, b.Raw, tci, a.Raw)
		}
	})
}

package frame

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

func TestFlowHash(t *testing.T) {
	const (
		macs = "020000000002 020000000001 "
		v4   = macs + "0800 4500 0030 0001 4000 4006 0000 "
		v6   = macs + "86dd 6000 0000 0010 0640 "
		a6   = "fd000000000000000000000000000001 fd000000000000000000000000000002 "
	)
	hash := func(text string) uint32 {
		b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		f := &Frame{}
		f.Reset(append(make([]byte, VNetLen), b...))
		return f.FlowHash()
	}
	base := v4 + "0a000001 0a000002 1234 0050"
	for _, c := range []struct {
		name, a, b string
		same       bool
	}{
		{"payload", base + "01", base + "02", true},
		{"IP identification", base, strings.Replace(base, "0001 4000", "0777 4000", 1), true},
		{"source port", base, v4 + "0a000001 0a000002 1235 0050", false},
		{"destination port", base, v4 + "0a000001 0a000002 1234 0051", false},
		{"source", base, v4 + "0a000003 0a000002 1234 0050", false},
		{"protocol", base, strings.Replace(base, "4006", "4011", 1), false},
		{"fragments have no ports", strings.Replace(base, "4000", "2000", 1), strings.Replace(v4, "4000", "0020", 1) + "0a000001 0a000002 ffff ffff", true},
		{"IPv6 ports", v6 + a6 + "1234 0050", v6 + a6 + "1235 0050", false},
		{"IPv6 payload", v6 + a6 + "1234 0050 01", v6 + a6 + "1234 0050 02", true},
		{"ARP of two stations", macs + "0806 0001", "020000000002 020000000003 0806 0001", false},
		{"EtherType", macs + "88b5 01", macs + "88b6 01", false},
	} {
		if got := hash(c.a) == hash(c.b); got != c.same {
			t.Errorf("%s: same is %v, want %v", c.name, got, c.same)
		}
	}
	// Neighbouring ports spread over a table of 128.
	seen := map[uint32]int{}
	b, _ := hex.DecodeString(strings.ReplaceAll(base, " ", ""))
	for port := range 1024 {
		binary.BigEndian.PutUint16(b[34:], uint16(40000+port))
		f := &Frame{}
		f.Reset(append(make([]byte, VNetLen), b...))
		seen[f.FlowHash()%128]++
	}
	for slot, n := range seen {
		if n > 32 {
			t.Errorf("slot %d has %d of 1024 flows", slot, n)
		}
	}
	if len(seen) < 120 {
		t.Errorf("%d of 128 slots", len(seen))
	}
	for n := range 60 { // cut anywhere
		f := &Frame{}
		f.Reset(append(make([]byte, VNetLen), b[:min(n, len(b))]...))
		f.FlowHash()
	}
}

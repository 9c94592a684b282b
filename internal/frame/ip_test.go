package frame

import (
	"net/netip"
	"strings"
	"testing"
)

func TestIPAddresses(t *testing.T) {
	const (
		macs = "020000000002 020000000001"
		v4   = "4500 0014 0000 0000 4001 0000 0a000001 0a000002"
		v6   = "60000000 0000 3aff fe800000000000000000000000000001 ff020000000000000000000000000001"
	)
	for _, c := range []struct {
		name, data, src, dst string
	}{
		{"IPv4", macs + "0800" + v4, "10.0.0.1", "10.0.0.2"},
		{"IPv4 and trailing bytes", macs + "0800" + v4 + "ffff", "10.0.0.1", "10.0.0.2"},
		{"IPv4 cut by a byte", macs + "0800" + strings.TrimSuffix(v4, "02"), "", ""},
		{"IPv6", macs + "86dd" + v6, "fe80::1", "ff02::1"},
		{"IPv6 cut by a byte", macs + "86dd" + strings.TrimSuffix(v6, "01"), "", ""},
		{"ARP", arp, "", ""},
		{"IPv4 behind a tag is payload", macs + "88a8 0064 0800" + v4, "", ""},
		{"header only", macs + "0800", "", ""},
		{"runt", "0200", "", ""},
		{"nothing", "", "", ""},
	} {
		src, dst, ok := IPAddresses(unhex(t, c.data))
		if ok != (c.src != "") {
			t.Errorf("%s: ok is %v", c.name, ok)
		} else if ok && (src != netip.MustParseAddr(c.src) || dst != netip.MustParseAddr(c.dst)) {
			t.Errorf("%s: %v to %v, want %s to %s", c.name, src, dst, c.src, c.dst)
		}
	}
}

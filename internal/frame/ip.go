package frame

import (
	"encoding/binary"
	"net/netip"
)

// IPAddresses returns source and destination of an IPv4 or IPv6 packet right
// behind the Ethernet header; ok is false for anything else, also for a header
// that is cut short.
func IPAddresses(d []byte) (src, dst netip.Addr, ok bool) {
	if len(d) < HeaderLen {
		return src, dst, false
	}
	p := d[HeaderLen:]
	switch binary.BigEndian.Uint16(d[12:]) {
	case EtherTypeIPv4:
		if len(p) >= 20 {
			return netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20])), true
		}
	case EtherTypeIPv6:
		if len(p) >= 40 {
			return netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), true
		}
	}
	return src, dst, false
}

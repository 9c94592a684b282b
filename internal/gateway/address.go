package gateway

import (
	"encoding/binary"
	"net/netip"
)

// addressFrom is an IPv4 address as a number, 0 for no address.
func addressFrom(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

package nat

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

// addr is the address as others know it, the zero Addr for 0.
func addr(a uint32) netip.Addr {
	if a == 0 {
		return netip.Addr{}
	}
	return addr4(a)
}

func addr4(a uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)})
}

// isUnicast is false of what is no host's address: multicast, reserved and
// broadcast, loopback, and this network (RFC 6890, 2.2.2).
func isUnicast(a uint32) bool { return a < 224<<24 && a>>24 != 127 && a>>24 != 0 }

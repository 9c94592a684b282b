package filter

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"gxswitch/internal/frame"
)

// address is an IP address in two words, which compare faster than netip.Addr.
// An IPv4 address is in its IPv4-mapped form, which never is on the wire
// (RFC 4291, 2.5.5.2): see address6.
type address struct{ hi, lo uint64 }

const mapped = 0xffff << 32

// nobody is an address that no guest can have: a multicast one.
func nobody() address { return address{^uint64(0), ^uint64(0)} }

// address4 reads an IPv4 address.
func address4(b []byte) address { return address{lo: mapped | uint64(binary.BigEndian.Uint32(b))} }

// address6 reads an IPv6 address. What would pass for an IPv4 address is
// nobody's.
func address6(b []byte) address {
	a := address{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	if a.hi == 0 && a.lo>>32 == mapped>>32 {
		return nobody()
	}
	return a
}

func addressFrom(a netip.Addr) address {
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])}
}

// isUnspecified is true of :: and of 0.0.0.0.
func (a address) isUnspecified() bool { return a.hi == 0 && (a.lo == 0 || a.lo == mapped) }

// addr is the address as others know it.
func (a address) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b).Unmap()
}

func (a address) compare(b address) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// linkLocal is the IPv6 address that follows from a MAC (RFC 4291, appendix A).
func linkLocal(mac uint64) address {
	mac ^= 0x02 << 40
	return address{0xfe80 << 48, mac>>24<<40 | 0xfffe<<24 | mac&0xffffff}
}

// macFrom reads a MAC address into the low 48 bits.
func macFrom(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint32(b))<<16 | uint64(binary.BigEndian.Uint16(b[4:]))
}

func macTo(m uint64) frame.MAC {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], m)
	return frame.MAC(b[2:])
}

// list is addresses in order, without an end to their validity. nil is no list.
type list []address

func newList(ips []netip.Addr) list {
	if len(ips) == 0 {
		return nil
	}
	l := make(list, len(ips))
	for i, a := range ips {
		l[i] = addressFrom(a)
	}
	slices.SortFunc(l, address.compare)
	return l
}

func (l list) has(a address) bool {
	low, high := 0, len(l)
	for low < high {
		m := int(uint(low+high) >> 1)
		switch e := l[m]; {
		case e == a:
			return true
		case e.hi < a.hi || e.hi == a.hi && e.lo < a.lo:
			low = m + 1
		default:
			high = m
		}
	}
	return false
}

package dnsd

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// strip removes from an upstream's answer the records that lead inside, and
// reports whether there were any.
func strip(m *dns.Msg) bool {
	n := len(m.Answer) + len(m.Ns) + len(m.Extra)
	for _, s := range []*[]dns.RR{&m.Answer, &m.Ns, &m.Extra} {
		*s = slices.DeleteFunc(*s, leadsInside)
	}
	return len(m.Answer)+len(m.Ns)+len(m.Extra) < n
}

func leadsInside(rr dns.RR) bool {
	switch rr := rr.(type) {
	case *dns.A:
		return inside(rr.A)
	case *dns.AAAA:
		return inside(rr.AAAA)
	case *dns.HTTPS:
		return hintsInside(rr.Value)
	case *dns.SVCB:
		return hintsInside(rr.Value)
	}
	return false
}

// hintsInside looks at the addresses that browsers take without asking for A
// (RFC 9460, 7.3).
func hintsInside(values []dns.SVCBKeyValue) bool {
	for _, v := range values {
		switch v := v.(type) {
		case *dns.SVCBIPv4Hint:
			for _, ip := range v.Hint {
				if inside(ip) {
					return true
				}
			}
		case *dns.SVCBIPv6Hint:
			for _, ip := range v.Hint {
				if inside(ip) {
					return true
				}
			}
		}
	}
	return false
}

// inside reports whether an address is none of the Internet's: a host, its
// networks, or what a translator makes of them.
func inside(ip []byte) bool {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	return a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() ||
		thisNetwork.Contains(a) || sharedSpace.Contains(a)
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")     // RFC 1122: Linux takes it for itself
	sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598
	nat64       = netip.MustParsePrefix("64:ff9b::/96")  // RFC 6052
)

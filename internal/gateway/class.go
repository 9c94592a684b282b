package gateway

import (
	"fmt"
	"net/netip"
)

// class says what an address is to a gateway.
type class = uint32

const (
	elsewhere      class = iota
	guest                // in Config.Guests, and not the host's
	guestBroadcast       // the last address of a network of guests
	host                 // in Config.Hosts
	group                // multicast, and the limited broadcast: what is heard on a link
	unroutable           // this network, loopback, link-local, reserved
)

// isGroup tells a destination that is for all, or some, on a link.
func isGroup(c class) bool { return c == group || c == guestBroadcast }

// isStation tells a source that answers can be routed to (RFC 1812, 5.3.7).
func isStation(c class) bool { return c == guest || c == elsewhere || c == host }

// blocks are the addresses that are no station's, or none that is routed
// (RFC 6890, 2.2.2; RFC 3927, 2.7).
func blocks() []span {
	return []span{
		{prefix: netip.MustParsePrefix("0.0.0.0/8"), value: unroutable},
		{prefix: netip.MustParsePrefix("127.0.0.0/8"), value: unroutable},
		{prefix: netip.MustParsePrefix("169.254.0.0/16"), value: unroutable},
		{prefix: netip.MustParsePrefix("224.0.0.0/4"), value: group},
		{prefix: netip.MustParsePrefix("240.0.0.0/4"), value: unroutable},
		{prefix: netip.MustParsePrefix("255.255.255.255/32"), value: group},
	}
}

// classify says of every address what it is. Where an address is both, it is the
// host's rather than a guest's.
func classify(hosts map[netip.Addr]struct{}, guests []netip.Prefix) (ranges, error) {
	blocks := blocks()
	spans := make([]span, 0, len(hosts)+len(guests)+len(blocks))
	for a := range hosts {
		if mayBeHosts(a) {
			spans = append(spans, span{prefix: netip.PrefixFrom(a, 32), value: host})
		}
	}
	for _, p := range guests {
		if !p.IsValid() || !p.Addr().Is4() {
			return ranges{}, fmt.Errorf("gateway: guests' network %v: want an IPv4 prefix, as in 10.20.0.0/24", p)
		}
		for _, b := range blocks {
			if b.prefix.Overlaps(p) {
				return ranges{}, fmt.Errorf("gateway: guests' network %v: %v is never routed: want other addresses", p, b.prefix)
			}
		}
		spans = append(spans, span{prefix: p, value: guest, last: guestBroadcast, hasLast: p.Bits() <= 30})
	}
	return newRanges(append(spans, blocks...), elsewhere), nil
}

// mayBeHosts is false of what nobody has on a link, loopback above all: a guest must
// not reach what listens there.
func mayBeHosts(a netip.Addr) bool {
	return a.Is4() && a.As4()[0] != 0 && !a.IsLoopback() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

package filter

import "gxswitch/internal/frame"

// ICMPv6 types (RFC 4861, RFC 2710, RFC 3810).
const (
	mldReport             = 131
	mldDone               = 132
	routerSolicitation    = 133
	routerAdvertisement   = 134
	neighborSolicitation  = 135
	neighborAdvertisement = 136
	redirect              = 137
	mldReport2            = 143
)

// icmp checks an ICMPv6 message of at least one byte. nameless tells one that a
// station sends before it has an address.
func (g *Guard) icmp(m []byte, src address, part part, now int64) (nameless bool, _ frame.DropReason) {
	switch m[0] {
	case routerAdvertisement, redirect:
		if g.policy.RAGuard {
			return false, frame.RAGuard
		}
		return false, g.nd(m, src, part, now)
	case routerSolicitation, neighborSolicitation, neighborAdvertisement:
		return true, g.nd(m, src, part, now)
	case mldReport, mldDone, mldReport2:
		return part == whole, frame.Pass // RFC 3590: multicast groups are joined before DAD
	}
	return false, frame.Pass
}

// nd checks a message of Neighbor Discovery: whose address it speaks for, and
// which MAC it gives.
func (g *Guard) nd(m []byte, src address, part part, now int64) frame.DropReason {
	if !g.mac {
		return frame.Pass
	}
	fixed := ndLen(m[0])
	if part != whole || len(m) < fixed || !g.ownLinkLayer(m[fixed:]) {
		return frame.SpoofARP
	}
	if !g.macip {
		return frame.Pass
	}
	if src.isUnspecified() {
		// Only a router solicitation, and DAD for an address that may become
		// the guest's: any other would keep its owner from having it.
		if m[0] == routerSolicitation || m[0] == neighborSolicitation && g.allowed(address6(m[8:]), now) {
			return frame.Pass
		}
		return frame.SpoofARP
	}
	if !g.allowed(src, now) || m[0] == neighborAdvertisement && !g.allowed(address6(m[8:]), now) {
		return frame.SpoofARP
	}
	return frame.Pass
}

// ndLen is the length of a message before its options (RFC 4861, 4.1 to 4.5).
func ndLen(kind byte) int {
	switch kind {
	case routerSolicitation:
		return 8
	case routerAdvertisement:
		return 16
	case redirect:
		return 40
	}
	return 24
}

// ownLinkLayer reports whether the options are well-formed, and every source or
// target link-layer address is the guest's MAC.
func (g *Guard) ownLinkLayer(o []byte) bool {
	const (
		source = 1
		target = 2
	)
	for len(o) > 0 {
		if len(o) < 8 {
			return false
		}
		n := int(o[1]) * 8
		if n == 0 || n > len(o) {
			return false
		}
		if o[0] == source || o[0] == target {
			if n != 8 || !g.isMAC(o[2:]) {
				return false
			}
		}
		o = o[n:]
	}
	return true
}

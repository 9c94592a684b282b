package gateway

import (
	"slices"
)

// Extends reports whether what g decides about a packet is what was decided, where
// was sent it to a next hop that it knew: they differ, at most, in neighbours that
// was did not know. NAT may have changed meanwhile, see nat.Table.Version.
func (g *Gateway) Extends(was *Gateway) bool {
	if was == nil || g.nat != was.nat || g.natGateway != was.natGateway || g.link != was.link || g.speaker != was.speaker ||
		g.routes != was.routes || g.proxyARP != was.proxyARP || g.errors != was.errors ||
		!slices.Equal(g.classes.starts, was.classes.starts) || !slices.Equal(g.classes.values, was.classes.values) {
		return false
	}
	for side := range g.neighbours {
		for a, mac := range was.neighbours[side].macs {
			if g.neighbours[side].macs[a] != mac {
				return false
			}
		}
	}
	return true
}

// MTU is that of the link on a side.
func (g *Gateway) MTU(s Side) int { return g.link[s].MTU }

package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"gxswitch/internal/host"
)

// guardFor adds what the network's gateway takes of the packets that come by the
// uplink.
func (m *manager) guardFor(n *network, out host.Link, external netip.Addr, guests []netip.Prefix, guards map[int]*host.UplinkGuard) {
	g := guards[out.Index]
	if g == nil {
		g = &host.UplinkGuard{}
		guards[out.Index] = g
	}
	g.Prefixes = append(g.Prefixes, guests...)
	for _, a := range m.l3.addrs {
		if slices.ContainsFunc(guests, func(p netip.Prefix) bool { return p.Contains(a) }) {
			g.Host = append(g.Host, a)
		}
	}
	if n.gate.nat == nil || !external.IsValid() {
		return
	}
	if !slices.Contains(m.l3.addrs, external) {
		g.Prefixes = append(g.Prefixes, netip.PrefixFrom(external, 32))
	}
	ranges := []host.PortRange{n.gate.ports}
	for _, f := range n.gate.nat.Forwards() {
		ranges = append(ranges, host.PortRange{Proto: uint8(f.Protocol), First: f.First, Last: f.Last})
	}
	g.NAT = append(g.NAT, host.NATGuard{External: external, Ports: ranges})
}

// refreshGuards sets what is wanted where it differs from what there is.
func (m *manager) refreshGuards(wanted map[int]*host.UplinkGuard) {
	for index, g := range wanted {
		order(g)
		if was, ok := m.l3.guarded[index]; ok && reflect.DeepEqual(was, *g) {
			continue
		}
		l, there := m.links[index]
		if !there {
			continue
		}
		err := host.SetUplinkGuard(l, *g)
		if errors.Is(err, host.ErrBypassed) {
			m.log.Warn("guard the uplink", "uplink", l.Name, "err", err)
			err = nil
		}
		if err != nil {
			m.log.Error("guard the uplink", "uplink", l.Name, "err", err)
			continue
		}
		m.l3.guarded[index] = *g
	}
	for index := range m.l3.guarded {
		if wanted[index] == nil {
			if l, there := m.links[index]; there {
				if err := host.DropUplinkGuard(l); err != nil && !errors.Is(err, host.ErrNoLink) {
					m.log.Error("take the uplink's guard away", "uplink", l.Name, "err", err)
				}
			}
			delete(m.l3.guarded, index)
		}
	}
}

// order makes guards for the same comparable, whichever network came first.
func order(g *host.UplinkGuard) {
	slices.SortFunc(g.Prefixes, netip.Prefix.Compare)
	slices.SortFunc(g.Host, netip.Addr.Compare)
	slices.SortFunc(g.NAT, func(a, b host.NATGuard) int { // networks with one address have ports of their own
		return cmp.Or(a.External.Compare(b.External), cmp.Compare(a.Ports[0].First, b.Ports[0].First))
	})
}

// adoptGuards takes over the uplinks' guards that a predecessor left: those that
// are not wanted go.
func (m *manager) adoptGuards() {
	left, err := host.UplinkGuards()
	if err != nil {
		m.log.Error("uplink guards of an earlier daemon", "err", err)
	}
	for _, l := range left {
		if m.ports[l.Index] == nil {
			mine, err := claim(fmt.Sprintf("interface %d", l.Index))
			if err != nil {
				continue // another daemon's, which is alive
			}
			mine.Close()
		}
		if _, known := m.l3.guarded[l.Index]; !known {
			m.l3.guarded[l.Index] = host.UplinkGuard{}
		}
	}
	m.refreshGateways()
}

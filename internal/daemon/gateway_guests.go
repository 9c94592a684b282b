package daemon

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/host"
)

// guestsOf are the addresses behind the gateway: the subnet, and those that ports
// of the network are told to have, as long as somebody is there to use them. A
// domain that is on its way to this host is still at another, whose LAN must not
// hear of it here.
func (m *manager) guestsOf(n *network) []netip.Prefix {
	var all []netip.Prefix
	if n.spec.Address.IsValid() {
		all = append(all, n.spec.Address.Masked())
	}
	if n.spec.Mode == config.Routed {
		for _, p := range m.ports {
			for _, a := range p.want.spec.IP {
				if p.role == dataplane.Guest && p.link.Running && p.members[0] == n.spec.Name && a.Is4() && !n.spec.Address.Masked().Contains(a) {
					all = append(all, netip.PrefixFrom(a, 32))
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(all)
}

// guestsBeside are the guests of other routed networks by the same uplink: to them
// the kernel has a route, but none that leads out there.
func (m *manager) guestsBeside(n *network) (all []netip.Prefix) {
	for _, o := range m.networks {
		if o != n && o.spec.Mode == config.Routed && o.spec.Uplink == n.spec.Uplink {
			all = append(all, m.guestsOf(o)...)
		}
	}
	return all
}

// tellOfGuests leads the host to guests outside the network's subnet, and tells
// the LAN of those that have come.
func (m *manager) tellOfGuests(n *network, guests []netip.Prefix) {
	g := n.gate
	if g.routed == nil { // a predecessor's may be there
		g.routed = map[netip.Addr]bool{}
		left, err := host.GuestRoutes(n.leg.Host.Index)
		if err != nil {
			m.log.Error("routes to guests", "network", n.spec.Name, "err", err)
		}
		for _, a := range left {
			g.routed[a] = true
		}
	}
	now := map[netip.Addr]bool{}
	for _, p := range guests {
		if p.IsSingleIP() {
			now[p.Addr()] = true
		}
	}
	for a := range now {
		if !g.routed[a] {
			if err := host.AddHostRoute(n.leg.Host.Index, a); err != nil {
				m.log.Error("route to guest", "network", n.spec.Name, "guest", a, "err", err)
				continue
			}
			g.routed[a] = true
		}
	}
	for a := range g.routed {
		if !now[a] {
			if err := host.DelHostRoute(n.leg.Host.Index, a); err != nil && !errors.Is(err, host.ErrNoLink) {
				m.log.Error("route to guest", "network", n.spec.Name, "guest", a, "err", err)
			}
			delete(g.routed, a)
			m.forgetNeighbour(n.leg.Host.Index, a) // who comes with it next may have another MAC
		}
	}
	if n.spec.Mode != config.Routed || !n.spec.ProxyARP.Or(true) {
		g.said = map[netip.Addr]bool{}
		return
	}
	up := map[netip.Addr]bool{} // behind a port that works
	for _, p := range m.ports {
		if p.role == dataplane.Guest && p.members[0] == n.spec.Name && p.link.Running {
			for _, a := range p.want.spec.IP {
				if up[a] = a.Is4(); up[a] && !g.said[a] {
					m.sw.Announce(n.spec.Name, a)
					g.again = append(g.again, a)
				}
			}
		}
	}
	g.said = up
}

// announceAgain tells the LAN once more of guests that have come: nobody confirms an
// announcement, so each goes out twice (RFC 5227, 2.3).
func (m *manager) announceAgain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.networks {
		if n.gate == nil {
			continue
		}
		for _, a := range n.gate.again {
			if n.gate.said[a] {
				m.sw.Announce(n.spec.Name, a)
			}
		}
		n.gate.again = nil
	}
}

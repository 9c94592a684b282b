package daemon

import (
	"cmp"
	"net/netip"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
)

// pins are the addresses that ports are told to have. They are never changed,
// only replaced as a whole: servers read them without the manager's lock.
type pins struct {
	byPort map[string]netip.Addr // IPv4, what DHCP gives the guest there
	byAddr map[pinned]string     // all of them: whose they are
	there  map[string]bool       // ports that are attached
}

type pinned struct {
	network string
	addr    netip.Addr
}

// repin follows what ports are told. A configured port that is absent keeps its
// addresses.
func (m *manager) repin() {
	p := &pins{byPort: map[string]netip.Addr{}, byAddr: map[pinned]string{}, there: map[string]bool{}}
	for _, port := range m.ports {
		p.there[port.name()] = true
	}
	for _, spec := range m.cfg.Ports {
		if !p.there[spec.Name] && !m.removed[spec.Name] {
			spec.Name = cmp.Or(spec.Name, spec.Match.String()) // which is no interface's name
			m.pin(p, spec)
		}
	}
	for _, port := range m.ports {
		if port.role == dataplane.Guest {
			m.pin(p, port.want.spec)
		}
	}
	m.pins.Store(p)
}

func (m *manager) pin(p *pins, spec config.Port) {
	n := m.networks[spec.Network]
	if n == nil {
		return
	}
	own := m.gateway(n)
	for _, a := range spec.IP {
		p.byAddr[pinned{spec.Network, a}] = spec.Name
		// In a routed network the host has a route to it, wherever it lies.
		if !a.Is4() || !own.Contains(a) && n.spec.Mode != config.Routed {
			continue
		}
		if was, ok := p.byPort[spec.Name]; !ok || !own.Contains(was) && own.Contains(a) {
			p.byPort[spec.Name] = a
		}
	}
}

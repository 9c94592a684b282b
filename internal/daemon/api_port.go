package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/host"
)

// Ports implements control.Switch.
func (m *manager) Ports() []control.Port {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.portRows()
}

// portRows are the attached ports and those that wait for their interface.
func (m *manager) portRows() []control.Port {
	rows := []control.Port{}
	for _, p := range m.ports {
		rows = append(rows, m.portRow(p))
	}
	for _, w := range m.waiting() {
		row := newRow(w.spec, w.role, w.source)
		row.State, row.Problem, row.MTU = "absent", m.problems[w.spec.Name], w.spec.MTU
		if l, ok := m.linkByName(w.spec.Name); ok {
			row.State, row.IfIndex, row.MTU = "down", l.Index, l.MTU
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b control.Port) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

func (m *manager) portRow(p *port) control.Port {
	row := newRow(p.want.spec, p.role, p.want.source)
	l := p.link
	if p.role == dataplane.Host {
		l = m.networks[p.want.spec.Network].leg.Host
	}
	row.Name, row.IfIndex, row.MTU, row.State = p.name(), l.Index, l.MTU, "down"
	if p.link.Running {
		row.State = "up"
	}
	return row
}

func newRow(spec config.Port, role dataplane.Role, source string) control.Port {
	return control.Port{
		Name: spec.Name, Network: spec.Network, Role: role.String(), MAC: spec.MAC, Label: spec.Label,
		VLAN: defaultVLAN, RateFromBy: "gxswitch", IP: []string{}, AntiSpoof: "off", Engine: engineName, Source: source,
	}
}

// waiting are the ports that are wanted by name and not attached.
func (m *manager) waiting() []want {
	var ws []want
	seen := map[string]bool{}
	add := func(w want) {
		if !seen[w.spec.Name] && m.portByName(w.spec.Name) == nil && m.networks[w.spec.Network] != nil {
			ws = append(ws, w)
		}
		seen[w.spec.Name] = true
	}
	for _, n := range m.networks {
		if n.spec.Uplink != "" {
			add(want{role: dataplane.Uplink, spec: config.Port{Name: n.spec.Uplink, Network: n.spec.Name}, source: n.source()})
		}
	}
	for _, spec := range m.cfg.Ports {
		if !strings.ContainsAny(spec.Name, `*?[\`) && !m.removed[spec.Name] {
			add(want{role: dataplane.Guest, spec: spec, source: "config"})
		}
	}
	for _, l := range m.links { // matched by a pattern, but refused
		if w, ok := m.wanted(l); ok && m.problems[l.Name] != "" {
			add(w)
		}
	}
	return ws
}

func (m *manager) rowOf(name string) control.Port {
	for _, row := range m.portRows() {
		if row.Name == name {
			return row
		}
	}
	return control.Port{Name: name}
}

// AddPort implements control.Switch.
func (m *manager) AddPort(s control.PortSpec) (control.Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	spec := applyPort(config.Port{Name: s.Name, Network: s.Network}, s)
	if err := spec.Validate(); err != nil {
		return control.Port{}, refused(err, control.CodeUsage)
	}
	if m.networks[s.Network] == nil {
		return control.Port{}, noNetwork(s.Network)
	}
	if p := m.portByName(s.Name); p != nil {
		if now := p.want.spec; p.role == dataplane.Guest && unplacedPort(now) == spec {
			return m.portRow(p), nil
		}
		return control.Port{}, m.portConflict(p, spec)
	}
	l, err := host.LinkByName(s.Name)
	if errors.Is(err, host.ErrNoLink) || err == nil && l.Name != s.Name {
		return control.Port{}, control.Errorf(control.CodeNotFound, "port %s: no such interface", s.Name).
			WithHint(`a [[port]] entry with name = %q waits for one`, s.Name)
	}
	if err != nil {
		return control.Port{}, err
	}
	for _, n := range m.networks {
		if l.Index == n.leg.Host.Index || l.Index == n.leg.Inner.Index {
			return control.Port{}, control.Errorf(control.CodeConflict, "port %s: is the host's own leg of network %s, it can't be a guest's", s.Name, n.spec.Name)
		}
		if s.Name == n.spec.Uplink {
			return control.Port{}, control.Errorf(control.CodeConflict, "port %s: is the uplink of network %s", s.Name, n.spec.Name)
		}
	}
	m.links[l.Index] = l
	hadRule := m.removed[s.Name]
	old := m.runtime[s.Name]
	delete(m.removed, s.Name)
	m.runtime[s.Name] = &runtimePort{ifindex: l.Index, spec: spec}
	w, _ := m.wanted(l)
	if err := m.attach(l, w); err != nil {
		delete(m.runtime, s.Name)
		if old != nil {
			m.runtime[s.Name] = old
		}
		m.removed[s.Name] = hadRule
		return control.Port{}, refused(fmt.Errorf("port %s: %w", s.Name, err), control.CodeRefused)
	}
	return m.rowOf(s.Name), m.journal()
}

// portConflict says that the port exists with other settings.
func (m *manager) portConflict(p *port, spec config.Port) error {
	now := p.want.spec
	if p.role != dataplane.Guest {
		return control.Errorf(control.CodeConflict, "port %s: is the %s of network %s", spec.Name, roleText(p.role), now.Network)
	}
	if now.Network != spec.Network {
		return control.Errorf(control.CodeConflict, "port %s: is in network %s, not %s", spec.Name, now.Network, spec.Network).
			WithHint("gxswitch port del %s, then add it to %s", spec.Name, spec.Network)
	}
	return control.Errorf(control.CodeConflict, "port %s: exists in network %s with other settings (mac %q, label %q, mtu %d; not mac %q, label %q, mtu %d)",
		spec.Name, now.Network, macText(now), now.Label, now.MTU, macText(spec), spec.Label, spec.MTU).
		WithHint("gxswitch port set %s changes them", spec.Name)
}

// roleText is a role in a sentence.
func roleText(r dataplane.Role) string {
	if r == dataplane.Host {
		return "host's own leg"
	}
	return r.String()
}

func macText(p config.Port) string {
	if p.MAC.IsZero() {
		return ""
	}
	return p.MAC.String()
}

func unplacedPort(p config.Port) config.Port {
	p.Pos = config.Position{}
	return p
}

// applyPort puts the fields that s has into spec.
func applyPort(spec config.Port, s control.PortSpec) config.Port {
	spec.Pos = config.Position{}
	if s.MAC != nil {
		spec.MAC = *s.MAC
	}
	if s.MTU != nil {
		spec.MTU = *s.MTU
	}
	if s.Label != nil {
		spec.Label = *s.Label
	}
	return spec
}

// SetPort implements control.Switch.
func (m *manager) SetPort(s control.PortSpec) (control.Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.portByName(s.Name)
	if p == nil {
		return control.Port{}, noPort(s.Name)
	}
	if p.role != dataplane.Guest {
		return control.Port{}, control.Errorf(control.CodeRefused, "port %s: is the %s of network %s, it has no settings of its own", s.Name, roleText(p.role), p.want.spec.Network).
			WithHint("gxswitch network set %s", p.want.spec.Network)
	}
	spec := applyPort(p.want.spec, s)
	if s.Network != "" && s.Network != spec.Network {
		return control.Port{}, control.Errorf(control.CodeRefused, "port %s: is in network %s, and set does not move it", s.Name, spec.Network).
			WithHint("gxswitch port del %s, then add it to %s", s.Name, s.Network)
	}
	if err := spec.Validate(); err != nil {
		return control.Port{}, refused(err, control.CodeUsage)
	}
	w := p.want
	w.spec, w.mtu = spec, m.wantedMTU(spec)
	if mtu := m.portMTU(p.link, w); mtu != p.link.MTU {
		if err := host.SetMTU(p.link.Index, mtu); err != nil {
			return control.Port{}, refused(fmt.Errorf("port %s: %w", s.Name, err), control.CodeRefused)
		}
		p.link.MTU = mtu
	}
	if r := m.runtime[s.Name]; r != nil {
		r.spec = spec
	} else {
		m.runtime[s.Name] = &runtimePort{ifindex: p.link.Index, override: true, spec: spec}
	}
	m.update(p, p.link, w)
	return m.portRow(p), m.journal()
}

// DelPort implements control.Switch.
func (m *manager) DelPort(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.portByName(name)
	r := m.runtime[name]
	if p == nil && (r == nil || r.override) {
		return noPort(name)
	}
	if p != nil && p.role != dataplane.Guest {
		return control.Errorf(control.CodeRefused, "port %s: is the %s of network %s and goes with it", name, roleText(p.role), p.want.spec.Network).
			WithHint("gxswitch network del %s", p.want.spec.Network)
	}
	delete(m.runtime, name)
	if p != nil {
		m.detach(p, true)
		if _, ruled := m.cfg.MatchPort(name); ruled {
			m.removed[name] = true // until its interface goes, or a reload
		}
	}
	return m.journal()
}

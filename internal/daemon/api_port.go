package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/host"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
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
		for _, network := range p.members {
			rows = append(rows, m.portRow(p, network))
		}
	}
	for _, w := range m.waiting() {
		row := newRow(w.spec, w.role, w.source)
		if w.role == dataplane.Uplink {
			row.VLAN = vlanText(uplinkVLANs(m.networks[w.spec.Network].spec))
		}
		row.State, row.Problem, row.MTU = "absent", m.problems[w.spec.Name], w.spec.MTU
		row.Engine = m.engineName()
		if l, ok := m.linkByName(w.spec.Name); ok {
			row.State, row.IfIndex, row.MTU = "down", l.Index, l.MTU
		}
		rows = append(rows, row)
	}
	rows = append(rows, m.homeless()...)
	slices.SortFunc(rows, func(a, b control.Port) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

func (m *manager) portRow(p *port, network string) control.Port {
	spec := p.want.spec
	spec.Network = network
	row := newRow(spec, p.role, p.want.source)
	row.Engine, row.EngineReason = p.engine(), p.engineReason
	l := p.link
	switch p.role {
	case dataplane.Host:
		l = m.networks[network].leg.Host
	case dataplane.Uplink:
		row.VLAN, row.Source = vlanText(uplinkVLANs(m.networks[network].spec)), m.networks[network].source()
	case dataplane.Guest:
		if spec.MAC.IsZero() {
			row.LearnedMAC = m.sw.GuestMAC(p.key(network))
		}
		for _, l := range m.sw.Leases(p.key(network)) {
			row.LearnedIP = append(row.LearnedIP, l.Addr.String())
		}
	}
	c := m.portConfig(p, network)
	from, to := m.sw.Pacing(c.Name)
	row.RateFrom, row.RateTo = rateText(c.RateFrom), rateText(c.RateTo)
	row.ShaperFrom, row.ShaperTo = shaperRow(c.RateFrom, from), shaperRow(c.RateTo, to)
	row.Xen = m.xenNIC(p)
	row.Name, row.IfIndex, row.MTU, row.State = p.name(), l.Index, l.MTU, "down"
	if p.link.Running {
		row.State = "up"
	}
	return row
}

func shaperRow(l shaping.Limit, c *shaping.Counters) *control.Shaper {
	if c == nil {
		return nil
	}
	return &control.Shaper{
		CreditBytes: l.Credit(), IntervalUS: l.Interval().Microseconds(),
		PassedPackets: c.PassedFrames, PassedBytes: c.PassedBytes,
		DroppedPackets: c.DroppedFrames, DroppedBytes: c.DroppedBytes,
		QueuedPackets: c.QueuedFrames, QueuedBytes: c.QueuedBytes,
		ThrottledMS: c.Throttled.Milliseconds(),
	}
}

func newRow(spec config.Port, role dataplane.Role, source string) control.Port {
	row := control.Port{
		Name: spec.Name, Network: spec.Network, Role: role.String(), MAC: spec.MAC, Label: spec.Label,
		VLAN: vlanText(spec.VLAN), RateFromBy: "gxswitch", RateFrom: rateText(spec.RateFrom), RateTo: rateText(spec.RateTo),
		IP: []string{}, LearnedIP: []string{}, AntiSpoof: spec.Antispoof.String(), MACLimit: spec.MACLimit, Isolated: spec.Isolated,
		Source: source,
	}
	for _, a := range spec.IP {
		row.IP = append(row.IP, a.String())
	}
	if spec.Storm != 0 {
		row.Storm = spec.Storm.String()
	}
	policy := spec.Policy()
	row.RAGuard, row.DHCPGuard, row.BPDUGuard = policy.RAGuard, policy.DHCPGuard, policy.BPDUGuard
	return row
}

// vlanText is what a port carries; zero is what it carries without a word.
func vlanText(set vlan.Set) string {
	if set.IsZero() {
		set = vlan.Default()
	}
	return set.String()
}

// uplinkVLANs is what the network has of its uplink.
func uplinkVLANs(n config.Network) vlan.Set {
	if n.UplinkVLAN != 0 {
		return vlan.Access(n.UplinkVLAN)
	}
	return n.VLAN
}

func rateText(l shaping.Limit) string {
	if l.IsZero() {
		return ""
	}
	return l.String()
}

// waiting are the ports that are wanted by name and not attached.
func (m *manager) waiting() []want {
	var ws []want
	seen := map[string]bool{}
	add := func(w want) {
		key := w.spec.Name
		if w.role == dataplane.Uplink {
			key += "/" + w.spec.Network
		}
		if !seen[key] && m.portByName(w.spec.Name) == nil && m.networks[w.spec.Network] != nil {
			ws = append(ws, w)
		}
		seen[key] = true
	}
	for _, n := range m.networks {
		if n.spec.Uplink != "" {
			add(want{role: dataplane.Uplink, spec: config.Port{Name: n.spec.Uplink, Network: n.spec.Name}, source: n.source()})
		}
	}
	for _, spec := range m.cfg.Ports {
		if spec.Match.IsZero() && !strings.ContainsAny(spec.Name, `*?[\`) && !m.removed[spec.Name] && !m.isLeg(spec) {
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

// isLeg reports whether the [[port]] is about a network's host leg.
func (m *manager) isLeg(spec config.Port) bool {
	n := m.networks[spec.Network]
	return n != nil && spec.Name == spec.Network && n.spec.HasHostLeg()
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
	spec := applyPort(m.cfg.NewPort(s.Name, s.Network), s)
	if err := spec.Validate(); err != nil {
		return control.Port{}, refused(err, control.CodeUsage)
	}
	if m.networks[s.Network] == nil {
		return control.Port{}, noNetwork(s.Network)
	}
	if p := m.portByName(s.Name); p != nil {
		if p.role == dataplane.Guest && p.want.spec.Equal(spec) {
			return m.portRow(p, spec.Network), nil
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
	m.refresh()
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
	return control.Errorf(control.CodeConflict, "port %s: exists in network %s with other settings: %s", spec.Name, now.Network,
		strings.Join(differences(now, spec), ", ")).
		WithHint("gxswitch port set %s changes them", spec.Name)
}

// differences lists the settings in which a port is other than asked for.
func differences(is, asked config.Port) (all []string) {
	a, b := newRow(is, dataplane.Guest, ""), newRow(asked, dataplane.Guest, "")
	for _, d := range []struct {
		name      string
		is, asked any
	}{
		{"mac", macText(is), macText(asked)},
		{"label", a.Label, b.Label},
		{"mtu", is.MTU, asked.MTU},
		{"vlan", a.VLAN, b.VLAN},
		{"rate_from", a.RateFrom, b.RateFrom},
		{"rate_to", a.RateTo, b.RateTo},
		{"ip", strings.Join(a.IP, ","), strings.Join(b.IP, ",")},
		{"antispoof", a.AntiSpoof, b.AntiSpoof},
		{"isolated", a.Isolated, b.Isolated},
		{"storm", a.Storm, b.Storm},
		{"mac_limit", a.MACLimit, b.MACLimit},
		{"ra_guard", a.RAGuard, b.RAGuard},
		{"dhcp_guard", a.DHCPGuard, b.DHCPGuard},
		{"bpdu_guard", a.BPDUGuard, b.BPDUGuard},
	} {
		if d.is != d.asked {
			all = append(all, fmt.Sprintf("%s is %s, not %s", d.name, settingText(d.is), settingText(d.asked)))
		}
	}
	if all == nil {
		all = []string{"a guard is as antispoof says in one, and told in the other"}
	}
	return all
}

// settingText is a value in a sentence.
func settingText(v any) string {
	if v == "" || v == 0 {
		return "none"
	}
	return fmt.Sprint(v)
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
	if s.VLAN != nil {
		spec.VLAN = *s.VLAN
	}
	if s.RateFrom != nil {
		spec.RateFrom = *s.RateFrom
	}
	if s.RateTo != nil {
		spec.RateTo = *s.RateTo
	}
	if s.IP != nil && *s.IP != nil {
		spec.IP = *s.IP
		if len(spec.IP) == 0 {
			spec.IP = nil
		}
	}
	if s.Antispoof != nil {
		spec.Antispoof = *s.Antispoof
	}
	if s.Isolated != nil {
		spec.Isolated = *s.Isolated
	}
	if s.Storm != nil {
		spec.Storm = *s.Storm
	}
	if s.MACLimit != nil {
		spec.MACLimit = *s.MACLimit
	}
	for _, g := range []struct {
		to   *config.Toggle
		from *control.Guard
	}{{&spec.RAGuard, s.RAGuard}, {&spec.DHCPGuard, s.DHCPGuard}, {&spec.BPDUGuard, s.BPDUGuard}} {
		if g.from != nil {
			*g.to = map[control.Guard]config.Toggle{control.GuardOn: config.On, control.GuardOff: config.Off}[*g.from]
		}
	}
	return spec
}

// SetPort implements control.Switch.
func (m *manager) SetPort(s control.PortSpec) (control.Port, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.portByName(s.Name)
	if p == nil {
		return control.Port{}, m.noPort(s.Name)
	}
	if p.role == dataplane.Host && s.VLAN != nil && reflect.DeepEqual(s, control.PortSpec{Name: s.Name, Network: s.Network, VLAN: s.VLAN}) {
		return m.setLeg(p, s)
	}
	if p.role != dataplane.Guest {
		return control.Port{}, control.Errorf(control.CodeRefused, "port %s: is the %s of network %s, it has no settings of its own", s.Name, roleText(p.role), p.want.spec.Network).
			WithHint("gxswitch network set %s", p.want.spec.Network)
	}
	spec := applyPort(p.want.spec, s)
	if s.Network != "" && s.Network != spec.Network {
		if m.networks[s.Network] == nil {
			return control.Port{}, noNetwork(s.Network)
		}
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
		over, _ := m.cfg.MatchPort(s.Name)
		m.runtime[s.Name] = &runtimePort{ifindex: p.link.Index, override: true, over: over, spec: spec}
	}
	m.update(p, p.link, w)
	m.refresh()
	return m.portRow(p, spec.Network), m.journal()
}

// setLeg changes the VLANs of the host's leg, all that it has of its own.
func (m *manager) setLeg(p *port, s control.PortSpec) (control.Port, error) {
	network := p.name()
	over, _ := m.cfg.MatchPort(network)
	m.runtime[network] = &runtimePort{ifindex: legIndex, override: true, over: over, spec: config.Port{Name: network, Network: network, VLAN: *s.VLAN}}
	m.update(p, p.link, m.wantLeg(m.networks[network]))
	return m.portRow(p, network), m.journal()
}

// DelPort implements control.Switch.
func (m *manager) DelPort(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.portByName(name)
	r := m.runtime[name]
	if p == nil && (r == nil || r.override) {
		return m.noPort(name)
	}
	if p != nil && p.role != dataplane.Guest {
		return control.Errorf(control.CodeRefused, "port %s: is the %s of network %s and goes with it", name, roleText(p.role), p.want.spec.Network).
			WithHint("gxswitch network del %s", p.want.spec.Network)
	}
	delete(m.runtime, name)
	if p != nil {
		m.detach(p, true)
		delete(m.leases, p.link.Index)
		if _, ruled := m.cfg.MatchPort(name); ruled {
			m.removed[name] = true // until its interface goes, or a reload
		}
		m.refresh()
	}
	return m.journal()
}

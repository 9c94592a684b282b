package daemon

import (
	"os"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/filter"
	"gxswitch/internal/xen"
)

// vifSpec is what the interface of a domain's NIC should be: what the domain's
// configuration says, key by key, and what its [[port]] says for the rest. Only
// the bridge that xl writes where nobody named one gives way to a [[port]] that
// names a network.
func (m *manager) vifSpec(cfg config.Config, s control.HotplugSpec) (config.Port, error) {
	spec, ok := cfg.MatchVif(s.Domain, s.UUID, s.DevID, vifNames(s)...)
	if !ok {
		spec = cfg.NewPort("", "")
	}
	spec.Name, spec.Match, spec.Pos = s.Port(), config.Match{}, config.Position{}
	if s.Network != "" && (s.Network != xen.DefaultBridge || spec.Network == "") {
		spec.Network = s.Network
	}
	fill(&spec.MAC, s.MAC)
	fill(&spec.VLAN, s.VLAN)
	fill(&spec.RateFrom, s.RateFrom)
	fill(&spec.MTU, s.MTU)
	if len(s.IP) > 0 {
		spec.IP = s.IP
		if !spec.AntispoofTold {
			spec.Antispoof = filter.MACIP
		}
	}
	if spec.Label == "" {
		spec.Label = label(s.Domain)
	}
	if m.networks[spec.Network] == nil {
		return spec, m.noNetworkFor(s, spec.Network)
	}
	if err := m.checkAddresses(s, m.networks[spec.Network]); err != nil {
		return spec, err
	}
	return spec, checkVif(s, spec)
}

// checkAddresses refuses what a domain is said to have and could not use.
func (m *manager) checkAddresses(s control.HotplugSpec, n *network) error {
	own := m.gateway(n)
	for _, a := range s.IP {
		switch {
		case a == own.Addr():
			return control.Errorf(control.CodeUsage, "%s: ip=%s is the host's own address in network %s", s.HotplugRef, a, n.spec.Name).
				WithHint("give domain %s another", s.Domain)
		case n.spec.Mode == config.NAT && a.Is4() && !own.Contains(a):
			return control.Errorf(control.CodeUsage, "%s: ip=%s is not in %s, which is all that network %s translates", s.HotplugRef, a, own.Masked(), n.spec.Name).
				WithHint("give domain %s an address of these, or none and let DHCP choose", s.Domain)
		}
	}
	return nil
}

// fill takes what the domain's configuration says, if it does.
func fill[T comparable](to *T, said T) {
	var nothing T
	if said != nothing {
		*to = said
	}
}

// vifNames are the names by which a [[port]] may know the interface. A tap is
// also known by its vif's: the two are one NIC.
func vifNames(s control.HotplugSpec) []string {
	vif := control.HotplugRef{DomID: s.DomID, DevID: s.DevID}.String()
	names := []string{s.Vif(), vif}
	if s.Tap {
		names = append([]string{s.EmulatedTap(), s.HotplugRef.String()}, names...)
	}
	return names
}

// label is as much of a domain's name as a label holds.
func label(domain string) string {
	const most = 64 // runes
	if r := []rune(domain); len(r) > most {
		return string(r[:most])
	}
	return domain
}

// vifMTU is what a NIC has where neither its domain nor its network says: what
// its network has, as with a bridge.
func (m *manager) vifMTU(spec config.Port) int {
	if r := m.runtime[spec.Name]; r != nil && r.xen != nil {
		return m.mtu(m.networks[spec.Network].spec)
	}
	return 0
}

// twin is the other interface of the same virtual NIC, by its name. A vif that
// has no emulated NIC beside it has none, whoever is called so.
func (m *manager) twin(name string) string {
	r := m.runtime[name]
	switch {
	case r == nil || r.xen == nil:
		return twin(name)
	case r.xen.Tap:
		return r.xen.Vif()
	case r.xen.Emulated:
		return r.xen.EmulatedTap()
	}
	return ""
}

// awaitsHotplug reports whether the interface is one that the hotplug script will
// tell of: its [[port]] alone does not make it a port, since until then nobody
// knows whose it is.
func (m *manager) awaitsHotplug(name string) bool {
	if _, _, ok := xen.ParseInterface(name); !ok || m.xen == config.XenOff {
		return false
	}
	// A host that was Xen's once is so until it starts anew.
	if m.xen == config.XenAuto {
		if _, err := os.Stat(xen.SocketPath(os.Getenv)); err == nil {
			m.xen = config.XenOn
		}
	}
	return m.xen == config.XenOn
}

// repolicy brings what is wanted of domains' NICs in line with another
// configuration. What the command line changed of them goes where the
// configuration says something new.
func (m *manager) repolicy(cfg config.Config) {
	for name, r := range m.runtime {
		if r.xen == nil {
			continue
		}
		spec, _ := m.vifSpec(cfg, *r.xen) // a network that is missing may come
		if spec.Name = name; !spec.Equal(r.base) {
			r.spec, r.base = spec, spec
		}
	}
}

// homeless are NICs' ports whose network is gone. Nobody calls the script a second
// time: they wait for one of that name, or for a reload that says another.
func (m *manager) homeless() []control.Port {
	var rows []control.Port
	for name, r := range m.runtime {
		l, there := m.links[r.ifindex]
		if r.xen == nil || !there || m.networks[r.spec.Network] != nil {
			continue
		}
		w := wantGuest(r.spec, "runtime")
		row := newRow(w.spec, w.role, w.source)
		row.Name, row.State, row.IfIndex, row.MTU = name, "down", l.Index, l.MTU
		row.Problem = "there is no network " + r.spec.Network
		rows = append(rows, row)
	}
	return rows
}

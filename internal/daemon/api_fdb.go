package daemon

import (
	"errors"
	"slices"
	"strings"

	"gxswitch/fdb"
	"gxswitch/internal/control"
)

// FDB implements control.Switch.
func (m *manager) FDB(network, port string) ([]control.FDBEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if network != "" && m.networks[network] == nil {
		return nil, noNetwork(network)
	}
	if port != "" && m.portByName(port) == nil {
		return nil, m.noPort(port)
	}
	rows := []control.FDBEntry{}
	for _, spec := range m.specs() {
		if network != "" && spec.Name != network {
			continue
		}
		entries, err := m.sw.FDB(spec.Name)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name := shown(e.PortName); port == "" || name == port {
				rows = append(rows, control.FDBEntry{Network: spec.Name, VLAN: int(e.Key.VLAN()), MAC: e.Key.MAC(),
					Port: name, AgeS: e.AgeSeconds, Kind: e.Kind.String()})
			}
		}
	}
	return rows, nil
}

// vlanOf is the VLAN that an FDBSpec means.
func vlanOf(s control.FDBSpec) (uint16, error) {
	if s.VLAN == 0 {
		return 1, nil
	}
	if s.VLAN < 1 || s.VLAN > 4094 {
		return 0, control.Errorf(control.CodeUsage, "vlan %d: want 1 to 4094", s.VLAN)
	}
	return uint16(s.VLAN), nil
}

// AddFDB implements control.Switch.
func (m *manager) AddFDB(s control.FDBSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	vid, err := vlanOf(s)
	if err != nil {
		return err
	}
	if s.MAC.IsZero() || s.MAC.IsMulticast() {
		return control.Errorf(control.CodeUsage, "MAC address %s is no station's: want a unicast address", s.MAC)
	}
	p := m.portByName(s.Port)
	if p == nil || s.Network != "" && !slices.Contains(p.members, s.Network) {
		return m.noPort(s.Port)
	}
	network := p.members[0]
	if len(p.members) > 1 {
		if network = s.Network; network == "" {
			return control.Errorf(control.CodeUsage, "port %s: is a port of several networks: %s", s.Port, strings.Join(p.members, ", ")).
				WithHint("--network says which is meant")
		}
	}
	switch err := m.sw.AddFDB(p.key(network), vid, s.MAC); {
	case errors.Is(err, fdb.ErrExists):
		return control.Errorf(control.CodeConflict, "%s in VLAN %d is pinned to another port, not to %s", s.MAC, vid, s.Port).
			WithHint("gxswitch fdb del %s --vlan %d --network NETWORK removes a static entry", s.MAC, vid)
	case errors.Is(err, fdb.ErrFull):
		return control.Errorf(control.CodeRefused, "%s: the forwarding database is full of static entries", s.MAC).
			WithHint("gxswitch network set NETWORK --fdb-limit N raises the limit")
	case err != nil:
		return err
	}
	return m.keepStation(p, station{network, vid, s.MAC})
}

// DelFDB implements control.Switch.
func (m *manager) DelFDB(s control.FDBSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	vid, err := vlanOf(s)
	if err != nil {
		return err
	}
	if m.networks[s.Network] == nil {
		return noNetwork(s.Network)
	}
	found, err := m.sw.DelFDB(s.Network, vid, s.MAC)
	switch {
	case errors.Is(err, fdb.ErrExists):
		return control.Errorf(control.CodeRefused, "%s is the host's own address in network %s, it can't be removed", s.MAC, s.Network)
	case err != nil:
		return err
	case !found:
		return control.Errorf(control.CodeNotFound, "%s in VLAN %d: no such entry in network %s", s.MAC, vid, s.Network).
			WithHint("gxswitch fdb list --network %s", s.Network)
	}
	return m.dropStation(station{s.Network, vid, s.MAC})
}

// FlushFDB implements control.Switch.
func (m *manager) FlushFDB(network, port string) (control.Flushed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if network != "" && m.networks[network] == nil {
		return control.Flushed{}, noNetwork(network)
	}
	if port != "" {
		p := m.portByName(port)
		if p == nil || network != "" && !slices.Contains(p.members, network) {
			return control.Flushed{}, m.noPort(port)
		}
		total := 0
		for _, of := range p.members {
			if network == "" || network == of {
				n, err := m.sw.FlushFDB(of, p.key(of))
				if err != nil {
					return control.Flushed{}, err
				}
				total += n
			}
		}
		return control.Flushed{Entries: total}, nil
	}
	total := 0
	for name := range m.networks {
		if network == "" || network == name {
			n, err := m.sw.FlushFDB(name, "")
			if err != nil {
				return control.Flushed{}, err
			}
			total += n
		}
	}
	return control.Flushed{Entries: total}, nil
}

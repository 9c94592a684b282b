package daemon

import (
	"cmp"
	"maps"
	"slices"

	"gxswitch/dataplane"
	"gxswitch/internal/frame"
)

// station is a static entry of the forwarding database. It is with its port until
// somebody removes it, and so outlives the daemon as ports do.
type station struct {
	Network string    `json:"network"`
	VLAN    uint16    `json:"vlan"`
	MAC     frame.MAC `json:"mac"`
}

// stateStation is one in the journal.
type stateStation struct {
	IfIndex int `json:"ifindex"` // legIndex: the host's leg
	station
}

// stationLink is by what interface a port's static entries are kept.
func (p *port) stationLink() int {
	if p.role == dataplane.Host {
		return legIndex
	}
	return p.link.Index
}

// keepStation notes a static entry that somebody has added.
func (m *manager) keepStation(p *port, s station) error {
	was, known := m.stations[s]
	if m.stations[s] = p.stationLink(); known && was == p.stationLink() {
		return nil
	}
	return m.journal()
}

// dropStation forgets one that somebody has removed.
func (m *manager) dropStation(s station) error {
	if _, known := m.stations[s]; !known {
		return nil
	}
	delete(m.stations, s)
	return m.journal()
}

// dropStations forgets those of a port that leaves a network.
func (m *manager) dropStations(p *port, network string) {
	maps.DeleteFunc(m.stations, func(s station, link int) bool { return s.Network == network && link == p.stationLink() })
}

// pinStations enters what an earlier daemon was told of a port that has joined a
// network.
func (m *manager) pinStations(p *port, network string) {
	for s, link := range m.stations {
		if s.Network != network || link != p.stationLink() {
			continue
		}
		if err := m.sw.AddFDB(p.key(network), s.VLAN, s.MAC); err != nil {
			m.log.Warn("static address no longer fits", "network", network, "port", p.name(), "vlan", s.VLAN, "mac", s.MAC, "err", err)
			delete(m.stations, s)
		}
	}
}

// stateStations are all of them, for the journal.
func (m *manager) stateStations() (all []stateStation) {
	for s, link := range m.stations {
		all = append(all, stateStation{link, s})
	}
	slices.SortFunc(all, func(a, b stateStation) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.VLAN, b.VLAN), slices.Compare(a.MAC[:], b.MAC[:]))
	})
	return all
}

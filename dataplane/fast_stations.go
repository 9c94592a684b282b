package dataplane

import (
	"time"

	"gxswitch/fdb"
	"gxswitch/internal/fastpath"
)

// What the Kernel knows of stations is carried from the tables of the networks, which
// stay the truth, by who changes them and as it is changed; when the Kernel has seen
// them last comes back.

// kick wakes follow.
func (f *fast) kick() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// leasesMoved makes the Kernel follow what guards have learned.
func (s *Switch) leasesMoved() {
	s.leased.Store(true)
	if s.fast != nil {
		s.fast.leased.Store(true)
		s.fast.kick()
	}
}

// follow makes the Kernel know what it may where that is not for a station's sake:
// leases come and go, and with them whose an address is.
func (s *Switch) follow() {
	defer close(s.fast.ended)
	for {
		select {
		case <-s.fast.stop:
			return
		case <-s.fast.changed:
		}
		if s.fast.heir.Load() {
			continue // the tables have not heard of what the Kernel knows
		}
		s.mu.Lock()
		v := s.view.Load()
		if s.fast.leased.Swap(false) {
			s.tell(v)
		}
		stale := s.fast.stale
		s.fast.stale = map[*network]bool{}
		s.mu.Unlock()
		for n := range stale {
			s.compare(v, n)
		}
	}
}

// carry makes the Kernel know what the table says of one station. Who changes the
// table meanwhile carries that after it.
func (s *Switch) carry(v *view, n *network, k fdb.Key, ageSeconds int64) {
	n.carrying.Lock()
	defer n.carrying.Unlock()
	if number, ok := v.known(n, k); ok {
		if !s.fast.Put(n.number, k, number, ageSeconds) {
			n.crowded.Store(true)
		}
	} else {
		s.fast.Delete(n.number, k)
	}
}

// retrySeconds is how often stations that found no room in the Kernel are tried again.
const retrySeconds = 30

// retry makes follow compare networks of which a station found no room in the Kernel:
// what took it may have gone. s.mu is held.
func (s *Switch) retry() {
	for _, n := range s.networks {
		if n.crowded.Swap(false) {
			s.fast.stale[n] = true
			s.fast.kick()
		}
	}
}

// carryLocal carries the host's own address behind a port that has just come: it was
// entered before a view had the port.
func (s *Switch) carryLocal(n *network, cfg *PortConfig) {
	if s.fast != nil && !s.fast.heir.Load() && !cfg.Local.IsZero() {
		s.carry(s.view.Load(), n, cfg.localKey(), 0)
	}
}

// doubt makes follow compare the networks of an interface of which others have less
// or more from now on: what a network learned of an interface that it shares the
// Kernel has not been told. s.mu is held.
func (s *Switch) doubt(on *wire) {
	if s.fast == nil {
		return
	}
	for _, a := range s.open()[on] {
		s.fast.stale[s.networks[a.cfg.Network]] = true
	}
	s.fast.kick()
}

// known is the number of the port behind which the Kernel may know the station.
// None, where that is not the Kernel's, or where the station's address belongs to
// another guest: the pipeline refuses its frames whatever the table says.
func (v *view) known(n *network, k fdb.Key) (uint16, bool) {
	id, ok := n.table.Lookup(k)
	if !ok || int(id) >= len(v.ports) || v.ports[id] == nil || v.ports[id].net != n {
		return 0, false
	}
	m := v.ports[id]
	f := m.port.fastPort()
	if f == nil || n.number == 0 {
		return 0, false
	}
	if e := v.entry(m.port.wire); e == nil || e.one != m {
		return 0, false
	}
	if m.robs(k) {
		return 0, false
	}
	return f.Number(), true
}

// compare makes the Kernel know what the table says, and no more.
func (s *Switch) compare(v *view, n *network) {
	has := map[fdb.Key]bool{}
	for _, e := range n.table.Entries(s.clock.Load()) {
		s.carry(v, n, e.Key, e.AgeSeconds)
		has[e.Key] = true
	}
	var gone []fdb.Key
	s.fast.Entries(func(e fastpath.Entry) {
		if e.Network == n.number && !has[e.Key] {
			gone = append(gone, e.Key)
		}
	})
	for _, k := range gone {
		s.carry(v, n, k, 0)
	}
}

// refresh notes which stations the Kernel has seen.
func (s *Switch) refresh() {
	v, now := s.view.Load(), s.clock.Load()
	s.fast.Entries(func(e fastpath.Entry) {
		if at := v.fastEntry(e.Port); at != nil && at.one != nil && at.one.net.number == e.Network {
			at.one.net.table.Refresh(e.Key, at.one.id, now-e.AgeSeconds)
		}
	})
}

// refreshEvery is how often what the Kernel has seen is read before entries are
// aged: an eighth of the ageing time, as this is all that it must be exact to.
func refreshEvery(ageing time.Duration) int64 {
	if ageing <= 0 {
		ageing = fdb.DefaultAgeing
	}
	return min(max(int64(ageing/time.Second)/8, 1), 10)
}

// Adopt enters the stations that the Kernel knows from before this switch, once
// all ports are attached and gateways set, and makes it forget those that it may not
// know. From then on the Kernel follows this switch, and not a predecessor.
func (s *Switch) Adopt() {
	if s.fast == nil {
		return
	}
	s.mu.Lock()
	nets := map[uint32]*network{}
	for _, n := range s.networks {
		nets[n.number] = n
		s.fast.stale[n] = true
	}
	s.mu.Unlock()
	v, now := s.view.Load(), s.clock.Load()
	s.fast.Entries(func(e fastpath.Entry) {
		n, at := nets[e.Network], v.fastEntry(e.Port)
		if n == nil || at == nil || at.one == nil || at.one.net != n || !at.one.carries(e.Key.VLAN()) {
			return // the port has other VLANs now, perhaps
		}
		m := at.one
		if m.robs(e.Key) {
			return
		}
		if id, known := n.table.Lookup(e.Key); known && id != m.id && int(id) < len(v.ports) && v.ports[id] != nil && !v.ports[id].robs(e.Key) {
			return // it has moved since
		}
		n.table.Learn(e.Key, m.id, now-e.AgeSeconds)
	})
	s.mu.Lock()
	s.fast.heir.Store(false)
	s.tell(s.view.Load())
	s.mu.Unlock()
	s.fast.kick()
	s.startFlows()
}

// robs reports whether the station's address is that of a guest elsewhere that is
// held to it.
func (m *member) robs(k fdb.Key) bool {
	owner := m.owners[k.MAC()]
	return owner != nil && owner != m && owner != m.twin
}

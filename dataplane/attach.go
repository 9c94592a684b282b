package dataplane

import (
	"errors"
	"fmt"
	"reflect"

	"gxswitch/fdb"
	"gxswitch/internal/filter"
	"gxswitch/internal/vlan"
	"gxswitch/ports"
	"gxswitch/shaping"
)

// Attach makes io a port of a network. The switch closes io, also when Attach
// fails.
func (s *Switch) Attach(cfg PortConfig, io ports.Port) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	on := &wire{io: io}
	err := s.vlanFree(on, cfg.UplinkVLAN)
	if err == nil {
		err = s.attach(cfg, on)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("port %s: %w", cfg.Name, err), io.Close())
	}
	if s.puntOf(io) == nil {
		on.worker.call(func() { on.worker.add(on) })
	}
	return nil
}

// Share makes the interface of the port called of a port of another network
// too. Each frame goes to one of them: to the one whose UplinkVLAN it bears, else
// to the one without.
func (s *Switch) Share(cfg PortConfig, of string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, _ := s.find(of)
	if first == nil {
		return fmt.Errorf("port %s: %s: %w", cfg.Name, of, ErrNoPort)
	}
	if !s.isGate(&cfg) {
		if err := s.vlanFree(first.port.wire, cfg.UplinkVLAN); err != nil {
			return fmt.Errorf("port %s: %w", cfg.Name, err)
		}
	}
	if err := s.attach(cfg, first.port.wire); err != nil {
		return fmt.Errorf("port %s: %w", cfg.Name, err)
	}
	return nil
}

// isGate reports whether the port is a gateway's uplink.
func (s *Switch) isGate(cfg *PortConfig) bool {
	net := s.networks[cfg.Network]
	return net != nil && net.cfg.Gateway && cfg.Role == Uplink
}

// vlanFree reports whether no port has that VLAN of the interface.
func (s *Switch) vlanFree(on *wire, vid uint16) error {
	if vid > vlan.MaxVID {
		return fmt.Errorf("VLAN %d: %w", vid, errNoVLAN)
	}
	for _, a := range s.open()[on] {
		if a.cfg.UplinkVLAN == vid && !s.isGate(&a.cfg) {
			return fmt.Errorf("%w: %s", ErrShared, a.cfg.Name)
		}
	}
	return nil
}

func (s *Switch) attach(cfg PortConfig, on *wire) error {
	if s.closed {
		return ErrClosed
	}
	net := s.networks[cfg.Network]
	if net == nil {
		return fmt.Errorf("network %s: %w", cfg.Network, ErrNoNetwork)
	}
	if _, ok := s.byName[cfg.Name]; ok {
		return ErrExists
	}
	id := s.freeID()
	if id >= maxPorts {
		return ErrTooMany
	}
	if err := pin(net, fdb.PortID(id), &cfg); err != nil {
		return err
	}
	if on.worker == nil {
		on.worker, on.id = s.leastLoaded(), s.freeWire()
		if way := s.puntOf(on.io); way != nil {
			on.worker = way.worker
		}
		s.wires = max(s.wires, int(on.id)+1)
	}
	on.members++
	p := &port{wire: on, pending: make([][]ports.Send, len(s.workers))}
	for i := range p.pending {
		p.pending[i] = make([]ports.Send, 0, ports.BatchSize)
	}
	if id == len(s.attached) {
		s.attached = append(s.attached, nil)
	}
	if s.fast != nil && s.isGate(&cfg) {
		p.passage = s.fast.Passage(net.number)
	}
	p.hold(fdb.PortID(id), PortConfig{}, cfg, s.nanos())
	net.table.SetPortLimit(fdb.PortID(id), cfg.MACLimit)
	s.attached[id] = &attachment{cfg: cfg, port: p}
	s.byName[cfg.Name] = fdb.PortID(id)
	s.publish()
	s.carryLocal(net, &cfg)
	return nil
}

// hold makes what the port is held to follow its settings.
func (p *port) hold(id fdb.PortID, old, cfg PortConfig, now int64) {
	p.carries, p.names = cfg.vlans(), true
	n := 0
	for range p.carries.All() {
		if n++; n > namesAtMost {
			p.names = false
			break
		}
	}
	for _, r := range []struct {
		pacer *(*pacer)
		from  bool
		limit shaping.Limit
	}{{&p.from, true, cfg.RateFrom}, {&p.to, false, cfg.RateTo}} {
		if *r.pacer != nil {
			(*r.pacer).setLimit(r.limit, now)
		} else if !r.limit.IsZero() {
			*r.pacer = newPacer(id, p, r.from, r.limit, now)
		}
	}
	switch {
	case cfg.Policy.Equal(filter.Policy{IP: cfg.Policy.IP}):
		p.guard = nil // one with a MAC learns leases also while nothing is refused
	case p.guard == nil:
		p.guard = filter.NewGuard(cfg.Policy)
	case !cfg.Policy.Equal(old.Policy):
		p.guard = p.guard.With(cfg.Policy)
	}
	switch {
	case cfg.Storm == 0:
		p.storm = nil
	case p.storm == nil || cfg.Storm != old.Storm:
		p.storm = filter.NewStorm(cfg.Storm)
	}
}

// release drops what a port holds that is gone.
func (p *port) release(now int64) {
	for _, pacer := range []*pacer{p.from, p.to} {
		if pacer != nil {
			pacer.flush(now)
		}
	}
}

// pin enters the host's own address behind the port.
func pin(net *network, id fdb.PortID, cfg *PortConfig) error {
	if cfg.Local.IsZero() || net.cfg.Gateway && cfg.Role == Uplink { // a gate's MAC is no station of the network
		return nil
	}
	if cfg.Local.IsMulticast() {
		return fmt.Errorf("%s %w", cfg.Local, errNotUnicast)
	}
	if err := net.table.Add(cfg.localKey(), id, fdb.Local); err != nil {
		return fmt.Errorf("host address %s: %w", cfg.Local, err)
	}
	return nil
}

// localKey is where the host's own address is in the FDB.
func (c *PortConfig) localKey() fdb.Key {
	set := c.vlans()
	return fdb.MakeKey(set.PVID(), c.Local)
}

func (s *Switch) freeID() int {
	for id, a := range s.attached {
		if a == nil {
			return id
		}
	}
	return len(s.attached)
}

func (s *Switch) freeWire() int32 {
	used := map[int32]bool{}
	if s.fast != nil {
		for _, on := range s.fast.punts {
			used[on.id] = true
		}
	}
	for on := range s.open() {
		used[on.id] = true
	}
	id := int32(0)
	for used[id] {
		id++
	}
	return id
}

// leastLoaded is the worker with the fewest interfaces.
func (s *Switch) leastLoaded() *worker {
	count := make([]int, len(s.workers))
	for on := range s.open() {
		count[on.worker.index]++
	}
	best := 0
	for i := range count {
		if count[i] < count[best] {
			best = i
		}
	}
	return s.workers[best]
}

// Update changes a port's settings without detaching it. The name, the network
// and the role stay as they are.
func (s *Switch) Update(name string, change func(*PortConfig)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, id := s.find(name)
	if a == nil {
		return fmt.Errorf("port %s: %w", name, ErrNoPort)
	}
	old := a.cfg
	cfg := old
	change(&cfg)
	cfg.Name, cfg.Network, cfg.Role = old.Name, old.Network, old.Role
	if reflect.DeepEqual(cfg, old) {
		return nil
	}
	if cfg.UplinkVLAN != old.UplinkVLAN {
		s.doubt(a.port.wire)
		if err := s.vlanFree(a.port.wire, cfg.UplinkVLAN); err != nil {
			return fmt.Errorf("port %s: %w", name, err)
		}
	}
	net := s.networks[cfg.Network]
	if cfg.Local != old.Local || cfg.localKey() != old.localKey() {
		if err := pin(net, id, &cfg); err != nil {
			return fmt.Errorf("port %s: %w", name, err)
		}
		if !s.isGate(&cfg) {
			net.table.Delete(old.localKey())
		}
	}
	net.table.SetPortLimit(id, cfg.MACLimit)
	a.port.hold(id, old, cfg, s.nanos())
	a.cfg = cfg
	s.publish()
	if !cfg.Up && old.Up || cfg.vlans() != old.vlans() || cfg.UplinkVLAN != old.UplinkVLAN {
		net.table.FlushPort(id)
	}
	return nil
}

// Detach takes a port out. When it returns, no frame is on its way to or from
// it any more; it is closed in the background, since the kernel takes its time
// over sockets.
func (s *Switch) Detach(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, id := s.find(name)
	switch {
	case s.closed:
		return ErrClosed
	case a == nil:
		return fmt.Errorf("port %s: %w", name, ErrNoPort)
	}
	delete(s.byName, name)
	s.attached[id] = nil
	defer a.port.release(s.nanos())
	on := a.port.wire
	if on.members--; on.members > 0 {
		s.doubt(on)
		s.publish()
		s.networks[a.cfg.Network].table.RemovePort(id)
		return nil
	}
	if f := a.port.fastPort(); f != nil {
		s.failed(&member{cfg: a.cfg}, f.Disable())
	}
	v := s.build()
	s.tell(v)
	s.view.Store(v)
	s.nextEra()
	for _, w := range s.workers {
		w.call(func() { w.remove(on) })
	}
	s.networks[a.cfg.Network].table.RemovePort(id)
	s.closing.Go(func() {
		if err := on.io.Close(); err != nil {
			s.log.Error("close", "port", name, "err", err)
		}
	})
	return nil
}

func (s *Switch) find(name string) (*attachment, fdb.PortID) {
	id, ok := s.byName[name]
	if !ok {
		return nil, 0
	}
	return s.attached[id], id
}

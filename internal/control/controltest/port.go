package controltest

import (
	"slices"

	"gxswitch/internal/control"
	"gxswitch/internal/filter"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// guards are what a port was told about its own.
type guards struct{ ra, dhcp, bpdu control.Guard }

// Ports implements control.Switch.
func (s *Switch) Ports() []control.Port {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ports)
}

// AddPort implements control.Switch. An interface whose name starts with
// "gone" isn't there.
func (s *Switch) AddPort(spec control.PortSpec) (control.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.net(spec.Network) == nil {
		return control.Port{}, noNetwork(spec.Network)
	}
	if len(spec.Name) > 4 && spec.Name[:4] == "gone" {
		return control.Port{}, control.Errorf(control.CodeNotFound, "port %s: no such interface", spec.Name).
			WithHint("a [[port]] entry in the configuration waits for one")
	}
	if p := s.port(spec.Name); p != nil {
		if p.Network != spec.Network {
			return *p, control.Errorf(control.CodeConflict, "port %s is in network %s, not %s", p.Name, p.Network, spec.Network)
		}
		return *p, nil
	}
	s.ports = append(s.ports, control.Port{Name: spec.Name, Network: spec.Network, Role: "guest", State: "up", IfIndex: 20,
		MTU: 1500, VLAN: "1p/2-4094", RateFromBy: "gxswitch", AntiSpoof: "off", Engine: "afpacket", Source: "runtime"})
	p := s.port(spec.Name)
	s.applyPort(p, spec)
	return *p, nil
}

// SetPort implements control.Switch.
func (s *Switch) SetPort(spec control.PortSpec) (control.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.port(spec.Name)
	if p == nil {
		return control.Port{}, noPort(spec.Name)
	}
	s.applyPort(p, spec)
	return *p, nil
}

// applyPort changes what spec says. The caller holds mu.
func (s *Switch) applyPort(p *control.Port, spec control.PortSpec) {
	set(&p.MAC, spec.MAC)
	set(&p.MTU, spec.MTU)
	set(&p.Label, spec.Label)
	set(&p.Isolated, spec.Isolated)
	set(&p.MACLimit, spec.MACLimit)
	setText(&p.Storm, spec.Storm)
	setText(&p.AntiSpoof, spec.Antispoof)
	setText(&p.RateFrom, spec.RateFrom)
	setText(&p.RateTo, spec.RateTo)
	setText(&p.VLAN, spec.VLAN)
	if p.VLAN == "" {
		p.VLAN = vlan.Default().String()
	}
	if spec.RateFrom != nil {
		p.ShaperFrom = shaper(*spec.RateFrom)
	}
	if spec.RateTo != nil {
		p.ShaperTo = shaper(*spec.RateTo)
	}
	if spec.IP != nil && *spec.IP != nil {
		p.IP = nil
		for _, a := range *spec.IP {
			p.IP = append(p.IP, a.String())
		}
	}
	g := s.told[p.Name]
	set(&g.ra, spec.RAGuard)
	set(&g.dhcp, spec.DHCPGuard)
	set(&g.bpdu, spec.BPDUGuard)
	if s.told == nil {
		s.told = make(map[string]guards)
	}
	s.told[p.Name] = g
	auto := p.AntiSpoof != filter.Off.String()
	on := func(g control.Guard) bool { return g == control.GuardOn || g == control.GuardAuto && auto }
	p.RAGuard, p.DHCPGuard, p.BPDUGuard = on(g.ra), on(g.dhcp), on(g.bpdu)
}

// shaper is what a limit has done to made-up traffic, nil for no limit.
func shaper(l shaping.Limit) *control.Shaper {
	if l.IsZero() {
		return nil
	}
	return &control.Shaper{CreditBytes: l.Credit(), IntervalUS: l.Interval().Microseconds(),
		PassedPackets: 1000, PassedBytes: 1500000, DroppedPackets: 3, DroppedBytes: 4500,
		QueuedPackets: 2, QueuedBytes: 3000, ThrottledMS: 2500}
}

// DelPort implements control.Switch.
func (s *Switch) DelPort(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.port(name) == nil {
		return noPort(name)
	}
	s.ports = slices.DeleteFunc(s.ports, func(p control.Port) bool { return p.Name == name })
	delete(s.told, name)
	return nil
}

// VLANs implements control.Switch. It has those that leave a port without a tag
// or that the table has entries of, each with 10 frames of 100 bytes from every
// port.
func (s *Switch) VLANs(network string) ([]control.VLAN, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(network, ""); err != nil {
		return nil, err
	}
	var out []control.VLAN
	for _, n := range s.nets {
		if network != "" && network != n.Name {
			continue
		}
		for vid := range uint16(vlan.MaxVID + 1) {
			if v := s.vlan(n.Name, vid); len(v.Untagged) > 0 || v.FDBEntries > 0 {
				out = append(out, v)
			}
		}
	}
	return out, nil
}

// vlan is the row of one VLAN. The caller holds mu.
func (s *Switch) vlan(network string, vid uint16) control.VLAN {
	v := control.VLAN{Network: network, VLAN: int(vid)}
	for _, p := range s.ports {
		var set vlan.Set
		if p.Network != network || set.UnmarshalText([]byte(p.VLAN)) != nil || !set.Carries(vid) {
			continue
		}
		if set.Untagged(vid) {
			v.Untagged = append(v.Untagged, p.Name)
		} else {
			v.Tagged = append(v.Tagged, p.Name)
		}
		v.RxPackets += 10
		v.RxBytes += 1000
	}
	for _, e := range s.fdb {
		if e.Network == network && e.VLAN == int(vid) {
			v.FDBEntries++
		}
	}
	return v
}

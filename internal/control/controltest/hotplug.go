package controltest

import (
	"slices"

	"gxswitch/internal/control"
)

// Hotplug implements control.Switch.
func (s *Switch) Hotplug(spec control.HotplugSpec) (control.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.net(spec.Network) == nil {
		return control.Port{}, noNetwork(spec.Network)
	}
	if p := s.port(spec.Port()); p != nil {
		return *p, nil
	}
	s.ports = append(s.ports, control.Port{Name: spec.Port(), Network: spec.Network, Role: "guest", State: "up", IfIndex: 30, MAC: spec.MAC,
		MTU: 1500, VLAN: "1p/2-4094", RateFromBy: "gxswitch", AntiSpoof: "off", Label: spec.Domain, Engine: "afpacket", Source: "runtime",
		Xen: &control.XenNIC{HotplugRef: spec.HotplugRef, Domain: spec.Domain, UUID: spec.UUID}})
	return *s.port(spec.Port()), nil
}

// Unplug implements control.Switch.
func (s *Switch) Unplug(ref control.HotplugRef) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ports = slices.DeleteFunc(s.ports, func(p control.Port) bool { return p.Xen != nil && p.Xen.HotplugRef == ref })
	return nil
}

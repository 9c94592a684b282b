package daemon

import (
	"errors"
	"fmt"
	"slices"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/host"
)

// addNetwork makes a network and, where its mode has one, its host leg.
// Ports are attached by settle.
func (m *manager) addNetwork(spec config.Network, runtime bool) error {
	if err := m.sw.AddNetwork(dataplaneNetwork(spec)); err != nil {
		return err
	}
	n := &network{spec: spec, runtime: runtime, turned: m.adopts(spec)}
	m.networks[spec.Name] = n
	err := m.openGate(n)
	if err == nil {
		err = m.claimLeg(n)
	}
	if err == nil {
		err = m.ensureLeg(n)
	}
	if err != nil {
		n.release()
		delete(m.networks, spec.Name)
		_ = m.sw.DelNetwork(spec.Name)
		return fmt.Errorf("network %s: %w", spec.Name, err)
	}
	m.log.Info("network added", "network", spec.Name, "mode", spec.Mode)
	return nil
}

func (m *manager) claimLeg(n *network) (err error) {
	if n.spec.HasHostLeg() && n.claim == nil {
		n.claim, err = claim("network " + n.spec.Name)
	}
	return err
}

func (n *network) release() {
	if n.claim != nil {
		n.claim.Close()
		n.claim = nil
	}
}

func dataplaneNetwork(spec config.Network) dataplane.NetworkConfig {
	return dataplane.NetworkConfig{
		Name: spec.Name, FDBLimit: spec.FDBLimit, Ageing: spec.Ageing, HostOnly: spec.Mode.HasHostLeg(), Gateway: spec.Mode.HasGateway(),
	}
}

// ensureLeg makes the host leg as the network's settings want it. The inner
// end becomes a port when settle sees it.
func (m *manager) ensureLeg(n *network) error {
	if !n.spec.HasHostLeg() {
		return nil
	}
	var leg host.Leg
	var err error
	if n.spec.Takeover {
		leg, err = host.EnsureTakeoverLeg(n.spec.Name, m.legMTU(n.spec))
	} else {
		leg, err = host.EnsureLeg(n.spec.Name, m.mtu(n.spec), n.spec.Address)
	}
	if err != nil {
		return err
	}
	n.leg = leg
	m.links[leg.Host.Index], m.links[leg.Inner.Index] = leg.Host, leg.Inner
	return nil
}

// restoreLeg undoes what ensureLeg did for settings that were refused.
func (m *manager) restoreLeg(n *network, refused config.Network) error {
	if !n.spec.HasHostLeg() {
		m.dropLeg(n)
		return nil
	}
	if n.spec.Address.IsValid() || !refused.Address.IsValid() || n.leg.Host.Index == 0 {
		return m.ensureLeg(n)
	}
	return errors.Join(m.ensureLeg(n), host.DelAddr(n.leg.Host, refused.Address))
}

func (m *manager) dropLeg(n *network) {
	if n.leg.Inner.Index == 0 || m.takeovers[n.spec.Name] != nil {
		return
	}
	m.unserve(n)
	if p := m.ports[n.leg.Inner.Index]; p != nil {
		m.detach(p, false)
	}
	if err := host.DelLeg(n.spec.Name); err != nil {
		m.log.Error("remove host leg", "network", n.spec.Name, "err", err)
	}
	n.leg = host.Leg{}
	n.release()
}

// setNetwork changes a network. A change of mode or uplink is a new network,
// and none of setNetwork's.
func (m *manager) setNetwork(n *network, spec config.Network) error {
	old := n.spec
	ports, err := m.newPorts(n, spec)
	if err != nil {
		return fmt.Errorf("network %s: %w", spec.Name, err)
	}
	if !spec.Takeover {
		if err := m.giveBack(spec.Name); err != nil {
			return err
		}
	}
	n.spec, n.refused = spec, refusal{}
	err = m.claimLeg(n)
	if err == nil {
		err = m.ensureLeg(n)
	}
	if err == nil {
		m.repin()
		err = m.serve(n)
	}
	if err != nil {
		n.spec = old
		err = fmt.Errorf("network %s: %w", spec.Name, errors.Join(err, m.restoreLeg(n, spec)))
		m.settleAll()
		return err
	}
	if !spec.HasHostLeg() {
		m.dropLeg(n)
	}
	if err := m.sw.SetNetwork(dataplaneNetwork(spec)); err != nil {
		return err
	}
	if err := m.setGate(n, old, ports); err != nil {
		return err
	}
	m.settleAll() // its ports may have another MTU, VLANs or rates
	if err := n.refused.err; err != nil && !old.Takeover {
		return errors.Join(err, m.setNetwork(n, old))
	}
	return n.refused.err
}

// delNetwork releases the network's ports and removes it.
func (m *manager) delNetwork(n *network) error {
	if err := m.giveBack(n.spec.Name); err != nil {
		return err
	}
	for _, p := range m.ports {
		switch {
		case p.role == dataplane.Host || !slices.Contains(p.members, n.spec.Name):
		case len(p.members) > 1:
			m.leave(p, n.spec.Name)
		default:
			m.detach(p, true)
			delete(m.leases, p.link.Index) // what is made anew may be another LAN
		}
	}
	m.closeGate(n, true)
	m.dropLeg(n)
	delete(m.networks, n.spec.Name)
	for name, r := range m.runtime {
		if r.spec.Network == n.spec.Name && r.xen == nil {
			delete(m.runtime, name)
		}
	}
	m.log.Info("network removed", "network", n.spec.Name)
	return m.sw.DelNetwork(n.spec.Name)
}

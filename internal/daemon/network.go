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
	n := &network{spec: spec, runtime: runtime}
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
	if n.spec.Mode.HasHostLeg() {
		n.claim, err = claim("network " + n.spec.Name)
	}
	return err
}

func (n *network) release() {
	if n.claim != nil {
		n.claim.Close()
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
	if !n.spec.Mode.HasHostLeg() {
		return nil
	}
	leg, err := host.EnsureLeg(n.spec.Name, m.mtu(n.spec), n.spec.Address)
	if err != nil {
		return err
	}
	n.leg = leg
	m.links[leg.Host.Index], m.links[leg.Inner.Index] = leg.Host, leg.Inner
	return nil
}

func (m *manager) dropLeg(n *network) {
	if n.leg.Inner.Index == 0 {
		return
	}
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
	n.spec = spec
	if err := m.ensureLeg(n); err != nil {
		n.spec = old
		return fmt.Errorf("network %s: %w", spec.Name, errors.Join(err, m.ensureLeg(n)))
	}
	if err := m.sw.SetNetwork(dataplaneNetwork(spec)); err != nil {
		return err
	}
	if err := m.setGate(n, old); err != nil {
		return err
	}
	m.settleAll() // its ports may have another MTU, VLANs or rates
	return nil
}

// delNetwork releases the network's ports and removes it.
func (m *manager) delNetwork(n *network) error {
	for _, p := range m.ports {
		switch {
		case p.role == dataplane.Host || !slices.Contains(p.members, n.spec.Name):
		case len(p.members) > 1:
			m.leave(p, n.spec.Name)
		default:
			m.detach(p, true)
		}
	}
	m.closeGate(n, true)
	m.dropLeg(n)
	delete(m.networks, n.spec.Name)
	for name, r := range m.runtime {
		if r.spec.Network == n.spec.Name {
			delete(m.runtime, name)
		}
	}
	m.log.Info("network removed", "network", n.spec.Name)
	return m.sw.DelNetwork(n.spec.Name)
}

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/gateway"
	"gxswitch/internal/host"
	"gxswitch/nat"
)

// gate is what a network with a gateway keeps while it exists.
type gate struct {
	nat      *nat.Table     // nil: routed
	ports    host.PortRange // of the external address that are nat's
	secret   [2]uint64      // of nat
	saved    []savedSession // that wait for the external address
	savedAt  int64          // when they were read
	errors   *gateway.ErrorLimit
	problem  string              // why nothing passes
	waits    bool                // for an address of the uplink
	borrowed netip.Addr          // of the uplink, where the network has no address
	routed   map[netip.Addr]bool // guests' addresses that have a host route; nil: not looked yet
	said     map[netip.Addr]bool // guests' addresses that the LAN was told of
	again    []netip.Addr        // of them those that it is to be told of once more

	extra   []config.Forward    // of the command line
	dropped map[nat.Listen]bool // of the configuration, taken out by the command line
}

// openGate makes a network's gateway, which passes nothing yet.
func (m *manager) openGate(n *network) error {
	if !n.spec.Mode.HasGateway() {
		return nil
	}
	n.gate = &gate{errors: gateway.NewErrorLimit(), said: map[netip.Addr]bool{}, dropped: map[nat.Listen]bool{}}
	return m.openNAT(n)
}

// setGate follows the network's settings, which were old. Other addresses are
// other sessions.
func (m *manager) setGate(n *network, old config.Network) error {
	if n.gate == nil || n.spec.Address == old.Address {
		return nil
	}
	err := m.openNAT(n)
	n.gate.saved = nil
	return err
}

// outside is the host's link to the LAN that the network's uplink is on: the NIC,
// or the host interface that took its addresses.
func (m *manager) outside(n *network) (host.Link, bool) {
	for _, o := range m.networks {
		if o.turned && o.spec.Uplink == n.spec.Uplink {
			return o.leg.Host, true
		}
	}
	return m.linkByName(n.spec.Uplink)
}

// refreshGateways gives every gateway the present picture, and keeps the host's
// stack from what they take.
func (m *manager) refreshGateways() {
	guards := map[int]*host.UplinkGuard{}
	reserve := false
	m.dividePorts()
	for _, n := range m.networks {
		if n.gate == nil {
			continue
		}
		reserve = reserve || n.gate.nat != nil
		n.gate.problem = ""
		if err := m.refreshGateway(n, guards); err != nil {
			n.gate.problem = err.Error()
			m.log.Error("gateway", "network", n.spec.Name, "err", err)
		}
	}
	m.refreshGuards(guards)
	m.refreshReserved(reserve)
}

func (m *manager) refreshGateway(n *network, guards map[int]*host.UplinkGuard) error {
	out, ok := m.outside(n)
	if !ok || n.leg.Host.Index == 0 {
		n.gate.said = map[netip.Addr]bool{}
		return m.sw.SetGateway(n.spec.Name, nil)
	}
	external := m.externalOf(n, out.Index)
	m.sayIfItWaits(n, out, external)
	if err := m.borrowAddress(n, external); err != nil {
		return err
	}
	guests := m.guestsOf(n)
	hosts := map[netip.Addr]struct{}{}
	for _, a := range m.l3.addrs {
		hosts[a] = struct{}{}
	}
	c := gateway.Config{
		Hosts: hosts, Guests: guests, Beside: m.guestsBeside(n), Routes: m.routesBy(out.Index), Errors: n.gate.errors,
		ProxyARP: n.spec.Mode == config.Routed && n.spec.ProxyARP.Or(true),
		NAT:      n.gate.nat,
	}
	c.Link[gateway.Inside] = gateway.Link{MAC: n.leg.Host.MAC, MTU: n.leg.Host.MTU, Addr: n.spec.Address.Addr()}
	c.Link[gateway.Outside] = gateway.Link{MAC: out.MAC, MTU: out.MTU, Addr: external}
	c.Neighbours[gateway.Inside] = gateway.NewNeighbours(m.l3.neighbours[n.leg.Host.Index])
	c.Neighbours[gateway.Outside] = gateway.NewNeighbours(m.l3.neighbours[out.Index])
	if n.gate.nat != nil {
		if err := m.followExternal(n, external); err != nil {
			return err
		}
	}
	rules, err := gateway.New(c)
	if err != nil {
		return errors.Join(err, m.sw.SetGateway(n.spec.Name, nil))
	}
	if err := m.sw.SetGateway(n.spec.Name, &dataplane.Gateway{Rules: rules, NAT: n.gate.nat, Neighbours: c.Neighbours}); err != nil {
		return err
	}
	m.guardFor(n, out, external, guests, guards)
	m.tellOfGuests(n, guests)
	return nil
}

// externalOf is the address that the network has outside: what is configured, else
// the uplink's own.
func (m *manager) externalOf(n *network, link int) netip.Addr {
	if n.spec.NATAddress.IsValid() {
		return n.spec.NATAddress
	}
	if a, known := m.l3.external[link]; known {
		return a
	}
	a, err := host.SourceAddress(link)
	if err != nil {
		m.log.Error("address of the uplink", "network", n.spec.Name, "err", err)
	}
	m.l3.external[link] = a
	return a
}

// sayIfItWaits tells of an uplink without the address, or a route, that the network
// needs.
func (m *manager) sayIfItWaits(n *network, out host.Link, external netip.Addr) {
	waits := !external.IsValid() && (n.gate.nat != nil || !n.spec.Address.IsValid())
	if waits {
		n.gate.problem = fmt.Sprintf("uplink %s has no IPv4 address, the network waits for one", n.spec.Uplink)
	}
	if waits && !n.gate.waits {
		m.log.Warn("the uplink has no IPv4 address, the network waits for one", "network", n.spec.Name, "uplink", n.spec.Uplink)
	}
	n.gate.waits = waits
	if !waits && !external.IsValid() && !m.leadsOut(out) {
		n.gate.problem = fmt.Sprintf("uplink %s has no IPv4 address, and no route leads out by it", n.spec.Uplink)
	}
}

// leadsOut reports whether the host has a route by the link.
func (m *manager) leadsOut(l host.Link) bool {
	return slices.ContainsFunc(m.l3.routes, func(r host.Route) bool { return r.Link == l.Index })
}

// borrowAddress gives the host interface of a routed network without an address the
// uplink's, for the guests to know the host by.
func (m *manager) borrowAddress(n *network, external netip.Addr) error {
	if n.spec.Mode != config.Routed || n.spec.Address.IsValid() || n.gate.borrowed == external || !external.IsValid() {
		return nil
	}
	if _, err := host.EnsureLeg(n.spec.Name, m.mtu(n.spec), netip.PrefixFrom(external, 32)); err != nil {
		return err
	}
	n.gate.borrowed = external
	m.serveOrSay(n)
	return host.SetUnnumbered(n.leg.Host)
}

// closeGate gives back what a network's gateway changed of the host. Its sessions
// stay in their file for the next daemon, but not where the network is no more.
func (m *manager) closeGate(n *network, forget bool) {
	if n.gate == nil {
		return
	}
	if n.gate.nat != nil {
		err := m.saveSessions(n)
		if forget {
			err = os.Remove(m.sessionsFile(n.spec.Name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.log.Error("sessions", "network", n.spec.Name, "err", err)
		}
	}
	n.gate = nil
	if err := m.sw.SetGateway(n.spec.Name, nil); err != nil {
		m.log.Error("gateway", "network", n.spec.Name, "err", err)
	}
	m.refreshGateways()
}

// gatewayText is what networkText says of a gateway.
func gatewayText(n config.Network) (text string) {
	if n.NATAddress.IsValid() {
		text += fmt.Sprintf(", nat_address %s", n.NATAddress)
	}
	if n.ProxyARP == config.Off {
		text += ", proxy_arp false"
	}
	for _, f := range n.Forwards {
		text += fmt.Sprintf(", forward %s to %s", f.Listen, f.To)
	}
	return text
}

package daemon

import (
	"errors"
	"fmt"
	"log/slog"

	"gxswitch/internal/config"
	"gxswitch/internal/host"
)

// A network with takeover moves what the host has on its uplink to its host leg,
// as soon as both are ports, and back before one of them ceases to be. The record
// (host.Takeover) is in the journal before anything is moved and until everything
// is back; while there is one the leg is not removed.
//
//	settle ──► settleTakeovers ──► takeOver    uplink and leg are ports, nothing taken yet
//	                           └─► keepUp      the uplink's MAC or MTU changed, the leg was made anew
//	addresses come to the uplink ──► takeAgain
//	stop, delNetwork, setNetwork, start after a crash ──► giveBack
//	start that fails before there are networks ──► rescue

// settleTakeovers takes over the uplinks that are to be and can be.
func (m *manager) settleTakeovers() {
	for _, spec := range m.specs() {
		n := m.networks[spec.Name]
		nic, there := m.linkByName(spec.Uplink)
		if !spec.Takeover || !there || m.ports[n.leg.Inner.Index] == nil || !m.isPortOf(nic, spec.Name) {
			continue
		}
		t := m.takeovers[spec.Name]
		var err error
		switch {
		case n.refused.index == nic.Index: // until somebody changes something
			continue
		case t != nil && t.Phase == host.Taken && t.NIC.Index == nic.Index:
			err = m.keepUp(n, nic, t)
		default:
			err = m.takeOver(n, nic)
		}
		if err != nil {
			n.refused = refusal{nic.Index, fmt.Errorf("network %s: %w", spec.Name, err)}
			m.log.Error("takeover", "network", spec.Name, "err", err)
		}
	}
}

// refusal is why a takeover failed, and of which interface.
type refusal struct {
	index int
	err   error
}

func (m *manager) isPortOf(l host.Link, network string) bool {
	p := m.ports[l.Index]
	if p == nil {
		return false
	}
	for _, name := range p.members {
		if name == network {
			return true
		}
	}
	return false
}

// takeOver moves what the uplink has to the leg. A leg that has what another uplink
// had, which is gone, keeps that.
func (m *manager) takeOver(n *network, nic host.Link) error {
	name := n.spec.Name
	before, wasTurned := m.takeovers[name], n.turned
	if before != nil && before.Phase == host.Taken && before.Has.Index != n.leg.Host.Index {
		if err := before.Renew(n.leg); err != nil {
			return err
		}
	}
	t, err := host.PlanTakeover(name, nic)
	if err != nil {
		return err
	}
	for _, w := range host.TakeoverWarnings(name, nic) {
		m.log.Warn("takeover: "+w, "network", name, "uplink", nic.Name)
	}
	if err := m.ensureLeg(n); err != nil { // with the uplink's MTU, which may be new
		return err
	}
	if before == nil { // else that one leads back, whatever happens now
		m.takeovers[name] = t
		if err := m.journal(); err != nil {
			delete(m.takeovers, name)
			return err
		}
	}
	m.copyGuard(nic, n.leg.Host)
	err = t.Take(n.leg, func() { m.turn(n, true) }, func() { m.turn(n, wasTurned) })
	if err != nil && before == nil {
		delete(m.takeovers, name)
		return errors.Join(err, m.journal())
	}
	if err != nil {
		return err
	}
	m.takeovers[name] = t
	m.moved(nic.Index, n.leg.Host.Index)
	m.log.Info("uplink taken over", "network", name, "uplink", nic.Name)
	return m.journal()
}

// keepUp follows the uplink, and makes good a leg that somebody removed.
func (m *manager) keepUp(n *network, nic host.Link, t *host.Takeover) error {
	changed := false
	if n.leg.Host.MTU != m.legMTU(n.spec) {
		if err := m.ensureLeg(n); err != nil {
			return err
		}
	}
	if was := t.Has.Index; was != n.leg.Host.Index {
		if err := t.Renew(n.leg); err != nil {
			return err
		}
		m.moved(was, n.leg.Host.Index)
		changed = true
	}
	if t.NIC.MAC != nic.MAC {
		if err := host.SetMAC(n.leg.Host, nic.MAC); err != nil {
			return err
		}
		t.NIC.MAC, changed = nic.MAC, true
	}
	if !changed {
		return nil
	}
	m.turn(n, true)
	return m.journal()
}

// legMTU is that of a leg that stands for the uplink: no more than the uplink takes.
func (m *manager) legMTU(n config.Network) int {
	mtu := m.mtu(n)
	if l, ok := m.linkByName(n.Uplink); ok {
		mtu = min(mtu, l.MTU)
	}
	return mtu
}

// turn says where the host's own frames go: to the leg, or left to the uplink.
func (m *manager) turn(n *network, toLeg bool) {
	n.turned = toLeg
	if l, err := host.LinkByIndex(n.leg.Host.Index); err == nil {
		n.leg.Host = l // its MAC is the uplink's
	}
	uplink, _ := m.linkByName(n.spec.Uplink)
	order := []int{uplink.Index, n.leg.Inner.Index} // who gives the MAC up comes first
	if !toLeg {
		order[0], order[1] = order[1], order[0]
	}
	for _, index := range order {
		p := m.ports[index]
		if p == nil {
			continue
		}
		l, err := host.LinkByIndex(index) // the leg is just up
		if err != nil {
			l = p.link
		}
		m.update(p, l, p.want)
	}
}

// takeAgain moves what somebody, a DHCP client perhaps, has added to an uplink that
// is taken over.
func (m *manager) takeAgain(index int) {
	for name, t := range m.takeovers {
		n, nic := m.networks[name], m.links[index]
		if n == nil || t.Phase != host.Taken || t.NIC.Index != index || nic.Index == 0 || m.ports[n.leg.Inner.Index] == nil {
			continue
		}
		if has, err := host.HasAddrs(nic); err != nil || !has {
			continue
		}
		m.log.Warn("somebody added an address to an uplink that is taken over, it is moved too", "network", name, "uplink", nic.Name,
			"hint", "add addresses to "+name)
		if err := m.takeOver(n, nic); err != nil {
			m.log.Error("takeover", "network", name, "err", err)
		}
	}
}

// followAdded hears of addresses that come.
func (m *manager) followAdded(indexes <-chan int) {
	for index := range indexes {
		m.mu.Lock()
		m.takeAgain(index)
		m.mu.Unlock()
	}
}

// giveBack moves everything back to the uplink of which there is a record.
func (m *manager) giveBack(name string) error {
	t := m.takeovers[name]
	if t == nil {
		return nil
	}
	turn := func() {}
	if n := m.networks[name]; n != nil {
		turn = func() { m.turn(n, false) }
	}
	err := returnTakeover(name, t, m.log, func(leg host.Link) error {
		if err := m.journal(); err != nil {
			return err
		}
		if l, ok := m.links[t.NIC.Index]; ok {
			m.copyGuard(leg, l)
		}
		return nil
	}, turn)
	if err != nil {
		return err
	}
	delete(m.takeovers, name)
	m.moved(t.Has.Index, t.NIC.Index)
	m.refreshGateways() // their way out is the uplink itself again
	return m.journal()
}

// returnTakeover gives the uplink back what the host interface of the network has.
// It calls note when it is planned, which is to write that down, and turn when
// frames are to go to the uplink again.
func returnTakeover(name string, t *host.Takeover, log *slog.Logger, note func(leg host.Link) error, turn func()) error {
	leg, err := host.LegHost(name)
	if err != nil {
		return err
	}
	if _, err := host.LinkByIndex(t.NIC.Index); errors.Is(err, host.ErrNoLink) {
		if l, err := host.LinkByName(t.NIC.Name); err == nil { // the same card, plugged in again
			t.NIC.Index = l.Index
		}
	}
	if err := t.PlanReturn(leg); err != nil {
		return err
	}
	if err := note(leg); err != nil {
		return err
	}
	switch err := t.Return(leg, turn); {
	case errors.Is(err, host.ErrNoLink):
		log.Warn("the uplink is gone, its addresses go with the host interface", "network", name, "uplink", t.NIC.Name)
		turn()
	case err != nil:
		return fmt.Errorf("network %s: %w", name, err)
	default:
		log.Info("uplink given back", "network", name, "uplink", t.NIC.Name)
	}
	return nil
}

// copyGuard keeps from the host's stack at another link what gateways take at one,
// before it sees frames there: it would answer NAT's with a RST. refreshGateways
// takes the guard away that is not wanted any more.
func (m *manager) copyGuard(from, to host.Link) {
	g, ok := m.l3.guarded[from.Index]
	if !ok {
		return
	}
	if err := host.SetUplinkGuard(to, g); err != nil {
		m.log.Error("guard the uplink", "uplink", to.Name, "err", err)
		return
	}
	m.l3.guarded[to.Index] = g
}

// recoverTakeovers gives back what a predecessor was about to take or return, or has
// taken for a network that does not want it any more.
func (m *manager) recoverTakeovers() {
	for name := range m.takeovers {
		if n := m.networks[name]; n != nil && n.turned {
			continue
		}
		if err := m.giveBack(name); err != nil {
			m.log.Error("give back what an earlier daemon took over", "network", name, "err", err)
		}
	}
}

// adopts reports whether a predecessor has taken over what the network wants.
func (m *manager) adopts(spec config.Network) bool {
	t := m.takeovers[spec.Name]
	return t != nil && spec.Takeover && t.Phase == host.Taken && t.NIC.Name == spec.Uplink
}

// sealUplink mends the seal of an uplink that is taken over.
func (m *manager) sealUplink(n *network) error {
	t := m.takeovers[n.spec.Name]
	if t == nil || t.Phase != host.Taken {
		return nil
	}
	l, ok := m.links[t.NIC.Index]
	if !ok {
		return nil
	}
	return host.Seal(l)
}

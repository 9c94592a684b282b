package daemon

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"

	"gxswitch/internal/config"
	"gxswitch/internal/host"
	"gxswitch/nat"
)

func (m *manager) openNAT(n *network) error {
	if n.spec.Mode != config.NAT {
		return nil
	}
	saved := m.loadSessions(n.spec.Name)
	fresh := saved.Secret == [2]uint64{}
	if fresh {
		saved.Secret = [2]uint64{rand.Uint64(), rand.Uint64()}
	}
	table, err := nat.New(nat.Config{Gateway: n.spec.Address, Secret: saved.Secret})
	if err != nil {
		return err
	}
	n.gate.nat, n.gate.secret = table, saved.Secret
	n.gate.saved, n.gate.savedAt = m.withInherited(n.spec.Name, table, saved.Sessions), m.sw.Seconds()
	if fresh { // ports that follow from it are the next daemon's, too
		m.saveOrSay(n)
	}
	return nil
}

// dividePorts gives networks that have one address outside a part of its ports
// each. Sessions that there are keep theirs when the parts become others.
func (m *manager) dividePorts() {
	sharing := map[netip.Addr][]*network{}
	for _, n := range m.networks {
		if n.gate == nil || n.gate.nat == nil {
			continue
		}
		if out, ok := m.outside(n); ok {
			external := m.externalOf(n, out.Index)
			sharing[external] = append(sharing[external], n)
		}
	}
	for _, all := range sharing {
		slices.SortFunc(all, func(a, b *network) int { return cmp.Compare(a.spec.Name, b.spec.Name) })
		size := (nat.DefaultLastPort - nat.DefaultFirstPort + 1) / len(all)
		for i, n := range all {
			var siblings []*nat.Table
			for _, o := range all {
				if o != n {
					siblings = append(siblings, o.gate.nat)
				}
			}
			n.gate.nat.SetSiblings(siblings)
			first := nat.DefaultFirstPort + size*i
			n.gate.ports = host.PortRange{First: uint16(first), Last: uint16(first + size - 1)}
			if err := n.gate.nat.SetPorts(n.gate.ports.First, n.gate.ports.Last); err != nil {
				m.log.Error("NAT ports", "network", n.spec.Name, "err", err)
			}
		}
	}
}

// followExternal gives NAT the address, and its forwards.
func (m *manager) followExternal(n *network, external netip.Addr) error {
	t := n.gate.nat
	if was := t.External(); was != external {
		if external.IsValid() {
			m.log.Info("NAT", "network", n.spec.Name, "external", external)
		}
		if err := t.SetExternal(external); err != nil {
			return err
		}
	}
	want := map[nat.Listen]nat.Forward{}
	for _, f := range n.forwards() {
		if to, err := n.target(f.To, f.Listen.First); err == nil {
			want[f.Listen] = nat.Forward{Listen: f.Listen, To: to}
		} else {
			m.log.Error("forward", "network", n.spec.Name, "listen", f.Listen, "err", err)
		}
	}
	for _, f := range t.Forwards() {
		if want[f.Listen] != f {
			t.DeleteForward(f.Listen)
		}
	}
	var errs []error
	for _, f := range want {
		errs = append(errs, t.AddForward(f))
	}
	if external.IsValid() {
		m.restoreSessions(n)
	}
	return errors.Join(errs...)
}

// forwards are the network's: of the configuration and of the command line.
func (n *network) forwards() []config.Forward {
	all := slices.Clone(n.gate.extra)
	for _, f := range n.spec.Forwards {
		if !n.gate.dropped[f.Listen] {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b config.Forward) int {
		return cmp.Or(cmp.Compare(a.Listen.Protocol, b.Listen.Protocol), cmp.Compare(a.Listen.First, b.Listen.First))
	})
	return all
}

// target is the guest that a forward means; port is the first that it listens on.
func (n *network) target(t config.Target, port uint16) (netip.AddrPort, error) {
	a, err := n.spec.Resolve(t)
	return netip.AddrPortFrom(a, cmp.Or(t.Port, port)), err
}

// refreshReserved keeps the host's own connections out of NAT's ports.
func (m *manager) refreshReserved(want bool) {
	if want == m.l3.reserved && (want || m.reserved == "") {
		return
	}
	if !want {
		m.l3.reserved = false
		if err := host.RestorePorts(m.reserved); err != nil {
			m.log.Error("give back the NAT ports", "err", err)
		}
		m.reserved = ""
		return
	}
	if m.reserved == "" { // else a predecessor did
		added, err := host.UnreservedPorts(nat.DefaultFirstPort, nat.DefaultLastPort)
		if err != nil {
			m.log.Error("reserve the NAT ports", "err", err)
			return
		}
		m.reserved = added
		if err := m.journal(); err != nil {
			m.log.Error("reserve the NAT ports", "err", err)
		}
	}
	if _, err := host.ReservePorts(nat.DefaultFirstPort, nat.DefaultLastPort); err != nil {
		m.log.Error("reserve the NAT ports", "err", err)
		return
	}
	m.l3.reserved = true
}

package daemon

import (
	"errors"
	"fmt"
	"slices"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/host"
)

// reload goes from the configuration in force to cfg and says what changed.
// What is the same is not touched. New networks come first: where one can't be
// made, everything stays as it was.
func (m *manager) reload(cfg config.Config) ([]string, error) {
	var runtime []config.Network
	for _, n := range m.networks {
		if n.runtime {
			runtime = append(runtime, n.spec)
		}
	}
	for _, spec := range cfg.Networks {
		if n := m.networks[spec.Name]; n != nil && n.runtime {
			return nil, &hinted{fmt.Errorf("%s: network %s exists already, made by the command line", spec.Pos, spec.Name),
				"gxswitch network del " + spec.Name + ", then reload"}
		}
	}
	if err := config.ValidateNetworks(append(runtime, cfg.Networks...)); err != nil {
		return nil, err
	}
	var changes []string
	say := func(format string, args ...any) { changes = append(changes, fmt.Sprintf(format, args...)) }

	m.planned = slices.Clone(cfg.Networks)
	keep := map[string]bool{}
	var added []*network
	for _, spec := range cfg.Networks {
		keep[spec.Name] = true
		if m.networks[spec.Name] != nil {
			continue
		}
		err := m.addNetwork(spec, false)
		if err == nil {
			added = append(added, m.networks[spec.Name])
			err = m.serve(m.networks[spec.Name])
		}
		if err != nil {
			for _, n := range added {
				err = errors.Join(err, m.delNetwork(n))
			}
			return nil, err
		}
		say("network %s: added", spec.Name)
	}

	var errs []error
	for _, spec := range cfg.Networks {
		n := m.networks[spec.Name]
		switch old := n.spec; {
		case old.Equal(spec):
			n.spec = spec // the line may have moved
		case remade(old, spec):
			if err := m.remakeNetwork(n, spec); err != nil {
				err = errors.Join(err, m.remakeNetwork(&network{spec: old}, old))
				for _, n := range added {
					err = errors.Join(err, m.delNetwork(n))
				}
				m.settleAll()
				return nil, err
			}
			say("network %s: made anew", spec.Name)
		default:
			errs = append(errs, m.setNetwork(n, spec))
			say("network %s: changed", spec.Name)
		}
	}
	for name, n := range m.networks {
		if !n.runtime && !keep[name] {
			errs = append(errs, m.delNetwork(n))
			m.forgetLeases(name)
			say("network %s: removed", name)
		}
	}

	if cfg.Daemon != m.cfg.Daemon {
		say("daemon: takes effect at the next start")
	}
	before := m.placement()
	for name, r := range m.runtime {
		if is, _ := cfg.MatchPort(name); r.override && !r.over.Equal(is) {
			delete(m.runtime, name) // the file was changed after the command line
		}
	}
	m.repolicy(cfg)
	m.cfg = cfg
	clear(m.removed)
	for _, n := range m.networks {
		n.refused = refusal{}
		if n.gate != nil {
			clear(n.gate.dropped)
		}
	}
	errs = append(errs, m.mend())
	m.settleAll()
	for _, n := range m.networks {
		errs = append(errs, n.refused.err)
	}
	after := m.placement()
	for name, where := range after {
		if was, there := before[name]; !there {
			say("port %s: attached to %s", name, where.Network)
		} else if !was.Equal(where) {
			say("port %s: changed", name)
		}
	}
	for name, was := range before {
		if _, ok := after[name]; !ok {
			say("port %s: detached from %s", name, was.Network)
		}
	}
	return changes, errors.Join(append(errs, m.journal())...)
}

// mend puts back what somebody took from under the switch: a port's guard, a
// host leg's address.
func (m *manager) mend() error {
	var errs []error
	for _, p := range m.ports {
		if p.role == dataplane.Guest {
			errs = append(errs, host.Seal(p.link))
		}
	}
	for _, n := range m.networks {
		errs = append(errs, m.ensureLeg(n), m.sealUplink(n))
	}
	return errors.Join(errs...)
}

// remakeNetwork gives a network another mode or uplink. Ports of the command
// line stay its members.
func (m *manager) remakeNetwork(n *network, spec config.Network) error {
	kept := map[string]*runtimePort{}
	for name, r := range m.runtime {
		if r.spec.Network == spec.Name {
			kept[name] = r
		}
	}
	var err error
	if m.networks[spec.Name] != nil {
		err = m.delNetwork(n)
	}
	for name, r := range kept {
		m.runtime[name] = r
	}
	if err != nil {
		return err
	}
	if err := m.addNetwork(spec, n.runtime); err != nil {
		return err
	}
	if err := m.serve(m.networks[spec.Name]); err != nil {
		err = errors.Join(err, m.delNetwork(m.networks[spec.Name]))
		for name, r := range kept {
			m.runtime[name] = r
		}
		return err
	}
	return nil
}

// placement is which port is where, with which settings.
func (m *manager) placement() map[string]config.Port {
	at := map[string]config.Port{}
	for _, p := range m.ports {
		for _, network := range p.members {
			spec := p.want.spec
			spec.Network = network
			name := p.name()
			if p.role == dataplane.Uplink { // of which there may be several
				name += " of " + network
			}
			at[name] = spec
		}
	}
	return at
}

// remade reports whether the change takes a new network.
func remade(old, spec config.Network) bool {
	return old.Mode != spec.Mode || old.Uplink != spec.Uplink
}

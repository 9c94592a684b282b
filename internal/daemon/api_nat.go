package daemon

import (
	"cmp"
	"errors"
	"slices"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/nat"
)

// natNetworks are the networks with NAT, or of them the one named.
func (m *manager) natNetworks(name string) ([]*network, error) {
	if name != "" && m.networks[name] == nil {
		return nil, noNetwork(name)
	}
	var all []*network
	for _, n := range m.networks {
		if n.gate != nil && n.gate.nat != nil && (name == "" || n.spec.Name == name) {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b *network) int { return cmp.Compare(a.spec.Name, b.spec.Name) })
	return all, nil
}

// mustHaveNAT is for what can't be done to the network named without it.
func (m *manager) mustHaveNAT(name string) ([]*network, error) {
	all, err := m.natNetworks(name)
	if err == nil && name != "" && len(all) == 0 {
		err = control.Errorf(control.CodeRefused, "network %s is %s: it has no NAT", name, m.networks[name].spec.Mode).
			WithHint("mode = %q has", config.NAT)
	}
	return all, err
}

// Forwards implements control.Switch.
func (m *manager) Forwards(network string) ([]control.Forward, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	networks, err := m.natNetworks(network)
	if err != nil {
		return nil, err
	}
	var rows []control.Forward
	for _, n := range networks {
		for _, f := range n.forwards() {
			row := control.Forward{Network: n.spec.Name, Listen: f.Listen.String(), To: f.To.String(), Source: "config"}
			if to, err := n.target(f.To, f.Listen.First); err == nil {
				row.To = to.String()
			}
			if slices.Contains(n.gate.extra, f) {
				row.Source = "runtime"
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// AddForward implements control.Switch.
func (m *manager) AddForward(s control.ForwardSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, listen, err := m.natNetwork(s)
	if err != nil {
		return err
	}
	to, err := config.ParseTarget(s.To)
	if err != nil {
		return refused(err, control.CodeUsage)
	}
	f := config.Forward{Listen: listen, To: to}
	for _, o := range n.forwards() {
		if o.Listen == listen {
			was, _ := n.target(o.To, listen.First)
			is, err := n.target(to, listen.First)
			if err == nil && was == is {
				return nil
			}
			return control.Errorf(control.CodeConflict, "forward %s of network %s exists: to %s, not to %s", listen, s.Network, o.To, to).
				WithHint("gxswitch forward del --network %s --listen %s", s.Network, listen)
		}
	}
	if err := m.checkForward(n, f); err != nil {
		return refused(err, control.CodeRefused)
	}
	if i := slices.Index(n.spec.Forwards, f); i >= 0 {
		delete(n.gate.dropped, listen)
	} else {
		n.gate.extra = append(n.gate.extra, f)
	}
	m.refreshGateways()
	return m.journal()
}

// checkForward holds one more forward to those that there are, of the network and of
// others that share its address.
func (m *manager) checkForward(n *network, f config.Forward) error {
	all := append(n.forwards(), f)
	if err := n.spec.CheckForwards(all); err != nil {
		return err
	}
	var specs []config.Network
	for _, o := range m.networks {
		spec := o.spec
		if o.gate != nil {
			spec.Forwards = o.forwards()
		}
		if o != n {
			specs = append(specs, spec)
		}
	}
	spec := n.spec
	spec.Forwards = all
	return config.ValidateNetworks(append(specs, spec))
}

// DelForward implements control.Switch.
func (m *manager) DelForward(s control.ForwardSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, listen, err := m.natNetwork(s)
	if err != nil {
		return err
	}
	is := func(f config.Forward) bool { return f.Listen == listen }
	switch {
	case slices.ContainsFunc(n.gate.extra, is):
		n.gate.extra = slices.DeleteFunc(n.gate.extra, is)
	case slices.ContainsFunc(n.forwards(), is):
		n.gate.dropped[listen] = true
	default:
		return control.Errorf(control.CodeNotFound, "forward %s: network %s has none", listen, s.Network).
			WithHint("gxswitch forward list --network %s", s.Network)
	}
	m.refreshGateways()
	return m.journal()
}

func (m *manager) natNetwork(s control.ForwardSpec) (*network, nat.Listen, error) {
	listen, err := nat.ParseListen(s.Listen)
	if err != nil {
		return nil, listen, refused(err, control.CodeUsage)
	}
	all, err := m.mustHaveNAT(s.Network)
	if err != nil {
		return nil, listen, err
	}
	return all[0], listen, nil
}

// Sessions implements control.Switch.
func (m *manager) Sessions(network string) ([]control.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	networks, err := m.natNetworks(network)
	if err != nil {
		return nil, err
	}
	var rows []control.Session
	for _, n := range networks {
		for _, s := range n.gate.nat.Sessions(m.sw.Seconds()) {
			rows = append(rows, control.Session{
				Network: n.spec.Name, Proto: s.Protocol.String(), Guest: s.Guest.String(), External: s.External.String(),
				Remote: s.Remote.String(), Forward: s.Forward, State: s.State, AgeS: s.IdleSeconds, InKernel: s.Bypassed,
			})
		}
	}
	slices.SortFunc(rows, func(a, b control.Session) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Guest, b.Guest), cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Remote, b.Remote))
	})
	return rows, nil
}

// FlushNAT implements control.Switch.
func (m *manager) FlushNAT(network string) (control.Flushed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	networks, err := m.mustHaveNAT(network)
	if err != nil {
		return control.Flushed{}, err
	}
	var errs []error
	total := 0
	for _, n := range networks {
		total += n.gate.nat.Flush()
		errs = append(errs, m.saveSessions(n))
	}
	return control.Flushed{Entries: total}, errors.Join(errs...)
}

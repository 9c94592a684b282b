package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/version"
)

// The manager is what the control socket serves.
var _ control.Switch = (*manager)(nil)

// Status implements control.Switch.
func (m *manager) Status() control.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	full := uint64(0)
	if m.kernel != nil {
		full = m.kernel.Full()
	}
	return control.Status{
		EngineFull: full,
		Version:    version.String(), Engine: m.engineName(), EngineReason: m.engineReason, UptimeS: int64(time.Since(m.started) / time.Second),
		PID: os.Getpid(), Networks: len(m.networks), Ports: len(m.portRows()), Workers: m.sw.Workers(), Config: m.cfg.File,
		Problems: append(m.networkProblems(), m.otherEngines()...),
	}
}

// otherEngines says of ports that have another engine than the daemon.
func (m *manager) otherEngines() (all []string) {
	for _, p := range m.ports {
		if p.engineReason != "" {
			all = append(all, fmt.Sprintf("port %s has the engine %s: %s", p.name(), p.engine(), p.engineReason))
		}
	}
	slices.Sort(all)
	return all
}

// noPort says why there is nothing to do with the port: list shows also those
// that wait for their interface.
func (m *manager) noPort(name string) error {
	for _, w := range m.waiting() {
		if w.spec.Name != name {
			continue
		}
		why := "its interface is not there yet"
		if p := m.problems[name]; p != "" {
			why = p
		}
		return control.Errorf(control.CodeNotFound, "port %s: %s", name, why).
			WithHint("what it will be is said in the configuration: change that, and gxswitch reload")
	}
	return control.Errorf(control.CodeNotFound, "port %s: no such port", name).
		WithHint("gxswitch port list shows those there are")
}

// Stats implements control.Switch.
func (m *manager) Stats(names []string) (control.Stats, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := control.Stats{Ports: []control.PortStats{}, Networks: []control.NetworkStats{}}
	found := map[string]bool{}
	for _, p := range m.sw.PortStats() {
		p.Name = shown(p.Name)
		if len(names) == 0 || slices.Contains(names, p.Name) {
			found[p.Name] = true
			row := portStats(p)
			row.DeviceDropped = m.deviceDropped(p.Name)
			st.Ports = append(st.Ports, row)
		}
	}
	for _, name := range names {
		if !found[name] {
			return control.Stats{}, m.noPort(name)
		}
	}
	for _, n := range m.sw.NetworkStats() {
		st.Networks = append(st.Networks, control.NetworkStats{Network: n.Name, FDBEntries: n.FDBEntries, FDBLimit: n.FDBLimit, Flooded: n.Flooded})
	}
	slices.SortFunc(st.Ports, func(a, b control.PortStats) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Network, b.Network))
	})
	slices.SortFunc(st.Networks, func(a, b control.NetworkStats) int { return cmp.Compare(a.Network, b.Network) })
	return st, nil
}

// deviceDropped is what the port's interface dropped since it was attached.
func (m *manager) deviceDropped(name string) uint64 {
	p := m.portByName(name)
	if p == nil {
		return 0
	}
	now, err := host.TxDropped(p.link.Index)
	if err != nil || now < p.dropped { // it is gone
		return 0
	}
	return now - p.dropped
}

func portStats(p dataplane.PortStats) control.PortStats {
	s := control.PortStats{
		Port: p.Name, Network: p.Network, RxPackets: p.RxPackets, RxBytes: p.RxBytes, TxPackets: p.TxPackets, TxBytes: p.TxBytes,
		Forwarded: p.Forwarded, Flooded: p.Flooded, Consumed: p.Consumed, Drops: map[string]uint64{},
	}
	for r := range frame.DropReason(frame.NumReasons) {
		s.RxDropped += p.RxDrops[r]
		s.TxDropped += p.TxDrops[r]
		if n := p.RxDrops[r] + p.TxDrops[r]; n > 0 {
			s.Drops[r.String()] = n
		}
	}
	return s
}

// VLANs implements control.Switch.
func (m *manager) VLANs(network string) ([]control.VLAN, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if network != "" && m.networks[network] == nil {
		return nil, noNetwork(network)
	}
	rows := []control.VLAN{}
	for _, v := range m.sw.VLANStats() {
		if network != "" && v.Network != network {
			continue
		}
		row := control.VLAN{Network: v.Network, VLAN: int(v.VLAN), RxPackets: v.RxPackets, RxBytes: v.RxBytes,
			FDBEntries: v.FDBEntries, Untagged: []string{}, Tagged: []string{}}
		for _, key := range v.Untagged {
			row.Untagged = append(row.Untagged, shown(key))
		}
		for _, key := range v.Tagged {
			row.Tagged = append(row.Tagged, shown(key))
		}
		slices.Sort(row.Untagged)
		slices.Sort(row.Tagged)
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b control.VLAN) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.VLAN, b.VLAN))
	})
	return rows, nil
}

// Config implements control.Switch.
func (m *manager) Config() control.ConfigText {
	m.mu.Lock()
	defer m.mu.Unlock()
	return control.ConfigText{File: m.cfg.File, TOML: m.cfg.TOML()}
}

// Reload implements control.Switch.
func (m *manager) Reload() (control.Reloaded, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cfg, err := config.Load(m.file)
	if errors.Is(err, fs.ErrNotExist) && m.cfg.File == "" {
		return control.Reloaded{}, control.Errorf(control.CodeRefused, "the daemon runs without a configuration file").
			WithHint("write %s, or start it with gxswitch daemon --config FILE", m.file)
	}
	if err != nil {
		return control.Reloaded{}, refused(err, control.CodeRefused)
	}
	changes, err := m.reload(cfg)
	if err != nil {
		return control.Reloaded{}, refused(err, control.CodeRefused)
	}
	for _, c := range changes {
		m.log.Info("reload", "change", c)
	}
	return control.Reloaded{Changes: append([]string{}, changes...)}, nil
}

// refused makes an error of this machine one of the API's, keeping its hint.
func refused(err error, code control.Code) error {
	var api *control.Error
	if errors.As(err, &api) {
		return api
	}
	e := control.Errorf(code, "%s", err)
	var checks config.Errors
	if errors.As(err, &checks) {
		e.Message, e.Hint = checks[0].Error(), checks[0].Hint
		for _, more := range checks[1:] {
			e.Message += "; " + more.Error()
		}
	}
	var check *config.Error
	var hint *hinted
	if errors.As(err, &hint) {
		e.Hint = hint.hint
	} else if checks == nil && errors.As(err, &check) {
		e.Message, e.Hint = check.Error(), check.Hint
	}
	if errors.Is(err, host.ErrNoLink) {
		e.Code = control.CodeNotFound
	}
	return e
}

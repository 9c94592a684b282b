package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
)

// stateFile is the journal's name in the state directory.
const stateFile = "state.json"

// state is what the next daemon must know if this one is killed, and what the
// command line attached, which outlives also a restart. Interface indexes mean
// something only in the boot and network namespace that they come from.
type state struct {
	BootID   string           `json:"boot_id"`
	NetNS    uint64           `json:"netns"`
	Networks []config.Network `json:"networks,omitempty"` // that the command line made
	Ports    []statePort      `json:"ports,omitempty"`
	Touched  []touched        `json:"touched,omitempty"`

	Takeovers map[string]*host.Takeover `json:"takeovers,omitempty"` // by network

	Leases   map[int]learned `json:"leases,omitempty"`   // by ifindex
	Reserved string          `json:"reserved,omitempty"` // see manager.reserved
	Forwards []stateForward  `json:"forwards,omitempty"`
	Stations []stateStation  `json:"stations,omitempty"`
}

// learned is what a guard has seen a guest be given: it renews from its address,
// which a new guard would not know. In another network, or for another guest, it
// is worth nothing.
type learned struct {
	Network string            `json:"network"`
	MAC     frame.MAC         `json:"mac"` // as it was told
	Leases  []dataplane.Lease `json:"leases"`
}

// of reports whether that port is the guest.
func (l learned) of(spec config.Port) bool { return l.Network == spec.Network && l.MAC == spec.MAC }

// noteLeases keeps the journal abreast of what guards learn: a lease soon after it
// was given, its renewals each minute.
func (m *manager) noteLeases(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-second.C:
		}
		if !m.sw.LeasesChanged() && n%60 != 0 {
			continue
		}
		m.mu.Lock()
		if err := m.journal(); err != nil {
			m.log.Error("write down leases", "err", err)
		}
		m.mu.Unlock()
	}
}

// stateForward is a forward that the command line made, or one of the
// configuration that it took out (To is zero).
type stateForward struct {
	Network string         `json:"network"`
	Forward config.Forward `json:"forward"`
}

// statePort is a port that the command line attached, or settings of a
// configured one that the command line changed.
type statePort struct {
	IfIndex  int         `json:"ifindex"` // legIndex: the host's leg
	Override bool        `json:"override,omitempty"`
	Over     config.Port `json:"over"` // what was configured then
	Spec     config.Port `json:"spec"`

	// Of a port of the hotplug script alone.
	Xen  *control.HotplugSpec `json:"xen,omitempty"`
	Base *config.Port         `json:"base,omitempty"`
}

// touched is an interface that is a port, and what it was like before.
type touched struct {
	Name    string      `json:"name"`
	IfIndex int         `json:"ifindex"`
	Sealed  bool        `json:"sealed"` // else it was only set up
	Was     host.Sealed `json:"was"`
	WasMTU  int         `json:"was_mtu"`
}

// loadState reads the journal. One of another boot or namespace is as good as
// none. A damaged one is an error to report and live with.
func loadState(dir string) (state, error) {
	now := state{BootID: host.BootID(), NetNS: host.NetNS()}
	file := filepath.Join(dir, stateFile)
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return now, nil
	}
	if err != nil {
		return now, err
	}
	var st state
	if err := json.Unmarshal(b, &st); err != nil {
		return now, fmt.Errorf("%s: %w", file, err)
	}
	if st.BootID != now.BootID || st.NetNS != now.NetNS {
		return now, nil
	}
	return st, nil
}

// save writes the journal in one step, readable by root alone. It is not
// synced: what it protects from is the end of the process, and with the
// machine the interfaces go too.
func (st state) save(dir string) error {
	b, err := json.Marshal(st)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, stateFile)
	if err := os.WriteFile(file+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// journal writes down how things are now. A failure is an error for whoever
// is about to change something: without a journal nothing could be restored.
func (m *manager) journal() error {
	st := state{BootID: m.bootID, NetNS: m.netNS, Reserved: m.reserved, Takeovers: m.takeovers}
	for _, n := range m.networks {
		if n.runtime {
			st.Networks = append(st.Networks, n.spec)
		}
	}
	for _, n := range m.networks {
		if n.gate == nil {
			continue
		}
		for _, f := range n.gate.extra {
			st.Forwards = append(st.Forwards, stateForward{n.spec.Name, f})
		}
		for l := range n.gate.dropped {
			st.Forwards = append(st.Forwards, stateForward{n.spec.Name, config.Forward{Listen: l}})
		}
	}
	for _, p := range m.runtime {
		sp := statePort{IfIndex: p.ifindex, Override: p.override, Over: p.over, Spec: p.spec}
		if p.xen != nil {
			sp.Xen, sp.Base = p.xen, &p.base
		}
		st.Ports = append(st.Ports, sp)
	}
	for index, p := range m.ports {
		if p.role == dataplane.Guest {
			m.leases[index] = learned{p.want.spec.Network, p.want.spec.MAC, m.sw.Leases(p.name())}
		}
	}
	for index, l := range m.leases {
		if len(l.Leases) > 0 {
			if st.Leases == nil {
				st.Leases = map[int]learned{}
			}
			st.Leases[index] = l
		}
	}
	st.Stations = m.stateStations()
	for _, t := range m.touched {
		st.Touched = append(st.Touched, t)
	}
	if err := st.save(m.stateDir); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

// adopt takes over what a predecessor left in its journal: networks and ports
// of the command line, and how to restore the interfaces that it changed.
// An interface is the same if its index is, whatever its name by now.
func (m *manager) adopt(st state, links []host.Link) {
	same := map[int]string{}
	for _, l := range links {
		same[l.Index] = l.Name
	}
	for _, t := range st.Touched {
		if same[t.IfIndex] != "" {
			m.touched[t.IfIndex] = t
		}
	}
	for index, leases := range st.Leases {
		if same[index] != "" {
			m.leases[index] = leases
		}
	}
	for _, s := range st.Stations {
		if s.IfIndex == legIndex || same[s.IfIndex] != "" {
			m.stations[s.station] = s.IfIndex
		}
	}
	for _, spec := range st.Networks {
		if m.networks[spec.Name] != nil {
			m.log.Warn("network of the command line gives way to the configuration's", "network", spec.Name)
			continue
		}
		if err := errors.Join(spec.Validate(), config.ValidateNetworks(append(m.specs(), spec))); err != nil {
			m.log.Warn("network of the command line no longer fits the configuration", "network", spec.Name, "err", err)
			continue
		}
		if err := m.addNetwork(spec, true); err != nil {
			m.log.Error("network of the command line", "network", spec.Name, "err", err)
		}
	}
	for _, f := range st.Forwards {
		n := m.networks[f.Network]
		switch {
		case n == nil || n.gate == nil || n.gate.nat == nil:
		case f.Forward.To == config.Target{}:
			n.gate.dropped[f.Forward.Listen] = true
		case m.checkForward(n, f.Forward) == nil:
			n.gate.extra = append(n.gate.extra, f.Forward)
		default:
			m.log.Warn("forward of the command line no longer fits the configuration", "network", f.Network, "listen", f.Forward.Listen)
		}
	}
	stillThere, done := m.stillThere()
	defer done()
	for _, p := range st.Ports {
		name := same[p.IfIndex]
		if p.IfIndex == legIndex {
			name = p.Spec.Name
		}
		if name == "" || p.Override && name != p.Spec.Name {
			continue
		}
		if is, _ := m.cfg.MatchPort(name); p.Override && !p.Over.Equal(is) {
			m.log.Info("what the command line changed gives way to a newer configuration", "port", name)
			continue
		}
		p.Spec.Name = name
		r := &runtimePort{ifindex: p.IfIndex, override: p.Override, over: p.Over, spec: p.Spec}
		if p.Xen != nil && p.Base != nil {
			if !stillThere(*p.Xen) {
				continue
			}
			r.xen, r.base = p.Xen, *p.Base
		}
		m.runtime[name] = r
	}
	m.repolicy(m.cfg) // which may have been changed while no daemon ran
}

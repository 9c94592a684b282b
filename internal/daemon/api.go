package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"gxswitch/dataplane"
	"gxswitch/fdb"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/version"
	"gxswitch/internal/vlan"
)

// The manager is what the control socket serves.
var _ control.Switch = (*manager)(nil)

// Status implements control.Switch.
func (m *manager) Status() control.Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return control.Status{
		Version: version.String(), Engine: m.engineName(), EngineReason: m.engineReason, UptimeS: int64(time.Since(m.started) / time.Second),
		PID: os.Getpid(), Networks: len(m.networks), Ports: len(m.portRows()), Workers: m.sw.Workers(), Config: m.cfg.File,
		Problems: m.networkProblems(),
	}
}

// Networks implements control.Switch.
func (m *manager) Networks() []control.Network {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := []control.Network{}
	for _, st := range m.sw.NetworkStats() {
		if n := m.networks[st.Name]; n != nil {
			rows = append(rows, m.networkRow(n, st))
		}
	}
	slices.SortFunc(rows, func(a, b control.Network) int { return cmp.Compare(a.Name, b.Name) })
	return rows
}

func (m *manager) networkRow(n *network, st dataplane.NetworkStats) control.Network {
	row := control.Network{
		Name: n.spec.Name, Mode: string(n.spec.Mode), Uplink: n.spec.Uplink, MTU: m.mtu(n.spec), Ports: st.Ports,
		FDBEntries: st.FDBEntries, FDBLimit: st.FDBLimit, AgeingS: n.spec.Ageing.Seconds(), Source: n.source(), Takeover: n.spec.Takeover,
	}
	if n.spec.Address.IsValid() {
		row.Address = n.spec.Address.String()
	}
	row.UplinkVLAN, row.RateUp, row.RateDown = int(n.spec.UplinkVLAN), rateText(n.spec.RateUp), rateText(n.spec.RateDown)
	row.ProxyARP = n.spec.Mode == config.Routed && n.spec.ProxyARP.Or(true)
	if n.gate != nil && n.gate.nat != nil && n.gate.nat.External().IsValid() {
		row.NATAddress = n.gate.nat.External().String()
	}
	if n.spec.Mode == config.Bridged && n.spec.UplinkVLAN == 0 {
		row.VLAN = vlanText(n.spec.VLAN)
	}
	m.serviceRows(n, &row)
	row.Problem = m.networkProblem(n)
	return row
}

// networkProblem is why the network does not do all that it is to, "" if it does.
func (m *manager) networkProblem(n *network) string {
	_, there := m.linkByName(n.spec.Uplink)
	switch {
	case n.spec.Uplink != "" && !there:
		return fmt.Sprintf("uplink %s is not there", n.spec.Uplink)
	case n.refused.err != nil:
		return "takeover: " + strings.TrimPrefix(n.refused.err.Error(), "network "+n.spec.Name+": ")
	case n.gate != nil:
		return n.gate.problem
	}
	return ""
}

func (m *manager) networkProblems() []string {
	var all []string
	for name, n := range m.networks {
		if p := m.networkProblem(n); p != "" {
			all = append(all, fmt.Sprintf("network %s: %s", name, p))
		}
	}
	slices.Sort(all)
	return all
}

func (m *manager) networkRowOf(name string) control.Network {
	for _, st := range m.sw.NetworkStats() {
		if st.Name == name {
			return m.networkRow(m.networks[name], st)
		}
	}
	return control.Network{Name: name}
}

func noNetwork(name string) error {
	return control.Errorf(control.CodeNotFound, "network %s: no such network", name).
		WithHint("gxswitch network list shows those there are")
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

// AddNetwork implements control.Switch.
func (m *manager) AddNetwork(s control.NetworkSpec) (control.Network, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	spec, err := applyNetwork(config.NewNetwork(s.Name, config.Mode(s.Mode)), s)
	if err != nil {
		return control.Network{}, err
	}
	if n := m.networks[s.Name]; n != nil {
		if n.spec.Equal(spec) {
			return m.networkRowOf(s.Name), nil
		}
		return control.Network{}, control.Errorf(control.CodeConflict, "network %s exists with other settings: %s; not %s",
			s.Name, networkText(n.spec), networkText(spec)).WithHint("gxswitch network set %s changes it", s.Name)
	}
	if err := config.ValidateNetworks(append(m.specs(), spec)); err != nil {
		return control.Network{}, refused(err, control.CodeConflict)
	}
	if spec.Uplink != "" {
		l, ok := m.linkByName(spec.Uplink)
		if !ok {
			return control.Network{}, control.Errorf(control.CodeNotFound, "network %s: uplink %s: no such interface", s.Name, spec.Uplink).
				WithHint("ip link shows the names of interfaces")
		}
		if p := m.ports[l.Index]; p != nil && p.role != dataplane.Uplink {
			return control.Network{}, control.Errorf(control.CodeConflict, "network %s: uplink %s is a port of network %s", s.Name, spec.Uplink, p.want.spec.Network).
				WithHint("gxswitch port del %s", spec.Uplink)
		}
		if err := attachable(l); err != nil {
			return control.Network{}, refused(err, control.CodeRefused)
		}
	}
	if err := m.addNetwork(spec, true); err != nil {
		return control.Network{}, refused(err, control.CodeRefused)
	}
	if err := m.serve(m.networks[s.Name]); err != nil {
		return control.Network{}, refused(errors.Join(err, m.delNetwork(m.networks[s.Name])), control.CodeRefused)
	}
	m.settleAll()
	if n := m.networks[s.Name]; n.refused.err != nil {
		err := errors.Join(n.refused.err, m.delNetwork(n))
		m.settleAll()
		return control.Network{}, refused(err, control.CodeRefused)
	}
	return m.networkRowOf(s.Name), m.journal()
}

// networkText is a network's settings in one line.
func networkText(n config.Network) string {
	text := fmt.Sprintf("mode %s, ageing %v, fdb_limit %d", n.Mode, n.Ageing, n.FDBLimit)
	if n.Uplink != "" {
		text += ", uplink " + n.Uplink
	}
	if n.Address.IsValid() {
		text += ", address " + n.Address.String()
	}
	if n.MTU != 0 {
		text += fmt.Sprintf(", mtu %d", n.MTU)
	}
	if n.UplinkVLAN != 0 {
		text += fmt.Sprintf(", uplink_vlan %d", n.UplinkVLAN)
	}
	if n.Takeover {
		text += ", takeover"
	}
	text += gatewayText(n)
	if !n.VLAN.IsZero() {
		text += ", vlan " + n.VLAN.String()
	}
	if !n.RateUp.IsZero() {
		text += ", rate_up " + n.RateUp.String()
	}
	if !n.RateDown.IsZero() {
		text += ", rate_down " + n.RateDown.String()
	}
	if n.DHCP.On {
		text += ", dhcp " + cmp.Or(rangeText(n.DHCP.Range), "without a range") + " " + n.DHCP.Lease.String()
	}
	if n.DNS.On {
		text += ", dns " + cmp.Or(n.DNS.Domain, "without a domain")
	}
	return text
}

// applyNetwork puts the fields that s has into spec.
func applyNetwork(spec config.Network, s control.NetworkSpec) (config.Network, error) {
	spec.Pos = config.Position{}
	if s.Mode != "" {
		spec.Mode = config.Mode(s.Mode)
	}
	if s.Uplink != "" {
		spec.Uplink = s.Uplink
	}
	if s.Address != nil {
		a, err := config.ParseAddress(*s.Address)
		if err != nil {
			return spec, refused(err, control.CodeUsage)
		}
		spec.Address = a
	}
	if s.MTU != nil {
		spec.MTU = *s.MTU
	}
	if s.Ageing != nil {
		spec.Ageing = time.Duration(*s.Ageing)
	}
	if s.FDBLimit != nil {
		spec.FDBLimit = *s.FDBLimit
	}
	if s.UplinkVLAN != nil {
		if *s.UplinkVLAN < 0 || *s.UplinkVLAN > vlan.MaxVID {
			return spec, control.Errorf(control.CodeUsage, "network %s: uplink_vlan %d: want 1 to %d, or 0 for none", s.Name, *s.UplinkVLAN, vlan.MaxVID)
		}
		spec.UplinkVLAN = uint16(*s.UplinkVLAN)
	}
	if s.Takeover != nil {
		spec.Takeover = *s.Takeover
	}
	if s.VLAN != nil {
		spec.VLAN = *s.VLAN
	}
	if s.ProxyARP != nil {
		if spec.ProxyARP = config.Off; *s.ProxyARP {
			spec.ProxyARP = config.On
		}
	}
	if s.NATAddress != nil {
		spec.NATAddress = netip.Addr{}
		if *s.NATAddress != "" {
			a, err := netip.ParseAddr(*s.NATAddress)
			if err != nil {
				return spec, control.Errorf(control.CodeUsage, "network %s: nat_address %q is not an IP address", s.Name, *s.NATAddress)
			}
			spec.NATAddress = a
		}
	}
	if s.RateUp != nil {
		spec.RateUp = *s.RateUp
	}
	if s.RateDown != nil {
		spec.RateDown = *s.RateDown
	}
	var err error
	if spec.DHCP, err = applyDHCP(spec.DHCP, s.DHCP); err != nil {
		return spec, err
	}
	if spec.DNS, err = applyDNS(spec.DNS, s.DNS); err != nil {
		return spec, err
	}
	if err := spec.Validate(); err != nil {
		return spec, refused(err, control.CodeUsage)
	}
	return spec, nil
}

// SetNetwork implements control.Switch.
func (m *manager) SetNetwork(s control.NetworkSpec) (control.Network, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.networks[s.Name]
	if n == nil {
		return control.Network{}, noNetwork(s.Name)
	}
	spec, err := applyNetwork(n.spec, s)
	if err != nil {
		return control.Network{}, err
	}
	if remade(n.spec, spec) {
		return control.Network{}, control.Errorf(control.CodeRefused, "network %s: mode and uplink can't be changed while it exists", s.Name).
			WithHint("gxswitch network del %s, then add it anew", s.Name)
	}
	others := slices.DeleteFunc(m.specs(), func(o config.Network) bool { return o.Name == s.Name })
	if err := config.ValidateNetworks(append(others, spec)); err != nil {
		return control.Network{}, refused(err, control.CodeConflict)
	}
	if err := m.setNetwork(n, spec); err != nil {
		return control.Network{}, refused(err, control.CodeRefused)
	}
	return m.networkRowOf(s.Name), m.journal()
}

// DelNetwork implements control.Switch.
func (m *manager) DelNetwork(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.networks[name]
	if n == nil {
		return noNetwork(name)
	}
	err := m.delNetwork(n)
	m.forgetLeases(name)
	m.settleAll() // its ports may be others' now
	return errors.Join(err, m.journal())
}

// FDB implements control.Switch.
func (m *manager) FDB(network, port string) ([]control.FDBEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if network != "" && m.networks[network] == nil {
		return nil, noNetwork(network)
	}
	if port != "" && m.portByName(port) == nil {
		return nil, m.noPort(port)
	}
	rows := []control.FDBEntry{}
	for _, spec := range m.specs() {
		if network != "" && spec.Name != network {
			continue
		}
		entries, err := m.sw.FDB(spec.Name)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if name := shown(e.PortName); port == "" || name == port {
				rows = append(rows, control.FDBEntry{Network: spec.Name, VLAN: int(e.Key.VLAN()), MAC: e.Key.MAC(),
					Port: name, AgeS: e.AgeSeconds, Kind: e.Kind.String()})
			}
		}
	}
	return rows, nil
}

// vlanOf is the VLAN that an FDBSpec means.
func vlanOf(s control.FDBSpec) (uint16, error) {
	if s.VLAN == 0 {
		return 1, nil
	}
	if s.VLAN < 1 || s.VLAN > 4094 {
		return 0, control.Errorf(control.CodeUsage, "vlan %d: want 1 to 4094", s.VLAN)
	}
	return uint16(s.VLAN), nil
}

// AddFDB implements control.Switch.
func (m *manager) AddFDB(s control.FDBSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	vid, err := vlanOf(s)
	if err != nil {
		return err
	}
	if s.MAC.IsZero() || s.MAC.IsMulticast() {
		return control.Errorf(control.CodeUsage, "MAC address %s is no station's: want a unicast address", s.MAC)
	}
	p := m.portByName(s.Port)
	if p == nil || s.Network != "" && !slices.Contains(p.members, s.Network) {
		return m.noPort(s.Port)
	}
	network := p.members[0]
	if len(p.members) > 1 {
		if network = s.Network; network == "" {
			return control.Errorf(control.CodeUsage, "port %s: is a port of several networks: %s", s.Port, strings.Join(p.members, ", ")).
				WithHint("--network says which is meant")
		}
	}
	switch err := m.sw.AddFDB(p.key(network), vid, s.MAC); {
	case errors.Is(err, fdb.ErrExists):
		return control.Errorf(control.CodeConflict, "%s in VLAN %d is pinned to another port, not to %s", s.MAC, vid, s.Port).
			WithHint("gxswitch fdb del %s --vlan %d --network NETWORK removes a static entry", s.MAC, vid)
	case errors.Is(err, fdb.ErrFull):
		return control.Errorf(control.CodeRefused, "%s: the forwarding database is full of static entries", s.MAC).
			WithHint("gxswitch network set NETWORK --fdb-limit N raises the limit")
	default:
		return err
	}
}

// DelFDB implements control.Switch.
func (m *manager) DelFDB(s control.FDBSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	vid, err := vlanOf(s)
	if err != nil {
		return err
	}
	if m.networks[s.Network] == nil {
		return noNetwork(s.Network)
	}
	found, err := m.sw.DelFDB(s.Network, vid, s.MAC)
	switch {
	case errors.Is(err, fdb.ErrExists):
		return control.Errorf(control.CodeRefused, "%s is the host's own address in network %s, it can't be removed", s.MAC, s.Network)
	case err != nil:
		return err
	case !found:
		return control.Errorf(control.CodeNotFound, "%s in VLAN %d: no such entry in network %s", s.MAC, vid, s.Network).
			WithHint("gxswitch fdb list --network %s", s.Network)
	}
	return nil
}

// FlushFDB implements control.Switch.
func (m *manager) FlushFDB(network, port string) (control.Flushed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if network != "" && m.networks[network] == nil {
		return control.Flushed{}, noNetwork(network)
	}
	if port != "" {
		p := m.portByName(port)
		if p == nil || network != "" && !slices.Contains(p.members, network) {
			return control.Flushed{}, m.noPort(port)
		}
		total := 0
		for _, of := range p.members {
			if network == "" || network == of {
				n, err := m.sw.FlushFDB(of, p.key(of))
				if err != nil {
					return control.Flushed{}, err
				}
				total += n
			}
		}
		return control.Flushed{Entries: total}, nil
	}
	total := 0
	for name := range m.networks {
		if network == "" || network == name {
			n, err := m.sw.FlushFDB(name, "")
			if err != nil {
				return control.Flushed{}, err
			}
			total += n
		}
	}
	return control.Flushed{Entries: total}, nil
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
			st.Ports = append(st.Ports, portStats(p))
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

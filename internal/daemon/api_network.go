package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/vlan"
)

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
	uplink, there := m.linkByName(n.spec.Uplink)
	switch {
	case n.spec.Uplink != "" && !there:
		return fmt.Sprintf("uplink %s is not there", n.spec.Uplink)
	case there && !uplink.Running:
		return fmt.Sprintf("uplink %s is down", n.spec.Uplink)
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

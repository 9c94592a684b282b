package daemon

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/dnsd"
)

// Leases implements control.Switch.
func (m *manager) Leases(network string) ([]control.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if network != "" && m.networks[network] == nil {
		return nil, noNetwork(network)
	}
	rows := []control.Lease{}
	for _, spec := range m.specs() {
		dhcp := m.networks[spec.Name].services.dhcp
		if dhcp == nil || network != "" && spec.Name != network {
			continue
		}
		for _, l := range dhcp.Leases() {
			rows = append(rows, control.Lease{Network: spec.Name, MAC: l.MAC, IP: l.Addr.String(), Hostname: l.Hostname,
				Expires: l.Expires.UTC().Truncate(time.Second), Port: l.Port})
		}
	}
	return rows, nil
}

// DelLease implements control.Switch.
func (m *manager) DelLease(s control.LeaseSpec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.networks[s.Network]
	if n == nil {
		return noNetwork(s.Network)
	}
	if n.services.dhcp != nil {
		if _, had := n.services.dhcp.Delete(s.MAC); had {
			return nil
		}
	}
	return control.Errorf(control.CodeNotFound, "%s: has no lease in network %s", s.MAC, s.Network).
		WithHint("gxswitch lease list --network %s", s.Network)
}

// DNSNames implements control.Switch.
func (m *manager) DNSNames(network string) ([]control.DNSName, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if network != "" && m.networks[network] == nil {
		return nil, noNetwork(network)
	}
	rows := []control.DNSName{}
	for _, spec := range m.specs() {
		n := m.networks[spec.Name]
		if n.services.dns != nil && (network == "" || spec.Name == network) {
			rows = append(rows, m.dnsNames(n)...)
		}
	}
	return rows, nil
}

func (m *manager) dnsNames(n *network) (rows []control.DNSName) {
	s, seen := &n.services, map[string]bool{}
	add := func(label, source string) {
		if label == "" || seen[label] {
			return
		}
		seen[label] = true
		row := control.DNSName{Network: n.spec.Name, Name: label, IP: []string{}, Source: source}
		if d := s.dnsIs.Domain; d != "" {
			row.Name += "." + d
		}
		addrs, _ := s.names.Addrs(label)
		for _, a := range addrs {
			row.IP = append(row.IP, a.String())
		}
		rows = append(rows, row)
	}
	for _, h := range m.leaseRules(n, m.gateway(n)).Self {
		add(h.Name, control.SourceGateway)
	}
	for _, h := range n.spec.Hosts {
		add(h.Name, control.SourceHost)
	}
	if s.dhcp != nil {
		for _, l := range s.dhcp.Leases() {
			add(l.Hostname, control.SourceLease)
		}
	}
	slices.SortFunc(rows, func(a, b control.DNSName) int { return cmp.Compare(a.Name, b.Name) })
	return rows
}

// QueryDNS implements control.Switch. It waits for an answer without the lock.
func (m *manager) QueryDNS(q control.DNSQuery) (control.DNSAnswer, error) {
	network, dns, err := m.dnsOf(q.Network)
	if err != nil {
		return control.DNSAnswer{}, err
	}
	a, err := dns.Query(q.Name, q.Type)
	if err != nil {
		return control.DNSAnswer{}, control.Errorf(control.CodeUsage, "%v", err)
	}
	row := control.DNSAnswer{Network: network, Name: a.Name, Type: a.Type, Code: a.Code, Answers: []control.DNSRecord{}}
	for _, r := range a.Records {
		row.Answers = append(row.Answers, control.DNSRecord{Name: r.Name, TTLS: r.TTLSeconds, Type: r.Type, Value: r.Value})
	}
	switch a.Code {
	case "NOERROR":
		return row, nil
	case "NXDOMAIN":
		return row, control.Errorf(control.CodeNotFound, "%s: no such name (NXDOMAIN)", a.Name).
			WithHint("gxswitch dns list --network %s shows those of guests", network)
	case "REFUSED":
		return row, control.Errorf(control.CodeRefused, "%s: is not answered (REFUSED)", a.Name).
			WithHint("the server of network %s knows its guests' names alone: it has no upstream, or the type is none it serves", network)
	default:
		return row, control.Errorf(control.CodeRefused, "%s: nobody could answer (%s)", a.Name, a.Code).
			WithHint("do the DNS servers of network %s's upstream answer?", network)
	}
}

// dnsOf is the DNS server of the network, or the only one there is.
func (m *manager) dnsOf(name string) (string, *dnsd.Server, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name != "" {
		n := m.networks[name]
		if n == nil {
			return "", nil, noNetwork(name)
		}
		if n.services.dns == nil {
			return "", nil, control.Errorf(control.CodeRefused, "network %s: has no DNS server", name).
				WithHint("gxswitch network set %s --dns", name)
		}
		return name, n.services.dns, nil
	}
	var found *network
	for _, spec := range m.specs() {
		n := m.networks[spec.Name]
		if n.services.dns == nil {
			continue
		}
		if found != nil {
			return "", nil, control.Errorf(control.CodeUsage, "several networks have a DNS server: %s and %s", found.spec.Name, spec.Name).
				WithHint("--network says which is meant")
		}
		found = n
	}
	if found == nil {
		return "", nil, control.Errorf(control.CodeRefused, "no network has a DNS server").
			WithHint("gxswitch network set NETWORK --dns gives it one")
	}
	return found.spec.Name, found.services.dns, nil
}

// serviceRows fills in what serves a network's guests.
func (m *manager) serviceRows(n *network, row *control.Network) {
	s := &n.services
	if n.spec.DHCP.On {
		d, c := n.spec.DHCP, s.dhcpIs
		authoritative, leases := d.Authoritative.Or(true), 0
		if s.dhcp != nil {
			leases = len(s.dhcp.Leases())
		}
		row.DHCP = control.DHCP{Range: rangeText(d.Range), LeaseS: d.Lease.Seconds(), Domain: c.Domain,
			PortLimit: d.PortLimit, Authoritative: &authoritative, Leases: &leases}
		if c.Router.IsValid() {
			row.DHCP.Router = c.Router.String()
		}
		for _, a := range c.DNS {
			row.DHCP.DNS = append(row.DHCP.DNS, a.String())
		}
		for _, r := range d.Routes {
			row.DHCP.Routes = append(row.DHCP.Routes, r.String())
		}
		if s.dhcp == nil {
			row.DHCP.Problem = s.problem
		}
	}
	if n.spec.DNS.On {
		row.DNS = control.DNS{Domain: n.spec.DNS.Domain, Upstream: n.spec.DNS.Upstream, RebindOK: n.spec.DNS.RebindOK}
		if s.dns == nil {
			row.DNS.Problem = s.problem
		}
	}
}

// applyDHCP puts the fields that s has into d.
func applyDHCP(d config.DHCP, s *control.DHCPSpec) (config.DHCP, error) {
	if s == nil {
		return d, nil
	}
	if s.On != nil && !*s.On {
		if (*s != control.DHCPSpec{On: s.On}) {
			return d, control.Errorf(control.CodeUsage, "dhcp: off, and with settings").WithHint("say one of the two")
		}
		return config.DHCP{}, nil
	}
	def := config.NewDHCP()
	if !d.On {
		d = def
	}
	if s.Range != nil {
		d.Range = config.Range{}
		if *s.Range != "" {
			r, err := config.ParseRange(*s.Range)
			if err != nil {
				return d, refused(err, control.CodeUsage)
			}
			d.Range = r
		}
	}
	if s.Lease != nil {
		d.Lease = cmp.Or(time.Duration(*s.Lease), def.Lease)
	}
	if s.Router != nil {
		d.Router = netip.Addr{}
		if *s.Router != "" {
			a, err := config.ParseRouter(*s.Router)
			if err != nil {
				return d, refused(err, control.CodeUsage)
			}
			d.Router = a
		}
	}
	if s.DNS != nil {
		d.DNS = noneIfEmpty(*s.DNS)
	}
	if s.Domain != nil {
		d.Domain = *s.Domain
	}
	if s.Routes != nil {
		d.Routes = nil
		for _, text := range *s.Routes {
			r, err := config.ParseRoute(text)
			if err != nil {
				return d, refused(err, control.CodeUsage)
			}
			d.Routes = append(d.Routes, r)
		}
	}
	if s.PortLimit != nil {
		d.PortLimit = cmp.Or(*s.PortLimit, def.PortLimit)
	}
	if s.Authoritative != nil {
		d.Authoritative = config.On
		if !*s.Authoritative {
			d.Authoritative = config.Off
		}
	}
	return d, nil
}

// applyDNS puts the fields that s has into d.
func applyDNS(d config.DNS, s *control.DNSSpec) (config.DNS, error) {
	if s == nil {
		return d, nil
	}
	if s.On != nil && !*s.On {
		if (*s != control.DNSSpec{On: s.On}) {
			return d, control.Errorf(control.CodeUsage, "dns: off, and with settings").WithHint("say one of the two")
		}
		return config.DNS{}, nil
	}
	def := config.NewDNS()
	if !d.On {
		d = def
	}
	if s.Domain != nil {
		d.Domain = *s.Domain
	}
	if s.Upstream != nil {
		if d.Upstream = *s.Upstream; len(d.Upstream) == 0 {
			d.Upstream = def.Upstream
		}
	}
	if s.RebindOK != nil {
		d.RebindOK = noneIfEmpty(*s.RebindOK)
	}
	return d, nil
}

func noneIfEmpty[T any](all []T) []T {
	if len(all) == 0 {
		return nil
	}
	return all
}

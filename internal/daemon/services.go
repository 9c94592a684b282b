package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"syscall"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/dhcpd"
	"gxswitch/internal/dnsd"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/lease"
)

// services are what serves a network's guests on the host's leg.
type services struct {
	leg     host.Link // whose sockets they have
	dhcp    *dhcpd.Server
	dhcpIs  dhcpd.Config
	dns     *dnsd.Server
	dnsIs   dnsd.Config
	names   names        // that dns reads
	rules   lease.Config // of the table there, where it is no DHCP server's
	problem string       // why not all that is wanted is there
}

// names is the table that knows the stations: the DHCP server's, or one of hosts
// alone. It may be exchanged while it is read.
type names struct{ table atomic.Pointer[lease.Table] }

// Addrs implements dnsd.Names.
func (n *names) Addrs(name string) ([]netip.Addr, bool) { return n.table.Load().Addrs(name) }

// NameOf implements dnsd.Names.
func (n *names) NameOf(a netip.Addr) string { return n.table.Load().NameOf(a) }

// serve brings a network's servers to what is wanted. What is so already is not
// touched. The leg is there, with its address.
func (m *manager) serve(n *network) error {
	s := &n.services
	if s.leg.Index != n.leg.Host.Index || s.leg.MAC != n.leg.Host.MAC {
		m.unserve(n)
		s.leg = n.leg.Host
	}
	own := m.gateway(n)
	err := errors.Join(m.serveDHCP(n, own), m.serveDNS(n, own))
	s.problem = ""
	if err != nil {
		s.problem = err.Error()
	}
	return err
}

// serveAll serves every network.
func (m *manager) serveAll() {
	for _, n := range m.networks {
		m.serveOrSay(n)
	}
}

// serveOrSay says once what can't be served; it is tried again when something
// changes.
func (m *manager) serveOrSay(n *network) {
	before := n.services.problem
	err := m.serve(n)
	if err == nil || err.Error() == before {
		return
	}
	args := []any{"network", n.spec.Name, "err", err}
	var hint *hinted
	if errors.As(err, &hint) {
		args = append(args, "hint", hint.hint)
	}
	m.log.Error("network is not served as it should be", args...)
}

// unserve ends a network's servers.
func (m *manager) unserve(n *network) {
	s := &n.services
	if s.dns != nil {
		if err := s.dns.Close(); err != nil {
			m.log.Error("end of the DNS server", "network", n.spec.Name, "err", err)
		}
	}
	if s.dhcp != nil {
		if err := s.dhcp.Close(); err != nil {
			m.log.Error("end of the DHCP server", "network", n.spec.Name, "err", err)
		}
	}
	s.dns, s.dhcp, s.leg = nil, nil, host.Link{}
}

// gateway is the address by which guests know the host, and their subnet. One that
// is borrowed of the uplink has none: guests reach everything by way of the host.
func (m *manager) gateway(n *network) netip.Prefix {
	if !n.spec.Address.IsValid() && n.gate != nil && n.gate.borrowed.IsValid() {
		return netip.PrefixFrom(n.gate.borrowed, 32)
	}
	return n.spec.Address
}

func (m *manager) serveDHCP(n *network, own netip.Prefix) (err error) {
	s := &n.services
	if !n.spec.DHCP.On || s.leg.Index == 0 || !own.IsValid() {
		if s.dhcp != nil {
			err = s.dhcp.Close()
			s.dhcp = nil
		}
		return err
	}
	want := m.dhcpConfig(n, own)
	switch {
	case s.dhcp == nil:
		dhcp, err := dhcpd.Start(want, m.dhcpSwitch(n.spec.Name), m.log)
		if err != nil {
			return inUse(err, "DHCP", 67)
		}
		s.dhcp = dhcp
		m.log.Info("DHCP is served", "network", n.spec.Name, "server", own.Addr(), "range", rangeText(n.spec.DHCP.Range))
	case !reflect.DeepEqual(want, s.dhcpIs):
		if err := s.dhcp.Configure(want); err != nil {
			return err
		}
		m.log.Info("DHCP is served otherwise", "network", n.spec.Name, "server", own.Addr(), "range", rangeText(n.spec.DHCP.Range))
	}
	s.dhcpIs = want
	return nil
}

// dhcpSwitch is what the DHCP server asks of ports. It asks under its lock, which
// the manager waits for under its own: so nothing here takes the manager's.
func (m *manager) dhcpSwitch(network string) dhcpd.Switch {
	return dhcpd.Switch{
		PortOf: func(mac frame.MAC) dhcpd.Port {
			key, role, ok := m.sw.Locate(network, mac)
			if !ok {
				return dhcpd.Port{}
			}
			port := shown(key)
			return dhcpd.Port{Name: port, Addr: m.pins.Load().byPort[port], Unlimited: role != dataplane.Guest}
		},
		PinnedTo: func(a netip.Addr) string { return m.pins.Load().byAddr[pinned{network, a}] },
		Gone:     func(port string) bool { return !m.pins.Load().there[port] },
	}
}

func (m *manager) dhcpConfig(n *network, own netip.Prefix) dhcpd.Config {
	d := n.spec.DHCP
	c := dhcpd.Config{
		Network: n.spec.Name, Interface: n.spec.Name, File: m.leaseFile(n.spec.Name),
		Leases: m.leaseRules(n, own), Server: own.Addr(), Router: own.Addr(), DNS: d.DNS,
		Domain: cmp.Or(d.Domain, n.spec.DNS.Domain), MTU: m.mtu(n.spec), Shared: !d.Authoritative.Or(true),
	}
	if d.Router.IsValid() {
		c.Router = d.Router
	}
	if c.Router == config.NoRouter() {
		c.Router = netip.Addr{}
	}
	if len(c.DNS) == 0 && n.spec.DNS.On {
		c.DNS = []netip.Addr{own.Addr()}
	}
	for _, r := range d.Routes {
		c.Routes = append(c.Routes, dhcpd.Route(r))
	}
	return c
}

// leaseRules are a network's, as far as the configuration has them.
func (m *manager) leaseRules(n *network, own netip.Prefix) lease.Config {
	d := n.spec.DHCP
	c := lease.Config{Subnet: own.Masked(), First: d.Range.First, Last: d.Range.Last, Time: d.Lease, PerPort: d.PortLimit}
	if !own.Addr().Is4() { // names alone
		c.Subnet = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	taken := map[string]bool{"": true}
	for _, h := range n.spec.Hosts {
		taken[h.Name] = true
		c.Hosts = append(c.Hosts, lease.Host{Name: h.Name, MAC: h.MAC, Addrs: h.IP})
	}
	for _, name := range []string{gatewayName, m.hostname} {
		if !taken[name] {
			c.Self = append(c.Self, lease.Host{Name: name, Addrs: []netip.Addr{own.Addr()}})
			taken[name] = true
		}
	}
	if c.Self == nil {
		c.Never = []netip.Addr{own.Addr()}
	}
	return c
}

// gatewayName is what the host is called in every network, besides its own name.
const gatewayName = "gateway"

// hostLabel is the host's own name.
func hostLabel() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return lease.Label(name)
}

func (m *manager) serveDNS(n *network, own netip.Prefix) (err error) {
	s := &n.services
	if !n.spec.DNS.On || s.leg.Index == 0 || !own.IsValid() {
		if s.dns != nil {
			err = s.dns.Close()
			s.dns = nil
		}
		return err
	}
	if err := m.nameStations(n, own); err != nil {
		return err
	}
	want := m.dnsConfig(n, own)
	if s.dns != nil && !slices.Equal(want.Addrs, s.dnsIs.Addrs) {
		err, s.dns = s.dns.Close(), nil
	}
	switch {
	case s.dns == nil:
		dns, startErr := dnsd.Start(want, &s.names, m.log)
		if startErr != nil {
			return errors.Join(err, inUse(startErr, "DNS", 53))
		}
		s.dns = dns
		m.log.Info("DNS is served", "network", n.spec.Name, "server", own.Addr(), "domain", want.Domain)
	case !reflect.DeepEqual(want, s.dnsIs):
		if err := s.dns.Configure(want); err != nil {
			return err
		}
		m.log.Info("DNS is served otherwise", "network", n.spec.Name, "server", own.Addr(), "domain", want.Domain)
	}
	s.dnsIs = want
	return err
}

// nameStations gives the DNS server its table.
func (m *manager) nameStations(n *network, own netip.Prefix) error {
	s := &n.services
	if s.dhcp != nil {
		s.names.table.Store(s.dhcp.Table())
		s.rules = lease.Config{}
		return nil
	}
	want := m.leaseRules(n, own)
	if reflect.DeepEqual(want, s.rules) {
		return nil
	}
	t, err := lease.New(want)
	if err != nil {
		return fmt.Errorf("names of network %s: %w", n.spec.Name, err)
	}
	s.names.table.Store(t)
	s.rules = want
	return nil
}

func (m *manager) dnsConfig(n *network, own netip.Prefix) dnsd.Config {
	d := n.spec.DNS
	c := dnsd.Config{
		Network: n.spec.Name, Interface: n.spec.Name,
		Addrs: []netip.Addr{own.Addr()}, Sources: m.sources(n, own), Domain: d.Domain, RebindOK: d.RebindOK,
	}
	if !slices.Contains(d.Upstream, config.NoDNS) {
		c.Upstream = d.Upstream
	}
	return c
}

// sources are the addresses of guests: the subnet, and what ports are told
// besides.
func (m *manager) sources(n *network, own netip.Prefix) []netip.Prefix {
	all := []netip.Prefix{own.Masked()}
	for p := range m.pins.Load().byAddr {
		if p.network == n.spec.Name && !own.Contains(p.addr) {
			all = append(all, netip.PrefixFrom(p.addr, p.addr.BitLen()))
		}
	}
	slices.SortFunc(all[1:], func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return all
}

// inUse says what to do where another server has the port of every address.
func inUse(err error, what string, port int) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return &hinted{err, fmt.Sprintf("another %s server has port %d of every interface (ss -lntup 'sport = %d'); let it listen on its own addresses alone", what, port, port)}
}

func rangeText(r config.Range) string {
	if r == (config.Range{}) {
		return ""
	}
	return r.String()
}

// leaseFile is where a network's leases are. It outlives the daemon, and the
// network where that is only made anew.
func (m *manager) leaseFile(network string) string {
	return filepath.Join(m.stateDir, "dhcp-"+network+".json")
}

// forgetLeases removes the leases of a network that somebody has deleted.
func (m *manager) forgetLeases(network string) {
	if err := os.Remove(m.leaseFile(network)); err != nil && !errors.Is(err, os.ErrNotExist) {
		m.log.Error("leases of a network that is deleted", "network", network, "err", err)
	}
}

package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
)

// serviceFlags are the flags of network add and set about what serves guests.
type serviceFlags struct {
	dhcp          *value[bool]
	dhcpRange     *value[string]
	lease         *value[control.Duration]
	router        *value[string]
	dhcpDNS       *value[[]netip.Addr]
	dhcpDomain    *value[string]
	routes        *value[[]string]
	portLimit     *value[int]
	authoritative *value[bool]

	dns      *value[bool]
	domain   *value[string]
	upstream *value[[]string]
	rebindOK *value[[]string]
}

func addServiceFlags(cmd *cobra.Command) *serviceFlags {
	f := &serviceFlags{
		dhcp: newSwitch(), dhcpRange: newRange(), lease: newLeaseTime(), router: newRouter(),
		dhcpDNS: newDHCPServers(), dhcpDomain: newDHCPDomain(), routes: newRoutes(), portLimit: newPortLimit(), authoritative: newSwitch(),
		dns: newSwitch(), domain: newDNSDomain(), upstream: newUpstream(), rebindOK: newRebindOK(),
	}
	flags := cmd.Flags()
	flags.Var(f.dhcp, "dhcp", "serve guests by DHCP; any other --dhcp-… says so too; =false: no more")
	flags.Var(f.dhcpRange, "dhcp-range", "addresses for guests, as in 192.168.60.100-192.168.60.199; \"\" for none")
	flags.Var(f.lease, "dhcp-lease", "how long an address is leased (default 12h)")
	flags.Var(f.router, "dhcp-router", "the router guests are told (default the host), or none")
	flags.Var(f.dhcpDNS, "dhcp-dns", "the DNS servers guests are told, with commas (default the host, with --dns)")
	flags.Var(f.dhcpDomain, "dhcp-domain", "the domain guests are told (default that of --dns-domain)")
	flags.Var(f.routes, "dhcp-routes", "routes guests are told, with commas, as in \"10.0.0.0/8 via 192.168.60.2\"")
	flags.Var(f.portLimit, "dhcp-port-limit", "how many addresses one port may have (default 16)")
	flags.Var(f.authoritative, "dhcp-authoritative", "nobody else serves the network (default true)")
	flags.Var(f.dns, "dns", "serve guests and the host by DNS; any other --dns-… says so too; =false: no more")
	flags.Var(f.domain, "dns-domain", "the domain of guests' names, as in xen; \"\" for none")
	flags.Var(f.upstream, "dns-upstream", "who knows other names, with commas: system, none, or addresses (default system)")
	flags.Var(f.rebindOK, "dns-rebind-ok", "domains that may lead to private addresses, with commas; \".\" for all")
	for _, name := range []string{"dhcp", "dhcp-authoritative", "dns"} {
		flags.Lookup(name).NoOptDefVal = "true"
		complete(cmd, name, "true", "false")
	}
	complete(cmd, "dns-upstream", config.SystemDNS, config.NoDNS)
	complete(cmd, "dhcp-router", "none")
	for _, free := range []string{"dhcp-range", "dhcp-lease", "dhcp-dns", "dhcp-domain", "dhcp-routes", "dhcp-port-limit", "dns-domain", "dns-rebind-ok"} {
		complete(cmd, free)
	}
	return f
}

// serviceFlagNames are the flags, for anyOf.
func serviceFlagNames() []string {
	return []string{"dhcp", "dhcp-range", "dhcp-lease", "dhcp-router", "dhcp-dns", "dhcp-domain", "dhcp-routes", "dhcp-port-limit",
		"dhcp-authoritative", "dns", "dns-domain", "dns-upstream", "dns-rebind-ok"}
}

// spec puts what was given into s.
func (f *serviceFlags) spec(s *control.NetworkSpec) {
	dhcp := control.DHCPSpec{On: f.dhcp.given, Range: f.dhcpRange.given, Lease: f.lease.given, Router: f.router.given, DNS: f.dhcpDNS.given,
		Domain: f.dhcpDomain.given, Routes: f.routes.given, PortLimit: f.portLimit.given, Authoritative: f.authoritative.given}
	if dhcp != (control.DHCPSpec{}) {
		s.DHCP = &dhcp
	}
	dns := control.DNSSpec{On: f.dns.given, Domain: f.domain.given, Upstream: f.upstream.given, RebindOK: f.rebindOK.given}
	if dns != (control.DNSSpec{}) {
		s.DNS = &dns
	}
}

// check refuses to turn off what other flags set.
func (f *serviceFlags) check(cmd *cobra.Command) error {
	var s control.NetworkSpec
	f.spec(&s)
	if !f.dhcp.or(true) && *s.DHCP != (control.DHCPSpec{On: s.DHCP.On}) {
		return usagef(cmd, "--dhcp=false, and another --dhcp-… that sets something")
	}
	if !f.dns.or(true) && *s.DNS != (control.DNSSpec{On: s.DNS.On}) {
		return usagef(cmd, "--dns=false, and another --dns-… that sets something")
	}
	return nil
}

// fill makes the network of a new one's flags. The texts have been parsed.
func (f *serviceFlags) fill(n *config.Network) {
	var s control.NetworkSpec
	f.spec(&s)
	if s.DHCP != nil && f.dhcp.or(true) {
		n.DHCP = config.NewDHCP()
		if text := f.dhcpRange.or(""); text != "" {
			n.DHCP.Range, _ = config.ParseRange(text)
		}
		if text := f.router.or(""); text != "" {
			n.DHCP.Router, _ = config.ParseRouter(text)
		}
		for _, text := range f.routes.or(nil) {
			r, _ := config.ParseRoute(text)
			n.DHCP.Routes = append(n.DHCP.Routes, r)
		}
	}
	if s.DNS != nil && f.dns.or(true) {
		n.DNS = config.NewDNS()
		n.DNS.Upstream = f.upstream.or(n.DNS.Upstream)
	}
}

// dhcpText is a DHCP server in one line, "" for none.
func dhcpText(d control.DHCP) string {
	if d.Leases == nil {
		return ""
	}
	parts := []string{"lease " + shortTime(time.Duration(d.LeaseS*float64(time.Second))), fmt.Sprintf("port_limit %d", d.PortLimit)}
	if d.Range != "" {
		parts = append([]string{d.Range}, parts...)
	}
	for _, p := range []struct{ key, text string }{
		{"router", d.Router}, {"dns", strings.Join(d.DNS, ",")}, {"domain", d.Domain}, {"routes", strings.Join(d.Routes, ",")},
	} {
		if p.text != "" {
			parts = append(parts, p.key+" "+p.text)
		}
	}
	if d.Authoritative != nil && !*d.Authoritative {
		parts = append(parts, "not authoritative")
	}
	parts = append(parts, fmt.Sprintf("%d leases", *d.Leases))
	if d.Problem != "" {
		parts = append(parts, "("+d.Problem+")")
	}
	return strings.Join(parts, ", ")
}

// shortTime is 12h, not 12h0m0s.
func shortTime(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// dnsText is a DNS server in one line, "" for none.
func dnsText(d control.DNS) string {
	if d.Upstream == nil {
		return ""
	}
	parts := []string{"upstream " + strings.Join(d.Upstream, ",")}
	if d.Domain != "" {
		parts = append([]string{"domain " + d.Domain}, parts...)
	}
	if d.RebindOK != nil {
		parts = append(parts, "rebind_ok "+strings.Join(d.RebindOK, ","))
	}
	if d.Problem != "" {
		parts = append(parts, "("+d.Problem+")")
	}
	return strings.Join(parts, ", ")
}

// The flags' values are checked as those of a file are.

func checkDHCP(set func(*config.DHCP)) error {
	return checkNetwork(func(n *config.Network) {
		n.Address = netip.MustParsePrefix("192.168.60.1/24")
		n.DHCP = config.NewDHCP()
		set(&n.DHCP)
	})
}

func checkDNS(set func(*config.DNS)) error {
	return checkNetwork(func(n *config.Network) {
		n.Address = netip.MustParsePrefix("192.168.60.1/24")
		n.DNS = config.NewDNS()
		set(&n.DNS)
	})
}

func newRange() *value[string] {
	return &value[string]{kind: "A-B", parse: func(s string) (string, error) {
		if s == "" {
			return s, nil
		}
		_, err := config.ParseRange(s)
		return s, err
	}}
}

func newLeaseTime() *value[control.Duration] {
	return &value[control.Duration]{kind: "TIME", parse: func(s string) (control.Duration, error) {
		var d control.Duration
		err := d.UnmarshalText([]byte(s))
		if err == nil {
			err = checkDHCP(func(c *config.DHCP) { c.Lease = time.Duration(d) })
		}
		return d, err
	}}
}

func newRouter() *value[string] {
	return &value[string]{kind: "ADDRESS", parse: func(s string) (string, error) {
		if s == "" {
			return s, nil
		}
		_, err := config.ParseRouter(s)
		return s, err
	}}
}

func newDHCPServers() *value[[]netip.Addr] {
	ips := newIPs()
	return &value[[]netip.Addr]{kind: ips.kind, parse: func(s string) ([]netip.Addr, error) {
		all, err := ips.parse(s)
		if err == nil {
			err = checkDHCP(func(c *config.DHCP) { c.DNS = all })
		}
		return all, err
	}}
}

func newDHCPDomain() *value[string] {
	return &value[string]{kind: "DOMAIN", parse: func(s string) (string, error) {
		return s, checkDHCP(func(c *config.DHCP) { c.Domain = s })
	}}
}

func newDNSDomain() *value[string] {
	return &value[string]{kind: "DOMAIN", parse: func(s string) (string, error) {
		return s, checkDNS(func(c *config.DNS) { c.Domain = s })
	}}
}

func newRoutes() *value[[]string] {
	return &value[[]string]{kind: "ROUTES", parse: func(s string) ([]string, error) {
		all := words(s)
		for i := range all {
			all[i] = strings.TrimSpace(all[i])
			if _, err := config.ParseRoute(all[i]); err != nil {
				return nil, err
			}
		}
		return all, nil
	}}
}

func newPortLimit() *value[int] {
	return &value[int]{kind: "ADDRESSES", parse: func(s string) (int, error) {
		n, err := wholeNumber(s)
		if err == nil {
			err = checkDHCP(func(c *config.DHCP) { c.PortLimit = n })
		}
		return n, err
	}}
}

func newUpstream() *value[[]string] {
	return &value[[]string]{kind: "SERVERS", parse: func(s string) ([]string, error) {
		all := words(s)
		if len(all) == 0 {
			return all, nil // the default
		}
		return all, checkDNS(func(c *config.DNS) { c.Upstream = all })
	}}
}

func newRebindOK() *value[[]string] {
	return &value[[]string]{kind: "DOMAINS", parse: func(s string) ([]string, error) {
		all := words(s)
		return all, checkDNS(func(c *config.DNS) { c.RebindOK = all })
	}}
}

// words are texts with commas between them; none in "".
func words(s string) []string {
	if s == "" {
		return []string{}
	}
	return strings.Split(s, ",")
}

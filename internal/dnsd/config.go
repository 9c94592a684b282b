package dnsd

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// System is the word for the servers of the host's resolv.conf.
const System = "system"

// Config is one network's server.
type Config struct {
	Network   string // its name, for messages
	Interface string // the host's leg

	Addrs    []netip.Addr   // of the leg; the server has port 53 of each
	Sources  []netip.Prefix // the guests' addresses
	Domain   string         // in which stations have their names; "" for none
	Upstream []string       // addresses, with a port or without, or System
	RebindOK []string       // domains that may lead to private addresses; "." for all

	// ResolvConf is what System means; "" for /etc/resolv.conf.
	ResolvConf string
}

// Names is what a network knows of its stations. Names are single labels in
// lower case.
type Names interface {
	// Addrs are a station's; ok is false where there is no such name.
	Addrs(name string) (addrs []netip.Addr, ok bool)
	// NameOf is the name of the station with the address, "" for none.
	NameOf(netip.Addr) string
}

// view is a Config made ready.
type view struct {
	Config
	domain   string // canonical: lower case, with the last dot; "" for none
	rebindOK []string
	static   []netip.AddrPort
	system   bool
}

const port = 53

func newView(c Config) (*view, error) {
	v := &view{Config: c}
	if v.ResolvConf == "" {
		v.ResolvConf = "/etc/resolv.conf"
	}
	if len(c.Addrs) == 0 {
		return nil, errors.New("no address of the host on this network; give the network an address")
	}
	if c.Domain != "" {
		v.domain = dns.CanonicalName(c.Domain)
		if _, ok := dns.IsDomainName(c.Domain); !ok || v.domain == "." {
			return nil, fmt.Errorf("domain %q: is no domain name, as in xen or lab.example.org", c.Domain)
		}
	}
	for _, d := range c.RebindOK {
		if _, ok := dns.IsDomainName(d); !ok {
			return nil, fmt.Errorf("domain %q: is no domain name", d)
		}
		v.rebindOK = append(v.rebindOK, dns.CanonicalName(d))
	}
	for _, u := range c.Upstream {
		if u == System {
			v.system = true
			continue
		}
		a, err := ParseServer(u)
		if err != nil {
			return nil, err
		}
		v.static = append(v.static, a)
	}
	return v, nil
}

// ParseServer reads the address of a server, with a port or without.
func ParseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return netip.AddrPortFrom(a, port), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil || a.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("upstream %q: want %q or an address, as in 192.0.2.53 or [2001:db8::53]:5353", s, System)
	}
	return a, nil
}

// under reports whether the name is the domain or lies below it. Both are
// canonical.
func under(name, domain string) bool {
	return domain == "." || name == domain || strings.HasSuffix(name, "."+domain)
}

package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/internal/frame"
)

// A lease is long enough for a server that has to answer its renewal, and short
// enough to end one day.
const (
	minLease = time.Second
	maxLease = 365 * 24 * time.Hour
)

// maxPortLimit is for a port with a network of its own behind it.
const maxPortLimit = 1 << 16

func dhcpKeys() []key[DHCP] {
	return []key[DHCP]{
		field("range", func(d *DHCP) *Range { return &d.Range }, worded[Range]{parseRange, "192.168.60.100-192.168.60.199"}, optional),
		field("lease", func(d *DHCP) *time.Duration { return &d.Lease }, duration{minLease, maxLease}, defaulted),
		field("router", func(d *DHCP) *netip.Addr { return &d.Router }, router{}, optional),
		listField("dns", func(d *DHCP) *[]netip.Addr { return &d.DNS }, list[netip.Addr]{ipv4Address{}, `"192.168.60.1"`}),
		field("domain", func(d *DHCP) *string { return &d.Domain }, text[string]{validDomain}, optional),
		listField("routes", func(d *DHCP) *[]Route { return &d.Routes }, list[Route]{worded[Route]{parseRoute, "10.0.0.0/8 via 192.168.60.2"}, `"10.0.0.0/8 via 192.168.60.2"`}),
		field("port_limit", func(d *DHCP) *int { return &d.PortLimit }, number[int]{1, maxPortLimit}, defaulted),
		field("authoritative", func(d *DHCP) *Toggle { return &d.Authoritative }, toggle{}, optional),
	}
}

func dnsKeys() []key[DNS] {
	return []key[DNS]{
		field("domain", func(d *DNS) *string { return &d.Domain }, text[string]{validDomain}, optional),
		fieldOf("upstream", func(d *DNS) *[]string { return &d.Upstream }, list[string]{text[string]{validUpstream}, `"system"`},
			func([]string) bool { return false }, defaulted, upstreamFits),
		listField("rebind_ok", func(d *DNS) *[]string { return &d.RebindOK }, list[string]{text[string]{validRebind}, `"example.org"`}),
	}
}

func hostKeys() []key[Host] {
	return []key[Host]{
		field("name", func(h *Host) *string { return &h.Name }, text[string]{validHostName}, optional),
		field("mac", func(h *Host) *frame.MAC { return &h.MAC }, station{}, optional),
		fieldOf("ip", func(h *Host) *[]netip.Addr { return &h.IP }, oneOrMore[netip.Addr]{list[netip.Addr]{guestAddress{}, `"10.20.0.10"`}},
			func(all []netip.Addr) bool { return len(all) == 0 }, optional),
	}
}

func dhcpKey() key[Network] {
	k := tableKey("dhcp", func(n *Network) *DHCP { return &n.DHCP }, func(d *DHCP) bool { return d.On }, NewDHCP, dhcpKeys(), `dhcp = { lease = "12h" }`, dhcpFits)
	k.asks = "address"
	return k
}

func dnsKey() key[Network] {
	k := tableKey("dns", func(n *Network) *DNS { return &n.DNS }, func(d *DNS) bool { return d.On }, NewDNS, dnsKeys(), `dns = { domain = "xen" }`, dnsFits)
	k.asks = "address"
	return k
}

// tableKey is a key that is a table with keys of its own. One that is left out is
// not on.
func tableKey[T, S any](name string, at func(*T) *S, on func(*S) bool, start func() S, keys []key[S], example string, rules ...func(*T) Errors) key[T] {
	return key[T]{
		name: name,
		read: func(t *T, n *node) Errors {
			if n.kind != unstable.Table {
				return problem("want a table, not %s", describe(n)).hint("as in %s", example).alone()
			}
			s := start()
			errs, _ := readTable(n, keys, &s)
			if errs == nil {
				*at(t) = s
			}
			return errs
		},
		check: func(t *T) Errors {
			if !on(at(t)) {
				return nil
			}
			errs := checkTable(keys, at(t), nil)
			for _, rule := range rules {
				if errs == nil {
					errs = rule(t)
				}
			}
			return errs
		},
		inherit: func(t, from *T) { *at(t) = *at(from) },
		show: func(t, _ *T) string {
			if !on(at(t)) {
				return ""
			}
			return showTable(keys, at(t))
		},
	}
}

// hostKey is the list of tables that a network's hosts are.
func hostKey() key[Network] {
	return key[Network]{
		name: "host",
		asks: "address",
		read: func(n *Network, list *node) (errs Errors) {
			if list.kind != unstable.Array {
				return problem("want tables [[network.NAME.host]], not %s", describe(list)).hint("in two brackets it begins an entry").alone()
			}
			for i, c := range list.list {
				step := strconv.Itoa(i)
				if c.kind != unstable.Table {
					errs = append(errs, problem("want a table, not %s", describe(c)).hint(`as in host = [{ name = "web1", mac = "00:16:3e:11:22:33" }]`).below(step, ""))
					continue
				}
				var h Host
				if name := c.table["name"]; name != nil && name.kind == unstable.String {
					h.Name = name.text // right or wrong, messages say it
				}
				bad, _ := readTable(c, hostKeys(), &h)
				for _, e := range bad {
					errs = append(errs, e.below(step, h.path()))
				}
				n.Hosts = append(n.Hosts, h)
			}
			return errs
		},
		check: func(n *Network) (errs Errors) {
			for i := range n.Hosts {
				h := &n.Hosts[i]
				bad := checkTable(hostKeys(), h, nil)
				if bad == nil {
					bad = n.hostFits(i).alone()
				}
				for _, e := range bad {
					errs = append(errs, e.below(strconv.Itoa(i), h.path()))
				}
			}
			return errs
		},
		inherit: func(n, from *Network) { n.Hosts = from.Hosts },
		show: func(n, _ *Network) string {
			if len(n.Hosts) == 0 {
				return ""
			}
			var all []string
			for i := range n.Hosts {
				all = append(all, "\n  "+showTable(hostKeys(), &n.Hosts[i]))
			}
			return "[" + strings.Join(all, ",") + ",\n]"
		},
	}
}

// path is how a message names the host below its network.
func (h Host) path() string {
	if h.Name == "" {
		return ""
	}
	return keyPath(h.Name)
}

// showTable is a table in one line.
func showTable[T any](keys []key[T], t *T) string {
	var all []string
	for _, k := range keys {
		if v := k.show(t, new(T)); v != "" {
			all = append(all, k.name+" = "+v)
		}
	}
	if all == nil {
		return "{}"
	}
	return "{ " + strings.Join(all, ", ") + " }"
}

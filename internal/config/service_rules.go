package config

import (
	"net/netip"
	"slices"
)

// minDHCPMTU is what every client takes without a word (RFC 2131, section 2).
const minDHCPMTU = 576

// dhcpFits holds a DHCP server to its network. Where the host gives a routed
// network its address, only the daemon can say more.
func dhcpFits(n *Network) Errors {
	d := &n.DHCP
	if !n.Mode.Supported() {
		return nil
	}
	if !n.Address.IsValid() {
		switch {
		case n.Mode != Routed:
			return problem("a DHCP server needs an address of the host's own on the network").hint(`as in address = "192.168.60.1/24"`).alone()
		case d.Range != Range{}:
			return problem("a range needs a subnet that is the network's own").hint(`as in address = "203.0.113.17/28"; without one, each port's ip is what its guest gets`).below("range", "range").alone()
		}
		return nil
	}
	if !n.Address.Addr().Is4() {
		return problem("a DHCP server needs an IPv4 address of the host's own, and %s is none", n.Address).alone()
	}
	if n.MTU != 0 && n.MTU < minDHCPMTU {
		return problem("a DHCP server needs an MTU of %d or more, and the network's is %d", minDHCPMTU, n.MTU).alone()
	}
	var errs Errors
	add := func(key string, e *Error) {
		if e != nil {
			errs = append(errs, e.below(key, key))
		}
	}
	if (d.Range != Range{}) {
		add("range", n.rangeFits(d.Range))
	}
	if d.Router.IsValid() && d.Router != NoRouter() {
		add("router", n.neighbour(d.Router))
	}
	for _, r := range d.Routes {
		add("routes", n.neighbour(r.Via))
	}
	return errs
}

// rangeFits holds the range to the subnet.
func (n *Network) rangeFits(r Range) *Error {
	subnet, own := n.Address.Masked(), n.Address.Addr()
	for _, a := range []netip.Addr{r.First, r.Last} {
		if !subnet.Contains(a) {
			return problem("%s of the range %s lies outside the subnet %s", a, r, subnet)
		}
		if e := n.hostsOwn(a); e != nil && a != own {
			return e
		}
	}
	if !own.Less(r.First) && !r.Last.Less(own) {
		return problem("the range %s goes over %s, the host's own address", r, own).hint("let it begin after that, or end before")
	}
	return nil
}

// neighbour refuses an address that guests of the network can't reach by itself.
func (n *Network) neighbour(a netip.Addr) *Error {
	if subnet := n.Address.Masked(); !subnet.Contains(a) {
		return problem("%s lies outside the subnet %s: guests could not reach it", a, subnet)
	}
	return nil
}

// hostsOwn refuses an address of the subnet that no guest can have.
func (n *Network) hostsOwn(a netip.Addr) *Error {
	if a == n.Address.Addr() {
		return problem("%s is the host's own address on the network", a)
	}
	if subnet := n.Address.Masked(); a.Is4() && subnet.Contains(a) {
		if e := checkAddress(netip.PrefixFrom(a, subnet.Bits())); e != nil {
			return problem("%s is no host's address in the subnet %s", a, subnet)
		}
	}
	return nil
}

// dnsFits holds a DNS server to its network.
func dnsFits(n *Network) Errors {
	if !n.Mode.Supported() {
		return nil
	}
	if !n.Address.IsValid() {
		if n.Mode == Routed {
			return nil
		}
		return problem("a DNS server needs an address of the host's own on the network").hint(`as in address = "192.168.60.1/24"`).alone()
	}
	for _, u := range n.DNS.Upstream {
		if a, err := netip.ParseAddr(u); err == nil && a == n.Address.Addr() {
			return problem("%s is the server itself", u).hint("%q is what the host itself asks", SystemDNS).below("upstream", "upstream").alone()
		}
	}
	return nil
}

// upstreamFits wants somebody, or nobody in so many words.
func upstreamFits(d *DNS) *Error {
	switch {
	case len(d.Upstream) == 0:
		return problem("the list is empty").hint("leave the key out for %q, or write [%q]", SystemDNS, NoDNS)
	case len(d.Upstream) > 1 && slices.Contains(d.Upstream, NoDNS):
		return problem("%q stands alone, or not at all", NoDNS)
	}
	return nil
}

// hostFits holds the i-th host to the network and to those before it.
func (n *Network) hostFits(i int) *Error {
	h := &n.Hosts[i]
	said := 0
	for _, is := range []bool{h.Name != "", !h.MAC.IsZero(), len(h.IP) > 0} {
		if is {
			said++
		}
	}
	if said < 2 {
		return problem("a host is two at least of name, mac and ip").hint(`as in name = "web1", mac = "00:16:3e:11:22:33"`)
	}
	for _, a := range h.IP {
		if e := n.hostsOwn(a); e != nil {
			return e.below("ip", "ip")
		}
		if n.Address.IsValid() && n.Address.Addr().Is4() && a.Is4() && n.Mode != Routed && !n.Address.Contains(a) {
			return problem("%s lies outside the subnet %s", a, n.Address.Masked()).below("ip", "ip")
		}
	}
	for _, o := range n.Hosts[:i] {
		switch {
		case h.Name != "" && h.Name == o.Name:
			return problem("there is a host of that name already").below("name", "name")
		case !h.MAC.IsZero() && h.MAC == o.MAC:
			return problem("%s is the MAC address of another host%s", h.MAC, o.called()).below("mac", "mac")
		}
		for _, a := range h.IP {
			if slices.Contains(o.IP, a) {
				return problem("%s is the address of another host%s", a, o.called()).below("ip", "ip")
			}
		}
	}
	return nil
}

// called is the host's name after a comma, if it has one.
func (h *Host) called() string {
	if h.Name == "" {
		return ""
	}
	return ", " + word(h.Name)
}

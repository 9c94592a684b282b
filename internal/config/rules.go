package config

import (
	"net/netip"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a single value or a single object must be. A rule that asks for the mode
// is silent where the mode itself is wrong: that has been said.

const (
	maxIfName  = 15 // IFNAMSIZ - 1, netdevice(7)
	maxPattern = 64
	maxLabel   = 64 // runes
	maxGroup   = 32 // groupadd(8)
)

// notEmpty leaves it to ValidatePorts to say whether there is such a network.
func notEmpty(s string) *Error {
	if s == "" {
		return problem("the text is empty")
	}
	return nil
}

func validGroup(s string) *Error {
	switch {
	case s == "":
		return problem("the name of the group is empty").hint("leave the key out for %q", DefaultGroup)
	case len(s) > maxGroup:
		return problem("%s is longer than the %d bytes a group's name may have", quote(s), maxGroup)
	}
	return odd(s, ":,/", "the name of a group")
}

func validMode(s string) *Error {
	switch m := Mode(s); {
	case m.Supported():
		return nil
	}
	return problem("unknown mode %s", quote(s)).
		hint("%s", didYouMean(s, []string{string(Bridged), string(HostOnly), string(Isolated), string(Routed), string(NAT)}))
}

// validNetwork holds a name to its alphabet, which is narrower than the
// kernel's: a host interface and directories under /proc/sys/net bear it.
func validNetwork(s string) *Error {
	const want = "1 to 15 of a-z, 0-9, dot, underscore and hyphen"
	bad := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	switch {
	case s == "":
		return problem("the name of the network is empty").hint(want)
	case s == "all" || s == "default":
		return problem("no network can be named %s: the kernel keeps the settings of every interface under that name", s).
			hint("see /proc/sys/net/ipv4/conf/%s", s)
	case s == "lo":
		return problem("no network can be named lo: that is the loopback interface")
	case s == "." || s == "..":
		return problem("no network can be named %q: its interface is a directory in /sys/class/net", s)
	case len(s) > maxIfName:
		return problem("the name has %d bytes, and an interface's at most %d", len(s), maxIfName).hint(want)
	case strings.ContainsFunc(s, bad):
		e := problem("the name has a character no network's name may have").hint(want)
		if l := strings.ToLower(s); !strings.ContainsFunc(l, bad) {
			e = e.hint("write %s", quote(l))
		}
		return e
	}
	return nil
}

// validInterface is the kernel's dev_valid_name, and text that TOML can hold.
func validInterface(s string) *Error {
	switch {
	case s == "" || s == "." || s == "..":
		return problem("%q is not the name of an interface", s)
	case len(s) > maxIfName:
		return problem("%s has %d bytes, and an interface's name at most %d", quote(s), len(s), maxIfName)
	}
	return odd(s, "/:", "the name of an interface")
}

func validPattern(s string) *Error {
	if name, ok := literal(s); ok {
		return validInterface(name)
	}
	if len(s) > maxPattern {
		return problem("%s is longer than %d bytes", quote(s), maxPattern)
	}
	if e := odd(s, "/:", "the name of an interface"); e != nil {
		return e
	}
	if _, err := path.Match(s, ""); err != nil {
		return problem("%s is not a shell pattern", quote(s)).
			hint(`* any text, ? any character, [a-z] one of these; every [ needs its ]`)
	}
	return nil
}

func validLabel(s string) *Error {
	if n := utf8.RuneCountInString(s); n > maxLabel {
		return problem("the label has %d characters, and at most %d fit", n, maxLabel)
	}
	for i, r := range s {
		if _, n := utf8.DecodeRuneInString(s[i:]); !unicode.IsPrint(r) || r == utf8.RuneError && n == 1 {
			return problem("%s has an unprintable character", quote(s))
		}
	}
	return nil
}

// odd refuses what does not print, white space, and the characters of the list.
func odd(s, list, what string) *Error {
	for i, r := range s {
		_, n := utf8.DecodeRuneInString(s[i:])
		if !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == utf8.RuneError && n == 1 || strings.ContainsRune(list, r) {
			return problem("%s has %s, which %s cannot have", quote(s), quote(s[i:i+n]), what)
		}
	}
	return nil
}

// literal is the one name a pattern matches, if there is just one.
func literal(pattern string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*', '?', '[':
			return "", false
		case '\\':
			i++
			if i == len(pattern) {
				return "", false // not a pattern at all
			}
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), true
}

// checkAddress is about a machine's own address on a subnet.
func checkAddress(p netip.Prefix) *Error {
	if !p.IsValid() {
		return problem("the address is not valid")
	}
	a, bits, last := p.Addr(), p.Bits(), p.Addr().BitLen()-1
	switch {
	case a.Is4In6():
		return problem("%s is an IPv4 address in IPv6's clothes", p).hint("write the IPv4 address, as in %s/24", a.Unmap())
	case bits == 0:
		return problem("the prefix length of %s makes every address there is a neighbour", p)
	}
	if e := noStation(a, p.String()); e != nil {
		return e
	}
	switch {
	case bits >= last: // RFC 3021, RFC 6164: both addresses of two are hosts'
		return nil
	case a == p.Masked().Addr():
		what := "the address of the network itself"
		if a.Is6() {
			what = "the subnet's anycast address (RFC 4291, 2.6.1)"
		}
		return problem("%s is %s, not a host's", p, what).hint("as in %s", netip.PrefixFrom(a.Next(), bits))
	case a.Is4() && !p.Contains(a.Next()):
		return problem("%s is the broadcast address of its network, not a host's", p).
			hint("as in %s", netip.PrefixFrom(p.Masked().Addr().Next(), bits))
	}
	return nil
}

// noStation is about an address that no machine has, whatever the subnet; text
// is how it was written.
func noStation(a netip.Addr, text string) *Error {
	switch {
	case a.IsUnspecified():
		return problem("%s is not an address but the lack of one", text)
	case a.IsMulticast():
		return problem("%s is a multicast address, not a host's", text)
	case a.IsLoopback():
		return problem("%s is a loopback address: it never leaves the host", text)
	case a.Is4() && a.As4()[0] == 0:
		return problem("%s lies in 0.0.0.0/8, which is no host's (RFC 1122, 3.2.1.3)", text)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return problem("%s is the broadcast address, not a host's", text)
	}
	return nil
}

// uplinkFits holds the uplink to the mode.
func uplinkFits(n *Network) *Error {
	switch {
	case !n.Mode.Supported():
	case n.Mode.NeedsUplink() && n.Uplink == "":
		return problem("the key is missing: %s network is joined to a NIC", n.Mode.article()).hint(`as in uplink = "eth0"`)
	case !n.Mode.NeedsUplink() && n.Uplink != "":
		reach := "each other and the host"
		if n.Mode == Isolated {
			reach = "each other"
		}
		return problem("%s network has no uplink: its guests reach %s, nothing outside", n.Mode.article(), reach).
			hint("leave the key out, or write mode = %q", Bridged)
	case n.Uplink != "" && n.Uplink == n.Name:
		return problem("%s is the network's own name: its uplink is another interface", word(n.Uplink))
	}
	return nil
}

// uplinkVLANFits lets a network have one VLAN of a trunk or a choice of them.
func uplinkVLANFits(n *Network) *Error {
	if n.UplinkVLAN == 0 || n.VLAN.IsZero() {
		return nil
	}
	return problem("the network has vlan too, and one of them alone can hold").
		hint("choose uplink_vlan for one VLAN of the uplink, untagged in the network, or vlan for several, with their tags")
}

// takeoverFits: what the host has on a NIC is untagged there.
func takeoverFits(n *Network) *Error {
	if !n.Takeover || n.UplinkVLAN == 0 {
		return nil
	}
	return problem("the network is one VLAN of the uplink, and the host's addresses are not in it").
		hint("the network that takes over a NIC is the one without uplink_vlan")
}

// addressFits holds the address to the mode.
func addressFits(n *Network) *Error {
	switch {
	case n.Mode == NAT && !n.Address.IsValid():
		return problem("the key is missing: a nat network has addresses of its own, and the first is its gateway's").hint(`as in address = "10.20.0.1/24"`)
	case n.Mode.HasGateway() && n.Address.Addr().Is6():
		return problem("%s is no IPv4 address, and a gateway routes IPv4 alone", n.Address).hint("guests have IPv6 in a bridged network")
	case n.Mode.HasGateway() && n.Address.IsValid() && n.Address.IsSingleIP():
		return problem("%s leaves no address for a guest", n.Address).hint("as in %s", netip.PrefixFrom(n.Address.Addr(), 24))
	}
	if !n.Address.IsValid() || !n.Mode.Supported() || n.Mode.HasHostLeg() {
		return nil
	}
	e := problem("%s network has no host interface to bear an address", n.Mode.article())
	if n.Mode == Bridged && n.Takeover {
		return problem("a bridged network with takeover has the uplink's addresses, and none of its own").hint("ip addr add %s dev %s adds one", n.Address, n.Uplink)
	}
	if n.Mode == Bridged {
		return e.hint("the host keeps its address on the uplink")
	}
	return e.hint("leave the key out, or write mode = %q", HostOnly)
}

// natAddressFits holds the address that guests have outside to the network.
func natAddressFits(n *Network) *Error {
	if n.NATAddress.IsValid() && n.Address.Masked().Contains(n.NATAddress) {
		return problem("%s is one of the guests' own addresses, %s", n.NATAddress, n.Address.Masked()).hint("it is an address of the uplink's side")
	}
	return nil
}

// names of the things in a list, for suggestions.
func names[T any](list []T, name func(T) string) []string {
	var all []string
	for _, t := range list {
		all = append(all, name(t))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

package xen

import (
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

const (
	maxIfName = 15 // IFNAMSIZ - 1, netdevice(7)

	// Of netback's interface: ETH_MIN_MTU, and ETH_MAX_MTU less a tagged header
	// (drivers/net/xen-netback/interface.c).
	minMTU = 68
	maxMTU = 65535 - 18
)

func parseMAC(to *frame.MAC) parser {
	return func(s string) *ValueError {
		const hint = "write mac= as in mac=00:16:3e:11:22:33, or leave it out for an address that xl chooses"
		m, err := frame.ParseMAC(s)
		switch {
		case err != nil:
			return wrong(hint, "not a MAC address: want six hexadecimal octets")
		case m.IsZero():
			return wrong(hint, "the null address, which no station may have")
		case m.IsMulticast():
			return wrong(hint, "a group address, which no station may have: the lowest bit of the first octet is set")
		}
		*to = m
		return nil
	}
}

// same holds a key to the value that the vif's own number makes it.
func same(want string) parser {
	return func(s string) *ValueError {
		if s != want {
			return wrong("destroy the domain and create it anew", "want %s, which is what belongs to this vif", quote(want))
		}
		return nil
	}
}

func parseType(emulated *bool) parser {
	return func(s string) *ValueError {
		if s != "vif" && s != "vif_ioemu" {
			return wrong("write type=vif or type=ioemu, or leave it out", "no such type: want vif or vif_ioemu")
		}
		*emulated = s == "vif_ioemu"
		return nil
	}
}

// parseBridge holds a network's name to the alphabet that the configuration
// gives it. An empty one is none.
func parseBridge(to *string) parser {
	return func(s string) *ValueError {
		const hint = "write bridge= with the name of a network, which gxswitch network list shows"
		bad := func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
		}
		switch {
		case s == "":
			return nil
		case len(s) > maxIfName:
			return wrong(hint, "the name has %d bytes, and a network's at most %d", len(s), maxIfName)
		case s == "." || s == ".." || strings.ContainsFunc(s, bad):
			return wrong(hint, "no network can be named that: want a-z, 0-9, dot, underscore and hyphen")
		}
		*to = s
		return nil
	}
}

// parseIPs reads addresses with blanks between them. The length of a prefix is
// taken where it says no more than the address does.
func parseIPs(to *[]netip.Addr) parser {
	return func(s string) *ValueError {
		const hint = "write ip= with the guest's own addresses and blanks between them, as in ip=10.0.0.5 2001:db8::5"
		var all []netip.Addr
		for _, word := range strings.Fields(s) {
			text, prefix, split := strings.Cut(word, "/")
			a, err := netip.ParseAddr(text)
			switch {
			case err != nil || a.Zone() != "":
				return wrong(hint, "%s is not an IP address", quote(word))
			case a.Is4In6():
				return wrong("write "+a.Unmap().String(), "%s is an IPv4 address in the form of an IPv6 one", quote(word))
			case split && prefix != strconv.Itoa(a.BitLen()):
				return wrong("write ip="+a.String()+", without a prefix", "%s is a whole subnet or more than an address", quote(word))
			case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
				return wrong(hint, "%s is an address that no guest can have", quote(word))
			}
			if !slices.Contains(all, a) {
				all = append(all, a)
			}
		}
		*to = all
		return nil
	}
}

func parseVLAN(to *vlan.Set) parser {
	return func(s string) *ValueError {
		set, err := vlan.Parse(s)
		if e, ok := errors.AsType[*vlan.Error](err); ok {
			return wrong(e.Hint, "character %d: %s", e.Pos, e.Msg)
		} else if err != nil {
			return wrong("write vlan= as in vlan=10 or vlan=10p/20", "%v", err)
		}
		*to = set
		return nil
	}
}

// parseRate reads what xl makes of rate=, the bytes that may pass in each
// interval and the interval's microseconds. xl writes 0 bytes for a rate that
// comes to less than one, and netback would then pass nothing.
func parseRate(to *shaping.Limit) parser {
	return func(s string) *ValueError {
		const hint = "write rate= as in rate=100Mb/s or rate=100Mb/s@20ms"
		before, after, split := strings.Cut(s, ",")
		if !split || !digits(before) || !digits(after) {
			return wrong(hint, "not a rate: want bytes and microseconds, with a comma between them")
		}
		bytes, err := strconv.ParseUint(before, 10, 64)
		if err != nil {
			return wrong(hint, "the bytes of an interval are more than %d", uint64(math.MaxUint64))
		}
		usec, err := strconv.ParseUint(after, 10, 32)
		switch {
		case err != nil:
			return wrong(hint, "the interval is longer than %d µs", math.MaxUint32)
		case usec == 0:
			return wrong(hint, "the interval is 0 µs")
		case bytes == 0:
			return wrong("give rate= a higher rate or a longer interval",
				"the rate is less than a byte in each interval of %d µs, and nothing would pass", usec)
		}
		*to = shaping.FromCredit(bytes, uint32(usec))
		return nil
	}
}

func parseMTU(to *int) parser {
	return func(s string) *ValueError {
		n, ok := parseNumber(s, minMTU, maxMTU)
		if !ok {
			return wrong("write mtu= as in mtu=1500, or leave it out for the network's", "not an MTU: want %d to %d", minMTU, maxMTU)
		}
		*to = n
		return nil
	}
}

// parseVifName reads the name that the vif's interface is to have. v has its ID
// and Emulated already.
func parseVifName(to *string, v *Vif) parser {
	return func(s string) *ValueError {
		const hint = "write vifname= with up to 15 letters, digits, dots, underscores and hyphens, or leave it out"
		e := interfaceName(s, hint)
		_, _, theirs := ParseInterface(s)
		switch {
		case s == "":
			return nil
		case e != nil:
			return e
		case theirs && s != v.ID.String():
			// The domain of that number may come tomorrow, and find its name taken.
			return wrong(hint, "the name is that of another domain's vif, or of its tap")
		case v.Emulated && len(s) > maxIfName-len(emulated):
			return wrong("write vifname= with at most "+strconv.Itoa(maxIfName-len(emulated))+" characters",
				"the name of the emulated NIC's tap, %s, is longer than an interface's may be", quote(s+emulated))
		}
		*to = s
		return nil
	}
}

func parseGatewayDev(to *string) parser {
	return func(s string) *ValueError {
		if s == "" {
			return nil
		}
		*to = s
		return interfaceName(s, "write gatewaydev= with the name of an interface, or leave it out")
	}
}

// interfaceName holds a name to less than the kernel does (dev_valid_name): no
// blank, no slash or colon, no % for a number, and nothing that a shell, a log
// or a terminal would take for something else.
func interfaceName(s, hint string) *ValueError {
	bad := func(r rune) bool { return !inName(r) && r != '.' && r != '+' }
	switch {
	case len(s) > maxIfName:
		return wrong(hint, "the name has %d bytes, and an interface's at most %d", len(s), maxIfName)
	case s == "" || s == "." || s == ".." || s[0] == '-' || strings.ContainsFunc(s, bad):
		return wrong(hint, "no interface can be named that")
	}
	return nil
}

func parseScript(to *string) parser {
	return func(s string) *ValueError {
		*to = s
		return plain(s, maxPath)
	}
}

// parseVM reads where xenstore describes the domain, /vm/UUID.
func parseVM(to *string) parser {
	return func(s string) *ValueError {
		name, ok := strings.CutPrefix(s, "/vm/")
		if !ok || name == "" || len(s) > 100 || strings.ContainsFunc(name, func(r rune) bool { return !inName(r) }) {
			return wrong("destroy the domain and create it anew", "not where xl describes a domain: want /vm/UUID")
		}
		*to = s
		return nil
	}
}

func parseUUID(to *string) parser {
	return func(s string) *ValueError {
		s = strings.ToLower(s)
		parts := strings.Split(s, "-")
		form := []int{8, 4, 4, 4, 12}
		ok := slices.EqualFunc(parts, form, func(part string, n int) bool {
			_, err := hex.DecodeString(part)
			return len(part) == n && err == nil
		})
		if !ok {
			return wrong("give the domain a uuid= as in 01234567-89ab-cdef-0123-456789abcdef", "not a UUID")
		}
		*to = s
		return nil
	}
}

func parseDomain(to *string) parser {
	return func(s string) *ValueError {
		*to = s
		if s == "" {
			return wrong("give the domain a name with xl rename", "the domain has no name")
		}
		return plain(s, 255)
	}
}

// plain is text for people: it can't forge a line of a log.
func plain(s string, most int) *ValueError {
	const hint = "write it with printable characters alone"
	switch {
	case len(s) > most:
		return wrong("write a shorter one", "it has %d bytes, and %d are the most", len(s), most)
	case !utf8.ValidString(s):
		return wrong(hint, "it is not UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return wrong(hint, "it has a character that can't be shown")
	}
	return nil
}

// digits reports whether s is a number without a sign.
func digits(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

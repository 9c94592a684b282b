package config

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/internal/filter"
)

// XenMode says whether vifs wait for Xen's hotplug script.
type XenMode string

// The modes.
const (
	XenAuto XenMode = "auto" // if there is a xenstore
	XenOn   XenMode = "on"
	XenOff  XenMode = "off"
)

func validXen(s string) *Error {
	all := []string{string(XenAuto), string(XenOn), string(XenOff)}
	if slices.Contains(all, s) {
		return nil
	}
	return problem("%s is none of its values", quote(s)).hint("%s", didYouMean(s, all))
}

// Match is one virtual NIC of a Xen domain, whatever number the domain has
// today. The zero value is none.
type Match struct {
	Domain string // the domain's name; "" where UUID says which
	UUID   string // the domain's, in lower case
	VIF    int    // which of the domain's NICs, from 0
}

// IsZero reports whether nothing is matched.
func (m Match) IsZero() bool { return m == Match{} }

// about reports whether the match is about that NIC of that domain.
func (m Match) about(domain, uuid string, vif int) bool {
	return !m.IsZero() && m.VIF == vif && (m.Domain == "" || m.Domain == domain) && (m.UUID == "" || m.UUID == uuid)
}

// String names the NIC in messages.
func (m Match) String() string {
	if m.UUID != "" {
		return fmt.Sprintf("domain %s vif %d", m.UUID, m.VIF)
	}
	return fmt.Sprintf("domain %s vif %d", m.Domain, m.VIF)
}

// MatchVif is the entry about a virtual NIC of a Xen domain: the first that
// matches it, else the first that has one of the names, of which the earlier
// counts more.
func (c Config) MatchVif(domain, uuid string, vif int, names ...string) (Port, bool) {
	for _, p := range c.Ports {
		if p.Match.about(domain, uuid, vif) {
			return p, true
		}
	}
	for _, name := range names {
		if p, ok := c.MatchPort(name); ok {
			return p, true
		}
	}
	return Port{}, false
}

// matchTable is a Match as a table of its own.
type matchTable struct{}

const (
	maxVIF        = 65535
	maxDomainName = 255 // bytes

	matchExample = `match = { domain = "web1", vif = 0 }`
)

func (matchTable) read(n *node) (Match, *Error) {
	if n.kind != unstable.Table {
		return Match{}, problem("want a table, not %s", describe(n)).hint("as in %s", matchExample)
	}
	var m Match
	for _, name := range n.order {
		v := n.table[name]
		var e *Error
		switch name {
		case "domain":
			if m.Domain, e = (text[string]{}).read(v); e == nil {
				e = validDomainName(m.Domain)
			}
		case "uuid":
			if m.UUID, e = (text[string]{}).read(v); e == nil {
				m.UUID = strings.ToLower(m.UUID)
				e = validUUID(m.UUID)
			}
		case "vif":
			bounds := number[int]{0, maxVIF}
			if m.VIF, e = bounds.read(v); e == nil {
				e = bounds.check(m.VIF)
			}
		default:
			e = unknown(name, []string{"domain", "uuid", "vif"}, nil)
		}
		if e != nil {
			e.Msg = keyPath(name) + ": " + e.Msg
			return Match{}, e
		}
	}
	switch domain, uuid := n.table["domain"] != nil, n.table["uuid"] != nil; {
	case !domain && !uuid:
		return Match{}, problem("it does not say which domain").hint("as in %s", matchExample)
	case domain && uuid:
		return Match{}, problem("it has domain and uuid, and one of them alone can hold")
	case n.table["vif"] == nil:
		return Match{}, problem("it does not say which of the domain's NICs").hint("as in %s; the first is 0", matchExample)
	}
	return m, nil
}

// check is for what did not come by read.
func (matchTable) check(m Match) *Error {
	switch {
	case m.VIF < 0 || m.VIF > maxVIF:
		return number[int]{0, maxVIF}.outOfRange(int64(m.VIF))
	case m.UUID != "" && m.Domain != "":
		return problem("it has domain and uuid, and one of them alone can hold")
	case m.UUID != "":
		return validUUID(m.UUID)
	}
	return validDomainName(m.Domain)
}

func (matchTable) show(m Match) string {
	if m.UUID != "" {
		return fmt.Sprintf("{ uuid = %s, vif = %d }", tomlString(m.UUID), m.VIF)
	}
	return fmt.Sprintf("{ domain = %s, vif = %d }", tomlString(m.Domain), m.VIF)
}

func validDomainName(s string) *Error {
	switch {
	case s == "":
		return problem("the name of the domain is empty").hint("xl list shows the names")
	case len(s) > maxDomainName:
		return problem("the name of the domain has %d bytes, and %d are the most", len(s), maxDomainName)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return problem("%s has an unprintable character", quote(s))
	}
	return nil
}

func validUUID(s string) *Error {
	parts := strings.Split(s, "-")
	ok := slices.EqualFunc(parts, []int{8, 4, 4, 4, 12}, func(part string, n int) bool {
		_, err := hex.DecodeString(part)
		return len(part) == n && err == nil
	})
	if !ok {
		return problem("%s is not a UUID", quote(s)).hint("xl list -v shows them, as in 01234567-89ab-cdef-0123-456789abcdef")
	}
	return nil
}

// nameOrMatch holds an entry to one way to say what it is about.
func nameOrMatch(p *Port) *Error {
	switch {
	case p.Name == "" && p.Match.IsZero():
		return problem("the key is missing")
	case p.Name != "" && !p.Match.IsZero() && p.Match.VIF >= 0:
		return problem("the entry has match too, and one of them alone can hold").
			hint("name is for interfaces, match for a domain's NIC: make two entries of it")
	}
	return nil
}

// networkOrMatch lets the domain's configuration say where its NIC goes.
func networkOrMatch(p *Port) *Error {
	if p.Network == "" && p.Match.IsZero() {
		return problem("the key is missing")
	}
	return nil
}

// matchKey is match. A match that could not be read is one all the same: that no
// name is there is no second problem.
func matchKey() key[Port] {
	k := field("match", func(p *Port) *Match { return &p.Match }, matchTable{}, optional)
	read := k.read
	k.read = func(p *Port, n *node) Errors {
		es := read(p, n)
		if len(es) > 0 {
			p.Match = Match{VIF: -1}
		}
		return es
	}
	return k
}

// antispoofKey is antispoof, and whether somebody said it at all.
func antispoofKey() key[Port] {
	k := field("antispoof", func(p *Port) *filter.Antispoof { return &p.Antispoof }, antispoof(), optional)
	read, inherit, show := k.read, k.inherit, k.show
	k.read = func(p *Port, n *node) Errors {
		p.AntispoofTold = true
		return read(p, n)
	}
	k.inherit = func(p, from *Port) {
		inherit(p, from)
		p.AntispoofTold = from.AntispoofTold
	}
	k.show = func(p, from *Port) string {
		if p.AntispoofTold {
			return antispoof().show(p.Antispoof)
		}
		return show(p, from)
	}
	return k
}

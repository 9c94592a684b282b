package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/filter"
)

const anUUID = "5ca1ab1e-0000-4000-8000-000000000001"

// matching is a configuration with one such entry.
func matching(match string) string {
	return "[network.n]\nmode='isolated'\n[[port]]\nmatch = " + match + "\n"
}

func TestParseReadsMatches(t *testing.T) {
	for _, c := range []struct {
		match string
		want  Match
	}{
		{"{ domain = 'web1', vif = 0 }", Match{Domain: "web1"}},
		{"{ vif = 65535, domain = 'der Kühlschrank' }", Match{Domain: "der Kühlschrank", VIF: 65535}},
		{"{ uuid = '" + strings.ToUpper(anUUID) + "', vif = 1 }", Match{UUID: anUUID, VIF: 1}},
	} {
		got, err := Parse("f", []byte(matching(c.match)))
		if err != nil || got.Ports[0].Match != c.want {
			t.Errorf("%s: %+v, %v", c.match, got.Ports, err)
		}
	}
}

func TestParseSaysWhatIsWrongWithAMatch(t *testing.T) {
	const path = `f:4: port.match: `
	const example = "\n  hint: as in match = { domain = \"web1\", vif = 0 }"
	for _, c := range []struct{ text, want string }{
		{matching("'web1'"), path + `want a table, not the text "web1"` + example},
		{matching("{}"), path + "it does not say which domain" + example},
		{matching("{ vif = 0 }"), path + "it does not say which domain" + example},
		{matching("{ domain = 'web1' }"), path + "it does not say which of the domain's NICs" + example + "; the first is 0"},
		{matching("{ domain = '', vif = 0 }"), path + "domain: the name of the domain is empty\n  hint: xl list shows the names"},
		{matching(`{ domain = "a\nb", vif = 0 }`), path + `domain: "a\nb" has an unprintable character`},
		{matching("{ domain = '" + strings.Repeat("x", 256) + "', vif = 0 }"), path + "domain: the name of the domain has 256 bytes, and 255 are the most"},
		{matching("{ domain = 1, vif = 0 }"), path + "domain: want text in quotes, not the number 1\n  hint: write \"1\""},
		{matching("{ domain = 'a', vif = '0' }"), path + "vif: want a number, not the text \"0\"\n  hint: write 0, without the quotes"},
		{matching("{ domain = 'a', vif = 65536 }"), path + "vif: 65536 is out of range: 0 to 65535"},
		{matching("{ domain = 'a', vif = -1 }"), path + "vif: -1 is out of range: 0 to 65535"},
		{matching("{ uuid = 'web1', vif = 0 }"), path + "uuid: \"web1\" is not a UUID\n  hint: xl list -v shows them, as in 01234567-89ab-cdef-0123-456789abcdef"},
		{matching("{ uuid = '" + anUUID + "', domain = 'web1', vif = 0 }"), path + "it has domain and uuid, and one of them alone can hold"},
		{matching("{ domian = 'web1', vif = 0 }"), path + "domian: unknown key\n  hint: did you mean domain?"},
		{matching("{ domain = 'web1', vif = 0 }\nname = 'vif1.0'"), "f:5: port.\"vif1.0\".name: the entry has match too, and one of them alone can hold" +
			"\n  hint: name is for interfaces, match for a domain's NIC: make two entries of it"},
		{matching("{ domain = 'web1', vif = 0 }\nnetwork = 'm'"), "f:5: port.\"domain web1 vif 0\".network: there is no network m\n  hint: did you mean \"n\"? (n)"},
		{matching("{ domain = 'web1', vif = 0 }\n[[port]]\nmatch = { vif = 0, domain = 'web1' }"), "f:6: port.\"domain web1 vif 0\".match: there is a port with that match already (f:3)"},
		{"[network.n]\nmode='isolated'\n[[port]]\nname='a'", "f:3: port.a.network: the key is missing"},
		{"[network.n]\nmode='isolated'\n[[port]]\nnetwork='n'", "f:3: port.name: the key is missing"},
		{"[daemon]\nxen='yes'", "f:2: daemon.xen: \"yes\" is none of its values\n  hint: one of auto, on, off"},
		{"[daemon]\nxen=true", "f:2: daemon.xen: want text in quotes, not true without quotes\n  hint: write \"true\""},
	} {
		_, err := Parse("f", []byte(c.text))
		if d := cmp.Diff(c.want, message(err)); d != "" {
			t.Errorf("%s\n-want +got:\n%s", c.text, d)
		}
	}
}

func TestADomainsNICFindsItsEntry(t *testing.T) {
	c, err := Parse("f", []byte(`
[network.n]
mode = "isolated"
[[port]]
name = "vif*"
network = "n"
label = "any"
[[port]]
name = "web0"
network = "n"
label = "by name"
[[port]]
match = { domain = "web1", vif = 1 }
label = "by domain"
[[port]]
match = { uuid = "`+anUUID+`", vif = 1 }
label = "by uuid"
`))
	if err != nil {
		t.Fatal(err)
	}
	const other = "00000000-0000-4000-8000-000000000002"
	for _, w := range []struct {
		domain, uuid string
		vif          int
		names        []string
		want         string
	}{
		{"web1", anUUID, 1, []string{"web0", "vif7.1"}, "by domain"}, // the first that matches, before any name
		{"web1", other, 1, []string{"vif7.1"}, "by domain"},
		{"web2", anUUID, 1, []string{"vif7.1"}, "by uuid"},
		{"web1", anUUID, 0, []string{"web0", "vif7.0"}, "by name"}, // its new name before its old one
		{"web1", anUUID, 0, []string{"vif7.0"}, "any"},
		{"", "", 1, []string{"eth7"}, ""},
	} {
		p, ok := c.MatchVif(w.domain, w.uuid, w.vif, w.names...)
		if p.Label != w.want || ok != (w.want != "") {
			t.Errorf("%+v: %q, %v", w, p.Label, ok)
		}
	}
}

// Left out is something else than off: an address list of xl's turns antispoof on
// where nobody spoke of it.
func TestAntispoofIsToldWhereItIsSaid(t *testing.T) {
	for _, c := range []struct {
		defaults, port string
		want           filter.Antispoof
		told           bool
	}{
		{"", "", filter.Off, false},
		{"antispoof='off'", "", filter.Off, true},
		{"", "antispoof='off'", filter.Off, true},
		{"antispoof='mac'", "", filter.MAC, true},
		{"antispoof='mac'", "antispoof='mac+ip'", filter.MACIP, true},
	} {
		text := fmt.Sprintf("[defaults.port]\n%s\n[network.n]\nmode='isolated'\n[[port]]\nname='a'\nnetwork='n'\n%s\n", c.defaults, c.port)
		for range 2 { // as it is written, and as TOML writes it again
			got, err := Parse("f", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if p := got.Ports[0]; p.Antispoof != c.want || p.AntispoofTold != c.told {
				t.Errorf("%s\nis %v, told %v", text, p.Antispoof, p.AntispoofTold)
			}
			if p := got.NewPort("b", "n"); p.AntispoofTold != (c.defaults != "") {
				t.Errorf("%s\na new port's is told: %v", text, p.AntispoofTold)
			}
			text = got.TOML()
		}
	}
}

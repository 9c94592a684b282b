package dnsd

import (
	"fmt"
	"testing"
)

func TestTheHostAsksWithoutASocket(t *testing.T) {
	s := server(t, config())
	for _, c := range []struct{ name, kind, want string }{
		{"web1.xen", "", "web1.xen. A NOERROR [{web1.xen. 10 A 10.0.0.10}]"},
		{"WEB1.xen.", "a", "WEB1.xen. A NOERROR [{WEB1.xen. 10 A 10.0.0.10}]"},
		{"gateway", "AAAA", "gateway. AAAA NOERROR [{gateway. 10 AAAA fd00::1}]"},
		{"10.0.0.10", "", "10.0.0.10.in-addr.arpa. PTR NOERROR [{10.0.0.10.in-addr.arpa. 10 PTR web1.xen.}]"},
		{"nobody.xen", "", "nobody.xen. A NXDOMAIN []"},
		{"example.org", "TXT", "example.org. TXT REFUSED []"},
		{"web1.xen", "NOTHING", `error: type "NOTHING": want one as A, AAAA, PTR, MX or TXT`},
		{"", "", `error: "" is no domain name`},
		{"a..b", "", `error: "a..b" is no domain name`},
	} {
		a, err := s.Query(c.name, c.kind)
		got := fmt.Sprintf("%s %s %s %v", a.Name, a.Type, a.Code, a.Records)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.name, c.kind, got, c.want)
		}
	}
}

package dnsd

import (
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"gxswitch/internal/lease"
)

var (
	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

var _ Names = (*lease.Table)(nil)

// names is a network's, fixed.
type names map[string][]netip.Addr

func (n names) Addrs(name string) ([]netip.Addr, bool) { a, ok := n[name]; return a, ok }

func (n names) NameOf(a netip.Addr) string {
	for name, addrs := range n {
		if slices.Contains(addrs, a) {
			return name
		}
	}
	return ""
}

func stations() names {
	return names{
		"gateway": {ip("10.0.0.1"), ip("fd00::1")},
		"web1":    {ip("10.0.0.10")},
		"away":    {},
		"out":     {ip("203.0.113.9")},
	}
}

func config() Config {
	return Config{
		Network: "nat0", Interface: "nat0",
		Addrs:   []netip.Addr{ip("10.0.0.1")},
		Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("fd00::/64")},
		Domain:  "Xen",
	}
}

func server(t testing.TB, c Config) *Server {
	t.Helper()
	s, err := newServer(c, stations(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// text is an answer as one line: the code, the records' data, and whether there
// is an SOA.
func text(m *dns.Msg) string {
	parts := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		parts = append(parts, strings.Join(strings.Fields(strings.TrimPrefix(rr.String(), rr.Header().String())), " "))
	}
	for _, rr := range m.Ns {
		parts = append(parts, "+"+dns.TypeToString[rr.Header().Rrtype])
	}
	return strings.Join(parts, " ")
}

func query(name string, kind uint16) *dns.Msg { return new(dns.Msg).SetQuestion(name, kind) }

func TestStationsAreAnsweredFor(t *testing.T) {
	s := server(t, config())
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"web1.xen.", dns.TypeA, "NOERROR 10.0.0.10"},
		{"WEB1.xEn.", dns.TypeA, "NOERROR 10.0.0.10"},
		{"web1.", dns.TypeA, "NOERROR 10.0.0.10"},
		{"web1.xen.", dns.TypeAAAA, "NOERROR +SOA"},
		{"web1.xen.", dns.TypeMX, "NOERROR +SOA"},
		{"gateway.xen.", dns.TypeA, "NOERROR 10.0.0.1"},
		{"gateway.xen.", dns.TypeAAAA, "NOERROR fd00::1"},
		{"away.xen.", dns.TypeA, "NOERROR +SOA"},
		{"nobody.xen.", dns.TypeA, "NXDOMAIN +SOA"},
		{"a.web1.xen.", dns.TypeA, "NXDOMAIN +SOA"},
		{"nobody.", dns.TypeA, "NXDOMAIN"},
		{"xen.", dns.TypeA, "NOERROR +SOA"},
		{"xen.", dns.TypeSOA, "NOERROR xen. hostmaster.xen. 1 3600 600 86400 5"},
		{"10.0.0.10.in-addr.arpa.", dns.TypePTR, "NOERROR web1.xen."},
		{"1.0.0.10.in-addr.arpa.", dns.TypePTR, "NOERROR gateway.xen."},
		{"1.0.0.10.in-addr.arpa.", dns.TypeA, "NOERROR"},
		{"99.0.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN"},
		{"9.113.0.203.in-addr.arpa.", dns.TypePTR, "NOERROR out.xen."},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR, "NOERROR gateway.xen."},
		{"1.0.0.127.in-addr.arpa.", dns.TypePTR, "NOERROR localhost."},
		{"localhost.", dns.TypeA, "NOERROR 127.0.0.1"},
		{"app.localhost.", dns.TypeAAAA, "NOERROR ::1"},
		{"example.org.", dns.TypeANY, `NOERROR "RFC8482" ""`},
		{"xen.", dns.TypeAXFR, "REFUSED"},
		// Without an upstream:
		{"example.org.", dns.TypeA, "REFUSED"},
		{"com.", dns.TypeDS, "REFUSED"},
		{"1.1.16.172.in-addr.arpa.", dns.TypePTR, "REFUSED"},
		{"0.0.10.in-addr.arpa.", dns.TypeSOA, "REFUSED"},
	} {
		m := s.answer(s.view.Load(), query(c.name, c.kind), ip("10.0.0.10"), true)
		if got := text(m); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.name, dns.TypeToString[c.kind], got, c.want)
		}
	}
}

func TestOddQuestionsGetTheirCodes(t *testing.T) {
	s := server(t, config())
	edit := func(f func(*dns.Msg)) *dns.Msg {
		q := query("web1.xen.", dns.TypeA)
		f(q)
		return q
	}
	for name, c := range map[string]struct {
		q    *dns.Msg
		want int
	}{
		"update":       {edit(func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate }), dns.RcodeNotImplemented},
		"notify":       {edit(func(q *dns.Msg) { q.Opcode = dns.OpcodeNotify }), dns.RcodeNotImplemented},
		"no question":  {edit(func(q *dns.Msg) { q.Question = nil }), dns.RcodeFormatError},
		"chaos":        {edit(func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS }), dns.RcodeRefused},
		"EDNS 1":       {edit(func(q *dns.Msg) { q.SetEdns0(1232, false); q.IsEdns0().SetVersion(1) }), dns.RcodeBadVers},
		"no recursion": {edit(func(q *dns.Msg) { q.RecursionDesired = false; q.Question[0].Name = "example.org." }), dns.RcodeRefused},
	} {
		m := s.answer(s.view.Load(), c.q, ip("10.0.0.10"), true)
		if m.Rcode != c.want {
			t.Errorf("%s: %s", name, dns.RcodeToString[m.Rcode])
		}
		if _, err := m.Pack(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrivateAddressesAreStripped(t *testing.T) {
	for _, c := range []struct {
		rr   string
		want bool
	}{
		{"a. 60 IN A 198.51.100.1", false},
		{"a. 60 IN A 8.8.8.8", false},
		{"a. 60 IN A 10.1.2.3", true},
		{"a. 60 IN A 172.16.0.1", true},
		{"a. 60 IN A 192.168.0.1", true},
		{"a. 60 IN A 127.0.0.1", true},
		{"a. 60 IN A 0.0.0.0", true},
		{"a. 60 IN A 0.1.2.3", true},
		{"a. 60 IN A 169.254.169.254", true},
		{"a. 60 IN A 100.64.0.1", true},
		{"a. 60 IN AAAA 2001:db8::1", false},
		{"a. 60 IN AAAA ::1", true},
		{"a. 60 IN AAAA ::", true},
		{"a. 60 IN AAAA fd00::1", true},
		{"a. 60 IN AAAA fe80::1", true},
		{"a. 60 IN AAAA ::ffff:10.0.0.1", true},
		{"a. 60 IN AAAA 64:ff9b::10.0.0.1", true},
		{"a. 60 IN AAAA 64:ff9b::8.8.8.8", false},
		{"a. 60 IN HTTPS 1 . ipv4hint=8.8.8.8", false},
		{"a. 60 IN HTTPS 1 . ipv4hint=8.8.8.8,10.0.0.1", true},
		{"a. 60 IN SVCB 1 . ipv6hint=fd00::1", true},
		{"a. 60 IN TXT 10.0.0.1", false},
	} {
		rr, err := dns.NewRR(c.rr)
		if err != nil {
			t.Fatal(err)
		}
		if got := strip(&dns.Msg{Answer: []dns.RR{rr}}); got != c.want {
			t.Errorf("%s: %t", c.rr, got)
		}
	}
}

func message(t testing.TB, rcode int, answer, ns string) *dns.Msg {
	t.Helper()
	m := query("a.", dns.TypeA)
	m.Response, m.Rcode = true, rcode
	for s, to := range map[string]*[]dns.RR{answer: &m.Answer, ns: &m.Ns} {
		if s == "" {
			continue
		}
		for _, line := range strings.Split(s, "|") {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			*to = append(*to, rr)
		}
	}
	return m
}

func TestAnAnswersLifetimeIsItsShortest(t *testing.T) {
	const soa = "a. 100 IN SOA a. a. 1 1 1 1 30"
	for _, c := range []struct {
		rcode      int
		answer, ns string
		want       time.Duration
	}{
		{0, "a. 60 IN A 192.0.2.1|a. 20 IN A 192.0.2.2", "", 20 * time.Second},
		{0, "a. 60 IN A 192.0.2.1", "a. 10 IN NS b.", 10 * time.Second},
		{0, "a. 0 IN A 192.0.2.1", "", 0},
		{0, "a. 4000000 IN A 192.0.2.1", "", maxTTL},
		{0, "", soa, 30 * time.Second},
		{3, "", soa, 30 * time.Second},
		{3, "", "", 0},
		{0, "", "", 0},
		{2, "", "", failureTTL},
		{5, "", "", 0},
	} {
		if got := lifetime(message(t, c.rcode, c.answer, c.ns)); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestTheCacheCountsDown(t *testing.T) {
	c := newCache()
	key := question{name: "a.", kind: dns.TypeA}
	c.put(key, message(t, 0, "a. 60 IN A 192.0.2.1|a. 90 IN A 192.0.2.2", ""), epoch)
	for _, w := range []struct {
		after time.Duration
		ttls  []uint32 // nil for no answer
	}{
		{0, []uint32{60, 90}},
		{25 * time.Second, []uint32{35, 65}},
		{59*time.Second + 999*time.Millisecond, []uint32{1, 31}},
		{60 * time.Second, nil},
	} {
		m := c.get(key, epoch.Add(w.after))
		if m == nil || w.ttls == nil {
			if m != nil || w.ttls != nil {
				t.Errorf("after %s: %v", w.after, m)
			}
			continue
		}
		if got := []uint32{m.Answer[0].Header().Ttl, m.Answer[1].Header().Ttl}; !slices.Equal(got, w.ttls) {
			t.Errorf("after %s: %v, want %v", w.after, got, w.ttls)
		}
	}
	if len(c.by) != 0 || c.used.Len() != 0 || c.bytes != 0 {
		t.Errorf("%d entries, %d bytes are left", len(c.by), c.bytes)
	}
}

func TestTheCacheIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	c := newCache()
	favourite := question{name: "favourite.", kind: dns.TypeA}
	m := message(t, 0, "a. 60 IN A 192.0.2.1", "")
	c.put(favourite, m, epoch)
	for i := range 60000 {
		c.put(question{name: fmt.Sprintf("n%d.", i), kind: dns.TypeA}, m, epoch)
		if c.get(favourite, epoch) == nil {
			t.Fatalf("forgot it after %d others", i)
		}
	}
	if c.bytes > cacheBytes || c.bytes < cacheBytes*9/10 || len(c.by) != c.used.Len() {
		t.Errorf("%d bytes in %d entries", c.bytes, len(c.by))
	}
	if c.get(question{name: "n0.", kind: dns.TypeA}, epoch) != nil {
		t.Error("the oldest is still there")
	}
}

func TestResolvConfIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "[127.0.0.1:53]",
		"search a b\n":           "[127.0.0.1:53]",
		"nameserver 192.0.2.1\n": "[192.0.2.1:53]",
		"# nameserver 192.0.2.9\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # x\n;nameserver 1.1.1.1\n": "[192.0.2.1:53 [2001:db8::1]:53]",
		"nameserver fe80::1%eth0":           "[[fe80::1%eth0]:53]",
		"nameserver nonsense\nnameserver\n": "[127.0.0.1:53]",
	} {
		if got := fmt.Sprint(parseResolvConf([]byte(text))); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestUpstreamsFollowTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := config()
	c.Upstream, c.ResolvConf = []string{"192.0.2.7:5353", System}, file
	s := server(t, c)
	list := func(after time.Duration) string { return fmt.Sprint(s.up.list(s.view.Load(), epoch.Add(after))) }
	write("nameserver 192.0.2.1\nnameserver 10.0.0.1\nnameserver 192.0.2.1\n") // the second is this server
	if got := list(0); got != "[192.0.2.7:5353 192.0.2.1:53]" {
		t.Error(got)
	}
	write("nameserver 192.0.2.2\n")
	if got := list(rereadInterval / 2); got != "[192.0.2.7:5353 192.0.2.1:53]" {
		t.Error(got)
	}
	if got := list(rereadInterval); got != "[192.0.2.7:5353 192.0.2.2:53]" {
		t.Error(got)
	}
	os.Remove(file)
	if got := list(2 * rereadInterval); got != "[192.0.2.7:5353 192.0.2.2:53]" {
		t.Error(got)
	}
	s.up.report(netip.MustParseAddrPort("192.0.2.7:5353"), false, epoch)
	if got := list(time.Second); got != "[192.0.2.2:53 192.0.2.7:5353]" {
		t.Error(got)
	}
	if got := list(badTime); got != "[192.0.2.7:5353 192.0.2.2:53]" {
		t.Error(got)
	}
}

func TestServersAreParsed(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1:53",
		"192.0.2.1:5353":        "192.0.2.1:5353",
		"2001:db8::1":           "[2001:db8::1]:53",
		"[2001:db8::1]":         "[2001:db8::1]:53",
		"[2001:db8::1]:5353":    "[2001:db8::1]:5353",
		"":                      "",
		"dns.example.org":       "",
		"192.0.2.1:0":           "",
		"192.0.2.1:x":           "",
		"https://192.0.2.1/dns": "",
	} {
		got, err := ParseServer(in)
		if want == "" && err == nil || want != "" && got.String() != want {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
}

func TestConfigurationsThatCantBeServedAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no address":   func(c *Config) { c.Addrs = nil },
		"root domain":  func(c *Config) { c.Domain = "." },
		"bad domain":   func(c *Config) { c.Domain = "a..b" },
		"bad upstream": func(c *Config) { c.Upstream = []string{"nowhere"} },
		"bad RebindOK": func(c *Config) { c.RebindOK = []string{"a..b"} },
	} {
		c := config()
		change(&c)
		if _, err := newServer(c, stations(), quiet); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSourcesHaveTheirShare(t *testing.T) {
	l := newLimit(5, 3)
	a, b := ip("2001:db8::1"), ip("2001:db8::2") // of one /64
	for range 2 {
		if !l.enter(a) {
			t.Fatal("refused")
		}
	}
	if !l.enter(b) || l.enter(b) || l.enter(a) {
		t.Error("the /64 has not three")
	}
	if !l.enter(ip("10.0.0.1")) || !l.enter(ip("10.0.0.2")) || l.enter(ip("10.0.0.3")) {
		t.Error("not five in all")
	}
	l.leave(b)
	if !l.enter(ip("10.0.0.3")) {
		t.Error("no place after one left")
	}
	for _, s := range []string{"2001:db8::1", "2001:db8::1", "10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		l.leave(ip(s))
	}
	if l.n != 0 || len(l.by) != 0 {
		t.Errorf("%d left, %v", l.n, l.by)
	}
}

func FuzzQuestion(f *testing.F) {
	for _, q := range []*dns.Msg{
		query("web1.xen.", dns.TypeA), query("gateway.", dns.TypeAAAA),
		query("10.0.0.10.in-addr.arpa.", dns.TypePTR), query("xen.", dns.TypeSOA), query("a.b.c.", dns.TypeANY),
		query("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dns.TypePTR),
		query("example.org.", dns.TypeHTTPS).SetEdns0(4096, true),
	} {
		b, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	s := server(f, config())
	v := s.view.Load()
	f.Fuzz(func(t *testing.T, b []byte) {
		q := new(dns.Msg)
		if q.Unpack(b) != nil {
			return
		}
		for _, udp := range []bool{true, false} {
			m := s.answer(v, q, ip("10.0.0.10"), udp)
			wire, err := m.Pack()
			if err != nil {
				t.Fatalf("%v\n%v", err, m)
			}
			if limit := map[bool]int{true: datagram, false: dns.MaxMsgSize}[udp]; len(wire) > limit {
				t.Fatalf("%d bytes\n%v", len(wire), m)
			}
		}
	})
}

func FuzzUpstreamsAnswer(f *testing.F) {
	for _, m := range []*dns.Msg{
		message(f, 0, "a. 60 IN A 192.0.2.1|a. 60 IN CNAME b.|b. 1 IN HTTPS 1 . ipv4hint=10.0.0.1", "a. 10 IN NS b."),
		message(f, 3, "", "a. 100 IN SOA a. a. 1 1 1 1 30"),
		message(f, 0, "a. 60 IN AAAA ::1|a. 60 IN TXT x", "").SetEdns0(1232, true),
	} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	key := question{name: "a.", kind: dns.TypeA}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := new(dns.Msg)
		if m.Unpack(b) != nil {
			return
		}
		m.Extra = withoutOPT(m.Extra)
		strip(m)
		c := newCache()
		c.put(key, m, epoch)
		if got := c.get(key, epoch.Add(time.Second)); got != nil {
			r := reply(query("A.", dns.TypeA), got)
			r.Truncate(dns.MinMsgSize)
			r.Pack()
			if strip(got) {
				t.Fatalf("kept %v", got)
			}
		}
	})
}

package lease

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"gxswitch/internal/frame"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(n int) frame.MAC { return frame.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)} }

// config has a range of four addresses, one of which is reserved, and web1.
func config() Config {
	return Config{
		Subnet: netip.MustParsePrefix("10.0.0.0/24"),
		First:  ip("10.0.0.10"), Last: ip("10.0.0.13"),
		Time: time.Hour,
		Hosts: []Host{
			{Name: "web1", MAC: mac(100), Addrs: []netip.Addr{ip("10.0.0.2"), ip("fd00::2")}},
			{Name: "db", MAC: mac(101), Addrs: []netip.Addr{ip("10.0.0.11")}},
			{Name: "roams", MAC: mac(102)},
			{Name: "alias", Addrs: []netip.Addr{ip("10.0.0.3")}},
		},
		Self: []Host{{Name: "gateway", Addrs: []netip.Addr{ip("10.0.0.1"), ip("fd00::1")}}},
	}
}

func table(t *testing.T, c Config) *Table {
	t.Helper()
	tab, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func client(n int) Client { return Client{MAC: mac(n), Port: "p1"} }

// lease goes the whole way.
func lease(t *testing.T, tab *Table, c Client, now time.Time) Lease {
	t.Helper()
	a, _, err := tab.Offer(c, now)
	if err != nil {
		t.Fatalf("offer to %s: %v", c.MAC, err)
	}
	l, err := tab.Bind(c, a, false, now)
	if err != nil {
		t.Fatalf("bind %s to %s: %v", a, c.MAC, err)
	}
	return l
}

func TestLabelKeepsWhatAHostNameMayHave(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"web1", "web1"},
		{"Web1.Example.COM", "web1"},
		{"my host!", "my-host"},
		{"-a-", "a"},
		{"_srv", "srv"},
		{"\x00\xff\n;rm -rf", "rm--rf"},
		{"", ""},
		{"...", ""},
		{"..evil", ""},
		{"*", ""},
		{"été", "t"},
		{"a23456789012345678901234567890123456789012345678901234567890123456789", "a23456789012345678901234567890123456789012345678901234567890123"[:63]},
	} {
		if got := Label(c.in); got != c.want {
			t.Errorf("Label(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestConfigurationsThatContradictThemselvesAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"negative time":          func(c *Config) { c.Time = -1 },
		"IPv6 subnet":            func(c *Config) { c.Subnet = netip.MustParsePrefix("fd00::/64") },
		"range outside":          func(c *Config) { c.Last = ip("10.0.1.5") },
		"range backwards":        func(c *Config) { c.First, c.Last = c.Last, c.First },
		"half a range":           func(c *Config) { c.First = netip.Addr{} },
		"range too large":        func(c *Config) { c.Subnet = netip.MustParsePrefix("10.0.0.0/8"); c.Last = ip("10.9.9.9") },
		"name twice":             func(c *Config) { c.Hosts[1].Name = "web1" },
		"name of the gateway":    func(c *Config) { c.Hosts[1].Name = "gateway" },
		"no name":                func(c *Config) { c.Hosts[1].Name = "a.b" },
		"MAC twice":              func(c *Config) { c.Hosts[1].MAC = mac(100) },
		"address twice":          func(c *Config) { c.Hosts[1].Addrs = c.Hosts[0].Addrs },
		"address of the gateway": func(c *Config) { c.Hosts[1].Addrs = []netip.Addr{ip("10.0.0.1")} },
		"broadcast address":      func(c *Config) { c.Hosts[1].Addrs = []netip.Addr{ip("10.0.0.255")} },
	} {
		c := config()
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAddressesAreChosenInTheirOrder(t *testing.T) {
	pinned := config()
	pinned.PinnedTo = func(a netip.Addr) string {
		if a == ip("10.0.0.12") {
			return "p9"
		}
		return ""
	}
	for _, c := range []struct {
		name   string
		client Client
		want   string // "" for an error
	}{
		{"the port's address", Client{MAC: mac(100), Port: "p9", Fixed: ip("203.0.113.5")}, "203.0.113.5"},
		{"the gateway's is no port's", Client{MAC: mac(1), Fixed: ip("10.0.0.1")}, ""},
		{"reservation", Client{MAC: mac(100), Requested: ip("10.0.0.10")}, "10.0.0.2"},
		{"reservation within the range", Client{MAC: mac(101)}, "10.0.0.11"},
		{"requested", Client{MAC: mac(1), Requested: ip("10.0.0.13")}, "10.0.0.13"},
	} {
		got, _, err := table(t, pinned).Offer(c.client, epoch)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s: got %s", c.name, got)
			}
			continue
		}
		if err != nil || got != ip(c.want) {
			t.Errorf("%s: got %s, %v, want %s", c.name, got, err, c.want)
		}
	}
	for _, want := range []string{"10.0.0.11", "10.0.0.12", "10.0.0.1", "10.0.0.2", "10.0.0.255", "10.0.0.20", "192.0.2.1"} {
		got, _, err := table(t, pinned).Offer(Client{MAC: mac(1), Requested: ip(want)}, epoch)
		if err != nil || got != ip("10.0.0.10") && got != ip("10.0.0.13") {
			t.Errorf("requested %s: got %s, %v", want, got, err)
		}
	}
}

func TestAStationGetsItsAddressAgain(t *testing.T) {
	tab := table(t, config())
	first := lease(t, tab, client(1), epoch)
	if again := lease(t, tab, client(1), at(time.Minute)); again.Addr != first.Addr || again.Expires != at(time.Minute+time.Hour) {
		t.Errorf("while it is bound: %+v, had %+v", again, first)
	}
	tab.Release(mac(1), first.Addr, at(2*time.Minute))
	lease(t, tab, client(2), at(3*time.Minute))
	if again := lease(t, tab, client(1), at(4*time.Minute)); again.Addr != first.Addr {
		t.Errorf("after a release: %+v, had %+v", again, first)
	}
	if again := lease(t, tab, client(1), at(9*time.Hour)); again.Addr != first.Addr {
		t.Errorf("after it expired: %+v, had %+v", again, first)
	}
	// The range begins for a MAC at the same place in every table.
	if a := lease(t, table(t, config()), client(1), epoch).Addr; a != first.Addr {
		t.Errorf("in a new table: %s, had %s", a, first.Addr)
	}
}

func TestAnExhaustedRangeGivesNothing(t *testing.T) {
	tab := table(t, config())
	seen := map[netip.Addr]bool{}
	for i := range 3 { // 10, 12, 13: 11 is reserved
		a := lease(t, tab, client(i), epoch).Addr
		if seen[a] {
			t.Fatalf("%s twice", a)
		}
		seen[a] = true
	}
	if a, _, err := tab.Offer(client(3), epoch); !errors.Is(err, ErrExhausted) {
		t.Fatalf("got %s, %v", a, err)
	}
	tab.Release(mac(1), tab.List(epoch)[0].Addr, epoch) // perhaps not its own
	for _, l := range tab.List(epoch) {
		if l.MAC == mac(1) {
			tab.Release(mac(1), l.Addr, epoch)
		}
	}
	lease(t, tab, client(3), epoch)
}

func TestAClaimIsHeardWhereTheTableForgot(t *testing.T) {
	tab := table(t, config())
	for _, c := range []struct {
		addr  string
		claim bool
		want  error
	}{
		{"10.0.0.10", false, ErrUnknown},
		{"10.0.0.10", true, nil},
		{"10.0.0.11", true, ErrRefused}, // reserved
		{"10.0.0.1", true, ErrRefused},
		{"192.0.2.1", true, ErrRefused},
	} {
		if _, err := tab.Bind(client(1), ip(c.addr), c.claim, epoch); !errors.Is(err, c.want) {
			t.Errorf("%s, claim %t: %v, want %v", c.addr, c.claim, err, c.want)
		}
	}
	if _, err := tab.Bind(client(2), ip("10.0.0.10"), true, epoch); !errors.Is(err, ErrRefused) {
		t.Errorf("another's: %v", err)
	}
}

func TestAReservationMovesItsStation(t *testing.T) {
	c := config()
	hosts := c.Hosts
	c.Hosts = nil
	tab := table(t, c)
	old := lease(t, tab, client(100), epoch)
	squatter, err := tab.Bind(client(5), ip("10.0.0.11"), true, epoch)
	if err != nil {
		t.Fatal(err)
	}
	c.Hosts = hosts
	if err := tab.Configure(c); err != nil {
		t.Fatal(err)
	}
	if _, err := tab.Bind(client(100), old.Addr, false, epoch); !errors.Is(err, ErrRefused) {
		t.Errorf("renewal of the old address: %v", err)
	}
	if l := lease(t, tab, client(100), epoch); l.Addr != ip("10.0.0.2") || l.Hostname != "web1" {
		t.Errorf("%+v", l)
	}
	// Until the other one goes, the reservation's station gets any address.
	if l := lease(t, tab, client(101), epoch); l.Addr == squatter.Addr {
		t.Errorf("%s twice", l.Addr)
	}
	if _, err := tab.Bind(client(5), squatter.Addr, false, epoch); !errors.Is(err, ErrRefused) {
		// The squatter holds what is reserved: it has to go when it renews.
		t.Errorf("renewal of a reserved address: %v", err)
	}
}

func TestAPortsAddressFollowsThePort(t *testing.T) {
	tab := table(t, config())
	c := Client{MAC: mac(1), Port: "p1", Fixed: ip("203.0.113.5")}
	lease(t, tab, c, epoch)
	c.MAC = mac(2)
	lease(t, tab, c, epoch)
	if l := tab.List(epoch); len(l) != 1 || l[0].MAC != mac(2) {
		t.Errorf("%+v", l)
	}
	c.MAC, c.Port = mac(3), "p2"
	if a, _, err := tab.Offer(c, epoch); err == nil {
		t.Errorf("another port got %s", a)
	}
	if _, err := tab.Bind(Client{MAC: mac(2), Port: "p1", Fixed: ip("203.0.113.5")}, ip("10.0.0.10"), true, epoch); !errors.Is(err, ErrRefused) {
		t.Errorf("an address that is not the port's: %v", err)
	}
}

// A virtual machine that is started anew is behind another port, perhaps with
// another MAC. What it had belongs to its new port, once the old one is no more.
func TestAPortsAddressFollowsItsOwnerToAnotherPort(t *testing.T) {
	gone := map[string]bool{}
	cfg := config()
	cfg.Gone = func(port string) bool { return gone[port] }
	tab := table(t, cfg)
	lease(t, tab, Client{MAC: mac(1), Port: "vif1.0", Fixed: ip("203.0.113.5")}, epoch)
	next := Client{MAC: mac(2), Port: "vif2.0", Fixed: ip("203.0.113.5")}
	if a, _, err := tab.Offer(next, epoch); err == nil {
		t.Errorf("%s while its port is there", a)
	}
	gone["vif1.0"] = true
	if _, _, err := tab.Offer(Client{MAC: mac(3), Port: "vif3.0", Requested: ip("203.0.113.5")}, epoch); err != nil {
		t.Error(err)
	}
	lease(t, tab, next, epoch)
	if l := tab.List(epoch); len(l) != 1 || l[0].MAC != mac(2) || l[0].Port != "vif2.0" {
		t.Errorf("%+v", l)
	}
}

func TestAPortHasAShareAndNoMore(t *testing.T) {
	c := config()
	c.Last = ip("10.0.0.250")
	c.PerPort = 5
	tab := table(t, c)
	for i := range 3 {
		lease(t, tab, client(i), epoch)
	}
	for i := 3; i < 5; i++ {
		if _, _, err := tab.Offer(client(i), epoch); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := tab.Offer(client(5), epoch); !errors.Is(err, ErrLimit) {
		t.Errorf("a sixth: %v", err)
	}
	if _, err := tab.Bind(client(5), ip("10.0.0.200"), true, epoch); !errors.Is(err, ErrLimit) {
		t.Errorf("a sixth, claimed: %v", err)
	}
	lease(t, tab, client(1), epoch)
	lease(t, tab, Client{MAC: mac(100), Port: "p1"}, epoch)
	lease(t, tab, Client{MAC: mac(6), Port: "p2"}, epoch)
	for i := range 9 {
		lease(t, tab, Client{MAC: mac(20 + i), Port: "uplink", Unlimited: true}, epoch)
	}
	// Offers that nobody took end; what is declined does not.
	lease(t, tab, client(5), at(offerTime))
	own := lease(t, tab, client(1), at(offerTime))
	if !tab.Decline(client(1), own.Addr, at(offerTime)) {
		t.Error("not declined")
	}
	lease(t, tab, client(7), at(offerTime))
	if _, _, err := tab.Offer(client(1), at(offerTime)); !errors.Is(err, ErrLimit) {
		t.Errorf("after a decline: %v", err)
	}
	if got := lease(t, tab, client(1), at(offerTime+blockTime)); got.Addr == own.Addr {
		t.Logf("%s is free again", got.Addr)
	}
}

func TestWhoAnswersEveryProbeIsNotBelieved(t *testing.T) {
	c := config()
	c.Last = ip("10.0.0.250")
	c.PerPort = 3
	tab := table(t, c)
	liar := Client{MAC: mac(50), Port: "p5"}
	believed := 0
	for {
		a, probe, err := tab.Offer(client(1), epoch)
		if err != nil || !probe {
			t.Fatalf("%s, probe %t, %v", a, probe, err)
		}
		if !tab.Conflict(a, liar, epoch) {
			break
		}
		believed++
	}
	if believed != 3 {
		t.Errorf("believed %d times", believed)
	}
	if tab.Conflict(ip("10.0.0.99"), Client{Port: "p6"}, epoch) {
		t.Error("blocked an address that nobody was offered")
	}
}

func TestNamesAreNotStolen(t *testing.T) {
	tab := table(t, config())
	named := func(n int, name string) Client {
		c := client(n)
		c.Hostname = name
		return c
	}
	for _, c := range []struct {
		client Client
		want   string
	}{
		{named(1, "Mail.example.org"), "mail"},
		{named(2, "mail"), ""},
		{named(2, "MAIL"), ""},
		{named(2, "web1"), ""},
		{named(2, "alias"), ""},
		{named(2, "gateway"), ""},
		{named(2, "wpad"), ""},
		{named(2, "Localhost"), ""},
		{named(1, ""), "mail"},
		{named(1, "post"), "post"},
		{named(2, "mail"), "mail"},
		{named(100, "mail"), "web1"},
		{named(102, "mail"), "roams"},
	} {
		if l := lease(t, tab, c.client, epoch); l.Hostname != c.want {
			t.Errorf("%s asked for %q, got %q, want %q", c.client.MAC, c.client.Hostname, l.Hostname, c.want)
		}
	}
	if a, ok := tab.Addrs("roams"); !ok || len(a) != 1 || tab.NameOf(a[0]) != "roams" {
		t.Errorf("roams: %v, %t", a, ok)
	}
	tab.Expire(at(2 * time.Hour))
	if a, ok := tab.Addrs("mail"); ok {
		t.Errorf("mail, expired: %v", a)
	}
	if a, ok := tab.Addrs("roams"); !ok || len(a) != 0 {
		t.Errorf("roams, expired: %v, %t", a, ok)
	}
	if a, ok := tab.Addrs("web1"); !ok || !slices.Equal(a, []netip.Addr{ip("10.0.0.2"), ip("fd00::2")}) {
		t.Errorf("web1: %v, %t", a, ok)
	}
	if got := tab.NameOf(ip("fd00::1")); got != "gateway" {
		t.Errorf("fd00::1 is %q", got)
	}
	if got := tab.NameOf(ip("10.0.0.2")); got != "web1" {
		t.Errorf("10.0.0.2 is %q", got)
	}
}

func TestANewReservationTakesANameBack(t *testing.T) {
	tab := table(t, config())
	c := client(1)
	c.Hostname = "mail"
	guest := lease(t, tab, c, epoch)
	conf := config()
	conf.Hosts = append(conf.Hosts, Host{Name: "mail", Addrs: []netip.Addr{ip("10.0.0.4")}})
	if err := tab.Configure(conf); err != nil {
		t.Fatal(err)
	}
	if a, _ := tab.Addrs("mail"); !slices.Equal(a, []netip.Addr{ip("10.0.0.4")}) {
		t.Errorf("mail: %v", a)
	}
	if got := tab.NameOf(guest.Addr); got != "" {
		t.Errorf("the guest is still %q", got)
	}
}

func TestEventsTellWhatHappened(t *testing.T) {
	tab := table(t, config())
	l := lease(t, tab, client(1), epoch)
	tab.Bind(client(1), l.Addr, false, at(time.Minute))
	tab.Expire(at(2 * time.Hour))
	lease(t, tab, client(1), at(3*time.Hour))
	tab.Delete(mac(1), at(3*time.Hour))
	tab.Delete(mac(1), at(3*time.Hour))
	var kinds []Kind
	for _, e := range tab.Events() {
		kinds = append(kinds, e.Kind)
		if e.Lease.Addr != l.Addr || e.Lease.MAC != mac(1) {
			t.Errorf("%+v", e)
		}
	}
	if want := []Kind{Given, Renewed, Ended, Given, Ended}; !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
}

func TestClientsMayWantShorterLeases(t *testing.T) {
	for _, c := range []struct{ configured, wanted, want time.Duration }{
		{time.Hour, 0, time.Hour},
		{time.Hour, 2 * time.Hour, time.Hour},
		{time.Hour, 30 * time.Minute, 30 * time.Minute},
		{time.Hour, time.Second, time.Minute},
		{10 * time.Second, time.Second, 10 * time.Second},
	} {
		conf := config()
		conf.Time = c.configured
		k := client(1)
		k.Time = c.wanted
		if l := lease(t, table(t, conf), k, epoch); l.Expires != at(c.want) {
			t.Errorf("%+v: expires after %s", c, l.Expires.Sub(epoch))
		}
	}
}

func TestATableOutlivesTheProgram(t *testing.T) {
	tab := table(t, config())
	c := client(1)
	c.Hostname = "mail"
	kept := lease(t, tab, c, epoch)
	expired := lease(t, tab, Client{MAC: mac(2), Port: "p2", Time: time.Minute}, epoch)
	third := lease(t, tab, Client{MAC: mac(3), Port: "p3"}, epoch)
	tab.Decline(Client{MAC: mac(3), Port: "p3"}, third.Addr, epoch)
	text, err := tab.Encode()
	if err != nil {
		t.Fatal(err)
	}

	later := table(t, config())
	if err := later.Decode(text, at(30*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := later.List(at(30 * time.Minute)); len(got) != 1 || got[0] != kept {
		t.Errorf("got %+v, want %+v", got, kept)
	}
	if e := later.Events(); len(e) != 2 || e[0] != (Event{Given, kept}) || e[1].Kind != Ended {
		t.Errorf("events %+v", e)
	}
	if a, ok := later.Addrs("mail"); !ok || a[0] != kept.Addr {
		t.Errorf("mail: %v", a)
	}
	if l := lease(t, later, Client{MAC: mac(2), Port: "p2"}, at(30*time.Minute)); l.Addr != expired.Addr {
		t.Errorf("got %s, had %s", l.Addr, expired.Addr)
	}
}

func TestLeasesEndWithTheirSubnet(t *testing.T) {
	c := config()
	c.PinnedTo = func(a netip.Addr) string {
		if a == ip("203.0.113.5") {
			return "p9"
		}
		return ""
	}
	tab := table(t, c)
	old := client(1)
	old.Hostname = "mail"
	lease(t, tab, old, epoch)
	pinned := lease(t, tab, Client{MAC: mac(9), Port: "p9", Fixed: ip("203.0.113.5")}, epoch)
	text, err := tab.Encode()
	if err != nil {
		t.Fatal(err)
	}
	tab.Events()

	c.Subnet, c.First, c.Last, c.Hosts, c.Self = netip.MustParsePrefix("10.1.0.0/24"), ip("10.1.0.10"), ip("10.1.0.13"), nil, nil
	if err := tab.Configure(c); err != nil {
		t.Fatal(err)
	}
	if e := tab.Events(); len(e) != 1 || e[0].Kind != Ended {
		t.Errorf("events %+v", e)
	}
	later := table(t, c)
	if err := later.Decode(text, epoch); err != nil {
		t.Fatal(err)
	}
	for name, tab := range map[string]*Table{"configured anew": tab, "read from a file": later} {
		if got := tab.List(epoch); len(got) != 1 || got[0].Addr != pinned.Addr {
			t.Errorf("%s: %+v", name, got)
		}
		if a, ok := tab.Addrs("mail"); ok {
			t.Errorf("%s: mail is %v", name, a)
		}
		if l := lease(t, tab, client(1), epoch); !c.Subnet.Contains(l.Addr) {
			t.Errorf("%s: %s", name, l.Addr)
		}
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	for _, text := range []string{
		``, `{`, `[]`, `{"version":2}`,
		`{"version":1,"leases":[{"ip":"10.0.0.10","mac":"02:00:00:00:00:01","state":"lost"}]}`,
		`{"version":1,"leases":[{"ip":"10.0.0.10","mac":"","state":"bound"}]}`,
		`{"version":1,"leases":[{"ip":"","mac":"02:00:00:00:00:01","state":"bound"}]}`,
		`{"version":1,"leases":[{"ip":"10.0.0.10","mac":"02:00:00:00:00:01","state":"bound"},{"ip":"10.0.0.10","mac":"02:00:00:00:00:02","state":"past"}]}`,
		`{"version":1,"leases":[{"ip":"10.0.0.10","mac":"02:00:00:00:00:01","state":"bound"},{"ip":"10.0.0.12","mac":"02:00:00:00:00:01","state":"past"}]}`,
	} {
		tab := table(t, config())
		if err := tab.Decode([]byte(text), epoch); err == nil || len(tab.List(epoch)) != 0 {
			t.Errorf("%s: %v", text, err)
		}
	}
}

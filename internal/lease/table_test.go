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

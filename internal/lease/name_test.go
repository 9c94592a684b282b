package lease

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

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

package lease

import (
	"net/netip"
	"testing"
	"time"
)

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

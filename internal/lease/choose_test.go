package lease

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

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

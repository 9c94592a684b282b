package lease

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// promise is what a client was told: the address is yours until then. The model
// is all promises that were made and not given back, by address.
type promise struct {
	mac   frame.MAC
	until time.Time
}

// TestNoAddressIsPromisedTwice runs clients of three ports against a small
// range, in any order, with restarts and changed configurations, and holds
// every answer against the promises that still stand.
func TestNoAddressIsPromisedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		conf := config()
		conf.PerPort = 3
		conf.PinnedTo = func(a netip.Addr) string {
			if a == ip("10.0.0.13") {
				return "p2"
			}
			return ""
		}
		tab, err := New(conf)
		if err != nil {
			t.Fatal(err)
		}
		now := epoch
		promises := map[netip.Addr]promise{}
		stands := func(a netip.Addr) bool { return now.Before(promises[a].until) }
		draw := func() Client {
			n := rapid.IntRange(0, 7).Draw(t, "client")
			c := Client{MAC: mac(n), Port: [...]string{"p0", "p1", "p2"}[n%3]}
			if n == 7 {
				c.MAC = mac(101) // with a reservation
			}
			if c.Port == "p2" {
				c.Fixed = ip("10.0.0.13")
			}
			c.Time = time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes")) * time.Minute
			c.Hostname = rapid.SampledFrom([]string{"", "a", "b", "web1"}).Draw(t, "name")
			return c
		}
		anyAddr := func() netip.Addr {
			return addr(number(ip("10.0.0.9")) + uint32(rapid.IntRange(0, 6).Draw(t, "addr")))
		}
		bind := func(c Client, a netip.Addr, claim bool) {
			l, err := tab.Bind(c, a, claim, now)
			if err != nil {
				if l != (Lease{}) {
					t.Fatalf("%v with %+v", err, l)
				}
				return
			}
			if l.Addr != a || l.MAC != c.MAC || !now.Before(l.Expires) {
				t.Fatalf("asked for %s, got %+v", a, l)
			}
			// A port's address passes on to the port's next station.
			if p := promises[a]; stands(a) && p.mac != c.MAC && a != c.Fixed {
				t.Fatalf("%s promised to %s until %s, and now to %s", a, p.mac, p.until, c.MAC)
			}
			for b, p := range promises {
				if p.mac == c.MAC {
					delete(promises, b) // a client uses one at a time
				}
			}
			promises[a] = promise{c.MAC, l.Expires}
		}
		t.Repeat(map[string]func(*rapid.T){
			"lease": func(*rapid.T) {
				c := draw()
				c.Requested = anyAddr()
				a, _, err := tab.Offer(c, now)
				if err == nil {
					bind(c, a, false)
				} else if !errors.Is(err, ErrExhausted) && !errors.Is(err, ErrLimit) {
					t.Fatal(err)
				}
			},
			"discover": func(*rapid.T) {
				c := draw()
				a, probe, err := tab.Offer(c, now)
				if err == nil && stands(a) && promises[a].mac != c.MAC && a != c.Fixed {
					t.Fatalf("%s offered to %s, which is promised to %s", a, c.MAC, promises[a].mac)
				}
				if probe && rapid.Bool().Draw(t, "conflict") {
					tab.Conflict(a, draw(), now)
				}
			},
			"request": func(*rapid.T) { bind(draw(), anyAddr(), rapid.Bool().Draw(t, "claim")) },
			"release": func(*rapid.T) {
				c := draw()
				a := anyAddr()
				if tab.Release(c.MAC, a, now) {
					if promises[a].mac != c.MAC {
						t.Fatalf("%s released %s of %s", c.MAC, a, promises[a].mac)
					}
					delete(promises, a)
				}
			},
			"decline": func(*rapid.T) {
				c := draw()
				a := anyAddr()
				if tab.Decline(c, a, now) && promises[a].mac == c.MAC {
					delete(promises, a)
				}
			},
			"delete": func(*rapid.T) {
				if l, ok := tab.Delete(draw().MAC, now); ok {
					delete(promises, l.Addr)
				}
			},
			"withdraw": func(*rapid.T) { tab.Withdraw(draw().MAC) },
			"wait": func(*rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "seconds")) * time.Second)
			},
			"restart": func(*rapid.T) {
				text, err := tab.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if tab, err = New(conf); err != nil {
					t.Fatal(err)
				}
				if err := tab.Decode(text, now); err != nil {
					t.Fatal(err)
				}
			},
			"reload": func(*rapid.T) {
				conf.Last = ip([...]string{"10.0.0.12", "10.0.0.13", "10.0.0.14"}[rapid.IntRange(0, 2).Draw(t, "last")])
				if err := tab.Configure(conf); err != nil {
					t.Fatal(err)
				}
			},
			"": func(*rapid.T) { agree(t, tab, promises, now) },
		})
	})
}

// agree holds the table's list against the promises, and its books against
// what is in it.
func agree(t *rapid.T, tab *Table, promises map[netip.Addr]promise, now time.Time) {
	list := tab.List(now)
	names := map[string]bool{}
	for _, l := range list {
		if p := promises[l.Addr]; p.mac != l.MAC || !p.until.Equal(l.Expires) {
			t.Fatalf("listed %+v, promised %+v", l, p)
		}
		if l.Hostname == "" {
			continue
		}
		if names[l.Hostname] || l.Hostname == "web1" {
			t.Fatalf("%s has a stolen name: %q", l.MAC, l.Hostname)
		}
		names[l.Hostname] = true
		if a, ok := tab.Addrs(l.Hostname); !ok || len(a) != 1 || a[0] != l.Addr {
			t.Fatalf("%q is %v, want %s", l.Hostname, a, l.Addr)
		}
	}
	standing := 0
	for _, p := range promises {
		if now.Before(p.until) {
			standing++
		}
	}
	if standing != len(list) {
		t.Fatalf("%d promises, %d leases", standing, len(list))
	}
	ports := map[string]int{}
	for a, e := range tab.byAddr {
		if e.addr != a || e.state == offered && tab.offers[e.mac] != e || (e.state == bound || e.state == past) && tab.held[e.mac] != e {
			t.Fatalf("%s is out of its maps", a)
		}
		if e.counted {
			ports[e.port]++
		}
	}
	if len(tab.offers)+len(tab.held) > len(tab.byAddr) {
		t.Fatal("the maps hold more than there is")
	}
	for p, n := range tab.ports {
		if n != ports[p] || n > 3 {
			t.Fatalf("port %s: counted %d, has %d", p, n, ports[p])
		}
	}
}

func FuzzDecode(f *testing.F) {
	tab, _ := New(config())
	a, _, _ := tab.Offer(client(1), epoch)
	tab.Bind(client(1), a, false, epoch)
	text, _ := tab.Encode()
	f.Add(text)
	f.Add([]byte(`{"version":1,"leases":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tab, err := New(config())
		if err != nil {
			t.Fatal(err)
		}
		if tab.Decode(b, epoch) != nil {
			return
		}
		tab.List(epoch)
		tab.Offer(client(1), epoch)
	})
}

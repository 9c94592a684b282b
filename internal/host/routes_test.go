package host_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

// routesSeen writes routes as ip-route(8) would, a line each.
func routesSeen(names map[int]string, routes []host.Route) string {
	var b strings.Builder
	for _, r := range routes {
		b.WriteString(r.To.String())
		switch r.Type {
		case host.RouteBlackhole:
			b.WriteString(" blackhole")
		case host.RouteUnreachable:
			b.WriteString(" unreachable")
		case host.RouteProhibit:
			b.WriteString(" prohibit")
		}
		if r.Via.IsValid() {
			fmt.Fprintf(&b, " via %s", r.Via)
		}
		if r.Link != 0 {
			fmt.Fprintf(&b, " dev %s", names[r.Link])
		}
		if r.Source.IsValid() {
			fmt.Fprintf(&b, " src %s", r.Source)
		}
		if r.MTU != 0 {
			fmt.Fprintf(&b, " mtu %d", r.MTU)
		}
		if r.Metric != 0 {
			fmt.Fprintf(&b, " metric %d", r.Metric)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// twoLinks makes a and b, with a carrier, and their networks 10.1.0.0/24 and
// 10.2.0.0/24.
func twoLinks(t *testing.T) (names map[int]string) {
	t.Helper()
	names = make(map[int]string)
	for i, name := range []string{"a", "b"} {
		sh(t, "ip link add name %s type veth peer name %s-peer", name, name)
		sh(t, "ip link set dev %s-peer up", name)
		sh(t, "ip link set dev %s up", name)
		sh(t, "ip addr add 10.%d.0.1/24 dev %s", i+1, name)
		names[link(t, name).Index] = name
	}
	return names
}

const connected = "10.1.0.0/24 dev a src 10.1.0.1\n10.2.0.0/24 dev b src 10.2.0.1\n"

func TestRoutesAreTheKernels(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		routes string // ip route add …
		want   string
	}{
		{"none", "", connected},
		{"default", "default via 10.1.0.254 mtu 1400", "0.0.0.0/0 via 10.1.0.254 dev a mtu 1400\n" + connected},
		{"best metric", "default via 10.1.0.254 metric 20\ndefault via 10.2.0.254 metric 10\ndefault via 10.2.0.253 metric 30", "0.0.0.0/0 via 10.2.0.254 dev b metric 10\n" + connected},
		{"host route and source", "192.0.2.1 dev b scope link src 10.1.0.1", connected + "192.0.2.1/32 dev b src 10.1.0.1\n"},
		{"several next hops", "192.0.2.0/24 nexthop via 10.2.0.9 nexthop via 10.1.0.9", connected + "192.0.2.0/24 via 10.2.0.9 dev b\n"},
		{"refusals", "blackhole 192.0.2.0/26\nunreachable 192.0.2.64/26\nprohibit 192.0.2.128/26", connected + "192.0.2.0/26 blackhole\n192.0.2.64/26 unreachable\n192.0.2.128/26 prohibit\n"},
		{"type of service", "192.0.2.0/24 via 10.1.0.9 tos 0x10\n192.0.2.0/24 via 10.2.0.9", connected + "192.0.2.0/24 via 10.2.0.9 dev b\n"},
		{"another table", "192.0.2.0/24 via 10.1.0.9 table 100", connected},
		{"table default behind main", "192.0.2.0/24 via 10.1.0.9 table default\n10.2.0.128/25 via 10.1.0.9 table default", connected + "192.0.2.0/24 via 10.1.0.9 dev a\n"},
		{"main's default hides table default", "default via 10.2.0.9\n192.0.2.0/24 via 10.1.0.9 table default", "0.0.0.0/0 via 10.2.0.9 dev b\n" + connected},
		{"throw", "default via 10.2.0.9\nthrow 192.0.2.0/24\nthrow 198.51.100.0/24\n192.0.0.0/16 via 10.1.0.8 table default\n192.0.2.128/25 via 10.1.0.9 table default",
			"0.0.0.0/0 via 10.2.0.9 dev b\n" + connected + "192.0.2.0/24 via 10.1.0.8 dev a\n192.0.2.128/25 via 10.1.0.9 dev a\n198.51.100.0/24 unreachable\n"},
		{"throw with the same prefix behind it", "throw 192.0.2.0/24\n192.0.2.0/24 via 10.1.0.9 table default", connected + "192.0.2.0/24 via 10.1.0.9 dev a\n"},
		{"next hop of IPv6", "192.0.2.0/24 via inet6 fe80::1 dev a", connected + "192.0.2.0/24 via fe80::1 dev a\n"},
		{"encapsulated", "192.0.2.0/24 encap ip id 100 dst 10.1.0.9 via 10.1.0.9 dev a", connected + "192.0.2.0/24 via 10.1.0.9 dev a\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inside(t, "routes", func(*testnet.NS) {
				names := twoLinks(t)
				for r := range strings.Lines(tt.routes) {
					sh(t, "ip route add %s", r)
				}
				ctx, cancel := context.WithCancel(t.Context())
				w, err := told(host.WatchRoutes)(ctx)
				ok(t, err)
				routes := <-w
				if diff := cmp.Diff(tt.want, routesSeen(names, routes)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				for _, to := range []string{"10.1.0.7", "10.2.0.200", "192.0.2.1", "192.0.2.70", "192.0.2.130", "192.0.2.200", "192.0.3.1", "198.51.100.1"} {
					// The kernel spreads flows over next hops.
					if got, want := names[match(routes, to)], kernelLink(to); got != want && !strings.Contains(tt.routes, "nexthop") {
						t.Errorf("%s goes to %q, and by the kernel to %q", to, got, want)
					}
				}
				cancel()
				for range w {
				}
			})
		})
	}
}

// match is the link of the longest prefix, or 0.
func match(routes []host.Route, to string) (link int) {
	bits := -1
	for _, r := range routes {
		if r.To.Contains(netip.MustParseAddr(to)) && r.To.Bits() > bits {
			bits, link = r.To.Bits(), r.Link
		}
	}
	return link
}

// kernelLink asks the kernel; "" is a refusal.
func kernelLink(to string) string {
	out, err := exec.Command("ip", "route", "get", to).Output()
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(out), " dev ")
	return strings.Fields(rest)[0]
}

func TestRoutesAreToldWhenTheyChange(t *testing.T) {
	t.Parallel()
	inside(t, "routewatch", func(*testnet.NS) {
		names := twoLinks(t)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := told(host.WatchRoutes)(ctx)
		ok(t, err)
		awaitRoutes(t, w, names, connected)
		const viaA, viaB = "0.0.0.0/0 via 10.1.0.9 dev a metric 1\n", "0.0.0.0/0 via 10.2.0.9 dev b metric 2\n"
		const onB, onA = "10.2.0.0/24 dev b src 10.2.0.1\n", "10.1.0.0/24 dev a src 10.1.0.1\n"
		for _, step := range []struct{ do, want string }{
			{"ip route add default via 10.2.0.9 metric 2", viaB + connected},
			{"ip route add default via 10.1.0.9 metric 1", viaA + connected},
			{"ip link set dev a-peer down", viaB + onB}, // no carrier
			{"ip link set dev a-peer up", viaA + connected},
			{"ip link set dev a down", viaB + onB}, // the kernel says nothing of the routes
			{"ip link set dev a up", viaB + connected},
			{"ip route replace default via 10.2.0.8 metric 2", "0.0.0.0/0 via 10.2.0.8 dev b metric 2\n" + connected},
			{"ip addr del 10.2.0.1/24 dev b", onA},
			{"ip link del dev a", ""},
		} {
			sh(t, "%s", step.do)
			awaitRoutes(t, w, names, step.want)
		}
		cancel()
		for range w {
		}
	})
}

func awaitRoutes(t *testing.T, w <-chan []host.Route, names map[int]string, want string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for got := ""; ; {
		select {
		case routes, open := <-w:
			if !open {
				t.Fatal("the watch has ended")
			}
			if got = routesSeen(names, routes); got == want {
				return
			}
		case <-timeout:
			t.Fatalf("waited for:\n%s\nhave:\n%s", want, got)
		}
	}
}

// A full table comes in more messages than the socket's buffer holds; each
// listing takes long, and few of them are made. When its link goes, the kernel
// takes a while to remove it, after it has told of the link.
func TestATableOfTenThousandRoutesIsFollowed(t *testing.T) {
	t.Parallel()
	inside(t, "routebatch", func(*testnet.NS) {
		twoLinks(t)
		ctx, cancel := context.WithCancel(t.Context())
		w, err := told(host.WatchRoutes)(ctx)
		ok(t, err)
		const n = 10000
		var add strings.Builder
		for i := range n {
			fmt.Fprintf(&add, "route add 100.%d.%d.0/24 via 10.1.0.9\n", i/256, i%256)
		}
		load, unload := filepath.Join(t.TempDir(), "add"), filepath.Join(t.TempDir(), "del")
		ok(t, os.WriteFile(load, []byte(add.String()), 0o600))
		ok(t, os.WriteFile(unload, []byte(strings.ReplaceAll(add.String(), "add", "del")), 0o600))
		for _, step := range []struct {
			do   string
			want int
		}{
			{"ip -batch " + load, n + 2},
			{"ip -batch " + unload, 2},
			{"ip -batch " + load, n + 2},
			{"ip link set dev a down", 1},
		} {
			begun := time.Now()
			sh(t, "%s", step.do)
			done, sets := time.Since(begun), 0
			timeout := time.After(20 * time.Second)
			for have := -1; have != step.want; sets++ {
				select {
				case routes := <-w:
					have = len(routes)
				case <-timeout:
					t.Fatalf("%s: %d routes, want %d", step.do, have, step.want)
				}
			}
			if sets > 20 {
				t.Errorf("%s: %d sets", step.do, sets)
			}
			t.Logf("%s took %s, known %s later, by %d sets", step.do, done, time.Since(begun)-done, sets)
		}
		cancel()
		for range w {
		}
	})
}

func TestRoutesOfOneNamespaceOnly(t *testing.T) {
	t.Parallel()
	inside(t, "routens", func(ns *testnet.NS) {
		ctx, cancel := context.WithCancel(t.Context())
		w, err := told(host.WatchRoutes)(ctx)
		ok(t, err)
		if first := <-w; len(first) != 0 {
			t.Errorf("an empty namespace has %v", first)
		}
		names := twoLinks(t)
		// The watch's own goroutines run on threads of the outer namespace.
		awaitRoutes(t, w, names, connected)
		cancel()
		for range w {
		}
	})
}

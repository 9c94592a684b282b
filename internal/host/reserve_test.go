package host_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

func reserved(t *testing.T) string { return sysctl(t, "net/ipv4/ip_local_reserved_ports") }

func TestReservedPortsOfOthersStay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		before      string
		first, last uint16
		added, now  string
		meanwhile   string // what somebody else sets
		after       string
	}{
		{"", 61000, 65535, "61000-65535", "61000-65535", "", ""},
		{"8080", 61000, 61000, "61000", "8080,61000", "", "8080"},
		{"1,8080,62000-62010", 61000, 65535, "61000-61999,62011-65535", "1,8080,61000-65535", "", "1,8080,62000-62010"},
		{"61000-65535", 61000, 65535, "", "61000-65535", "", "61000-65535"},
		{"", 61000, 61009, "61000-61009", "61000-61009", "8080,61005-61020", "8080,61010-61020"},
		{"", 61000, 61009, "61000-61009", "61000-61009", "8080", "8080"},
		{"", 1, 65535, "1-65535", "1-65535", "", ""},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			inside(t, "reserve", func(ns *testnet.NS) {
				set := func(value string) {
					t.Helper()
					ok(t, ns.Sysctl("net.ipv4.ip_local_reserved_ports", value+"\n"))
				}
				set(tt.before)
				plan, err := host.UnreservedPorts(tt.first, tt.last)
				ok(t, err)
				if reserved(t) != tt.before {
					t.Errorf("looking has made it %q", reserved(t))
				}
				added, err := host.ReservePorts(tt.first, tt.last)
				ok(t, err)
				if added != tt.added || plan != added || reserved(t) != tt.now {
					t.Errorf("added %q, planned %q, have %q", added, plan, reserved(t))
				}
				// A daemon that was killed here knows what it added from its journal.
				again, err := host.ReservePorts(tt.first, tt.last)
				ok(t, err)
				if again != "" || reserved(t) != tt.now {
					t.Errorf("the second time added %q, have %q", again, reserved(t))
				}
				if tt.meanwhile != "" {
					set(tt.meanwhile)
				}
				for range 2 {
					ok(t, host.RestorePorts(added))
					if reserved(t) != tt.after {
						t.Errorf("restored to %q, want %q", reserved(t), tt.after)
					}
				}
			})
		})
	}
}

// The kernel's text is longer than a page then, and than what os.ReadFile reads
// at a time.
func TestALongListOfReservedPortsSurvives(t *testing.T) {
	t.Parallel()
	inside(t, "reservelong", func(ns *testnet.NS) {
		var odd []string
		for p := 10001; p < 30000; p += 2 {
			odd = append(odd, fmt.Sprint(p))
		}
		list := strings.Join(odd, ",")
		ok(t, ns.Sysctl("net.ipv4.ip_local_reserved_ports", list+"\n"))
		added, err := host.ReservePorts(61000, 65535)
		ok(t, err)
		if got := readAll(t); got != list+",61000-65535\n" {
			t.Errorf("%d bytes, ends %q", len(got), got[max(0, len(got)-30):])
		}
		ok(t, host.RestorePorts(added))
		if got := readAll(t); got != list+"\n" {
			t.Errorf("%d bytes, ends %q", len(got), got[max(0, len(got)-30):])
		}
	})
}

func readAll(t *testing.T) string {
	t.Helper()
	f, err := os.Open("/proc/sys/net/ipv4/ip_local_reserved_ports")
	ok(t, err)
	defer f.Close()
	b := make([]byte, 1<<20)
	n, err := f.Read(b)
	ok(t, err)
	return string(b[:n])
}

func TestReservedPortsAreNotGivenToConnections(t *testing.T) {
	t.Parallel()
	inside(t, "reserveuse", func(ns *testnet.NS) {
		ok(t, ns.Sysctl("net.ipv4.ip_local_port_range", "61000 61003"))
		_, err := host.ReservePorts(61000, 61002)
		ok(t, err)
		for range 20 {
			c, err := net.ListenPacket("udp4", "127.0.0.1:0")
			ok(t, err)
			if port := c.LocalAddr().(*net.UDPAddr).Port; port != 61003 {
				t.Errorf("the kernel chose %d", port)
			}
			c.Close()
		}
	})
}

func TestABadRangeOfPortsIsRefused(t *testing.T) {
	t.Parallel()
	inside(t, "reservebad", func(*testnet.NS) {
		for _, r := range [][2]uint16{{2, 1}, {0, 5}} {
			if _, err := host.ReservePorts(r[0], r[1]); errorText(err) != fmt.Sprintf("reserve ports %d-%d: want the lower port first, 1 to 65535", r[0], r[1]) {
				t.Error(err)
			}
		}
		for _, s := range []string{"x", "5-4", "70000", "1,,2", "-1"} {
			if err := host.RestorePorts(s); err == nil || !strings.Contains(err.Error(), "is no range of ports") {
				t.Errorf("%q: %v", s, err)
			}
		}
		ok(t, host.RestorePorts(""))
	})
}

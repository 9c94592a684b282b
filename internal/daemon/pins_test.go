package daemon

import (
	"maps"
	"net/netip"
	"testing"

	"gxswitch/internal/config"
)

// DHCP gives a guest the address that its port is told, and nobody else that one,
// also while the port is absent.
func TestAddressesThatPortsAreTold(t *testing.T) {
	m := managerOf(t, `
[network.lab]
mode    = "host-only"
address = "192.168.60.1/24"
[network.dmz]
mode    = "routed"
uplink  = "eth0"
address = "203.0.113.17/28"

[[port]]
name    = "absent"
network = "lab"
ip      = ["fd00::5", "192.168.60.5", "192.168.60.6"]
[[port]]
name    = "elsewhere"
network = "lab"
ip      = ["10.0.0.9"]
[[port]]
name    = "removed"
network = "lab"
ip      = ["192.168.60.7"]
[[port]]
name    = "changed"
network = "lab"
ip      = ["192.168.60.8"]
[[port]]
match   = { domain = "db", vif = 1 }
network = "lab"
ip      = ["192.168.60.9"]
[[port]]
name    = "host-route"
network = "dmz"
ip      = ["198.51.100.9", "198.51.100.8"]
[[port]]
name    = "both"
network = "dmz"
ip      = ["198.51.100.10", "203.0.113.20"]
`)
	m.removed["removed"] = true
	m.guest(1, config.Port{Name: "changed", Network: "lab", IP: []netip.Addr{addr("192.168.60.80")}})
	m.guest(2, config.Port{Name: "plain", Network: "lab"})
	m.repin()
	got := m.pins.Load()
	if want := map[string]netip.Addr{
		"absent": addr("192.168.60.5"), "changed": addr("192.168.60.80"), "domain db vif 1": addr("192.168.60.9"),
		"host-route": addr("198.51.100.9"), "both": addr("203.0.113.20"),
	}; !maps.Equal(got.byPort, want) {
		t.Errorf("given: %v\nwant   %v", got.byPort, want)
	}
	if want := map[pinned]string{
		{"lab", addr("fd00::5")}: "absent", {"lab", addr("192.168.60.5")}: "absent", {"lab", addr("192.168.60.6")}: "absent",
		{"lab", addr("10.0.0.9")}: "elsewhere", {"lab", addr("192.168.60.80")}: "changed", {"lab", addr("192.168.60.9")}: "domain db vif 1",
		{"dmz", addr("198.51.100.9")}: "host-route", {"dmz", addr("198.51.100.8")}: "host-route",
		{"dmz", addr("198.51.100.10")}: "both", {"dmz", addr("203.0.113.20")}: "both",
	}; !maps.Equal(got.byAddr, want) {
		t.Errorf("kept: %v\nwant  %v", got.byAddr, want)
	}
	if want := map[string]bool{"changed": true, "plain": true}; !maps.Equal(got.there, want) {
		t.Errorf("there: %v, want %v", got.there, want)
	}
}

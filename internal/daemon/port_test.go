package daemon

import (
	"testing"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
)

// The host's own address is behind one port of a network at a time, or the switch
// would give its frames to the wrong one.
func TestTheHostsAddressIsBehindOnePort(t *testing.T) {
	m := managerOf(t, `
[network.plain]
mode   = "bridged"
uplink = "eth0"
[network.taken]
mode     = "bridged"
uplink   = "eth1"
takeover = true
[network.lab]
mode    = "host-only"
address = "192.168.60.1/24"
[network.nat0]
mode    = "nat"
uplink  = "eth2"
address = "10.20.0.1/24"
`)
	nic := frame.MAC{2, 0, 0, 0, 9, 9}
	for _, c := range []struct {
		network      string
		turned       bool
		uplink, leg  bool // where it is
		uplinkLimits bool // which of the two is the way out
	}{
		{"plain", false, true, false, true},
		{"taken", false, true, false, true},
		{"taken", true, false, true, true},
		{"lab", false, false, true, false},
		{"nat0", false, true, true, true}, // two addresses: the NIC's and the gateway's
	} {
		n := m.networks[c.network]
		n.turned, n.spec.RateUp, n.spec.RateDown = c.turned, mustRate(t, "100Mb/s"), mustRate(t, "200Mb/s")
		has := func(role dataplane.Role, mac frame.MAC) (isThere, limited bool) {
			p := &port{link: host.Link{Name: "x", MAC: nic}, role: role, want: want{role: role, spec: config.Port{Network: n.spec.Name}}}
			got := m.portConfig(p, c.network)
			if !got.Local.IsZero() && got.Local != mac {
				t.Errorf("%s: the %s has %s, want %s", c.network, role, got.Local, mac)
			}
			if limited = !got.RateFrom.IsZero(); limited && (got.RateFrom != n.spec.RateDown || got.RateTo != n.spec.RateUp) {
				t.Errorf("%s: the %s's limits are the wrong way round", c.network, role)
			}
			return !got.Local.IsZero(), limited
		}
		if n.spec.Uplink != "" {
			if there, limited := has(dataplane.Uplink, nic); there != c.uplink || limited != c.uplinkLimits {
				t.Errorf("%+v: at the uplink %t, limited %t", c, there, limited)
			}
		}
		if n.spec.HasHostLeg() {
			if there, limited := has(dataplane.Host, n.leg.Host.MAC); there != c.leg || limited == c.uplinkLimits {
				t.Errorf("%+v: at the leg %t, limited %t", c, there, limited)
			}
		}
	}
}

// An interface whose MTU nobody says any more gets back the one it had, and a NIC's
// is never ours.
func TestMTUOfAPort(t *testing.T) {
	m := managerOf(t, `
[network.lan]
mode   = "bridged"
uplink = "eth0"
[network.jumbo]
mode    = "host-only"
address = "192.168.60.1/24"
mtu     = 9000
`)
	m.links[2] = host.Link{Name: "eth0", Index: 2, MTU: 1480}
	m.touched[7] = touched{WasMTU: 1300}
	m.runtime["vif3.0"] = &runtimePort{ifindex: 7, xen: &control.HotplugSpec{}}
	for _, c := range []struct {
		name     string
		port     config.Port
		index    int
		role     dataplane.Role
		is, want int
	}{
		{"the port's", config.Port{Network: "jumbo", MTU: 1400}, 5, dataplane.Guest, 1500, 1400},
		{"the network's", config.Port{Network: "jumbo"}, 5, dataplane.Guest, 1500, 9000},
		{"nobody's", config.Port{Network: "lan"}, 5, dataplane.Guest, 1500, 1500},
		{"nobody's any more", config.Port{Network: "lan"}, 7, dataplane.Guest, 9000, 1300},
		{"a vif's is its network's", config.Port{Network: "lan", Name: "vif3.0"}, 7, dataplane.Guest, 1500, 1480},
		{"a NIC's", config.Port{Network: "jumbo", MTU: 1400}, 7, dataplane.Uplink, 1500, 1500},
	} {
		w := want{role: c.role, spec: c.port, mtu: m.wantedMTU(c.port)}
		if got := m.portMTU(host.Link{Index: c.index, MTU: c.is}, w); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

package daemon

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"gxswitch/internal/config"
	"gxswitch/internal/host"
	"gxswitch/nat"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

const threeNATs = `
[network.a]
mode    = "nat"
uplink  = "eth0"
address = "10.1.0.1/24"
[network.b]
mode    = "nat"
uplink  = "eth0"
address = "10.2.0.1/24"
[network.c]
mode        = "nat"
uplink      = "eth0"
address     = "10.3.0.1/24"
nat_address = "192.0.2.30"
`

// withGates gives networks their gateways; eth0 is 192.0.2.20.
func withGates(t *testing.T, m *manager) *manager {
	t.Helper()
	nic := host.Link{Name: "eth0", Index: 2}
	m.links[2] = nic
	m.l3.external[2] = addr("192.0.2.20")
	m.l3.addrs = []netip.Addr{addr("192.0.2.20")}
	for _, n := range m.networks {
		if err := m.openGate(n); err != nil {
			t.Fatal(err)
		}
		m.l3.addrs = append(m.l3.addrs, n.spec.Address.Addr())
	}
	m.dividePorts()
	return m
}

// Networks with one address outside divide its ports, and no two have the same.
func TestNATNetworksDivideThePortsOfAnAddress(t *testing.T) {
	m := withGates(t, managerOf(t, threeNATs))
	a, b, c := m.networks["a"].gate.ports, m.networks["b"].gate.ports, m.networks["c"].gate.ports
	if whole := (host.PortRange{First: nat.DefaultFirstPort, Last: nat.DefaultLastPort}); c != whole {
		t.Errorf("alone with its address: %v, want %v", c, whole)
	}
	if a.First != nat.DefaultFirstPort || b.First != a.Last+1 || b.Last > nat.DefaultLastPort || a.Last-a.First != b.Last-b.First {
		t.Errorf("%v and %v of %d to %d", a, b, nat.DefaultFirstPort, nat.DefaultLastPort)
	}
	m.networks["b"].gate = nil
	m.dividePorts()
	if alone := m.networks["a"].gate.ports; alone != c {
		t.Errorf("the other is gone: %v, want %v", alone, c)
	}
}

// The kernel's guard is set anew only where it is another. Networks come in any
// order.
func TestTheSameGuardIsTheSameInAnyOrder(t *testing.T) {
	m := withGates(t, managerOf(t, threeNATs))
	var guards []host.UplinkGuard
	for _, names := range []string{"abc", "cba", "bca"} {
		slices.Reverse(m.l3.addrs)
		all := map[int]*host.UplinkGuard{}
		for _, name := range names {
			n := m.networks[string(name)]
			m.guardFor(n, m.links[2], m.externalOf(n, 2), m.guestsOf(n), all)
		}
		order(all[2])
		guards = append(guards, *all[2])
	}
	if !reflect.DeepEqual(guards[0], guards[1]) || !reflect.DeepEqual(guards[1], guards[2]) {
		t.Errorf("they differ:\n%v\n%v\n%v", guards[0], guards[1], guards[2])
	}
	if g := guards[0]; len(g.NAT) != 3 || len(g.Host) != 3 || !slices.Contains(g.Prefixes, netip.MustParsePrefix("192.0.2.30/32")) {
		t.Errorf("%v", g)
	}
}

// Beside the subnet those guests are behind the gateway who are there: a domain that
// is on its way here is still at another host.
func TestGuestsBehindAGateway(t *testing.T) {
	m := managerOf(t, `
[network.dmz]
mode    = "routed"
uplink  = "eth0"
address = "203.0.113.17/28"
[network.other]
mode    = "routed"
uplink  = "eth0"
[network.far]
mode    = "routed"
uplink  = "eth1"
address = "10.9.0.1/24"
`)
	guest := func(index int, network string, ips ...string) *port {
		spec := config.Port{Name: fmt.Sprint("p", index), Network: network}
		for _, a := range ips {
			spec.IP = append(spec.IP, addr(a))
		}
		return m.guest(index, spec)
	}
	guest(1, "dmz", "203.0.113.20", "fd00::1") // of the subnet, and no IPv4
	guest(2, "dmz", "198.51.100.9", "192.0.2.4")
	guest(3, "dmz", "198.51.100.9") // an interface of the same guest
	guest(4, "dmz", "198.51.100.10").link.Running = false
	guest(5, "other", "198.51.100.77")
	text := func(all []netip.Prefix) string { return fmt.Sprint(all) }
	dmz, other, far := m.networks["dmz"], m.networks["other"], m.networks["far"]
	if got, want := text(m.guestsOf(dmz)), "[192.0.2.4/32 198.51.100.9/32 203.0.113.16/28]"; got != want {
		t.Errorf("dmz: %s, want %s", got, want)
	}
	if got, want := text(m.guestsOf(other)), "[198.51.100.77/32]"; got != want {
		t.Errorf("other: %s, want %s", got, want)
	}
	if got, want := text(m.guestsBeside(dmz)), "[198.51.100.77/32]"; got != want {
		t.Errorf("beside dmz: %s, want %s", got, want)
	}
	if got := m.guestsBeside(far); len(got) != 0 {
		t.Errorf("by another uplink: %v", got)
	}
}

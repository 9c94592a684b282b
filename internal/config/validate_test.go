package config

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestValidateNamesTheObject(t *testing.T) {
	network := func(change func(*Network)) Network {
		n := NewNetwork("lab", HostOnly)
		change(&n)
		return n
	}
	for _, c := range []struct {
		object interface{ Validate() error }
		want   string
	}{
		{NewNetwork("lab", HostOnly), ""},
		{NewNetwork("lab", Isolated), ""},
		{network(func(n *Network) { n.Name = "Lab" }), "network.Lab: the name has a character no network's name may have\n  hint: write \"lab\""},
		{network(func(n *Network) { n.Mode = "" }), "network.lab.mode: the key is missing\n  hint: one of bridged, host-only, isolated, routed, nat"},
		{network(func(n *Network) { n.Mode = "hostonly" }), "network.lab.mode: unknown mode \"hostonly\"\n  hint: did you mean \"host-only\"? (bridged, host-only, isolated, routed, nat)"},
		{network(func(n *Network) { n.Mode = NAT }), "network.lab.uplink: the key is missing: a nat network is joined to a NIC\n  hint: as in uplink = \"eth0\"\nnetwork.lab.address: the key is missing: a nat network has addresses of its own, and the first is its gateway's\n  hint: as in address = \"10.20.0.1/24\""},
		{network(func(n *Network) { n.Ageing = 0 }), "network.lab.ageing: 0s is out of range: 1s to 24h"},
		{network(func(n *Network) { n.FDBLimit = 0 }), "network.lab.fdb_limit: 0 is out of range: 1 to 1048576"},
		{network(func(n *Network) { n.MTU = -1 }), "network.lab.mtu: -1 is out of range: 68 to 65521"},
		{network(func(n *Network) { n.Address = netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33) }), "network.lab.address: the address is not valid"},
		{network(func(n *Network) { n.Address = netip.MustParsePrefix("10.0.0.0/8") }), "network.lab.address: 10.0.0.0/8 is the address of the network itself, not a host's\n  hint: as in 10.0.0.1/8"},
		{network(func(n *Network) { n.Uplink, n.MTU = "eth0", 1 }), "network.lab.uplink: a host-only network has no uplink: its guests reach each other and the host, nothing outside\n  hint: leave the key out, or write mode = \"bridged\"\nnetwork.lab.mtu: 1 is out of range: 68 to 65521"},
		{network(func(n *Network) { n.Mode, n.Uplink = Bridged, "eth\xff" }), `network.lab.uplink: "eth\xff" has "\xff", which the name of an interface cannot have`},
		{network(func(n *Network) { n.UplinkVLAN = 10 }), "network.lab.uplink_vlan: a host-only network has no use for the key\n  hint: leave the key out, or write mode = \"bridged\""},
		{network(func(n *Network) { n.Mode, n.Uplink, n.UplinkVLAN = Bridged, "eth0", 4095 }), "network.lab.uplink_vlan: 4095 is out of range: 1 to 4094"},
		{network(func(n *Network) { n.Mode, n.Uplink, n.UplinkVLAN, n.VLAN = Bridged, "eth0", 10, vlan.Default() }), "network.lab.uplink_vlan: the network has vlan too, and one of them alone can hold\n  hint: choose uplink_vlan for one VLAN of the uplink, untagged in the network, or vlan for several, with their tags"},
		{network(func(n *Network) { n.RateUp = mustRate("1Gb/s") }), ""},
		{network(func(n *Network) { n.Mode, n.RateUp = Isolated, mustRate("1Gb/s") }), "network.lab.rate_up: an isolated network has no use for the key\n  hint: there is no way out to limit; rate_from and rate_to limit a port"},
		{Port{Name: "vif1.0", Network: "lab"}, ""},
		{Port{Name: "vif1.0", Network: "lab", VLAN: vlan.Default(), RateTo: mustRate("1Kb/s"), IP: addrs("10.0.0.5", "fe80::1"), MACLimit: 1, Storm: 1}, ""},
		{Port{Name: "vif1.0", Network: "lab", IP: addrs("10.0.0.5", "fe80::1", "10.0.0.5")}, `port."vif1.0".ip: "10.0.0.5" is there twice`},
		{Port{Name: "vif1.0", Network: "lab", IP: addrs("fe80::1%eth0")}, `port."vif1.0".ip: fe80::1%eth0 has a zone, which means something to one host alone` + "\n  hint: write \"fe80::1\""},
		{Port{Name: "vif1.0", Network: "lab", IP: make([]netip.Addr, 1)}, `port."vif1.0".ip: the address is not valid`},
		{Port{Name: "vif1.0", Network: "lab", MACLimit: -1}, `port."vif1.0".mac_limit: -1 is out of range: 0 to 65536`},
		{Port{Name: "vif1.0", Network: "lab", Storm: 2e9}, `port."vif1.0".storm: "2000000000pps": character 1: too many frames` + "\n  hint: at most 1000000000pps"},
		{Port{Name: "vif1.0", Network: "lab", RAGuard: 3}, `port."vif1.0".ra_guard: 3 is neither on nor off`},
		{Port{}, "port.name: the key is missing\nport.network: the key is missing"},
		{Port{Name: "vif1.0"}, `port."vif1.0".network: the key is missing`},
		{Port{Name: "vif1.0", Network: "lab", MAC: frame.Broadcast}, `port."vif1.0".mac: ff:ff:ff:ff:ff:ff is the broadcast address, not a station's`},
		{Port{Name: "vif1.0", Network: "lab", Label: "\xff"}, `port."vif1.0".label: "\xff" has an unprintable character`},
	} {
		if d := cmp.Diff(c.want, message(c.object.Validate())); d != "" {
			t.Errorf("%+v\n-want +got:\n%s", c.object, d)
		}
	}
}

func TestValidateNetworksLooksBetweenThem(t *testing.T) {
	onVLAN := func(name, uplink string, vid uint16) Network {
		n := NewNetwork(name, Bridged)
		n.Uplink, n.UplinkVLAN = uplink, vid
		return n
	}
	bridged := func(name, uplink string) Network { return onVLAN(name, uplink, 0) }
	hostOnly := func(name, address string) Network {
		n := NewNetwork(name, HostOnly)
		n.Address = netip.MustParsePrefix(address)
		return n
	}
	for _, c := range []struct {
		networks []Network
		want     string
	}{
		{nil, ""},
		{[]Network{bridged("a", "eth0"), bridged("b", "eth1"), hostOnly("c", "10.0.0.1/8"), hostOnly("d", "fd00::1/64")}, ""},
		{[]Network{bridged("a", "eth0"), bridged("a", "eth1")}, "network.a: there is a network of that name already"},
		{[]Network{bridged("a", "eth0"), bridged("b", "eth0")}, "network.b.uplink: eth0 is the uplink of network a already\n  hint: they can share it if one of them has uplink_vlan, the VLAN that is its own there"},
		{[]Network{onVLAN("a", "eth0", 10), bridged("b", "eth0"), onVLAN("c", "eth0", 20), onVLAN("d", "eth1", 10)}, ""},
		{[]Network{onVLAN("a", "eth0", 10), bridged("b", "eth0"), onVLAN("c", "eth0", 10)}, "network.c.uplink_vlan: VLAN 10 of eth0 is network a already\n  hint: networks that share an uplink have different VLANs there"},
		{[]Network{bridged("a", "b"), NewNetwork("b", Isolated)}, "network.a.uplink: b is a network, and an uplink is a NIC"},
		{[]Network{hostOnly("a", "10.0.0.1/8"), hostOnly("b", "10.9.0.1/16")}, "network.b.address: 10.9.0.1/16 overlaps 10.0.0.1/8 of network a"},
	} {
		if d := cmp.Diff(c.want, message(ValidateNetworks(c.networks))); d != "" {
			t.Errorf("%+v\n-want +got:\n%s", c.networks, d)
		}
	}
}

func TestValidatePortsLooksAtTheNetworks(t *testing.T) {
	b := NewNetwork("b", Bridged)
	b.Uplink = "eth0"
	networks := []Network{b, NewNetwork("lab", HostOnly)}
	for _, c := range []struct {
		port Port
		want string
	}{
		{Port{Name: "vif1.0", Network: "b"}, ""},
		{Port{Name: "eth0", Network: "lab"}, "port.eth0.name: eth0 is the uplink of network b and cannot be a guest's port"},
		{Port{Name: "lab", Network: "b"}, "port.lab.name: lab is the host interface of network lab and cannot be a guest's port"},
		{Port{Name: "tap0", Network: "lap"}, "port.tap0.network: there is no network lap\n  hint: did you mean \"lab\"? (b, lab)"},
	} {
		if d := cmp.Diff(c.want, message(ValidatePorts([]Port{c.port}, Port{}, networks))); d != "" {
			t.Errorf("%+v\n-want +got:\n%s", c.port, d)
		}
	}
}

func TestParseAddressKeepsHostBits(t *testing.T) {
	p, err := ParseAddress("192.168.60.1/24")
	if err != nil || p.String() != "192.168.60.1/24" {
		t.Errorf("%v, %v", p, err)
	}
	var e *Error
	if _, err := ParseAddress("192.168.60.1"); !errors.As(err, &e) || e.Hint != `as in "192.168.60.1/24"` {
		t.Errorf("%v", err)
	}
}

func TestPortMatchesAsAShellWould(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"vif1.0", "vif1.0", true},
		{"vif1.0", "vif1x0", false},
		{"vif*.0", "vif12.0", true},
		{"vif*.0", "vif12.0-emu", false},
		{"tap?", "tap1", true},
		{"tap[0-3]", "tap4", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{"", "", true},
		{"vif[", "vif[", false}, // Validate has refused it
	} {
		if got := (Port{Name: c.pattern}).Matches(c.name); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.name, got)
		}
	}
}

func TestSuggest(t *testing.T) {
	words := []string{"mode", "uplink", "uplink_vlan", "ageing", "fdb_limit", "mtu", "ip"}
	for _, c := range []struct{ word, want string }{
		{"aging", "ageing"},
		{"Mode", "mode"},
		{"fdb-limit", "fdb_limit"},
		{"uplnik", "uplink"},
		{"upl", ""},
		{"mut", "mtu"},
		{"x", ""},
		{"", ""},
		{"colour", ""},
	} {
		if got := suggest(c.word, words); got != c.want {
			t.Errorf("%q: %q, want %q", c.word, got, c.want)
		}
	}
}

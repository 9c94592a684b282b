package config

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/frame"
	"gxswitch/shaping"
)

func lab(s string) string {
	return "[network.h]\nmode='host-only'\naddress='192.168.60.1/24'\n" + s
}

func TestParseServices(t *testing.T) {
	const text = `
[network.lab]
mode    = "host-only"
address = "192.168.60.1/24"
dhcp    = { range = "192.168.60.100-192.168.60.199", lease = "12h" }
dns     = { domain = "xen" }

[[network.lab.host]]
name = "web1"
mac  = "00:16:3e:11:22:33"
ip   = "192.168.60.10"

[[network.lab.host]]
mac = "00:16:3e:11:22:34"
ip  = ["192.168.60.11", "fd00::11"]

[network.other]
mode    = "host-only"
address = "fd00::1/64"
[network.other.dns]
upstream = ["none"]
`
	c, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr
	want := []Network{NewNetwork("lab", HostOnly), NewNetwork("other", HostOnly)}
	want[0].Address = netip.MustParsePrefix("192.168.60.1/24")
	want[0].DHCP = DHCP{On: true, Range: Range{ip("192.168.60.100"), ip("192.168.60.199")}, Lease: 12 * time.Hour, PortLimit: 16}
	want[0].DNS = DNS{On: true, Domain: "xen", Upstream: []string{"system"}}
	want[0].Hosts = []Host{
		{Name: "web1", MAC: frame.MAC{0, 0x16, 0x3e, 0x11, 0x22, 0x33}, IP: []netip.Addr{ip("192.168.60.10")}},
		{MAC: frame.MAC{0, 0x16, 0x3e, 0x11, 0x22, 0x34}, IP: []netip.Addr{ip("192.168.60.11"), ip("fd00::11")}},
	}
	want[1].Address = netip.MustParsePrefix("fd00::1/64")
	want[1].DNS = DNS{On: true, Upstream: []string{"none"}}
	for i := range want {
		if !c.Networks[i].Equal(want[i]) {
			t.Errorf("got  %+v\nwant %+v", c.Networks[i], want[i])
		}
	}
}

func TestParseSaysWhatIsWrongWithServices(t *testing.T) {
	const (
		rangeHint = "\n  hint: as in \"192.168.60.100-192.168.60.199\""
		hostHint  = "\n  hint: as in name = \"web1\", mac = \"00:16:3e:11:22:33\""
		nameHint  = "\n  hint: 1 to 63 of a-z, 0-9 and hyphen, no hyphen first or last"
	)
	for _, c := range []struct{ text, want string }{
		// the tables
		{lab("dhcp=true"), "f:4: network.h.dhcp: want a table, not true without quotes\n  hint: as in dhcp = { lease = \"12h\" }"},
		{lab("dns='xen'"), "f:4: network.h.dns: want a table, not the text \"xen\"\n  hint: as in dns = { domain = \"xen\" }"},
		{lab("dhcp={rang='a'}"), "f:4: network.h.dhcp.rang: unknown key\n  hint: did you mean range?"},
		{lab("dhcp={ntp='a'}"), "f:4: network.h.dhcp.ntp: unknown key\n  hint: one of range, lease, router, dns, domain, routes, port_limit, authoritative"},
		{lab("[network.h.dns]\n\nupstreem=['system']"), "f:6: network.h.dns.upstreem: unknown key\n  hint: did you mean upstream?"},
		{lab("[network.h.dhcp]\nlease='12'\n\nrange=1"), "f:5: network.h.dhcp.lease: the duration \"12\" has no unit\n  hint: write \"12s\"\nf:7: network.h.dhcp.range: want text in quotes, not the number 1" + rangeHint},

		// where there may be one
		{"[network.b]\nmode='bridged'\nuplink='eth0'\ndhcp={}", "f:4: network.b.dhcp: a bridged network has no use for the key\n  hint: a DHCP server needs a host interface, and those have host-only, routed and nat networks"},
		{"[network.i]\nmode='isolated'\ndns={}", "f:3: network.i.dns: an isolated network has no use for the key\n  hint: a DNS server needs a host interface, and those have host-only, routed and nat networks"},
		{"[network.i]\nmode='isolated'\n[[network.i.host]]\nname='a'", "f:3: network.i.host: an isolated network has no use for the key\n  hint: a named host needs a host interface, and those have host-only, routed and nat networks"},
		{hostOnlyWith("dhcp={}"), "f:3: network.h.dhcp: a DHCP server needs an address of the host's own on the network\n  hint: as in address = \"192.168.60.1/24\""},
		{hostOnlyWith("dns={}"), "f:3: network.h.dns: a DNS server needs an address of the host's own on the network\n  hint: as in address = \"192.168.60.1/24\""},
		{hostOnlyWith("address='fd00::1/64'\ndhcp={}"), "f:4: network.h.dhcp: a DHCP server needs an IPv4 address of the host's own, and fd00::1/64 is none"},
		{"[network.r]\nmode='routed'\nuplink='eth0'\ndhcp={range='10.0.0.2-10.0.0.9'}", "f:4: network.r.dhcp.range: a range needs a subnet that is the network's own\n  hint: as in address = \"203.0.113.17/28\"; without one, each port's ip is what its guest gets"},
		{"[network.n]\nmode='nat'\nuplink='eth0'\naddress='10.0.0.1/24'\ndhcp={range='10.0.1.2-10.0.1.9'}", "f:5: network.n.dhcp.range: 10.0.1.2 of the range 10.0.1.2-10.0.1.9 lies outside the subnet 10.0.0.0/24"},
		{hostOnlyWith("address='x'\ndhcp={}\ndns={}"), "f:3: network.h.address: \"x\" is not an address with a prefix length\n  hint: as in \"192.168.60.1/24\""},

		{lab("mtu=500\ndhcp={}"), "f:5: network.h.dhcp: a DHCP server needs an MTU of 576 or more, and the network's is 500"},

		// range
		{lab("dhcp={range='192.168.60.100'}"), "f:4: network.h.dhcp.range: \"192.168.60.100\" is not a range of addresses" + rangeHint},
		{lab("dhcp={range='fd00::1-fd00::9'}"), "f:4: network.h.dhcp.range: \"fd00::1\" is not an IPv4 address" + rangeHint},
		{lab("dhcp={range='192.168.60.100-199'}"), "f:4: network.h.dhcp.range: \"199\" is not an IPv4 address" + rangeHint},
		{lab("dhcp={range='192.168.60.9-192.168.60.2'}"), "f:4: network.h.dhcp.range: 192.168.60.9-192.168.60.2 ends before it begins\n  hint: write \"192.168.60.2-192.168.60.9\""},
		{"[network.h]\nmode='host-only'\naddress='10.0.0.1/8'\ndhcp={range='10.1.0.0-10.2.0.0'}", "f:4: network.h.dhcp.range: 10.1.0.0-10.2.0.0 has 65537 addresses, and at most 65536 fit"},
		{lab("dhcp={range='192.168.61.100-192.168.61.199'}"), "f:4: network.h.dhcp.range: 192.168.61.100 of the range 192.168.61.100-192.168.61.199 lies outside the subnet 192.168.60.0/24"},
		{lab("dhcp={range='192.168.60.100-192.168.61.9'}"), "f:4: network.h.dhcp.range: 192.168.61.9 of the range 192.168.60.100-192.168.61.9 lies outside the subnet 192.168.60.0/24"},
		{lab("[network.h.dhcp]\n\nrange='192.168.60.1-192.168.60.9'"), "f:6: network.h.dhcp.range: the range 192.168.60.1-192.168.60.9 goes over 192.168.60.1, the host's own address\n  hint: let it begin after that, or end before"},
		{lab("dhcp={range='192.168.60.2-192.168.60.255'}"), "f:4: network.h.dhcp.range: 192.168.60.255 is no host's address in the subnet 192.168.60.0/24"},

		// what guests are told
		{lab("dhcp={lease='0s'}"), "f:4: network.h.dhcp.lease: 0s is out of range: 1s to 8760h"},
		{lab("dhcp={router='no'}"), "f:4: network.h.dhcp.router: \"no\" is not an IPv4 address\n  hint: as in \"192.168.60.1\", or \"none\""},
		{lab("dhcp={router='0.0.0.0'}"), "f:4: network.h.dhcp.router: 0.0.0.0 is not an address but the lack of one\n  hint: write \"none\""},
		{lab("dhcp={router='10.0.0.1'}"), "f:4: network.h.dhcp.router: 10.0.0.1 lies outside the subnet 192.168.60.0/24: guests could not reach it"},
		{lab("dhcp={dns=['fd00::1']}"), "f:4: network.h.dhcp.dns: fd00::1 is no IPv4 address, and DHCP tells of no other"},
		{lab("dhcp={domain='Xen'}"), "f:4: network.h.dhcp.domain: \"Xen\" is no domain: a label has 1 to 63 of a-z, 0-9 and hyphen, no hyphen first or last\n  hint: write \"xen\""},
		{lab("dhcp={routes=['10.0.0.0/8']}"), "f:4: network.h.dhcp.routes: \"10.0.0.0/8\" is not a route\n  hint: as in \"10.0.0.0/8 via 192.168.60.2\""},
		{lab("dhcp={routes=['10.0.0.1/8 via 192.168.60.2']}"), "f:4: network.h.dhcp.routes: 10.0.0.1/8 has bits behind its length\n  hint: write 10.0.0.0/8"},
		{lab("dhcp={routes=['10.0.0.0/8 via 192.168.61.2']}"), "f:4: network.h.dhcp.routes: 192.168.61.2 lies outside the subnet 192.168.60.0/24: guests could not reach it"},
		{lab("dhcp={port_limit=0}"), "f:4: network.h.dhcp.port_limit: 0 is out of range: 1 to 65536"},
		{lab("dhcp={authoritative='no'}"), "f:4: network.h.dhcp.authoritative: want true or false, not the text \"no\"\n  hint: write false, without quotes"},

		// dns
		{lab("dns={domain=''}"), "f:4: network.h.dns.domain: the domain is empty\n  hint: leave the key out for none"},
		{lab("dns={domain='xen.'}"), "f:4: network.h.dns.domain: \"xen.\" ends with a dot\n  hint: write \"xen\""},
		{lab("dns={domain='a..b'}"), "f:4: network.h.dns.domain: \"a..b\" is no domain: a label has 1 to 63 of a-z, 0-9 and hyphen, no hyphen first or last\n  hint: as in \"xen\" or \"lab.example.org\""},
		{lab("dns={domain='localhost'}"), "f:4: network.h.dns.domain: localhost is the machine itself, for every one (RFC 6761, 6.3)"},
		{lab("dns={upstream='system'}"), "f:4: network.h.dns.upstream: want an array, not the text \"system\"\n  hint: write [\"system\"]"},
		{lab("dns={upstream=[]}"), "f:4: network.h.dns.upstream: the list is empty\n  hint: leave the key out for \"system\", or write [\"none\"]"},
		{lab("dns={upstream=['none', 'system']}"), "f:4: network.h.dns.upstream: \"none\" stands alone, or not at all"},
		{lab("dns={upstream=['ns.example.org']}"), "f:4: network.h.dns.upstream: \"ns.example.org\" is no DNS server\n  hint: \"system\", \"none\", or an address as in \"192.0.2.53\" or \"[2001:db8::53]:5353\""},
		{lab("dns={upstream=['192.0.2.53:0']}"), "f:4: network.h.dns.upstream: \"192.0.2.53:0\" has port 0, which nobody has"},
		{lab("dns={upstream=['system', 'system']}"), "f:4: network.h.dns.upstream: \"system\" is there twice"},
		{lab("dns={upstream=['192.168.60.1']}"), "f:4: network.h.dns.upstream: 192.168.60.1 is the server itself\n  hint: \"system\" is what the host itself asks"},
		{lab("dns={rebind_ok=['a b']}"), "f:4: network.h.dns.rebind_ok: \"a b\" is no domain: a label has 1 to 63 of a-z, 0-9 and hyphen, no hyphen first or last\n  hint: as in \"xen\" or \"lab.example.org\""},

		// hosts
		{lab("host='web1'"), "f:4: network.h.host: want tables [[network.NAME.host]], not the text \"web1\"\n  hint: in two brackets it begins an entry"},
		{lab("[network.h.host]\nname='web1'"), "f:4: network.h.host: want tables [[network.NAME.host]], not a table\n  hint: in two brackets it begins an entry"},
		{lab("host=['web1']"), "f:4: network.h.host: want a table, not the text \"web1\"\n  hint: as in host = [{ name = \"web1\", mac = \"00:16:3e:11:22:33\" }]"},
		{lab("[[network.h.host]]\nname='web1'"), "f:4: network.h.host.web1: a host is two at least of name, mac and ip" + hostHint},
		{lab("[[network.h.host]]"), "f:4: network.h.host: a host is two at least of name, mac and ip" + hostHint},
		{lab("[[network.h.host]]\nname='web1'\n\nmack='a'"), "f:7: network.h.host.web1.mack: unknown key\n  hint: did you mean mac?"},
		{lab("[[network.h.host]]\nname='Web1'\nip='192.168.60.2'"), "f:5: network.h.host.Web1.name: \"Web1\" is no host's name\n  hint: write \"web1\""},
		{lab("[[network.h.host]]\nname='web1.xen'\nip='192.168.60.2'"), "f:5: network.h.host.\"web1.xen\".name: \"web1.xen\" is no host's name\n  hint: write \"web1\": the domain is the network's"},
		{lab("[[network.h.host]]\nname='a_b'\nip='192.168.60.2'"), "f:5: network.h.host.a_b.name: \"a_b\" is no host's name" + nameHint},
		{lab("[[network.h.host]]\nname='localhost'\nip='192.168.60.2'"), "f:5: network.h.host.localhost.name: localhost is the machine itself, for every one (RFC 6761, 6.3)"},
		{lab("[[network.h.host]]\nname='web1'\nmac='01:00:5e:00:00:01'"), "f:6: network.h.host.web1.mac: 01:00:5e:00:00:01 is a multicast address, not a station's"},
		{lab("[[network.h.host]]\nname='web1'\nip='10.0.0.300'"), "f:6: network.h.host.web1.ip: \"10.0.0.300\" is not an IP address\n  hint: as in \"10.0.0.5\" or \"fd00::5\""},
		{lab("[[network.h.host]]\nname='web1'\nip='192.168.61.2'"), "f:6: network.h.host.web1.ip: 192.168.61.2 lies outside the subnet 192.168.60.0/24"},
		{lab("[[network.h.host]]\nname='web1'\nip='192.168.60.1'"), "f:6: network.h.host.web1.ip: 192.168.60.1 is the host's own address on the network"},
		{lab("[[network.h.host]]\nname='web1'\nip='192.168.60.255'"), "f:6: network.h.host.web1.ip: 192.168.60.255 is no host's address in the subnet 192.168.60.0/24"},
		{lab("[[network.h.host]]\nname='a'\nip='192.168.60.2'\n[[network.h.host]]\nip='192.168.60.3'\nname='a'"), "f:9: network.h.host.a.name: there is a host of that name already"},
		{lab("[[network.h.host]]\nname='a'\nip='192.168.60.2'\n[[network.h.host]]\nname='b'\nip=['192.168.60.3','192.168.60.2']"), "f:9: network.h.host.b.ip: 192.168.60.2 is the address of another host, a"},
		{lab("[[network.h.host]]\nmac='02:00:00:00:00:01'\nip='192.168.60.2'\n[[network.h.host]]\nname='b'\nmac='02:00:00:00:00:01'"), "f:9: network.h.host.b.mac: 02:00:00:00:00:01 is the MAC address of another host"},
	} {
		wantProblems(t, c.text, c.want)
	}
}

// Networks that differ in any field differ. A field that Equal does not know
// would make a reload pass its change over.
func TestEqualSeesEveryField(t *testing.T) {
	rate, err := shaping.ParseLimit("1Mb/s")
	if err != nil {
		t.Fatal(err)
	}
	values := map[reflect.Type]any{
		reflect.TypeFor[netip.Prefix]():  netip.MustParsePrefix("10.0.0.1/8"),
		reflect.TypeFor[netip.Addr]():    netip.MustParseAddr("10.0.0.1"),
		reflect.TypeFor[shaping.Limit](): rate,
		reflect.TypeFor[frame.MAC]():     frame.MAC{2},
	}
	var differ func(t *testing.T, path string, v reflect.Value, equal func() bool)
	differ = func(t *testing.T, path string, v reflect.Value, equal func() bool) {
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		defer v.Set(was)
		if x, ok := values[v.Type()]; ok {
			v.Set(reflect.ValueOf(x))
		} else {
			switch v.Kind() {
			case reflect.String:
				v.SetString("x")
			case reflect.Bool:
				v.SetBool(true)
			case reflect.Int, reflect.Int64:
				v.SetInt(1)
			case reflect.Uint8, reflect.Uint16:
				v.SetUint(1)
			case reflect.Slice:
				v.Set(reflect.MakeSlice(v.Type(), 1, 1))
				if equal() {
					t.Errorf("%s: equal with another length", path)
				}
				return
			case reflect.Struct:
				if v.Type() == reflect.TypeFor[Position]() {
					return
				}
				if path == "Network.VLAN" {
					v.Set(reflect.ValueOf(mustVLAN("10p/20")))
					break
				}
				for i := range v.NumField() {
					differ(t, path+"."+v.Type().Field(i).Name, v.Field(i), equal)
				}
				return
			default:
				t.Fatalf("%s: no value for a %s", path, v.Type())
			}
		}
		if equal() {
			t.Errorf("%s: equal with another value", path)
		}
	}
	var n Network
	differ(t, "Network", reflect.ValueOf(&n).Elem(), func() bool { return n.Equal(Network{}) })
	var h Host
	differ(t, "Host", reflect.ValueOf(&h).Elem(), func() bool { return h.Equal(Host{}) })
}

func TestParseRoutersAndRoutes(t *testing.T) {
	a, err := ParseRouter("none")
	if err != nil || a != NoRouter() {
		t.Errorf("none: %v, %v", a, err)
	}
	r, err := ParseRoute("10.0.0.0/8  via 192.168.60.2")
	want := Route{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("192.168.60.2")}
	if err != nil || r != want {
		t.Errorf("got %v, %v", r, err)
	}
	if d := cmp.Diff("10.0.0.0/8 via 192.168.60.2", r.String()); d != "" {
		t.Error(d)
	}
}

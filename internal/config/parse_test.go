package config

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// Ports are compared by Port.Equal, which does not look at their places.
var compareValues = cmpopts.EquateComparable(netip.Prefix{}, vlan.Set{}, shaping.Limit{})

func mustVLAN(s string) vlan.Set {
	set, err := vlan.Parse(s)
	if err != nil {
		panic(err)
	}
	return set
}

func mustRate(s string) shaping.Limit {
	l, err := shaping.ParseLimit(s)
	if err != nil {
		panic(err)
	}
	return l
}

func addrs(all ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range all {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func TestParseReadsEveryKey(t *testing.T) {
	got, err := Parse("f", []byte(`
[daemon]
group = "admins"
xen   = "on"

[defaults.port]
antispoof = "mac"
mac_limit = 1024
ra_guard  = false

[network.xenbr0]
mode      = "bridged"
uplink    = "eth0"
takeover  = true
vlan      = "10-19/1p"
rate_up   = "1Gb/s"
rate_down = "2Gb/s@10ms"
ageing    = "1m30s"
fdb_limit = 0x400
mtu       = 1_500

[network."web.lan"]
mode = "host-only"
address = "192.168.60.1/24"

[[port]]
name     = "vif*.0"
network  = "xenbr0"
mac      = "00-16-3E-00-00-05"
label    = "web 1 \"ü\""
mtu      = 9000
vlan     = "10p/20"
rate_from  = "100Mb/s@20ms"
rate_to    = "none"
ip         = ["10.0.0.5", "fd00::5"]
isolated   = true
antispoof  = "mac+ip"
storm      = "2000pps"
ra_guard   = true
dhcp_guard = false

[network.vault]
mode = "isolated"

[[port]]
name    = "vif*"
network = "vault"

[network.br0]
mode        = "bridged"
uplink      = "eth0"
uplink_vlan = 4094
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		File:   "f",
		Daemon: Daemon{Group: "admins", Xen: XenOn},
		Networks: []Network{
			{Name: "xenbr0", Mode: Bridged, Uplink: "eth0", Takeover: true, VLAN: mustVLAN("1p/10-19"), RateUp: mustRate("1Gb/s"), RateDown: mustRate("2Gb/s@10ms"), Ageing: 90 * time.Second, FDBLimit: 1024, MTU: 1500, Pos: Position{File: "f", Line: 11}},
			{Name: "web.lan", Mode: HostOnly, Address: netip.MustParsePrefix("192.168.60.1/24"), Ageing: DefaultAgeing, FDBLimit: DefaultFDBLimit, Pos: Position{File: "f", Line: 22}},
			{Name: "vault", Mode: Isolated, Ageing: DefaultAgeing, FDBLimit: DefaultFDBLimit, Pos: Position{File: "f", Line: 42}},
			{Name: "br0", Mode: Bridged, Uplink: "eth0", UplinkVLAN: 4094, Ageing: DefaultAgeing, FDBLimit: DefaultFDBLimit, Pos: Position{File: "f", Line: 49}},
		},
		Ports: []Port{
			{
				Name: "vif*.0", Network: "xenbr0", MAC: frame.MAC{0, 0x16, 0x3e, 0, 0, 5}, Label: `web 1 "ü"`, MTU: 9000,
				VLAN: mustVLAN("10p/20"), RateFrom: mustRate("100Mb/s@20ms"), IP: addrs("10.0.0.5", "fd00::5"), Isolated: true,
				Antispoof: filter.MACIP, Storm: 2000, MACLimit: 1024, RAGuard: On, DHCPGuard: Off,
			},
			{Name: "vif*", Network: "vault", Antispoof: filter.MAC, MACLimit: 1024, RAGuard: Off},
		},
		PortDefaults: Port{Antispoof: filter.MAC, MACLimit: 1024, RAGuard: Off},
	}
	if d := cmp.Diff(want, got, compareValues); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	for i, line := range []int{26, 45} {
		if at := got.Ports[i].Pos; at != (Position{File: "f", Line: line}) {
			t.Errorf("port %d stands at %v, want line %d", i, at, line)
		}
	}
	if p, ok := got.MatchPort("vif3.0"); !ok || p.Network != "xenbr0" {
		t.Errorf("vif3.0: %+v, %v: want the first match", p, ok)
	}
	if p, ok := got.MatchPort("vif3.1"); !ok || p.Network != "vault" {
		t.Errorf("vif3.1: %+v, %v: want the second pattern", p, ok)
	}
	if p, ok := got.MatchPort("tap0"); ok {
		t.Errorf("tap0 matches %+v", p)
	}
}

func TestParseTakesEveryWayToWriteATable(t *testing.T) {
	want, err := Parse("f", []byte("[network.lab]\nmode='isolated'\n[[port]]\nname='tap0'\nnetwork='lab'\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"network.lab.mode='isolated'\nport=[{name='tap0', network='lab'}]",
		"network={lab={mode='isolated'}}\nport=[{network='lab', name='tap0'}]",
		"[network]\nlab.mode='isolated'\n[[port]]\nnetwork='lab'\nname='tap0'",
		"[[port]]\r\nname='tap0'\r\nnetwork='lab'\r\n[network.lab]\r\nmode='isolated'\r\n",
		"['network'.\"lab\"] # so\nmode='''isolated'''\n[[port]]\nname=\"\"\"\\\n  tap0\"\"\"\nnetwork='lab'",
	} {
		got, err := Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		if d := cmp.Diff(want, got, compareValues, cmpopts.IgnoreTypes(Position{})); d != "" {
			t.Errorf("%s\n-want +got:\n%s", text, d)
		}
	}
}

func TestParseOfNothingIsTheDefault(t *testing.T) {
	got, err := Parse("", nil)
	if d := cmp.Diff(Default(), got, compareValues); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

// The frames that the cases below put around their line, in line 3 at the
// latest: what they say is about the line.
func daemonWith(s string) string { return "[daemon]\n\n" + s }
func portWith(s string) string {
	return "network.n.mode='isolated'\n[[port]]\n" + s + "\nname='tap0'\nnetwork='n'"
}

func bridged(s string) string { return "[network.b]\nmode='bridged'\n" + s + "\nuplink='eth0'" }

func hostOnlyWith(s string) string { return "[network.h]\nmode='host-only'\n" + s }

const notYetText = " is not supported by this version of gxswitch yet"

func TestParseSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		// TOML itself
		{"mode", "f:1:4: expected '=' after key"},
		{"[a]\nmode = bridged", "f:2:8: unexpected character U+0062 'b' at start of value\n  hint: text needs quotes, as in mode = \"bridged\""},
		{"[network.a]\n[network.a]", "f:2:2: table a already exists"},
		{"\"a\\nb\"=1\n\"a\\nb\"=1", `f:2:1: key a\nb is already defined`},

		// tables and keys
		{"[deamon]", "f:1: deamon: unknown key\n  hint: did you mean daemon?"},
		{"[networks.a]", "f:1: networks: unknown key\n  hint: did you mean network?"},
		{"\n\nuplink='eth0'", "f:3: uplink: unknown key\n  hint: one of daemon, defaults, network, port"},
		{"\"\\u0007\"=1", `f:1: "\a": unknown key` + "\n  hint: one of daemon, defaults, network, port"},
		{"daemon=1", "f:1: daemon: want a table [daemon], not the number 1"},
		{"[[daemon]]", "f:1: daemon: want a table [daemon], not an array"},
		{"[defaults.network]", "f:1: defaults.network: unknown key\n  hint: one of port"},
		{"[defaults]\nport=1", "f:2: defaults.port: want a table [defaults.port], not the number 1"},
		{"[defaults.port]\nmtu=1500", "f:2: defaults.port.mtu: unknown key\n  hint: one of antispoof, storm, mac_limit, ra_guard, dhcp_guard, bpdu_guard"},
		{"network=1", "f:1: network: want a table [network.NAME], not the number 1"},
		{"[network]\nmode='bridged'", "f:2: network.mode: want a table [network.mode], not the text \"bridged\"\n  hint: the key stands under a network's name, as in [network.xenbr0]"},
		{"[[network.a]]", "f:1: network.a: want a table [network.a], not an array"},
		{"[network.web.lan]\nmode='isolated'", "f:1: network.web.lan: unknown key\n  hint: a name with a dot needs quotes, as in [network.\"web.lan\"]\nf:1: network.web.mode: the key is missing\n  hint: one of bridged, host-only, isolated, routed, nat"},
		{"[port]\nname='a'", "f:1: port: want tables [[port]], not a table\n  hint: [[port]], in two brackets, begins an entry"},
		{"port=[1]", "f:1: port: want a table [[port]], not the number 1"},
		{bridged("agein='5s'"), "f:3: network.b.agein: unknown key\n  hint: did you mean ageing?"},
		{bridged("fdb-limit=5"), "f:3: network.b.fdb-limit: unknown key\n  hint: did you mean fdb_limit?"},
		{bridged("zzzzzz=5"), "f:3: network.b.zzzzzz: unknown key\n  hint: one of mode, uplink, uplink_vlan, takeover, vlan, address, ageing, fdb_limit, mtu, dhcp, dns, host, proxy_arp, nat_address, forward, rate_up, rate_down"},
		{portWith("uplink='a'"), "f:3: port.tap0.uplink: unknown key\n  hint: one of name, match, network, vlan, rate_from, rate_to, mac, ip, isolated, label, mtu, antispoof, storm, mac_limit, ra_guard, dhcp_guard, bpdu_guard"},

		// what comes in a later version
		{daemonWith("metrics='127.0.0.1:9477'"), "f:3: daemon.metrics: metrics" + notYetText},
		{bridged("takeover='yes'"), "f:3: network.b.takeover: want true or false, not the text \"yes\"\n  hint: write true, without quotes"},
		{bridged("takeover=true\nuplink_vlan=5"), "f:3: network.b.takeover: the network is one VLAN of the uplink, and the host's addresses are not in it\n  hint: the network that takes over a NIC is the one without uplink_vlan"},
		{bridged("takeover=true\naddress='10.0.0.1/24'"), "f:4: network.b.address: a bridged network with takeover has the uplink's addresses, and none of its own\n  hint: ip addr add 10.0.0.1/24 dev eth0 adds one"},
		{hostOnlyWith("takeover=false"), "f:3: network.h.takeover: a host-only network has no use for the key\n  hint: leave the key out, or write mode = \"bridged\""},

		// [daemon]
		{daemonWith("group=7"), "f:3: daemon.group: want text in quotes, not the number 7\n  hint: write \"7\""},
		{daemonWith("group=''"), "f:3: daemon.group: the name of the group is empty\n  hint: leave the key out for \"gxswitch\""},
		{daemonWith("group='a:b'"), `f:3: daemon.group: "a:b" has ":", which the name of a group cannot have`},

		// names and modes
		{"[network.Lab]\nmode='isolated'", "f:1: network.Lab: the name has a character no network's name may have\n  hint: write \"lab\""},
		{"[network.'ä b']\nmode='isolated'", "f:1: network.\"ä b\": the name has a character no network's name may have\n  hint: 1 to 15 of a-z, 0-9, dot, underscore and hyphen"},
		{"[network.'']\nmode='isolated'", "f:1: network.\"\": the name of the network is empty\n  hint: 1 to 15 of a-z, 0-9, dot, underscore and hyphen"},
		{"[network.a234567890123456]\nmode='isolated'", "f:1: network.a234567890123456: the name has 16 bytes, and an interface's at most 15\n  hint: 1 to 15 of a-z, 0-9, dot, underscore and hyphen"},
		{"[network.all]\nmode='isolated'", "f:1: network.all: no network can be named all: the kernel keeps the settings of every interface under that name\n  hint: see /proc/sys/net/ipv4/conf/all"},
		{"[network.lo]\nmode='isolated'", "f:1: network.lo: no network can be named lo: that is the loopback interface"},
		{"[network.'..']\nmode='isolated'", `f:1: network."..": no network can be named "..": its interface is a directory in /sys/class/net`},
		{"\n[network.a]", "f:2: network.a.mode: the key is missing\n  hint: one of bridged, host-only, isolated, routed, nat"},
		{"[network.a]\nmode='host_only'", "f:2: network.a.mode: unknown mode \"host_only\"\n  hint: did you mean \"host-only\"? (bridged, host-only, isolated, routed, nat)"},
		{"[network.a]\nmode='wireless'", "f:2: network.a.mode: unknown mode \"wireless\"\n  hint: one of bridged, host-only, isolated, routed, nat"},
		{"[network.a]\nmode=\"\\u001b[31m\"", "f:2: network.a.mode: unknown mode \"\\x1b[31m\"\n  hint: one of bridged, host-only, isolated, routed, nat"},
		{"[network.a]\nmode=true", "f:2: network.a.mode: want text in quotes, not true without quotes\n  hint: write \"true\""},

		// uplink
		{"[network.a]\nmode='bridged'", "f:1: network.a.uplink: the key is missing: a bridged network is joined to a NIC\n  hint: as in uplink = \"eth0\""},
		{hostOnlyWith("uplink='eth0'"), "f:3: network.h.uplink: a host-only network has no uplink: its guests reach each other and the host, nothing outside\n  hint: leave the key out, or write mode = \"bridged\""},
		{"[network.a]\nuplink='eth0'\nmode='isolated'", "f:2: network.a.uplink: an isolated network has no uplink: its guests reach each other, nothing outside\n  hint: leave the key out, or write mode = \"bridged\""},
		{"[network.a]\nmode='bridged'\nuplink='a'", "f:3: network.a.uplink: a is the network's own name: its uplink is another interface"},
		{"[network.a]\nmode='bridged'\nuplink=''", `f:3: network.a.uplink: "" is not the name of an interface`},
		{"[network.a]\nmode='bridged'\nuplink='eth 0'", `f:3: network.a.uplink: "eth 0" has " ", which the name of an interface cannot have`},
		{"[network.a]\nmode='bridged'\nuplink='a/b'", `f:3: network.a.uplink: "a/b" has "/", which the name of an interface cannot have`},
		{"[network.a]\nmode='bridged'\nuplink='..'", `f:3: network.a.uplink: ".." is not the name of an interface`},
		{"[network.a]\nmode='bridged'\nuplink='eth0123456789012'", `f:3: network.a.uplink: "eth0123456789012" has 16 bytes, and an interface's name at most 15`},

		// address
		{bridged("address='10.0.0.1/8'"), "f:3: network.b.address: a bridged network has no host interface to bear an address\n  hint: the host keeps its address on the uplink"},
		{"[network.a]\nmode='isolated'\naddress='10.0.0.1/8'", "f:3: network.a.address: an isolated network has no host interface to bear an address\n  hint: leave the key out, or write mode = \"host-only\""},
		{hostOnlyWith("address='192.168.60.1'"), "f:3: network.h.address: the address \"192.168.60.1\" has no prefix length\n  hint: as in \"192.168.60.1/24\""},
		{hostOnlyWith("address='fd00::1'"), "f:3: network.h.address: the address \"fd00::1\" has no prefix length\n  hint: as in \"fd00::1/64\""},
		{hostOnlyWith("address='10.0.0.300/8'"), "f:3: network.h.address: \"10.0.0.300/8\" is not an address with a prefix length\n  hint: as in \"192.168.60.1/24\""},
		{hostOnlyWith("address='192.168.60.0/24'"), "f:3: network.h.address: 192.168.60.0/24 is the address of the network itself, not a host's\n  hint: as in 192.168.60.1/24"},
		{hostOnlyWith("address='192.168.60.255/24'"), "f:3: network.h.address: 192.168.60.255/24 is the broadcast address of its network, not a host's\n  hint: as in 192.168.60.1/24"},
		{hostOnlyWith("address='192.168.60.1/0'"), "f:3: network.h.address: the prefix length of 192.168.60.1/0 makes every address there is a neighbour"},
		{hostOnlyWith("address='fd00::/64'"), "f:3: network.h.address: fd00::/64 is the subnet's anycast address (RFC 4291, 2.6.1), not a host's\n  hint: as in fd00::1/64"},
		{hostOnlyWith("address='224.0.0.1/24'"), "f:3: network.h.address: 224.0.0.1/24 is a multicast address, not a host's"},
		{hostOnlyWith("address='127.0.0.2/8'"), "f:3: network.h.address: 127.0.0.2/8 is a loopback address: it never leaves the host"},
		{hostOnlyWith("address='0.0.0.0/8'"), "f:3: network.h.address: 0.0.0.0/8 is not an address but the lack of one"},
		{hostOnlyWith("address='0.0.0.1/8'"), "f:3: network.h.address: 0.0.0.1/8 lies in 0.0.0.0/8, which is no host's (RFC 1122, 3.2.1.3)"},
		{hostOnlyWith("address='255.255.255.255/32'"), "f:3: network.h.address: 255.255.255.255/32 is the broadcast address, not a host's"},
		{hostOnlyWith("address='::ffff:10.0.0.1/120'"), "f:3: network.h.address: ::ffff:10.0.0.1/120 is an IPv4 address in IPv6's clothes\n  hint: write the IPv4 address, as in 10.0.0.1/24"},
		{hostOnlyWith("address=['10.0.0.1/8']"), "f:3: network.h.address: want text in quotes, not an array"},

		// numbers and durations
		{bridged("ageing='300'"), "f:3: network.b.ageing: the duration \"300\" has no unit\n  hint: write \"300s\""},
		{bridged("ageing=300"), "f:3: network.b.ageing: want a duration in quotes, not the number 300\n  hint: write \"300s\""},
		{bridged("ageing=true"), "f:3: network.b.ageing: want a duration in quotes, not true without quotes\n  hint: as in \"300s\""},
		{bridged("ageing='0'"), "f:3: network.b.ageing: the duration \"0\" has no unit\n  hint: write \"0s\""},
		{bridged("ageing='5 minutes'"), "f:3: network.b.ageing: \"5 minutes\" is not a duration\n  hint: a number with a unit, as in \"300s\", \"5m\" or \"1h30m\""},
		{bridged("ageing='999ms'"), "f:3: network.b.ageing: 999ms is out of range: 1s to 24h"},
		{bridged("ageing='24h1s'"), "f:3: network.b.ageing: 86401s is out of range: 1s to 24h"},
		{bridged("ageing='-5s'"), "f:3: network.b.ageing: -5s is out of range: 1s to 24h"},
		{bridged("fdb_limit=0"), "f:3: network.b.fdb_limit: 0 is out of range: 1 to 1048576"},
		{bridged("fdb_limit=1048577"), "f:3: network.b.fdb_limit: 1048577 is out of range: 1 to 1048576"},
		{bridged("mtu='1500'"), "f:3: network.b.mtu: want a number, not the text \"1500\"\n  hint: write 1500, without the quotes"},
		{bridged("mtu='big'"), "f:3: network.b.mtu: want a number, not the text \"big\""},
		{bridged("mtu=1500.0"), "f:3: network.b.mtu: want a whole number, not 1500.0"},
		{bridged("mtu=2026-01-02"), "f:3: network.b.mtu: want a number, not the date or time 2026-01-02"},
		{bridged("mtu=0"), "f:3: network.b.mtu: 0 is out of range: 68 to 65521"},
		{bridged("mtu=65522"), "f:3: network.b.mtu: 65522 is out of range: 68 to 65521"},

		// [[port]]
		{"[[port]]", "f:1: port.name: the key is missing\nf:1: port.network: the key is missing"},
		{"[network.lab]\nmode='isolated'\n[[port]]\nname='a'\nnetwork='lav'", "f:5: port.a.network: there is no network lav\n  hint: did you mean \"lab\"? (lab)"},
		{"[[port]]\nname='a'\nnetwork='lab'", "f:3: port.a.network: there is no network lab\n  hint: add a table [network.lab]"},
		{"network.n.mode='isolated'\n[[port]]\nnetwork='n'\nname='vif[0'", "f:4: port.\"vif[0\".name: \"vif[0\" is not a shell pattern\n  hint: * any text, ? any character, [a-z] one of these; every [ needs its ]"},
		{"network.n.mode='isolated'\n[[port]]\nnetwork='n'\nname='vif[[:digit:]]'", `f:4: port."vif[[:digit:]]".name: "vif[[:digit:]]" has ":", which the name of an interface cannot have`},
		{"network.n.mode='isolated'\n[[port]]\nnetwork='n'\nname='vif4294967295.00'", `f:4: port."vif4294967295.00".name: "vif4294967295.00" has 16 bytes, and an interface's name at most 15`},
		{"network.n.mode='isolated'\n[[port]]\nnetwork='n'\nname=''", `f:4: port.name: "" is not the name of an interface`},
		{"network.n.mode='isolated'\n[[port]]\nname='a*'\nnetwork='n'\n[[port]]\nname='a*'\nnetwork='n'", "f:6: port.\"a*\".name: there is a port of that name already (f:2)\n  hint: two patterns may overlap, and the first one wins, but they may not be the same"},
		{"[network.b]\nmode='bridged'\nuplink='eth0'\n[[port]]\nname='eth0'\nnetwork='b'", "f:5: port.eth0.name: eth0 is the uplink of network b (f:1) and cannot be a guest's port"},
		{"[network.b]\nmode='bridged'\nuplink='eth0'\n[[port]]\nname='eth\\0'\nnetwork='b'", "f:5: port.\"eth\\\\0\".name: eth0 is the uplink of network b (f:1) and cannot be a guest's port"},
		{"[network.h]\nmode='host-only'\n[[port]]\nname='h'\nnetwork='h'\nlabel='x'", "f:4: port.h.name: h is the host interface of network h (f:1), which takes a vlan alone\n  hint: leave out what is not name, network or vlan"},
		{"[network.h]\nmode='host-only'\n[defaults.port]\nstorm='9pps'\n[[port]]\nname='h'\nnetwork='h'\nantispoof='mac'", "f:6: port.h.name: h is the host interface of network h (f:1), which takes a vlan alone\n  hint: leave out what is not name, network or vlan"},
		{"[network.h]\nmode='host-only'\n[network.i]\nmode='isolated'\n[[port]]\nname='h'\nnetwork='i'", "f:6: port.h.name: h is the host interface of network h (f:1) and cannot be a guest's port"},
		{portWith("mac='00:16:3e'"), "f:3: port.tap0.mac: \"00:16:3e\" is not a MAC address\n  hint: six hexadecimal octets, as in 00:16:3e:11:22:33"},
		{portWith("mac='00:00:00:00:00:00'"), "f:3: port.tap0.mac: 00:00:00:00:00:00 is the null address, which no station has"},
		{portWith("mac='01:00:5e:00:00:01'"), "f:3: port.tap0.mac: 01:00:5e:00:00:01 is a multicast address, not a station's"},
		{portWith("mac='ff:ff:ff:ff:ff:ff'"), "f:3: port.tap0.mac: ff:ff:ff:ff:ff:ff is the broadcast address, not a station's"},
		{portWith(`label="a\nb"`), `f:3: port.tap0.label: "a\nb" has an unprintable character`},
		{portWith("label='" + strings.Repeat("ä", 65) + "'"), "f:3: port.tap0.label: the label has 65 characters, and at most 64 fit"},
		{portWith("mtu=67"), "f:3: port.tap0.mtu: 67 is out of range: 68 to 65521"},

		// networks in each other's way
		{"[network.a]\nmode='bridged'\nuplink='eth0'\n[network.b]\nmode='bridged'\nuplink='eth0'", "f:6: network.b.uplink: eth0 is the uplink of network a already (f:1)\n  hint: they can share it if one of them has uplink_vlan, the VLAN that is its own there"},
		{"[network.a]\nmode='bridged'\nuplink='eth0'\ntakeover=true\n[network.b]\nmode='bridged'\nuplink='eth0'\ntakeover=true", "f:7: network.b.uplink: eth0 is the uplink of network a already (f:1)\n  hint: they can share it if one of them has uplink_vlan, the VLAN that is its own there\nf:8: network.b.takeover: network a takes over eth0 already (f:1)\n  hint: leave it out in one of the two"},
		{"[network.a]\nmode='isolated'\n[network.b]\nmode='bridged'\nuplink='a'", "f:5: network.b.uplink: a is a network (f:1), and an uplink is a NIC"},
		{"[network.a]\nmode='host-only'\naddress='fd00::1/64'\nmtu=1000", "f:4: network.a.mtu: 1000 is too small for the IPv6 address fd00::1/64\n  hint: IPv6 needs 1280 or more"},
		{"[network.a]\nmode='host-only'\naddress='10.0.0.1/8'\n[network.b]\nmode='host-only'\naddress='10.1.0.1/16'", "f:6: network.b.address: 10.1.0.1/16 overlaps 10.0.0.1/8 of network a (f:1)"},
	} {
		wantProblems(t, c.text, c.want)
	}
}

// wantProblems parses a text that is not right.
func wantProblems(t *testing.T, text, want string) {
	t.Helper()
	_, err := Parse("f", []byte(text))
	if err == nil {
		t.Errorf("%s\nis accepted", text)
		return
	}
	if d := cmp.Diff(want, err.Error()); d != "" {
		t.Errorf("%s\n-want +got:\n%s", text, d)
	}
}

func TestParseAccepts(t *testing.T) {
	for _, text := range []string{
		hostOnlyWith(""),
		hostOnlyWith("address='10.0.0.0/31'"),
		hostOnlyWith("address='10.0.0.255/32'"),
		hostOnlyWith("address='fd00::/127'"),
		hostOnlyWith("address='fd00::ffff/112'"),
		hostOnlyWith("mtu=68"),
		hostOnlyWith("mtu=65521"),
		hostOnlyWith("ageing='1s'\nfdb_limit=1"),
		hostOnlyWith("ageing='24h'\nfdb_limit=1048576"),
		daemonWith("xen='off'"),
		daemonWith("xen='on'"),
		"[network.a]\nmode='host-only'\naddress='fe80::1/64'\n[network.b]\nmode='host-only'\naddress='fe80::1/64'", // another subnet on each link
		"[network.b]\nmode='bridged'\nuplink='eth0'\n[[port]]\nname='eth*'\nnetwork='b'",                           // the daemon keeps its hands off eth0
		"[network.n]\nmode='isolated'\n[[port]]\nname='n'\nnetwork='n'",                                            // no host interface bears the name
		portWith("label=''"),
		portWith("label='" + strings.Repeat("ä", 64) + "'"),
	} {
		if _, err := Parse("f", []byte(text)); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

func TestParseReportsAllProblemsInOrder(t *testing.T) {
	_, err := Parse("f", []byte("[[port]]\nname='a'\nnetwork='x'\nmtu=1\n[network.b]\nmode='bridge'\nbogus=1\nmtu='1'\n"))
	var all Errors
	if !errors.As(err, &all) {
		t.Fatalf("%T %v", err, err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.Pos.String()+" "+e.Key)
	}
	want := []string{"f:3 port.a.network", "f:4 port.a.mtu", "f:6 network.b.mode", "f:7 network.b.bogus", "f:8 network.b.mtu"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	var first *Error
	if !errors.As(err, &first) || first != all[0] {
		t.Errorf("errors.As finds %v", first)
	}
}

func TestParseRefusesALargeFile(t *testing.T) {
	text := []byte(strings.Repeat("#\n", maxFile/2))
	if _, err := Parse("f", text); err != nil {
		t.Errorf("1 MiB: %v", err)
	}
	_, err := Parse("f", append(text, '\n'))
	if err == nil || err.Error() != "f: the file is larger than 1 MiB" {
		t.Errorf("1 MiB and a byte: %v", err)
	}
}

// What is longer than a message wants to be is cut at a rune.
func TestMessagesAreShort(t *testing.T) {
	_, err := Parse("f", []byte("[network.a]\nmode='"+strings.Repeat("ä", 100000)+"'\n"+strings.Repeat("k", 100000)+"=1"))
	if err == nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "\ufffd") {
		t.Errorf("%v", err)
	}
}

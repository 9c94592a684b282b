package config

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

func TestParseSaysWhatIsWrongWithAPolicy(t *testing.T) {
	const useless = ": a host-only network has no use for the key\n  hint: leave the key out, or write mode = \"bridged\""
	share := func(a, b string) string {
		return "[network.a]\nmode='bridged'\nuplink='eth0'\n" + a + "\n[network.b]\nmode='bridged'\nuplink='eth0'\n" + b
	}
	for _, c := range []struct{ text, want string }{
		// vlan, uplink_vlan
		{bridged("vlan='10'\nuplink_vlan=20"), "f:4: network.b.uplink_vlan: the network has vlan too, and one of them alone can hold\n  hint: choose uplink_vlan for one VLAN of the uplink, untagged in the network, or vlan for several, with their tags"},
		{bridged("uplink_vlan=0"), "f:3: network.b.uplink_vlan: 0 is out of range: 1 to 4094"},
		{bridged("uplink_vlan=4095"), "f:3: network.b.uplink_vlan: 4095 is out of range: 1 to 4094"},
		{bridged("uplink_vlan=65546"), "f:3: network.b.uplink_vlan: 65546 is out of range: 1 to 4094"}, // 10 in 16 bits
		{bridged("uplink_vlan=-1"), "f:3: network.b.uplink_vlan: -1 is out of range: 1 to 4094"},
		{bridged("uplink_vlan='10'"), "f:3: network.b.uplink_vlan: want a number, not the text \"10\"\n  hint: write 10, without the quotes"},
		{bridged("vlan='10/20'"), "f:3: network.b.vlan: \"10/20\": character 6: the text ends without a PVID\n  hint: write \"10p/20\" if untagged frames belong to VLAN 10"},
		{bridged("vlan=''"), "f:3: network.b.vlan: \"\": character 1: the text names no VLAN\n  hint: as in \"10\" or \"10p/20\""},
		{hostOnlyWith("vlan='10p/20'"), "f:3: network.h.vlan" + useless},
		{hostOnlyWith("uplink_vlan=10"), "f:3: network.h.uplink_vlan" + useless},
		{hostOnlyWith("uplink_vlan=5000"), "f:3: network.h.uplink_vlan" + useless},
		{portWith("vlan='1p/2-4095'"), "f:3: port.tap0.vlan: \"1p/2-4095\": character 6: VLAN 4095 is reserved\n  hint: write \"1p/2-4094\""},
		{portWith("vlan='10p,20'"), "f:3: port.tap0.vlan: \"10p,20\": character 4: want \"/\" or the end after \"10p\", not \",\"\n  hint: write \"10p/20\""},
		{portWith("vlan=10"), "f:3: port.tap0.vlan: want text in quotes, not the number 10\n  hint: write \"10\""},
		{portWith("vlan=5000"), "f:3: port.tap0.vlan: want text in quotes, not the number 5000\n  hint: as in \"10p/20\""},
		{portWith("vlan=['10']"), "f:3: port.tap0.vlan: want text in quotes, not an array\n  hint: as in \"10p/20\""},

		// networks that share an uplink
		{share("uplink_vlan=10", "uplink_vlan=10"), "f:8: network.b.uplink_vlan: VLAN 10 of eth0 is network a already (f:1)\n  hint: networks that share an uplink have different VLANs there"},
		{share("vlan='10'", "vlan='20'"), "f:7: network.b.uplink: eth0 is the uplink of network a already (f:1)\n  hint: they can share it if one of them has uplink_vlan, the VLAN that is its own there"},
		{share("uplink_vlan=10", "") + "\n[[port]]\nname='eth0'\nnetwork='a'", "f:10: port.eth0.name: eth0 is the uplink of network a (f:1) and cannot be a guest's port"},

		// rates
		{portWith("rate_from='100Mbps'"), "f:3: port.tap0.rate_from: \"100Mbps\" is not a rate: at 6: want /s, not \"ps\"\n  hint: write 100Mb/s"},
		{portWith("rate_to='1.5MB/s'"), "f:3: port.tap0.rate_to: \"1.5MB/s\" is not a rate: at 2: the rate has to be a whole number\n  hint: write 1500KB/s"},
		{portWith("rate_to='0Mb/s'"), "f:3: port.tap0.rate_to: \"0Mb/s\" is not a rate: at 1: the rate is 0\n  hint: \"none\" is no limit"},
		{portWith("rate_to=100"), "f:3: port.tap0.rate_to: want text in quotes, not the number 100\n  hint: as in \"100Mb/s\""},
		{hostOnlyWith("rate_up='@20ms'"), "f:3: network.h.rate_up: \"@20ms\" is not a rate: at 1: want the rate's number, not \"@20ms\"\n  hint: as in 100Mb/s or 100Mb/s@20ms"},
		{"[network.i]\nmode='isolated'\nrate_down='1Gb/s'", "f:3: network.i.rate_down: an isolated network has no use for the key\n  hint: there is no way out to limit; rate_from and rate_to limit a port"},

		// ip
		{portWith("ip='10.0.0.5'"), "f:3: port.tap0.ip: want an array, not the text \"10.0.0.5\"\n  hint: write [\"10.0.0.5\"]"},
		{portWith("ip='10.0.0.5, 10.0.0.6'"), "f:3: port.tap0.ip: want an array, not the text \"10.0.0.5, 10.0.0.6\"\n  hint: as in [\"10.0.0.5\"]"},
		{portWith("ip=[5]"), "f:3: port.tap0.ip: want text in quotes, not the number 5\n  hint: write \"5\""},
		{portWith("ip=['10.0.0.5', '10.0.0.300']"), "f:3: port.tap0.ip: \"10.0.0.300\" is not an IP address\n  hint: as in \"10.0.0.5\" or \"fd00::5\""},
		{portWith("ip=['10.0.0.5/24']"), "f:3: port.tap0.ip: \"10.0.0.5/24\" has a prefix length\n  hint: write \"10.0.0.5\""},
		{portWith("ip=['fe80::5%eth0']"), "f:3: port.tap0.ip: \"fe80::5%eth0\" has a zone, which means something to one host alone\n  hint: write \"fe80::5\""},
		{portWith("ip=['::ffff:10.0.0.5']"), "f:3: port.tap0.ip: ::ffff:10.0.0.5 is an IPv4 address in IPv6's clothes\n  hint: write \"10.0.0.5\""},
		{portWith("ip=['fd00::5', 'fd00:0::5']"), "f:3: port.tap0.ip: \"fd00::5\" is there twice"},
		{portWith("ip=['0.0.0.0']"), "f:3: port.tap0.ip: 0.0.0.0 is not an address but the lack of one"},
		{portWith("ip=['::']"), "f:3: port.tap0.ip: :: is not an address but the lack of one"},
		{portWith("ip=['224.0.0.251']"), "f:3: port.tap0.ip: 224.0.0.251 is a multicast address, not a host's"},
		{portWith("ip=['ff02::1']"), "f:3: port.tap0.ip: ff02::1 is a multicast address, not a host's"},
		{portWith("ip=['255.255.255.255']"), "f:3: port.tap0.ip: 255.255.255.255 is the broadcast address, not a host's"},
		{portWith("ip=['::1']"), "f:3: port.tap0.ip: ::1 is a loopback address: it never leaves the host"},

		// what [defaults.port] has too
		{portWith("isolated='true'"), "f:3: port.tap0.isolated: want true or false, not the text \"true\"\n  hint: write true, without quotes"},
		{portWith("isolated=0"), "f:3: port.tap0.isolated: want true or false, not the number 0\n  hint: write false, without quotes"},
		{portWith("antispoof='mac,ip'"), "f:3: port.tap0.antispoof: \"mac,ip\": character 4: no such mode\n  hint: want off, mac or mac+ip"},
		{portWith("antispoof=true"), "f:3: port.tap0.antispoof: want text in quotes, not true without quotes\n  hint: as in \"mac\""},
		{portWith("storm='2000'"), "f:3: port.tap0.storm: \"2000\": character 5: the unit is missing\n  hint: write \"2000pps\""},
		{portWith("storm=2000"), "f:3: port.tap0.storm: want text in quotes, not the number 2000\n  hint: as in \"2000pps\""},
		{portWith("mac_limit=65537"), "f:3: port.tap0.mac_limit: 65537 is out of range: 0 to 65536"},
		{portWith("mac_limit=-1"), "f:3: port.tap0.mac_limit: -1 is out of range: 0 to 65536"},
		{portWith("bpdu_guard='no'"), "f:3: port.tap0.bpdu_guard: want true or false, not the text \"no\"\n  hint: write false, without quotes"},
		{portWith("ra_guard='maybe'"), "f:3: port.tap0.ra_guard: want true or false, not the text \"maybe\""},
		{"[defaults.port]\ndhcp_guard=1", "f:2: defaults.port.dhcp_guard: want true or false, not the number 1\n  hint: write true, without quotes"},
		{"[defaults.port]\nantispoof='ip'", "f:2: defaults.port.antispoof: \"ip\": character 1: no such mode\n  hint: want off, mac or mac+ip"},
		{"[defaults.port]\nip=['10.0.0.5']", "f:2: defaults.port.ip: unknown key\n  hint: one of antispoof, storm, mac_limit, ra_guard, dhcp_guard, bpdu_guard"},
		{"[defaults.port]\nantispoofing='mac'", "f:2: defaults.port.antispoofing: unknown key\n  hint: did you mean antispoof?"},
	} {
		wantProblems(t, c.text, c.want)
	}
}

func TestParseAcceptsPolicies(t *testing.T) {
	trunk := "uplink='eth0'\nmode='bridged'\n"
	for _, text := range []string{
		"[network.a]\n" + trunk + "[network.b]\n" + trunk + "uplink_vlan=1\n[network.c]\n" + trunk + "uplink_vlan=4094",
		"[network.a]\n" + trunk + "uplink_vlan=10\n[network.b]\nuplink='eth1'\nmode='bridged'\nuplink_vlan=10",
		bridged("rate_up='1Gb/s'\nrate_down='none'"),
		hostOnlyWith("rate_up='1Gb/s'\nrate_down='4294967295GB/s@1us'"),
		portWith("ip=[]"),
		portWith("ip=['10.0.0.5', 'fd00::5', 'fe80::216:3eff:fe00:5', '169.254.1.1']"), // without antispoof: for routing
		portWith("antispoof='mac+ip'"), // DHCP will tell
		portWith("isolated=true\nmac_limit=65536\nstorm='1000000000pps'"),
		portWith("mac_limit=0\nstorm='none'\nantispoof='off'\nrate_from='none'"),
	} {
		if _, err := Parse("f", []byte(text)); err != nil {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

// One file says what the other's ports leave out, whichever comes first.
func TestPortsInheritFromDefaultsOfAnyFile(t *testing.T) {
	dir := tree(t,
		"f", "[network.n]\nmode='isolated'\n[[port]]\nname='a'\nnetwork='n'\n[[port]]\nname='b'\nnetwork='n'\nantispoof='off'\nstorm='none'\nmac_limit=0\nra_guard=false\n",
		"conf.d/1.toml", "[defaults.port]\nantispoof='mac+ip'\nstorm='100pps'\n",
		"conf.d/2.toml", "[defaults.port]\nmac_limit=8\nra_guard=true\n[[port]]\nname='c'\nnetwork='n'\nstorm='5pps'\nbpdu_guard=false\n",
	)
	got, err := Load(dir + "/f")
	if err != nil {
		t.Fatal(err)
	}
	want := []Port{
		{Name: "a", Network: "n", Antispoof: filter.MACIP, Storm: 100, MACLimit: 8, RAGuard: On},
		{Name: "b", Network: "n", RAGuard: Off},
		{Name: "c", Network: "n", Antispoof: filter.MACIP, Storm: 5, MACLimit: 8, RAGuard: On, BPDUGuard: Off},
	}
	if d := cmp.Diff(want, got.Ports, compareValues); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if p := got.NewPort("a", "n"); !p.Equal(want[0]) {
		t.Errorf("a new port is %+v", p)
	}
	if p := Default().NewPort("a", "n"); !p.Equal(Port{Name: "a", Network: "n"}) {
		t.Errorf("without defaults a new port is %+v", p)
	}
}

func TestGuardsAreOnWhereAntispoofIs(t *testing.T) {
	mac, ip := frame.MAC{0, 0x16, 0x3e, 0, 0, 5}, addrs("10.0.0.5")
	for _, c := range []struct {
		port Port
		want filter.Policy
	}{
		{Port{}, filter.Policy{}},
		{Port{MAC: mac, IP: ip}, filter.Policy{MAC: mac, IP: ip}},
		{Port{Antispoof: filter.MAC}, filter.Policy{Antispoof: filter.MAC, RAGuard: true, DHCPGuard: true, BPDUGuard: true}},
		{Port{Antispoof: filter.MACIP, RAGuard: Off}, filter.Policy{Antispoof: filter.MACIP, DHCPGuard: true, BPDUGuard: true}},
		{Port{Antispoof: filter.MAC, DHCPGuard: Off, BPDUGuard: On}, filter.Policy{Antispoof: filter.MAC, RAGuard: true, BPDUGuard: true}},
		{Port{RAGuard: On, DHCPGuard: Off}, filter.Policy{RAGuard: true}},
		{Port{DHCPGuard: On}, filter.Policy{DHCPGuard: true}},
		{Port{BPDUGuard: On}, filter.Policy{BPDUGuard: true}},
	} {
		if got := c.port.Policy(); !got.Equal(c.want) {
			t.Errorf("%+v: %+v, want %+v", c.port, got, c.want)
		}
	}
}

// Whatever a Port says, Equal looks at it. Where it stands, and whether antispoof
// was left out, is not what it says.
func TestEqualLooksAtEveryField(t *testing.T) {
	other := Port{
		Name: "a", Match: Match{VIF: 1}, Network: "n", VLAN: vlan.Default(), RateFrom: mustRate("1Mb/s"), RateTo: mustRate("1Mb/s"),
		MAC: frame.Broadcast, IP: addrs("10.0.0.5"), Isolated: true, Label: "l", MTU: 1500,
		Antispoof: filter.MAC, AntispoofTold: true, Storm: 1, MACLimit: 1, RAGuard: On, DHCPGuard: On, BPDUGuard: On,
		Pos: Position{File: "f", Line: 1},
	}
	for i := range reflect.TypeFor[Port]().NumField() {
		name := reflect.TypeFor[Port]().Field(i).Name
		var p Port
		v := reflect.ValueOf(other).Field(i)
		if v.IsZero() {
			t.Fatalf("the test says nothing of %s", name)
		}
		reflect.ValueOf(&p).Elem().Field(i).Set(v)
		if got, want := p.Equal(Port{}), name == "Pos" || name == "AntispoofTold"; got != want {
			t.Errorf("with another %s it is equal: %v", name, got)
		}
		if !p.Equal(p) {
			t.Errorf("with a %s it is not its own equal", name)
		}
	}
	if a, b := (Port{IP: addrs("10.0.0.5", "fd00::5")}), (Port{IP: addrs("10.0.0.5", "fd00::5")}); !a.Equal(b) {
		t.Error("equal addresses in different memory differ")
	}
}

package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/shaping"
)

func mustRate(t *testing.T, s string) shaping.Limit {
	t.Helper()
	l, err := shaping.ParseLimit(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

const xenHost = `
[network.lan]
mode = "isolated"
[network.nat0]
mode    = "nat"
uplink  = "eth0"
address = "10.20.0.1/24"
[[port]]
match     = { domain = "web1", vif = 0 }
network   = "lan"
rate_from = "100Mb/s"
rate_to   = "200Mb/s"
label     = "front"
antispoof = "off"
[[port]]
name    = "vif3.1"
network = "nat0"
mtu     = 1400
mac     = "00:16:3e:00:00:07"
[[port]]
name    = "db*"
network = "nat0"
label   = "by name"
`

// What the domain's configuration says wins key by key; only the bridge that xl
// writes where nobody named one yields to a [[port]].
func TestWhatADomainsNICIs(t *testing.T) {
	m := managerOf(t, xenHost)
	nic := func(domain string, dev int) control.HotplugSpec {
		return control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3, DevID: dev}, Domain: domain}
	}
	with := func(s control.HotplugSpec, change func(*control.HotplugSpec)) control.HotplugSpec {
		change(&s)
		return s
	}
	ips := []netip.Addr{addr("10.20.0.9")}
	for name, c := range map[string]struct {
		said control.HotplugSpec
		want config.Port
	}{
		"xl's default yields": {with(nic("web1", 0), func(s *control.HotplugSpec) { s.Network = "xenbr0" }),
			config.Port{Name: "vif3.0", Network: "lan", RateFrom: mustRate(t, "100Mb/s"), RateTo: mustRate(t, "200Mb/s"), Label: "front"}},
		"another bridge wins": {with(nic("web1", 0), func(s *control.HotplugSpec) { s.Network = "nat0" }),
			config.Port{Name: "vif3.0", Network: "nat0", RateFrom: mustRate(t, "100Mb/s"), RateTo: mustRate(t, "200Mb/s"), Label: "front"}},
		"key by key": {with(nic("web1", 0), func(s *control.HotplugSpec) { s.Network, s.RateFrom, s.MTU = "xenbr0", mustRate(t, "1Mb/s"), 1300 }),
			config.Port{Name: "vif3.0", Network: "lan", RateFrom: mustRate(t, "1Mb/s"), RateTo: mustRate(t, "200Mb/s"), Label: "front", MTU: 1300}},
		"antispoof is told": {with(nic("web1", 0), func(s *control.HotplugSpec) { s.Network, s.IP = "nat0", ips }),
			config.Port{Name: "vif3.0", Network: "nat0", RateFrom: mustRate(t, "100Mb/s"), RateTo: mustRate(t, "200Mb/s"), Label: "front", IP: ips}},
		"ip= holds to it": {with(nic("mail", 2), func(s *control.HotplugSpec) { s.Network, s.IP = "nat0", ips }),
			config.Port{Name: "vif3.2", Network: "nat0", Label: "mail", IP: ips, Antispoof: filter.MACIP}},
		"by its number": {with(nic("mail", 1), func(s *control.HotplugSpec) { s.Network = "xenbr0" }),
			config.Port{Name: "vif3.1", Network: "nat0", Label: "mail", MTU: 1400, MAC: frame.MAC{0, 0x16, 0x3e, 0, 0, 7}}},
		"by the name it is to have": {with(nic("mail", 1), func(s *control.HotplugSpec) { s.VifName = "db0" }),
			config.Port{Name: "db0", Network: "nat0", Label: "by name"}},
		"a tap has its vif's": {with(nic("mail", 1), func(s *control.HotplugSpec) { s.VifName, s.Tap = "db0", true }),
			config.Port{Name: "db0-emu", Network: "nat0", Label: "by name"}},
		"a long name": {with(nic(strings.Repeat("é", 70), 2), func(s *control.HotplugSpec) { s.Network = "lan" }),
			config.Port{Name: "vif3.2", Network: "lan", Label: strings.Repeat("é", 64)}},
	} {
		got, err := m.vifSpec(m.cfg, c.said)
		if err != nil || !got.Equal(c.want) {
			t.Errorf("%s: %s in %s: %v; wanted %s in %s: %v", name, got.Name, got.Network, err, c.want.Name, c.want.Network, differences(c.want, got))
		}
	}
}

func TestNICsThatCantBeAreRefused(t *testing.T) {
	m := managerOf(t, xenHost)
	for name, c := range map[string]struct {
		change func(*control.HotplugSpec)
		want   string
	}{
		"no network":           {func(s *control.HotplugSpec) { s.Network = "xenbr0" }, "no such network: xenbr0; there are: lan, nat0"},
		"nobody names one":     {func(s *control.HotplugSpec) { s.Network = "" }, "nobody says which network it is to join"},
		"the gateway's":        {func(s *control.HotplugSpec) { s.IP = []netip.Addr{addr("10.20.0.1")} }, "the host's own address"},
		"outside NAT's subnet": {func(s *control.HotplugSpec) { s.IP = []netip.Addr{addr("192.0.2.9")} }, "is not in 10.20.0.0/24"},
		"a pattern":            {func(s *control.HotplugSpec) { s.VifName = "web*" }, "is no name of an interface"},
		"another NIC's name":   {func(s *control.HotplugSpec) { s.VifName = "vif9.0" }, "the name of another NIC's interface"},
		"a tap's name":         {func(s *control.HotplugSpec) { s.VifName = "vif3.2-emu" }, "the name of another NIC's interface"},
	} {
		s := control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3, DevID: 2}, Domain: "mail", Network: "nat0"}
		c.change(&s)
		if _, err := m.vifSpec(m.cfg, s); err == nil || !strings.HasPrefix(err.Error(), "vif3.2: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// The two interfaces of one NIC exchange no frames, whatever they are called.
func TestTwins(t *testing.T) {
	ref := control.HotplugRef{DomID: 3}
	m := managerOf(t, xenHost)
	m.runtime = map[string]*runtimePort{
		"web0":     {xen: &control.HotplugSpec{HotplugRef: ref, VifName: "web0", Emulated: true}},
		"web0-emu": {xen: &control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3, Tap: true}, VifName: "web0", Emulated: true}},
		"vif3.1":   {xen: &control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3, DevID: 1}}},
		"tap1":     {ifindex: 9},
	}
	for name, want := range map[string]string{
		"web0": "web0-emu", "web0-emu": "web0", "vif3.1": "", "tap1": "tap1-emu", "vif9.0": "vif9.0-emu", "vif9.0-emu": "vif9.0",
	} {
		if got := m.twin(name); got != want {
			t.Errorf("of %s: %q, want %q", name, got, want)
		}
	}
}

// A configuration that says something new of a NIC overrules what the command line
// changed; one that says the same leaves that.
func TestAReloadOverrulesTheCommandLineWhereItIsNew(t *testing.T) {
	m := managerOf(t, xenHost)
	said := control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3}, Domain: "web1", Network: "lan"}
	base, err := m.vifSpec(m.cfg, said)
	if err != nil {
		t.Fatal(err)
	}
	changed := base
	changed.Label = "by hand"
	m.links[7] = host.Link{Index: 7, Name: "vif3.0"}
	m.runtime["vif3.0"] = &runtimePort{ifindex: 7, spec: changed, base: base, xen: &said}
	m.repolicy(m.cfg)
	if got := m.runtime["vif3.0"].spec.Label; got != "by hand" {
		t.Errorf("the same configuration: label %q", got)
	}
	cfg, err := config.Parse("test.toml", []byte(strings.Replace(xenHost, "200Mb/s", "300Mb/s", 1)))
	if err != nil {
		t.Fatal(err)
	}
	m.repolicy(cfg)
	if got := m.runtime["vif3.0"].spec; got.Label != "front" || got.RateTo != mustRate(t, "300Mb/s") {
		t.Errorf("another configuration: label %q, rate %s", got.Label, got.RateTo)
	}
}

package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

func TestTOMLReadsAsItWasWritten(t *testing.T) {
	const want = `[daemon]
group = "gxswitch"
xen   = "auto"

[defaults.port]
antispoof  = "mac"
storm      = "2000pps"
bpdu_guard = true

[network.xenbr0]
mode      = "bridged"
uplink    = "eth0"
vlan      = "1p/10-19"
ageing    = "300s"
fdb_limit = 8192
mtu       = 1500
rate_up   = "1Gb/s"
rate_down = "2Gb/s@10ms"

[network.br0]
mode        = "bridged"
uplink      = "eth0"
uplink_vlan = 4094
ageing      = "300s"
fdb_limit   = 8192

[network."web.lan"]
mode      = "host-only"
address   = "192.168.60.1/24"
ageing    = "24h"
fdb_limit = 8192
dhcp      = { range = "192.168.60.100-192.168.60.199", lease = "1h", router = "none", dns = ["192.0.2.53"], domain = "lab", routes = ["10.0.0.0/8 via 192.168.60.2"], port_limit = 4, authoritative = false }
dns       = { domain = "xen", upstream = ["system", "[2001:db8::53]:5353"], rebind_ok = ["."] }
host      = [
  { name = "web1", mac = "00:16:3e:11:22:33", ip = "192.168.60.10" },
  { name = "db-1", ip = ["192.168.60.11", "fd00::11"] },
]

[network.plain]
mode      = "host-only"
address   = "192.168.61.1/24"
ageing    = "300s"
fdb_limit = 8192
dhcp      = { lease = "12h", port_limit = 16 }
dns       = { upstream = ["none"] }

[[port]]
name       = "vif*.0"
network    = "xenbr0"
vlan       = "10p/20"
rate_from  = "100Mb/s@20ms"
rate_to    = "200Mb/s"
mac        = "00:16:3e:00:00:05"
ip         = ["10.0.0.5", "fd00::5"]
isolated   = true
label      = "the \"web\" \\ ü"
antispoof  = "mac+ip"
storm      = "2000pps"
mac_limit  = 1024
ra_guard   = false
bpdu_guard = true

[[port]]
name       = "vif*.1"
network    = "xenbr0"
antispoof  = "off"
storm      = "none"
bpdu_guard = false
`
	c, err := Parse("f", []byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, c.TOML()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

var anyVLAN = rapid.SampledFrom([]vlan.Set{{}, vlan.Default(), vlan.Access(10), mustVLAN("7p/100+10x4/20-29u")})

// anyPortDefaults draws what [defaults.port] has, or a port under from. Where from
// has said on or off, a port says one of them too.
func anyPortDefaults(t *rapid.T, from Port) Port {
	guard := func(from Toggle, name string) Toggle {
		all := []Toggle{On, Off, Unset}
		if from != Unset {
			all = all[:2]
		}
		return rapid.SampledFrom(all).Draw(t, name)
	}
	return Port{
		Antispoof: rapid.SampledFrom([]filter.Antispoof{filter.Off, filter.MAC, filter.MACIP}).Draw(t, "antispoof"),
		Storm:     rapid.SampledFrom([]filter.StormRate{0, 1, filter.MaxStormRate}).Draw(t, "storm"),
		MACLimit:  rapid.IntRange(0, maxMACLimit).Draw(t, "mac_limit"),
		RAGuard:   guard(from.RAGuard, "ra_guard"),
		DHCPGuard: guard(from.DHCPGuard, "dhcp_guard"),
		BPDUGuard: guard(from.BPDUGuard, "bpdu_guard"),
	}
}

// anyServices draws servers and a host for a network with an address.
func anyServices(t *rapid.T, n *Network) {
	toggle := rapid.SampledFrom([]Toggle{Unset, On, Off})
	lease := rapid.Int64Range(int64(minLease), int64(maxLease))
	if n.Address.Addr().Is4() && (n.MTU == 0 || n.MTU >= minDHCPMTU) && rapid.Bool().Draw(t, "dhcp") {
		n.DHCP = NewDHCP()
		n.DHCP.Lease, n.DHCP.Authoritative = time.Duration(lease.Draw(t, "lease")), toggle.Draw(t, "authoritative")
		n.DHCP.Router = rapid.SampledFrom([]netip.Addr{{}, NoRouter(), n.Address.Addr()}).Draw(t, "router")
		n.DHCP.DNS = rapid.SampledFrom([][]netip.Addr{nil, addrs("192.0.2.53", "192.0.2.54")}).Draw(t, "servers")
		n.DHCP.PortLimit = rapid.IntRange(1, maxPortLimit).Draw(t, "port_limit")
		if n.Address.Bits() < 25 {
			last := n.Address.Addr().Next().Next()
			n.DHCP.Range = Range{n.Address.Addr().Next(), last}
			n.DHCP.Routes = []Route{{netip.MustParsePrefix("192.0.2.0/24"), last}}
		}
	}
	if rapid.Bool().Draw(t, "dns") {
		n.DNS = NewDNS()
		n.DNS.Domain = rapid.SampledFrom([]string{"", "xen", "lab.example.org"}).Draw(t, "domain")
		n.DNS.Upstream = rapid.SampledFrom([][]string{{SystemDNS}, {NoDNS}, {"192.0.2.53", "[2001:db8::53]:5353", SystemDNS}}).Draw(t, "upstream")
		n.DNS.RebindOK = rapid.SampledFrom([][]string{nil, {"."}, {"a.b", "c"}}).Draw(t, "rebind_ok")
	}
	if rapid.Bool().Draw(t, "host") {
		n.Hosts = []Host{{Name: "web1", MAC: frame.MAC{2}}, {Name: "web2", IP: addrs("fd77::2", "fd77::3")}}
	}
}

// anyConfig draws configurations that are right.
func anyConfig(t *rapid.T) Config {
	c := Config{Daemon: Daemon{Group: rapid.StringMatching(`[a-z_][a-z0-9_-]{0,30}`).Draw(t, "group"),
		Xen: rapid.SampledFrom([]XenMode{XenAuto, XenOn, XenOff}).Draw(t, "xen")}}
	limits := rapid.SampledFrom([]shaping.Limit{{}, {}, mustRate("100Mb/s@20ms"), mustRate("1KB/s@3s")})
	c.PortDefaults = anyPortDefaults(t, Port{})
	mtu := rapid.OneOf(rapid.Just(0), rapid.IntRange(minMTU, maxMTU))
	name := rapid.StringMatching(`[a-z0-9._-]{1,11}`).Filter(func(s string) bool { return validNetwork("n"+s) == nil })
	for i, s := range rapid.SliceOfNDistinct(name, 0, 5, rapid.ID).Draw(t, "networks") {
		n := Network{
			Name:     "n" + s,
			Mode:     rapid.SampledFrom([]Mode{Bridged, HostOnly, Isolated}).Draw(t, "mode"),
			Ageing:   time.Duration(rapid.Int64Range(int64(time.Second), int64(24*time.Hour)).Draw(t, "ageing")),
			FDBLimit: rapid.IntRange(1, 1<<20).Draw(t, "fdb_limit"),
			MTU:      mtu.Draw(t, "mtu"),
		}
		if rapid.Bool().Draw(t, "round") {
			n.Ageing = n.Ageing.Truncate(time.Second)
		}
		if n.Mode.NeedsUplink() {
			n.Uplink = fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"eth", "Ä", `"`, "e@", `\`}).Draw(t, "uplink"), i/2)
			n.UplinkVLAN = uint16(i * 1000) // 0, 1000, … 4000
			if i > 0 && rapid.Bool().Draw(t, "alone") {
				n.Uplink, n.UplinkVLAN, n.VLAN = fmt.Sprint("alone", i), 0, anyVLAN.Draw(t, "uplink's vlan")
				n.Takeover = n.Mode == Bridged && rapid.Bool().Draw(t, "takeover")
			}
		}
		if n.Mode != Isolated {
			n.RateUp, n.RateDown = limits.Draw(t, "rate_up"), limits.Draw(t, "rate_down")
		}
		if n.Mode.HasHostLeg() && rapid.Bool().Draw(t, "addressed") {
			n.Address = netip.PrefixFrom(rapid.SampledFrom([]netip.Addr{
				netip.AddrFrom4([4]byte{10, byte(i), 0, 1}),
				netip.AddrFrom16([16]byte{0xfd, byte(i), 15: 1}),
			}).Draw(t, "address"), rapid.IntRange(16, 32).Draw(t, "bits"))
			if n.Address.Addr().Is6() && n.MTU != 0 {
				n.MTU = max(n.MTU, minMTUv6)
			}
			anyServices(t, &n)
		}
		c.Networks = append(c.Networks, n)
	}
	if len(c.Networks) == 0 {
		return c
	}
	pattern := rapid.StringMatching(`[a-z.]{1,4}[*?]([0-9]|\[a-c\]|\\\*){0,2}`)
	for _, s := range rapid.SliceOfNDistinct(pattern, 0, 5, rapid.ID).Draw(t, "ports") {
		p := Port{
			Name:    s,
			Network: rapid.SampledFrom(c.Networks).Draw(t, "network").Name,
			Label:   rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return validLabel(string(r)) == nil }), 0, maxLabel, -1).Draw(t, "label"),
			MTU:     mtu.Draw(t, "port mtu"),

			VLAN:     anyVLAN.Draw(t, "vlan"),
			RateFrom: limits.Draw(t, "rate_from"),
			RateTo:   limits.Draw(t, "rate_to"),
			IP:       rapid.SampledFrom([][]netip.Addr{nil, addrs("10.0.0.5"), addrs("fd00::5", "10.0.0.5", "fe80::5")}).Draw(t, "ip"),
			Isolated: rapid.Bool().Draw(t, "isolated"),
		}
		d := anyPortDefaults(t, c.PortDefaults)
		p.Antispoof, p.Storm, p.MACLimit, p.RAGuard, p.DHCPGuard, p.BPDUGuard = d.Antispoof, d.Storm, d.MACLimit, d.RAGuard, d.DHCPGuard, d.BPDUGuard
		if rapid.Bool().Draw(t, "has mac") {
			p.MAC = frame.MAC{0x00, 0x16, 0x3e, 1, 2, rapid.Byte().Draw(t, "mac")}
		}
		if rapid.Bool().Draw(t, "of a domain") {
			p.Name, p.Match = "", Match{Domain: s, VIF: rapid.IntRange(0, maxVIF).Draw(t, "vif")}
			p.Network = rapid.SampledFrom([]string{"", p.Network}).Draw(t, "domain's network")
		}
		c.Ports = append(c.Ports, p)
	}
	return c
}

func TestTOMLParsesToTheSameConfig(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyConfig(t)
		for _, n := range want.Networks {
			if err := n.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		text := want.TOML()
		got, err := Parse("", []byte(text))
		if err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		if d := cmp.Diff(want, got, compareValues, cmpopts.IgnoreTypes(Position{})); d != "" {
			t.Fatalf("%s\n-want +got:\n%s", text, d)
		}
	})
}

// FuzzParse holds Parse to: no panic, no control character in what it says, a
// position for every problem, and a TOML that says the same again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"",
		"[daemon]\ngroup='g'\nxen='auto'\n[defaults.port]\nantispoof='mac'\nstorm='5pps'\nmac_limit=9\nra_guard=true",
		"[defaults.port]\nantispoof='mac'\nra_guard=true\n[network.n]\nmode='isolated'\n[[port]]\nname='a'\nnetwork='n'\nantispoof='off'\nra_guard=false\nip=['10.0.0.5','fd00::5']\nisolated=true\nvlan='10p/20-29u'\nrate_from='100Mb/s@20ms'\nrate_to='none'",
		"[network.n]\nmode='bridged'\nuplink='e'\nuplink_vlan=10\nrate_up='1Gb/s'\n[network.m]\nmode='bridged'\nuplink='e'\nvlan='1p/100+10x4'",
		"[network.xenbr0]\nmode='bridged'\nuplink='eth0'\nageing='5m'\nfdb_limit=1\nmtu=68\nvlan='1p/2-4094'\ntakeover=true",
		"[network.\"a.b\"]\nmode='host-only'\naddress='fd00::1/64'\n[[port]]\nname='vif*.[0-9]'\nnetwork='a.b'\nmac='00:16:3e:00:00:05'\nlabel=\"\\u00fc\"",
		"[network.n]\nmode='host-only'\naddress='10.0.0.1/8'\ndhcp={range='10.0.0.2-10.0.0.9',lease='1h',router='none',dns=['10.0.0.3'],domain='a',routes=['10.0.0.0/8 via 10.0.0.2'],port_limit=3,authoritative=true}\n[network.n.dns]\ndomain='a.b'\nupstream=['system','[::2]:53']\nrebind_ok=['.']\n[[network.n.host]]\nname='a'\nmac='02:00:00:00:00:01'\nip='10.0.0.2'\n[[network.n.host]]\nname='b'\nip=['fd00::1','10.0.0.3']",
		"port=[{name='a', network='b'}, {}, 1, [[]]]\nnetwork={b={mode='isolated'}}",
		"network.a.b.c.d=1\n[[network.a.host]]\n[network.a.host.x]\n",
		"[daemon]\nxen='on'\n[[port]]\nmatch={domain='w\"1',vif=0}\nantispoof='off'\n[[port]]\n[port.match]\nuuid='5CA1AB1E-0000-4000-8000-000000000001'\nvif=7",
		"a=1979-05-27T07:32:00Z\nb=inf\nc=[1,\n# x\n{a=1}]\nd=\"\"\"\n\"\"\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f", text)
		if err != nil {
			for _, e := range err.(Errors) {
				if e.Pos.File != "f" || e.Pos.Line == 0 || e.Msg == "" {
					t.Errorf("%#v has no position or says nothing", e)
				}
				if strings.ContainsFunc(e.Error()+e.Hint, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Errorf("%q has a control character", e.Error()+e.Hint)
				}
			}
			return
		}
		again, err := Parse("f", []byte(c.TOML()))
		if err != nil {
			t.Fatalf("%s\n%v", c.TOML(), err)
		}
		if d := cmp.Diff(c, again, compareValues, cmpopts.IgnoreTypes(Position{})); d != "" {
			t.Errorf("-first +again:\n%s", d)
		}
	})
}

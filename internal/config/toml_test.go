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

	"gxswitch/internal/frame"
)

func TestTOMLReadsAsItWasWritten(t *testing.T) {
	const want = `[daemon]
group = "gxswitch"

[network.xenbr0]
mode      = "bridged"
uplink    = "eth0"
ageing    = "300s"
fdb_limit = 8192
mtu       = 1500

[network."web.lan"]
mode      = "host-only"
address   = "192.168.60.1/24"
ageing    = "24h"
fdb_limit = 8192

[[port]]
name    = "vif*.0"
network = "xenbr0"
mac     = "00:16:3e:00:00:05"
label   = "the \"web\" \\ ü"
`
	c, err := Parse("f", []byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, c.TOML()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// anyConfig draws configurations that are right.
func anyConfig(t *rapid.T) Config {
	c := Config{Daemon: Daemon{Group: rapid.StringMatching(`[a-z_][a-z0-9_-]{0,30}`).Draw(t, "group")}}
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
			n.Uplink = fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"eth", "Ä", `"`, "e@", `\`}).Draw(t, "uplink"), i)
		}
		if n.Mode.HasHostLeg() && rapid.Bool().Draw(t, "addressed") {
			n.Address = netip.PrefixFrom(rapid.SampledFrom([]netip.Addr{
				netip.AddrFrom4([4]byte{10, byte(i), 0, 1}),
				netip.AddrFrom16([16]byte{0xfd, byte(i), 15: 1}),
			}).Draw(t, "address"), rapid.IntRange(16, 32).Draw(t, "bits"))
			if n.Address.Addr().Is6() && n.MTU != 0 {
				n.MTU = max(n.MTU, minMTUv6)
			}
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
		}
		if rapid.Bool().Draw(t, "has mac") {
			p.MAC = frame.MAC{0x00, 0x16, 0x3e, 1, 2, rapid.Byte().Draw(t, "mac")}
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
		if d := cmp.Diff(want, got, comparePrefix, cmpopts.IgnoreTypes(Position{})); d != "" {
			t.Fatalf("%s\n-want +got:\n%s", text, d)
		}
	})
}

// FuzzParse holds Parse to: no panic, no control character in what it says, a
// position for every problem, and a TOML that says the same again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"",
		"[daemon]\ngroup='g'\nxen='auto'\n[defaults.port]\nantispoof='off'",
		"[network.xenbr0]\nmode='bridged'\nuplink='eth0'\nageing='5m'\nfdb_limit=1\nmtu=68\nvlan='1p/2-4094'\ntakeover=false",
		"[network.\"a.b\"]\nmode='host-only'\naddress='fd00::1/64'\n[[port]]\nname='vif*.[0-9]'\nnetwork='a.b'\nmac='00:16:3e:00:00:05'\nlabel=\"\\u00fc\"",
		"port=[{name='a', network='b'}, {}, 1, [[]]]\nnetwork={b={mode='isolated'}}",
		"network.a.b.c.d=1\n[[network.a.host]]\n[network.a.host.x]\n",
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
		if d := cmp.Diff(c, again, comparePrefix, cmpopts.IgnoreTypes(Position{})); d != "" {
			t.Errorf("-first +again:\n%s", d)
		}
	})
}

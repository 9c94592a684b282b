package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const natNetwork = `[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
`

// TestGatewayNetworks: what routed and nat networks take, and how they are written.
func TestGatewayNetworks(t *testing.T) {
	for _, text := range []string{
		natNetwork,
		natNetwork + "nat_address = \"192.0.2.7\"\nforward = [\n  { listen = \"tcp/8080\", to = \"10.20.0.10:80\" },\n  { listen = \"udp/5000-5010\", to = \"10.20.0.11\" },\n]\n",
		"[network.dmz]\nmode = \"routed\"\nuplink = \"eth0\"\naddress = \"203.0.113.17/28\"\nproxy_arp = false\n",
		"[network.dmz]\nmode = \"routed\"\nuplink = \"eth0\"\n",
	} {
		first, err := Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		again, err := Parse("f", []byte(first.TOML()))
		if err != nil {
			t.Errorf("%s\nis written as\n%s\n%v", text, first.TOML(), err)
			continue
		}
		if !first.Networks[0].Equal(again.Networks[0]) {
			t.Errorf("%s\nis written as\n%s", text, first.TOML())
		}
	}
}

func TestForwardsMeanNamedHosts(t *testing.T) {
	c, err := Parse("f", []byte(natNetwork+`
[[network.nat0.host]]
name = "web1"
mac = "00:16:3e:11:22:33"
ip = "10.20.0.10"
[[network.nat0.forward]]
listen = "tcp/8080"
to = "web1:80"
`))
	if err != nil {
		t.Fatal(err)
	}
	n := c.Networks[0]
	a, err := n.Resolve(n.Forwards[0].To)
	if err != nil || a.String() != "10.20.0.10" {
		t.Errorf("web1 is %v, %v", a, err)
	}
}

func TestGatewayMistakes(t *testing.T) {
	forward := func(listen, to string) string {
		return natNetwork + "[[network.nat0.forward]]\nlisten = \"" + listen + "\"\nto = \"" + to + "\"\n"
	}
	for _, c := range []struct{ text, want string }{
		{"[network.r]\nmode='routed'", "f:1: network.r.uplink: the key is missing: a routed network is joined to a NIC"},
		{"[network.r]\nmode='nat'\nuplink='eth0'", "f:1: network.r.address: the key is missing: a nat network has addresses of its own"},
		{"[network.r]\nmode='nat'\nuplink='eth0'\naddress='fd00::1/64'", "f:4: network.r.address: fd00::1/64 is no IPv4 address"},
		{"[network.r]\nmode='nat'\nuplink='eth0'\naddress='10.0.0.1/32'", "f:4: network.r.address: 10.0.0.1/32 leaves no address for a guest"},
		{"[network.r]\nmode='routed'\nuplink='eth0'\nnat_address='192.0.2.1'", "f:4: network.r.nat_address: a routed network has no use for the key"},
		{natNetwork + "proxy_arp = true", "f:5: network.nat0.proxy_arp: a nat network has no use for the key"},
		{natNetwork + "takeover = true", "f:5: network.nat0.takeover: a nat network has no use for the key"},
		{natNetwork + "nat_address = '10.20.0.9'", "f:5: network.nat0.nat_address: 10.20.0.9 is one of the guests' own addresses"},
		{natNetwork + "nat_address = 'fd00::1'", "f:5: network.nat0.nat_address: fd00::1 is no IPv4 address"},
		{forward("tcp/0", "10.20.0.10:80"), `f:6: network.nat0.forward.listen: forward "tcp/0"`},
		{forward("sctp/1", "10.20.0.10:80"), `f:6: network.nat0.forward.listen: forward "sctp/1"`},
		{forward("tcp/8080", "10.21.0.10:80"), "10.21.0.10 is outside 10.20.0.0/24, the network's addresses"},
		{forward("tcp/8080", "10.20.0.1:80"), "10.20.0.1 is the gateway's own address"},
		{forward("tcp/8080", "10.20.0.255:80"), "10.20.0.255 is no guest's"},
		{forward("tcp/8080", "web1:80"), "network nat0 has no host web1"},
		{forward("tcp/8080", "10.20.0.10:http"), `"10.20.0.10:http" has no port behind the colon`},
		{forward("tcp/5000-5010", "10.20.0.10:65530"), "would end at port 65540, which there is not"},
		{forward("tcp/80-90", "10.20.0.10") + "[[network.nat0.forward]]\nlisten='tcp/85'\nto='10.20.0.11'", "tcp/85 is forwarded already: tcp/80-90 to 10.20.0.10"},
		{forward("tcp/80-90", "10.20.0.10") + "[network.b]\nmode='nat'\nuplink='eth0'\naddress='10.21.0.1/24'\nforward=[{listen='tcp/85', to='10.21.0.11'}]",
			"network.b.forward: tcp/85 of eth0 is forwarded by network nat0 already (f:1): tcp/80-90 to 10.20.0.10"},
		{natNetwork + "[[network.nat0.forward]]\nlisten='tcp/85'", "f:5: network.nat0.forward.to: the key is missing"},
		{natNetwork + "forward = 5", "f:5: network.nat0.forward: want tables [[network.NAME.forward]], not the number 5"},
		{natNetwork + "[network.b]\nmode='routed'\nuplink='eth0'\naddress='10.20.0.129/25'", "10.20.0.129/25 overlaps 10.20.0.1/24 of network nat0"},
	} {
		_, err := Parse("f", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n%s", c.text, cmp.Diff(c.want, errText(err)))
		}
	}
}

func errText(err error) string {
	if err == nil {
		return "accepted"
	}
	return err.Error()
}

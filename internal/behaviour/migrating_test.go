package behaviour

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every command of the two guides for those who come from something else does
// its work on a host that is as the table supposes: networks and ports of the
// names are there, but for what the command is to make.
func TestCommandsOfTheGuides(t *testing.T) {
	t.Parallel()
	k := newKitchen(t, anyEngine)
	for _, nic := range []string{"vif1.0", "vif5.0", "tap1", "vnet0"} {
		mustRun(t, k.host, "ip", "link", "add", nic, "type", "veth", "peer", "name", "g"+nic)
	}
	k.start(`
[network.nat0]
mode = "nat"
uplink = "eth0"
address = "10.20.0.1/24"
[network.default0]
mode = "nat"
uplink = "eth0"
address = "192.168.122.1/24"
dhcp = { range = "192.168.122.2-192.168.122.254" }
`)
	done := 0
	for _, guide := range []string{"migrating.md", "recipes.md"} {
		for _, line := range guideCommands(t, guide) {
			args := strings.Fields(line)
			switch {
			case len(args) < 2, slices.Contains([]string{"add", "del", "set"}, args[len(args)-1]):
				continue // a mention
			case slices.Contains([]string{"config", "completion", "daemon", "demo", "dns", "doctor", "hotplug"}, args[0]):
				continue // not of the switch at work
			case slices.Contains(args, "-i"):
				args = args[:slices.Index(args, "-i")] // it would go on for ever
			}
			k.suppose(args)
			if out, errs, code := k.cli(args...); code != 0 {
				t.Errorf("%s: gxswitch %s: exit %d\n%s%s", guide, strings.Join(args, " "), code, out, errs)
			}
			done++
		}
	}
	if done < 50 {
		t.Errorf("only %d commands found", done)
	}
}

// guideCommands are `gxswitch …` in tables and sentences, and at the start of a line
// of a block.
func guideCommands(t *testing.T, guide string) []string {
	t.Helper()
	text, err := os.ReadFile(guidesDir + guide)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile("(?m)(?:`|^)gxswitch ([^`\n]+)").FindAllStringSubmatch(string(text), -1) {
		line, _, _ := strings.Cut(m[1], "#")
		line, _, _ = strings.Cut(line, " && ")
		all = append(all, strings.TrimSpace(line))
	}
	return all
}

// suppose makes the networks and ports that a command is about, and removes what it
// is to make.
func (k *kitchen) suppose(args []string) {
	k.t.Helper()
	remove := func(what ...string) {
		if _, errs, code := k.cli(what...); code != 0 && code != 4 {
			k.t.Fatalf("%v: %s", what, errs)
		}
	}
	if args[0] == "network" && args[1] == "add" {
		for _, network := range []string{"br0", "ovs0", args[2]} { // they would share eth1
			remove("network", "del", network)
		}
		return
	}
	for network, how := range map[string]string{
		"br0": "bridged --uplink eth1", "ovs0": "isolated",
	} {
		if slices.Contains(args, network) && !k.has("network", network) {
			k.must(append([]string{"network", "add", network, "--mode"}, strings.Fields(how)...)...)
		}
	}
	for _, port := range []string{"vif1.0", "vif5.0", "tap1", "vnet0"} {
		switch {
		case !slices.Contains(args, port):
		case args[0] == "port" && args[1] == "add":
			remove("port", "del", port)
		case !k.has("port", port):
			if !k.has("network", "br0") {
				remove("network", "del", "ovs0")
				k.must("network", "add", "br0", "--mode", "bridged", "--uplink", "eth1")
			}
			k.must("port", "add", port, "--network", "br0")
		}
	}
}

func (k *kitchen) has(what, name string) bool {
	_, _, code := k.cli(what, "show", name)
	return code == 0
}

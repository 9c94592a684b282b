package behaviour

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"

	"gxswitch/internal/doctor"
)

// On a host with everything in the way the doctor finds it, and on one without
// nothing but ok.
func TestDoctor(t *testing.T) {
	t.Parallel()
	k := newKitchen(t, anyEngine)
	const toml = `
[network.xenbr0]
mode = "bridged"
uplink = "eth1"
[network.lan]
mode = "bridged"
uplink = "eth0"
takeover = true
[network.lab]
mode = "host-only"
address = "192.168.60.1/24"
dhcp = { range = "192.168.60.100-192.168.60.199" }
dns = { domain = "xen" }
`
	k.write("gxswitch.toml", toml)
	mustRun(t, k.host, "ip", "link", "add", "br0", "type", "bridge")
	mustRun(t, k.host, "ip", "link", "set", "eth1", "master", "br0")
	mustRun(t, k.host, "ip", "rule", "add", "iif", "eth0", "table", "100")
	var taken []net.PacketConn
	in(t, k.host, func() error {
		var all error
		for _, addr := range []string{"0.0.0.0:53", "0.0.0.0:67"} {
			c, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp4", addr)
			taken, all = append(taken, c), errors.Join(all, err)
		}
		return all
	})
	found, code := k.examine()
	for name, want := range map[string]string{
		"daemon": "warn no daemon", "veth": "ok", "guard": "ok", "uplink_guard": "ok", "ring": "ok",
		"bridge": "fail eth1 is enslaved to bridge br0", "takeover": "warn policy routing rule",
		"resolver": "warn port 53 is taken on 0.0.0.0", "dhcp": "warn port 67 is taken on 0.0.0.0",
	} {
		if !strings.HasPrefix(found[name], want) {
			t.Errorf("%s: %q, want %q", name, found[name], want)
		}
	}
	if code != 1 {
		t.Errorf("exit %d, want 1", code)
	}

	for _, c := range taken {
		c.Close()
	}
	mustRun(t, k.host, "ip", "link", "del", "br0")
	mustRun(t, k.host, "ip", "rule", "del", "iif", "eth0", "table", "100")
	k.start(toml)
	k.awaitPort("eth1", "up")
	k.awaitPort("eth0", "up")
	found, code = k.examine()
	for name, what := range found {
		// There need be no group where the test runs.
		if !strings.HasPrefix(what, "ok ") && name != "group" {
			t.Errorf("%s: %s", name, what)
		}
	}
	if code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}

// examine runs the doctor on the host: by check, its worst finding.
func (k *kitchen) examine() (worst map[string]string, code int) {
	k.t.Helper()
	cmd := k.host.Command(context.Background(), binary, "doctor", "-j", "--config", k.path("gxswitch.toml"), "--socket", k.path("run/control.sock"))
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		k.t.Fatal(err)
	}
	var all []doctor.Finding
	if err := json.Unmarshal(out, &all); err != nil {
		k.t.Fatalf("%v: %s", err, out)
	}
	worst = map[string]string{}
	for _, f := range all {
		if was := worst[f.Name]; was == "" || strings.HasPrefix(was, "ok") {
			worst[f.Name] = string(f.Status) + " " + f.What
		}
	}
	return worst, cmd.ProcessState.ExitCode()
}

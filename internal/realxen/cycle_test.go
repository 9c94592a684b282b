//go:build realxen

package realxen

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"gxswitch/internal/control"
)

// The host:
//
//	web.0 [eth0]--vifN.0--lan 10.9.0.1/24        dom0's leg, DHCP
//	db.0  [eth0]--vifM.0--lan
//	web.1, db.1 [eth1]----vault                  VLANs by [[port]]
//	mail.0 [eth0]--vifO.0--dmz--eth0--[veth]--router 192.168.1.1
const configuration = `
[network.lan]
mode    = "host-only"
address = "10.9.0.1/24"
dhcp    = { range = "10.9.0.50-10.9.0.59" }

[network.vault]
mode = "isolated"

[network.dmz]
mode   = "routed"
uplink = "eth0"
dhcp   = {}

[[port]]
match   = { domain = "web", vif = 1 }
network = "vault"
vlan    = "10"

[[port]]
match   = { domain = "db", vif = 1 }
network = "vault"
vlan    = "20"
`

const (
	configFile = "/etc/gxswitch/gxswitch.toml"
	xlConf     = "autoballoon=\"off\"\nvif.default.script=\"vif-gxswitch\"\nvif.default.bridge=\"lan\"\n"
	program    = "/usr/local/sbin/gxswitch"
)

// gxswitch runs the program and returns what it printed.
func gxswitch(t *testing.T, args ...string) string {
	t.Helper()
	return must(t, append([]string{program}, args...)...)
}

func startDaemon(t *testing.T) *exec.Cmd {
	t.Helper()
	log, err := os.OpenFile("/out/daemon.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "daemon")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "the daemon", func() bool { _, err := try(program, "status"); return err == nil })
	return cmd
}

func ports(t *testing.T) map[string]control.Port {
	t.Helper()
	var all []control.Port
	out := gxswitch(t, "port", "list", "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	by := map[string]control.Port{}
	for _, p := range all {
		by[p.Name] = p
	}
	return by
}

// vif is the port of a domain's NIC.
func (d domain) vif(t *testing.T, nic string) control.Port {
	t.Helper()
	p, ok := ports(t)["vif"+d.id()+"."+nic]
	if !ok {
		t.Fatalf("%s has no port vif%s.%s\n%s", d, d.id(), nic, gxswitch(t, "port", "list"))
	}
	return p
}

// TestCycle is the life of a host, step by step; all need the first two.
func TestCycle(t *testing.T) {
	for file, text := range map[string]string{configFile: configuration, "/etc/xen/xl.conf": xlConf} {
		if err := os.MkdirAll("/etc/gxswitch", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []string{
		"ip netns add router", "ip link add eth0 type veth peer name eth0 netns router",
		"ip addr add 192.168.1.20/24 dev eth0", "ip link set eth0 up",
		"ip -n router addr add 192.168.1.1/24 dev eth0", "ip -n router link set eth0 up",
	} {
		must(t, strings.Fields(c)...)
	}
	var web, db domain
	var daemon *exec.Cmd

	step := func(name string, do func(t *testing.T)) {
		if t.Failed() && db == "" {
			return // no step is left that could be done
		}
		t.Run(name, do)
	}

	step("refused without a daemon", func(t *testing.T) {
		out, err := tryCreate(t, "early", "mac=00:16:3e:00:00:09")
		if err == nil || !strings.Contains(out, "no daemon answers on /run/gxswitch/control.sock") || domain("early").id() != "" {
			t.Errorf("%v\n%s", err, out)
		}
	})
	step("create, DHCP, ping", func(t *testing.T) {
		daemon = startDaemon(t)
		web = create(t, "web", "mac=00:16:3e:00:00:01", "bridge=xenbr0,mac=00:16:3e:00:01:01")
		db = create(t, "db", "mac=00:16:3e:00:00:02,rate=1Mb/s@50ms", "bridge=xenbr0,mac=00:16:3e:00:01:02")
		if p := web.vif(t, "0"); p.Network != "lan" || p.State != "up" || p.Label != "web" || p.MAC.String() != "00:16:3e:00:00:01" {
			t.Errorf("%+v", p)
		}
		to := db.dhcp(t, "eth0")
		if ip := web.dhcp(t, "eth0"); !strings.HasPrefix(ip, "10.9.0.5") || ip == to {
			t.Errorf("web has %s, db %s", ip, to)
		}
		web.reaches(t, "10.9.0.1")
		web.reaches(t, to)
	})
	step("VLANs by [[port]]", func(t *testing.T) {
		web.must(t, "ip addr add 10.8.0.1/24 dev eth1")
		db.must(t, "ip addr add 10.8.0.2/24 dev eth1")
		if p := web.vif(t, "1"); p.Network != "vault" || p.VLAN != "10" {
			t.Errorf("%+v", p)
		}
		web.reachesNot(t, "10.8.0.2")
		gxswitch(t, "port", "set", "vif"+db.id()+".1", "--vlan", "10")
		web.reaches(t, "10.8.0.2")
	})
	step("rate", func(t *testing.T) {
		if p := db.vif(t, "0"); p.RateFrom != "1Mb/s" || p.RateFromBy != "gxswitch" {
			t.Errorf("%+v", p)
		}
		limited, free := iperf(t, db), iperf(t, web)
		t.Logf("db, with rate=1Mb/s@50ms, sends %.1f Mb/s; web, without, %.1f Mb/s", limited/1e6, free/1e6)
		if limited > 1.05e6 || limited < 0.6e6 || free < 2e6 {
			t.Error("want at most 1 Mb/s of db, and more of web")
		}
	})
	step("reboot", func(t *testing.T) {
		was := db.id()
		must(t, "xl", "reboot", "db")
		await(t, "another domain", func() bool { id := db.id(); return id != "" && id != was && peek(db.data()+"ready") == "1" })
		if p := db.vif(t, "1"); p.Network != "vault" || p.VLAN != "20" || p.Label != "db" {
			t.Errorf("%+v", p)
		}
		if _, left := ports(t)["vif"+was+".0"]; left {
			t.Error("the port of the old domain is left")
		}
		web.reaches(t, db.dhcp(t, "eth0"))
	})
	step("save and restore", func(t *testing.T) {
		was := web.id()
		must(t, "xl", "save", "web", "/root/web.save")
		if _, left := ports(t)["vif"+was+".0"]; left || web.id() != "" {
			t.Error("a port of a domain that is saved")
		}
		must(t, "xl", "restore", "/root/web.save")
		if web.id() == was {
			t.Error("the same domain")
		}
		web.reaches(t, "10.9.0.1")
		if p := web.vif(t, "1"); p.VLAN != "10" || p.State != "up" {
			t.Errorf("%+v", p)
		}
	})
	// This hypervisor refuses to log which pages a PV guest writes, so it fails half
	// way; with it goes what xl said of the domain's UUID, which both had.
	step("migrate to this host", func(t *testing.T) {
		out, err := try("xl", "migrate", "-s", "", "web", "xl migrate-receive")
		t.Logf("%v\n%s", err, out)
		web.reaches(t, "10.9.0.1")
		if p := web.vif(t, "1"); p.VLAN != "10" || p.Label != "web" {
			t.Errorf("%+v", p)
		}
	})
	step("refused", func(t *testing.T) {
		before := len(ports(t))
		for vif, want := range map[string]string{
			"bridge=nope":        "no such network: nope; there are: dmz, lan, vault; write bridge= with one of them in the vif line of domain bad",
			"vifname=eth0":       "it can't be renamed to eth0",
			"bridge=lan,ip=10.9": "is not an IP address",
		} {
			out, err := tryCreate(t, "bad", vif)
			t.Logf("%s: %v\n%s", vif, err, out)
			if err == nil || !strings.Contains(out, want) || domain("bad").id() != "" {
				t.Errorf("%s: want an error with %q", vif, want)
			}
		}
		if now := len(ports(t)); now != before {
			t.Errorf("%d ports, were %d", now, before)
		}
	})
	step("routed", func(t *testing.T) {
		mail := create(t, "mail", "bridge=dmz,ip=192.168.1.21,vifname=mail0")
		if ip := mail.dhcp(t, "eth0"); ip != "192.168.1.21" {
			t.Errorf("DHCP says %s", ip)
		}
		mail.reaches(t, "192.168.1.1")
		must(t, "ip", "netns", "exec", "router", "ping", "-c", "3", "-W", "5", "192.168.1.21")
		must(t, "xl", "destroy", "mail")
		if out := must(t, "ip", "route"); strings.Contains(out, "192.168.1.21") {
			t.Error(out)
		}
	})
	step("the daemon killed under traffic", func(t *testing.T) {
		server := exec.Command("iperf3", "-s", "-1")
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
		web.must(t, "iperf3 -c 10.9.0.1 -t 20 -J >/tmp/flow 2>&1 & echo $! >/tmp/pid")
		counted := func() uint64 { return rxPackets(t, "vif"+web.id()+".0") }
		await(t, "traffic", func() bool { return counted() > 200 })
		if err := daemon.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = daemon.Wait()
		daemon = startDaemon(t)
		if p := web.vif(t, "1"); p.VLAN != "10" || p.State != "up" {
			t.Errorf("%+v", p)
		}
		await(t, "traffic again", func() bool { return counted() > 200 })
		web.must(t, "while kill -0 $(cat /tmp/pid); do sleep 1; done")
		if out := web.must(t, "grep -c '\"sum_received\"' /tmp/flow; grep '\"error\"' /tmp/flow || true"); !strings.HasPrefix(out, "1") || strings.Contains(out, "error") {
			t.Error(web.must(t, "tail -c 1000 /tmp/flow"))
		}
		web.reaches(t, "10.9.0.1")
	})
	step("shutdown", func(t *testing.T) {
		must(t, "xl", "shutdown", "-w", "web")
		must(t, "xl", "destroy", "db")
		await(t, "the domains' ports to go", func() bool {
			for name := range ports(t) {
				if strings.HasPrefix(name, "vif") {
					return false
				}
			}
			return true
		})
		if err := daemon.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := daemon.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func rxPackets(t *testing.T, port string) uint64 {
	t.Helper()
	var all control.Stats
	out := gxswitch(t, "stats", "-o", "json")
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, s := range all.Ports {
		if s.Port == port {
			return s.RxPackets
		}
	}
	return 0
}

// iperf is how much TCP carries from a guest to dom0, in bits per second.
func iperf(t *testing.T, d domain) float64 {
	t.Helper()
	server := exec.Command("iperf3", "-s", "-1")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	await(t, "iperf3", func() bool {
		out, err := try("ss", "-ltn")
		return err == nil && strings.Contains(out, ":5201")
	})
	out := d.must(t, "iperf3 -c 10.9.0.1 -t 8 -J >/tmp/o && tr -d '\\n\\t ' </tmp/o | sed 's/.*\"sum_received\":{\\([^}]*\\)}.*/{\\1}/'")
	var sum struct {
		BitsPerSecond float64 `json:"bits_per_second"`
	}
	if err := json.Unmarshal([]byte(strings.TrimSpace(out)), &sum); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if sum.BitsPerSecond == 0 {
		t.Errorf("%s\n%s\n%s", d.must(t, "tail -c 3000 /tmp/o; ip -s link"), gxswitch(t, "stats"), gxswitch(t, "port", "show", "vif"+d.id()+".0"))
	}
	return sum.BitsPerSecond
}

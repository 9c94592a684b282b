package behaviour

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet/nettest"
	"gxswitch/internal/xen/xentest"
)

// What can't be right is refused before anything is touched, in words that name
// it, and nothing of it is ever run, followed or printed raw.
func TestXlIsToldWhyAVifIsRefused(t *testing.T) {
	t.Parallel()
	d := newDom0(t, anyEngine)
	d.start(twoNetworks)
	const shell = "lan; touch /tmp/gxswitch-was-here `id` $(id)"
	d.nic(1, 0, "web1", nil)
	for _, c := range []struct {
		keys map[string]string
		want string
	}{
		{nil, `vif1.0: no such network: xenbr0; there are: lan, vault; xl takes xenbr0 where nobody names a network: write bridge=NETWORK in the vif line of domain web1, vif.default.bridge="NETWORK" in xl.conf, or a [[port]]`},
		{map[string]string{"bridge": "nope"}, "vif1.0: no such network: nope; there are: lan, vault; write bridge= with one of them in the vif line of domain web1"},
		{map[string]string{"bridge": ""}, "vif1.0: nobody says which network it is to join; there are: lan, vault"},
		{map[string]string{"bridge": strings.Repeat("x", 10_000)}, "10000 bytes"},
		{map[string]string{"bridge": strings.Repeat("x", 4096)}, "bridge: "},
		{map[string]string{"bridge": "lan\nvault"}, `"lan\nvault"`},
		{map[string]string{"bridge": shell}, "vif/1/0/bridge: "},
		{map[string]string{"bridge": "../lan"}, "no network can be named that"},
		{map[string]string{"bridge": "lan", "vifname": "../../etc/passwd"}, "vifname: "},
		{map[string]string{"bridge": "lan", "vifname": "$(id)"}, "no interface can be named that"},
		{map[string]string{"bridge": "lan", "vifname": "lan"}, "vif1.0: it can't be renamed to lan, which is the name of a network; give the domain's NIC another vifname="},
		{map[string]string{"bridge": "lan", "vifname": "lo"}, "vif1.0: it can't be renamed to lo: there is such an interface"},
		{map[string]string{"bridge": "lan", "vifname": "vif7.7"}, "the name is that of another domain's vif"},
		{map[string]string{"bridge": "lan", "rate": "0,50000"}, "less than a byte in each interval"},
		{map[string]string{"bridge": "lan", "rate": "fast"}, "rate: "},
		{map[string]string{"bridge": "lan", "vlan": "5000"}, "vlan: "},
		{map[string]string{"bridge": "lan", "ip": "10.0.0.0/8"}, "ip: "},
		{map[string]string{"bridge": "lan", "ip": "10.0.0.5\x1b[2J"}, "ip: "},
		{map[string]string{"bridge": "lan", "mac": "ff:ff:ff:ff:ff:ff"}, "mac: "},
		{map[string]string{"bridge": "lan", "mac": "-"}, "mac: there is no such key"},
		{map[string]string{"bridge": "lan", "mtu": "12"}, "mtu: "},
		{map[string]string{"bridge": "lan", "frontend": "/local/domain/2/device/vif/0"}, "frontend: "},
		{map[string]string{"bridge": "lan", "script": "a\nb"}, "script: "},
	} {
		d.store.Remove(backend(1, 0))
		d.store.AddVif(1, 0, "web1", c.keys)
		d.refused(1, 0, c.want, "online", "type_if=vif")
	}
	d.store.Remove(backend(1, 0))
	d.store.AddVif(1, 0, "web\n1", map[string]string{"bridge": "lan"})
	d.refused(1, 0, "/name: ", "online")
	if l, err := d.host.Link("vif1.0"); err != nil || l.AdminUp || d.port("vif1.0") != nil {
		t.Errorf("it was touched: %+v, %v", l, err)
	}
	if _, err := os.Stat("/tmp/gxswitch-was-here"); err == nil {
		t.Error("a value was run")
	}

	// An interface that is something else already.
	d.nic(8, 0, "web8", map[string]string{"bridge": "lan"})
	mustRun(t, d.host, "ip", "link", "add", "br0", "type", "bridge")
	mustRun(t, d.host, "ip", "link", "set", "vif8.0", "master", "br0")
	d.refused(8, 0, "vif8.0: interface vif8.0 is enslaved to bridge br0; ip link set vif8.0 nomaster", "online")
	d.nic(9, 0, "web9", map[string]string{"bridge": "lan"})
	d.must("network", "add", "outer", "--mode", "bridged", "--uplink", "vif9.0")
	d.refused(9, 0, "vif9.0: it is the uplink of network outer", "online")

	// No interface: one that never came, and a tap.
	d.store.AddVif(6, 0, "web6", map[string]string{"bridge": "lan", "type": "vif_ioemu"})
	d.refused(6, 0, "vif6.0: no such interface", "online")
	d.refused(6, 0, "vif6.0-emu: no such interface", "add", "type_if=tap")

	// Of another kind, nothing.
	for _, args := range [][]string{{"online", "type_if=tap"}, {"offline", "type_if=tap"}, {"add"}, {"remove", "type_if=vif"}, {"online", "type_if=pci"}} {
		before := len(d.store.Writes())
		if o := d.call(6, 0, args...); o.exit != 0 || len(d.store.Writes()) != before {
			t.Errorf("%v: %+v", args, o)
		}
	}
}

// With no daemon, one that hangs, or no xenstored, a call ends in time.
func TestACallEndsInTimeWhateverHangs(t *testing.T) {
	t.Parallel()
	d := newDom0(t, anyEngine)
	d.nic(1, 0, "web1", map[string]string{"bridge": "lan"})
	d.refused(1, 0, "gxswitch: no daemon answers on ", "online", "type_if=vif")
	d.down(1, 0, "offline", "type_if=vif")
	d.down(1, 0, "remove", "type_if=tap")

	gx := d.start(twoNetworks)
	if err := gx.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	d.store.Set(backend(1, 0)+"/hotplug-status", "")
	var calls sync.WaitGroup
	calls.Go(func() { d.down(9, 0, "offline", "type_if=vif") })
	calls.Go(func() { d.down(9, 0, "remove", "type_if=tap") })
	d.refused(1, 0, "gxswitch: it took longer than 3.5s", "online", "type_if=vif")
	calls.Wait()
	if err := gx.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}

	// It comes to itself and has done, or undone, what it was asked: the next call
	// finds nothing in its way.
	d.store.Set(backend(1, 0)+"/hotplug-status", "")
	d.online(1, 0)

	d.store.Misbehave(xentest.Silent, 0)
	if o := d.call(1, 0, "online"); o.exit != 1 || o.took > 5*time.Second || !strings.Contains(o.stderr, "it took longer than 3.5s") {
		t.Errorf("xenstored is silent: %+v", o)
	}
	d.down(1, 0, "offline")
	d.store.Close()
	if o := d.call(1, 0, "online"); o.exit != 1 || o.took > 5*time.Second || !strings.Contains(o.stderr, "connect to xenstored") {
		t.Errorf("there is no xenstored: %+v", o)
	}
	d.down(1, 0, "offline")
	d.down(1, 0, "offline")

	// And with nonsense around it.
	for _, env := range [][]string{{"XENBUS_PATH="}, {"XENBUS_PATH=backend/vif/../../0"}, {"INTERFACE=$(id)"}, {"vif=vif9.9"}, {"XENBUS_TYPE=vbd"}} {
		for _, args := range [][]string{{"offline"}, {"offline", "type_if=vif", "x=y"}, {"remove", "type_if=tap"}} {
			if o := d.callWith(env, 1, 0, args...); o.exit != 0 {
				t.Errorf("%v %v: %+v", env, args, o)
			}
		}
	}
}

// The script finds the program where xl's PATH does not lead, and says so where
// there is none.
func TestScriptFindsTheProgram(t *testing.T) {
	t.Parallel()
	d := newDom0(t, anyEngine)
	d.start(twoNetworks)
	d.nic(1, 0, "web1", map[string]string{"bridge": "lan"})
	// A /usr/local without or with the program, for the script alone.
	local := t.TempDir()
	for _, dir := range []string{"bin", "sbin"} {
		if err := os.Mkdir(filepath.Join(local, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"", "sbin"} {
		if dir != "" {
			if err := os.Symlink(binary, filepath.Join(local, dir, "gxswitch")); err != nil {
				t.Fatal(err)
			}
		}
		script := d.script
		d.script = filepath.Join(t.TempDir(), "vif-gxswitch")
		text := "#!/bin/sh\nexec unshare -m sh -c 'mount --bind " + local + " /usr/local && exec " + script + " \"$@\"' sh \"$@\"\n"
		if err := os.WriteFile(d.script, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		env := []string{"PATH=/usr/bin:/bin"}
		if dir != "" {
			d.store.Set(backend(1, 0)+"/hotplug-status", "")
			if o := d.callWith(env, 1, 0, "online", "type_if=vif"); o.exit != 0 || d.status(1, 0) != "connected" {
				t.Errorf("%+v", o)
			}
		} else {
			if o := d.callWith(env, 1, 0, "offline"); o.exit != 0 {
				t.Errorf("%+v", o)
			}
			o := d.callWith(env, 1, 0, "online", "type_if=vif")
			if e := d.store.Value(backend(1, 0) + "/hotplug-error"); o.exit != 1 || d.status(1, 0) != "error" ||
				!strings.HasPrefix(e, "vif-gxswitch: there is no program gxswitch in ") {
				t.Errorf("%+v: %q", o, e)
			}
		}
		d.script = script
	}
}

// Ports survive the daemon: its restart and its death, with what the command line
// changed of them. Whose interface has become another domain's does not.
func TestVifsSurviveTheDaemon(t *testing.T) { bothEngines(t, testVifsSurviveTheDaemon) }
func testVifsSurviveTheDaemon(t *testing.T, engine string) {
	d := newDom0(t, engine)
	conf := twoNetworks + "[[port]]\nmatch = { domain = \"web1\", vif = 0 }\nrate_to = \"1Gb/s\"\n"
	gx := d.start(conf)
	a := d.nic(1, 0, "web1", map[string]string{"bridge": "lan", "vifname": "web0"})
	d.nic(2, 0, "web2", map[string]string{"bridge": "lan"})
	d.nic(3, 0, "web3", map[string]string{"bridge": "lan"})
	for domid := 1; domid <= 3; domid++ {
		d.online(domid, 0)
	}
	d.must("port", "set", "vif2.0", "--label", "mine")
	talk(t, a, nicIP(2, 0))
	check := func(names ...string) {
		t.Helper()
		for _, name := range names {
			d.awaitPort(name, "up")
			if p := d.port(name); p.Xen == nil || p.Network != "lan" {
				t.Errorf("%s: %+v", name, p)
			}
		}
		talk(t, a, nicIP(2, 0))
		if p := d.port("vif2.0"); p.Label != "mine" {
			t.Errorf("%+v", p)
		}
	}
	gx.end(t, syscall.SIGTERM)
	gx = d.start(conf)
	check("web0", "vif2.0", "vif3.0")

	gx.end(t, syscall.SIGKILL)
	mustRun(t, d.host, "ip", "link", "del", "vif3.0") // the guest shut down while nobody looked
	d.store.Remove(backend(3, 0))
	d.store.Remove("/vm/" + xentest.UUID(1))                 // a migration of web1 to this host failed
	gx = d.start(strings.Replace(conf, "1Gb/s", "2Gb/s", 1)) // and the administrator was busy
	check("web0", "vif2.0")
	if p := d.port("web0"); p.RateTo != "2Gb/s" || d.port("vif3.0") != nil {
		t.Errorf("%+v", p)
	}
	d.online(1, 0)
	d.down(3, 0, "offline")

	// By xenstore the interface is another domain's: its call will come.
	gx.end(t, syscall.SIGKILL)
	d.store.Set("/local/domain/2/vm", "/vm/"+xentest.UUID(77))
	d.store.Set("/vm/"+xentest.UUID(77)+"/uuid", xentest.UUID(77))
	d.store.Set("/vm/"+xentest.UUID(77)+"/name", "new")
	gx = d.start(conf)
	if p := d.port("vif2.0"); p != nil {
		t.Errorf("%+v", p)
	}
	d.awaitPort("web0", "up")
	d.online(2, 0)
	if p := d.port("vif2.0"); p == nil || p.Label != "new" {
		t.Errorf("%+v", p)
	}

	// Where xenstore does not answer, the index has to do.
	gx.end(t, syscall.SIGKILL)
	d.store.Misbehave(xentest.Silent, 0)
	start := time.Now()
	d.start(conf)
	d.awaitPort("vif2.0", "up")
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the start waits %v for xenstore", took)
	}
}

// A name that was another's, and of which the kernel's word is still on its way,
// never brings the other's settings.
func TestAStaleNameHitsNoNewDomain(t *testing.T) { bothEngines(t, testAStaleNameHitsNoNewDomain) }
func testAStaleNameHitsNoNewDomain(t *testing.T, engine string) {
	d := newDom0(t, engine)
	d.start(twoNetworks)
	for domid := 1; domid <= 20; domid++ {
		g := d.nic(domid, 0, "web1", map[string]string{"bridge": "lan", "vifname": "web0", "rate": "250000,20000"})
		if domid%2 == 0 { // the same name, another domain and no limit
			d.store.Remove(backend(domid, 0))
			d.store.AddVif(domid, 0, "other", map[string]string{"bridge": "vault", "vifname": "web0"})
		}
		d.online(domid, 0)
		p := d.port("web0")
		want := control.Port{Network: "lan", Label: "web1", RateFrom: "100Mb/s@20ms"}
		if domid%2 == 0 {
			want = control.Port{Network: "vault", Label: "other"}
		}
		if p == nil || p.Network != want.Network || p.Label != want.Label || p.RateFrom != want.RateFrom || p.Xen.DomID != domid || p.State != "up" {
			t.Fatalf("domain %d: %+v\n%s", domid, p, d.daemon.log)
		}
		mustRun(t, g, "ip", "link", "del", "eth0")
		d.store.Remove(backend(domid, 0))
		if domid%3 == 0 { // else it comes late, or never
			d.down(domid, 0, "offline")
		}
	}
	d.nic(1, 1, "web1", map[string]string{"bridge": "lan"})
	d.online(1, 1)
	for domid := 1; domid <= 20; domid++ {
		d.down(domid, 0, "offline")
	}
	if all := list[[]control.Port](d.lab, "port", "list"); len(all) != 1 || all[0].Name != "vif1.1" {
		t.Errorf("%+v", all)
	}
}

// vif and tap are one NIC: no frame goes from one to the other, and the MAC may
// move between them.
func TestVifAndTapAreOneNIC(t *testing.T) { bothEngines(t, testVifAndTapAreOneNIC) }
func testVifAndTapAreOneNIC(t *testing.T, engine string) {
	d := newDom0(t, engine)
	d.start(twoNetworks + "[[port]]\nname = \"hvm*\"\nnetwork = \"lan\"\nantispoof = \"mac\"\n")
	keys := map[string]string{"bridge": "lan", "type": "vif_ioemu", "vifname": "hvm0", "rate": "250000,20000"}
	driver := d.nic(1, 0, "hvm", keys)
	emulated := d.nic(9, 9, "", nil)
	mustRun(t, d.host, "ip", "link", "set", "vif9.9", "name", "vif1.0-emu")
	mustRun(t, emulated, "ip", "link", "set", "eth0", "address", "00:16:3e:00:01:00")
	mustRun(t, emulated, "ip", "addr", "flush", "dev", "eth0")
	mustRun(t, emulated, "ip", "addr", "add", nicIP(1, 0)+"/24", "dev", "eth0")
	other := d.nic(2, 0, "other", map[string]string{"bridge": "lan"})
	d.online(2, 0)
	d.online(1, 0)
	if o := d.call(1, 0, "add", "type_if=tap"); o.exit != 0 {
		t.Fatalf("%+v", o)
	}
	tap := d.port("hvm0-emu")
	if tap == nil || tap.Network != "lan" || tap.RateFrom != "100Mb/s@20ms" || tap.AntiSpoof != "mac" || !tap.Xen.Tap {
		t.Fatalf("%+v", tap)
	}
	mustRun(t, driver, "ip", "link", "set", "eth0", "down") // no driver yet
	talk(t, emulated, nicIP(2, 0))
	mustRun(t, emulated, "ip", "link", "set", "eth0", "down")
	mustRun(t, driver, "ip", "link", "set", "eth0", "up") // the driver takes over
	awaitOperational(t, d.host, "hvm0")
	talk(t, driver, nicIP(2, 0))
	talk(t, other, nicIP(1, 0))
	mustRun(t, emulated, "ip", "link", "set", "eth0", "up")
	if s := d.stats("hvm0-emu"); s.Drops["spoof_mac"] != 0 {
		t.Errorf("%+v", s)
	}
	d.down(1, 0, "offline")
	d.down(1, 0, "remove", "type_if=tap")
	if d.port("hvm0") != nil || d.port("hvm0-emu") != nil {
		t.Error(d.must("port", "list"))
	}
}

// A network that goes takes no domain's NIC for ever: nobody calls the script a
// second time.
func TestANetworkThatComesBackFindsItsVifs(t *testing.T) {
	bothEngines(t, testANetworkThatComesBackFindsItsVifs)
}
func testANetworkThatComesBackFindsItsVifs(t *testing.T, engine string) {
	d := newDom0(t, engine)
	d.start(twoNetworks)
	a := d.nic(1, 0, "web1", map[string]string{"bridge": "lan"})
	d.nic(2, 0, "web2", map[string]string{"bridge": "lan"})
	d.online(1, 0)
	d.online(2, 0)
	d.write("gxswitch.toml", "[network.vault]\nmode = \"isolated\"\n")
	d.must("reload")
	if p := d.port("vif1.0"); p == nil || p.State != "down" || p.Problem != "there is no network lan" {
		t.Errorf("%+v", p)
	}
	d.write("gxswitch.toml", twoNetworks)
	d.must("reload")
	d.awaitPort("vif1.0", "up")
	talk(t, a, nicIP(2, 0))
}

// 8 and 32 NICs at once, beside a switch that is busy.
func TestManyVifsAtOnce(t *testing.T) { bothEnginesAlone(t, testManyVifsAtOnce) }
func testManyVifsAtOnce(t *testing.T, engine string) {
	nettest.Program(t, "iperf3")
	d := newDom0(t, engine)
	d.start(twoNetworks)
	server, client := d.nic(100, 1, "server", map[string]string{"bridge": "lan"}), d.nic(101, 1, "client", map[string]string{"bridge": "lan"})
	d.online(100, 1)
	d.online(101, 1)
	busy := server.Command(t.Context(), "iperf3", "-s", "-1")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	nettest.Wait(t, "iperf3", func() (bool, error) {
		out, err := run(t, server, "ss", "-ltn")
		return strings.Contains(out, ":5201"), err
	})
	load := client.Command(t.Context(), "iperf3", "-c", nicIP(100, 1), "-t", "60", "-P", "2")
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = load.Process.Kill()
		_ = busy.Process.Kill()
		_, _ = load.Wait(), busy.Wait()
	}()
	before := d.stats("vif101.1").RxPackets
	nettest.Wait(t, "traffic", func() (bool, error) { return d.stats("vif101.1").RxPackets > before+10_000, nil })

	domid := 1
	var alone []time.Duration
	for _, n := range []int{1, 1, 1, 1, 1, 8, 32} {
		first := domid
		for range n {
			d.nic(domid, 0, fmt.Sprint("d", domid), map[string]string{"bridge": "lan"})
			domid++
		}
		all := make([]outcome, n)
		var calls sync.WaitGroup
		for i := range n {
			calls.Go(func() { all[i] = d.call(first+i, 0, "online", "type_if=vif") })
		}
		calls.Wait()
		var took []time.Duration
		for i, o := range all {
			if o.exit != 0 || d.status(first+i, 0) != "connected" {
				t.Errorf("%d at once: %+v, hotplug-status %q", n, o, d.status(first+i, 0))
			}
			took = append(took, o.took)
		}
		slices.Sort(took)
		t.Logf("%d at once: the median took %v, the last %v", n, took[n/2], took[n-1])
		if n == 1 {
			alone = append(alone, took[0])
		}
		if took[n-1] > 5*time.Second {
			t.Errorf("%d at once: the last took %v", n, took[n-1])
		}
		calls = sync.WaitGroup{}
		for i := range n {
			calls.Go(func() { d.down(first+i, 0, "offline", "type_if=vif") })
		}
		calls.Wait()
	}
	if slices.Sort(alone); alone[len(alone)/2] > 300*time.Millisecond {
		t.Errorf("online takes %v", alone)
	}
	if all := list[[]control.Port](d.lab, "port", "list"); len(all) != 2 {
		t.Errorf("%d ports are left", len(all))
	}
}

package behaviour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
	"gxswitch/internal/xen/xentest"
)

// dom0 is a lab in which the test is xl: it makes the interfaces, writes to
// xenstore what xl writes, and calls the real script.
//
//	d1.0 [eth0]--vif1.0-+            xenstored (xentest)
//	d2.0 [eth0]--vif2.0-+-- host ..... daemon, vif-gxswitch
type dom0 struct {
	*lab
	store  *xentest.Server
	script string
	guests map[string]*testnet.NS // by vif
}

func newDom0(t *testing.T, engine string) *dom0 {
	l := newLab(t, engine)
	script, err := filepath.Abs("../../xen/vif-gxswitch")
	if err != nil {
		t.Fatal(err)
	}
	d := &dom0{lab: l, store: xentest.New(t), script: script, guests: map[string]*testnet.NS{}}
	l.env = []string{"XENSTORED_PATH=" + d.store.Path(), "GXSWITCH_SOCKET=" + l.path("run/control.sock"), "PATH=" + filepath.Dir(binary)}
	return d
}

const twoNetworks = "[network.lan]\nmode = \"isolated\"\n[network.vault]\nmode = \"isolated\"\nmtu = 1400\n"

func vifName(domid, devid int) string { return fmt.Sprintf("vif%d.%d", domid, devid) }

func backend(domid, devid int) string {
	return fmt.Sprintf("/local/domain/0/backend/vif/%d/%d", domid, devid)
}

// nic makes a domain's vif as netback does, down, and what xl writes of it. The
// guest is 10.9.DEVID.DOMID, with the MAC address that AddVif gives it.
func (d *dom0) nic(domid, devid int, domain string, keys map[string]string) *testnet.NS {
	d.t.Helper()
	name := vifName(domid, devid)
	g := nettest.Guest(d.t, d.net, d.host, testnet.GuestSpec{
		Name: fmt.Sprintf("d%d.%d", domid, devid), Port: name,
		Addr: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(devid), byte(domid)}), 24),
		MAC:  frame.MAC{0, 0x16, 0x3e, 0, byte(domid), byte(devid)},
	})
	mustRun(d.t, d.host, "ip", "link", "set", name, "down")
	d.store.AddVif(domid, devid, domain, keys)
	d.guests[name] = g
	return g
}

func nicIP(domid, devid int) string { return fmt.Sprintf("10.9.%d.%d", devid, domid) }

// outcome is what a call of the script came to.
type outcome struct {
	exit   int
	stderr string
	took   time.Duration
}

// call runs the script for a vif as xl does.
func (d *dom0) call(domid, devid int, args ...string) outcome {
	return d.callWith(nil, domid, devid, args...)
}

func (d *dom0) callWith(env []string, domid, devid int, args ...string) outcome {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second) // xl's patience
	defer cancel()
	cmd := exec.CommandContext(ctx, d.script, args...)
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Env = append(cmd.Env, "XENBUS_TYPE=vif", "XENBUS_BASE_PATH=backend", "netdev=",
		fmt.Sprintf("XENBUS_PATH=backend/vif/%d/%d", domid, devid), "vif="+vifName(domid, devid), "INTERFACE="+vifName(domid, devid)+"-emu")
	cmd.Env = append(cmd.Env, env...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	start := time.Now()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		d.t.Error(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), errs.String(), time.Since(start)}
}

func (d *dom0) online(domid, devid int) {
	d.t.Helper()
	if o := d.call(domid, devid, "online", "type_if=vif"); o.exit != 0 || d.status(domid, devid) != "connected" {
		d.t.Errorf("%s: exit %d, hotplug-status %q\n%s", vifName(domid, devid), o.exit, d.status(domid, devid), o.stderr)
		return
	}
	if g := d.guests[vifName(domid, devid)]; g != nil {
		if l, err := g.Link("eth0"); err == nil && l.AdminUp { // the guest uses it
			awaitOperational(d.t, g, "eth0")
		}
	}
}

// refused expects a call to fail as xl wants it: exit 1, one write of each key,
// in time.
func (d *dom0) refused(domid, devid int, want string, args ...string) {
	d.t.Helper()
	before := len(d.store.Writes())
	o := d.call(domid, devid, args...)
	writes := d.store.Writes()[before:]
	path := backend(domid, devid)
	if o.exit != 1 || len(writes) != 2 || writes[0].Path != path+"/hotplug-error" ||
		writes[1] != (xentest.Write{Path: path + "/hotplug-status", Value: "error"}) {
		d.t.Fatalf("%v: exit %d, wrote %q\n%s", args, o.exit, writes, o.stderr)
	}
	if e := writes[0].Value; !strings.Contains(e, want) || strings.ContainsAny(e, "\n\r\x1b") || len(e) > 1100 {
		d.t.Errorf("%v: hotplug-error is %q, want one line with %q", args, e, want)
	}
	if o.took > 5*time.Second {
		d.t.Errorf("%v: it took %v", args, o.took)
	}
}

// down expects a teardown to succeed.
func (d *dom0) down(domid, devid int, args ...string) {
	d.t.Helper()
	if o := d.call(domid, devid, args...); o.exit != 0 || o.took > 5*time.Second {
		d.t.Errorf("%v: exit %d after %v\n%s", args, o.exit, o.took, o.stderr)
	}
}

func (d *dom0) status(domid, devid int) string {
	return d.store.Value(backend(domid, devid) + "/hotplug-status")
}

// port is a port as the daemon shows it, nil if it does not.
func (d *dom0) port(name string) *control.Port {
	d.t.Helper()
	for _, p := range list[[]control.Port](d.lab, "port", "list") {
		if p.Name == name {
			return &p
		}
	}
	return nil
}

// A domain's life: its vif waits for the call, is connected, talks, and goes.
func TestADomainsLife(t *testing.T) { bothEngines(t, testADomainsLife) }
func testADomainsLife(t *testing.T, engine string) {
	d := newDom0(t, engine)
	d.start(twoNetworks + "[[port]]\nname = \"vif*\"\nnetwork = \"vault\"\n")
	a := d.nic(1, 0, "web1", map[string]string{"bridge": "lan"})
	d.nic(2, 0, "web2", map[string]string{"bridge": "lan"})
	if p := d.port("vif1.0"); p != nil {
		t.Errorf("attached before its hotplug call: %+v", p)
	}
	d.online(1, 0)
	d.online(2, 0)
	talk(t, a, nicIP(2, 0))
	p := d.port("vif1.0")
	if p == nil || p.Network != "lan" || p.State != "up" || p.Label != "web1" || p.MAC.String() != "00:16:3e:00:01:00" ||
		p.MTU != 1500 || p.RateFromBy != "gxswitch" || p.Xen == nil || p.Xen.UUID != xentest.UUID(1) {
		t.Errorf("%+v", p)
	}
	if got := d.store.Value("/local/domain/1/device/vif/0/mtu"); got != "1500" {
		t.Errorf("the frontend's mtu is %q", got)
	}
	l, err := d.host.Link("vif1.0")
	if err != nil || !l.AdminUp || l.MAC.String() != "fe:ff:ff:ff:ff:ff" {
		t.Errorf("%+v, %v", l, err)
	}

	// Again, and nothing changes: not what the command line set, not a frame lost.
	d.must("port", "set", "vif1.0", "--rate-to", "1Gb/s")
	before := d.stats("vif1.0").RxPackets
	d.online(1, 0)
	if p := d.port("vif1.0"); p.RateTo != "1Gb/s" || d.stats("vif1.0").RxPackets < before {
		t.Errorf("a second online changes the port: %+v", p)
	}
	talk(t, a, nicIP(2, 0))
	var calls sync.WaitGroup
	for range 4 { // side by side too
		calls.Go(func() { d.online(2, 0) })
	}
	calls.Wait()

	// offline comes when the interface went.
	mustRun(t, d.host, "ip", "link", "del", "vif1.0")
	d.store.Remove(backend(1, 0))
	d.down(1, 0, "offline", "type_if=vif")
	if p := d.port("vif1.0"); p != nil {
		t.Errorf("it outlives its interface: %+v", p)
	}
	// And when it did not: it is as it was, and waits again.
	d.down(2, 0, "offline")
	if l, err := d.host.Link("vif2.0"); err != nil || l.AdminUp || d.port("vif2.0") != nil {
		t.Errorf("%+v, %v", l, err)
	}
	d.online(2, 0)
}

// xen says whether a vif's name is enough. Where it is, the call finds a port, and
// makes it the domain's.
func TestXenSaysWhetherVifsWait(t *testing.T) {
	t.Parallel()
	const byName = "[[port]]\nname = \"vif*\"\nnetwork = \"vault\"\n"
	for _, c := range []struct {
		xen         string
		store, wait bool
	}{
		{"auto", true, true},
		{"auto", false, false},
		{"on", false, true},
		{"off", true, false},
	} {
		t.Run(fmt.Sprintf("%s,%v", c.xen, c.store), func(t *testing.T) {
			t.Parallel()
			d := newDom0(t, anyEngine)
			script := d.env
			if !c.store {
				d.env = append(slices.Clone(script), "XENSTORED_PATH="+d.path("none"))
			}
			d.start("[daemon]\nxen = \"" + c.xen + "\"\n" + twoNetworks + byName + "[[port]]\nname = \"last\"\nnetwork = \"vault\"\n")
			d.env = script
			d.nic(1, 0, "web1", map[string]string{"bridge": "lan", "vifname": "web0"})
			d.nic(2, 0, "web2", nil)
			// What comes after it is there: so the vifs have been seen.
			mustRun(t, d.host, "ip", "link", "add", "last", "type", "veth", "peer", "name", "lastp")
			mustRun(t, d.host, "ip", "link", "set", "lastp", "up")
			d.awaitPort("last", "up")
			if p := d.port("vif1.0"); (p == nil) != c.wait {
				t.Errorf("before its call: %+v", p)
			}
			d.online(1, 0)
			if p := d.port("web0"); p == nil || p.Network != "lan" || p.Label != "web1" || d.port("vif1.0") != nil {
				t.Errorf("after it: %+v", p)
			}
			d.online(2, 0) // in the network of its [[port]]
			if p := d.port("vif2.0"); p == nil || p.Network != "vault" || p.Label != "web2" {
				t.Errorf("after it: %+v", p)
			}
		})
	}
}

// Every key of the vif line takes effect.
func TestEveryKeyOfTheVifLine(t *testing.T) {
	t.Parallel()
	d := newDom0(t, anyEngine)
	d.start(twoNetworks)
	d.nic(3, 1, "db", map[string]string{"bridge": "vault", "ip": "10.9.1.3 fd00::3", "vlan": "10p/20", "rate": "250000,20000",
		"mtu": "1300", "vifname": "db-data", "mac": "00:16:3e:00:03:01"})
	d.online(3, 1)
	p := d.port("db-data")
	if p == nil {
		t.Fatal(d.must("port", "list"))
	}
	want := control.Port{Name: "db-data", Network: "vault", MTU: 1300, VLAN: "10p/20", RateFrom: "100Mb/s@20ms", RateFromBy: "gxswitch",
		IP: []string{"10.9.1.3", "fd00::3"}, AntiSpoof: "mac+ip", Label: "db", State: "up"}
	got := control.Port{Name: p.Name, Network: p.Network, MTU: p.MTU, VLAN: p.VLAN, RateFrom: p.RateFrom, RateFromBy: p.RateFromBy,
		IP: p.IP, AntiSpoof: p.AntiSpoof, Label: p.Label, State: p.State}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if d.store.Exists(backend(3, 1)+"/rate") || d.store.Value("/local/domain/3/device/vif/1/mtu") != "1300" {
		t.Errorf("%v", d.store.Writes())
	}
	if out := d.must("port", "show", "db-data"); !strings.Contains(out, "xen: domain db, id 3, vif 1, uuid "+xentest.UUID(3)) {
		t.Error(out)
	}
	d.online(3, 1) // under its new name
	if q := d.port("db-data"); q.RateFrom != p.RateFrom || q.IfIndex != p.IfIndex {
		t.Errorf("%+v", q)
	}
	d.down(3, 1, "offline")
	if l, err := d.host.Link("vif3.1"); err != nil || l.MTU != 1500 {
		t.Errorf("it has not its name and MTU again: %+v, %v", l, err)
	}
}

// The network's MTU where the vif has none; the bridge that nobody named gives
// way to a [[port]], one that somebody named does not; [[port]] fills the rest.
func TestPolicyOfADomainFollowsItToAnotherNumber(t *testing.T) {
	t.Parallel()
	d := newDom0(t, anyEngine)
	const rest = "rate_to = \"200Mb/s\"\nvlan = \"7\"\nlabel = \"shop\"\nip = [\"10.9.0.99\"]\n"
	match := func(rest string) string {
		return twoNetworks + "[[port]]\nmatch = { domain = \"web1\", vif = 0 }\nnetwork = \"vault\"\n" + rest +
			"[[port]]\nmatch = { uuid = \"" + xentest.UUID(9) + "\", vif = 0 }\nmtu = 1200\n"
	}
	d.start(match(rest))
	type row struct {
		Network, VLAN, RateTo, Label, AntiSpoof string
		MTU                                     int
		IP                                      string
	}
	check := func(name string, want row) {
		t.Helper()
		p := d.port(name)
		if p == nil {
			t.Fatalf("no port %s\n%s", name, d.must("port", "list"))
		}
		got := row{p.Network, p.VLAN, p.RateTo, p.Label, p.AntiSpoof, p.MTU, strings.Join(p.IP, " ")}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	d.nic(4, 0, "web1", nil) // xenbr0, which is not there
	d.online(4, 0)
	check("vif4.0", row{"vault", "7", "200Mb/s", "shop", "off", 1400, "10.9.0.99"})

	// A reboot, under another number; this time the domain says more.
	mustRun(t, d.host, "ip", "link", "del", "vif4.0")
	d.store.Remove(backend(4, 0))
	d.nic(5, 0, "web1", map[string]string{"bridge": "lan", "ip": "10.9.0.5", "vlan": "8"})
	d.online(5, 0)
	d.down(4, 0, "offline") // late
	check("vif5.0", row{"lan", "8", "200Mb/s", "shop", "mac+ip", 1500, "10.9.0.5"})

	d.nic(9, 0, "other", map[string]string{"bridge": "lan"})
	d.online(9, 0)
	check("vif9.0", row{"lan", "1p/2-4094", "", "other", "off", 1200, ""})

	// A reload applies a changed entry to who lives under it.
	index := d.port("vif5.0").IfIndex
	d.write("gxswitch.toml", match("rate_to = \"50Mb/s\"\nantispoof = \"off\"\n"))
	d.must("reload")
	check("vif5.0", row{"lan", "8", "50Mb/s", "web1", "off", 1500, "10.9.0.5"})
	if p := d.port("vif5.0"); p.IfIndex != index {
		t.Errorf("%+v", p)
	}
	// What the command line set stays until the entry changes once more.
	d.must("port", "set", "vif5.0", "--label", "till")
	d.must("reload")
	check("vif5.0", row{"lan", "8", "50Mb/s", "till", "off", 1500, "10.9.0.5"})
	d.write("gxswitch.toml", match(""))
	d.must("reload")
	check("vif5.0", row{"lan", "8", "", "web1", "mac+ip", 1500, "10.9.0.5"})
}

// rate= holds what the guest sends, and not what it gets, to what xl's number
// says; the tap of an emulated NIC too.
func TestRateOfTheVifLine(t *testing.T) { bothEnginesAlone(t, testRateOfTheVifLine) }
func testRateOfTheVifLine(t *testing.T, engine string) {
	d := newDom0(t, engine)
	d.start(twoNetworks)
	a := d.nic(1, 0, "web1", map[string]string{"bridge": "lan", "rate": "250000,20000"}) // rate=100Mb/s@20ms
	b := d.nic(2, 0, "web2", map[string]string{"bridge": "lan"})
	d.online(1, 0)
	d.online(2, 0)
	from, to := iperf(t, a, b, nicIP(2, 0))/1e6, iperf(t, b, a, nicIP(1, 0), "-O", "0", "-t", "1")/1e6
	t.Logf("from the guest %.1f Mb/s, to it %.0f Mb/s", from, to)
	if from < 85 || from > 101 || to < 200 {
		t.Errorf("from the guest %.1f Mb/s, to it %.0f Mb/s, want 100 and no limit", from, to)
	}
}

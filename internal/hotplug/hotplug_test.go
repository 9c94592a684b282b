package hotplug_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/hotplug"
	"gxswitch/internal/vlan"
	"gxswitch/internal/xen/xentest"
	"gxswitch/shaping"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a daemon that answers as it is told and keeps what it was asked.
type fake struct {
	specs []control.HotplugSpec
	refs  []control.HotplugRef
	mtu   int
	err   error
	hangs bool
}

func (f *fake) Hotplug(ctx context.Context, s control.HotplugSpec) (control.Port, error) {
	f.specs = append(f.specs, s)
	if f.hangs {
		<-ctx.Done()
		return control.Port{}, ctx.Err()
	}
	return control.Port{Name: s.Port(), MTU: f.mtu}, f.err
}

func (f *fake) Unplug(ctx context.Context, r control.HotplugRef) error {
	f.refs = append(f.refs, r)
	if f.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return f.err
}

const backend = "/local/domain/0/backend/vif/3/1"

// call is a script call about vif3.1.
type call struct {
	store  *xentest.Server
	daemon *fake
	env    map[string]string // beside what xl sets; "-" unsets
	warned []error
}

func newCall(t *testing.T) *call {
	return &call{store: xentest.New(t), daemon: &fake{mtu: 1500}, env: map[string]string{}}
}

func (c *call) run(args ...string) error {
	env := map[string]string{
		"XENBUS_TYPE": "vif", "XENBUS_PATH": "backend/vif/3/1", "vif": "vif3.1", "INTERFACE": "vif3.1-emu", "XENSTORED_PATH": c.store.Path(),
	}
	for k, v := range c.env {
		env[k] = v
	}
	return hotplug.Run(context.Background(), hotplug.Options{
		Args: args, Getenv: func(key string) string { return env[key] }, Daemon: c.daemon,
		Warn: func(err error) { c.warned = append(c.warned, err) },
	})
}

var comparing = cmp.Options{
	cmp.Comparer(func(a, b vlan.Set) bool { return a == b }),
	cmp.Comparer(func(a, b shaping.Limit) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestOnlineTellsTheDaemonAllAndXenstoreTheOutcome(t *testing.T) {
	c := newCall(t)
	c.store.AddVif(3, 1, "db", map[string]string{"bridge": "lan", "ip": "10.0.0.5 fd00::5", "vlan": "10p/20", "rate": "250000,20000", "mtu": "1400",
		"vifname": "db0", "type": "vif_ioemu", "mac": "00:16:3e:01:02:03"})
	c.daemon.mtu = 1400
	set, _ := vlan.Parse("10p/20")
	want := control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3, DevID: 1}, Domain: "db", UUID: xentest.UUID(3), Emulated: true, VifName: "db0",
		Network: "lan", MAC: frame.MAC{0, 0x16, 0x3e, 1, 2, 3}, IP: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")},
		VLAN: set, RateFrom: shaping.FromCredit(250000, 20000), MTU: 1400}
	if err := c.run("online", "type_if=vif"); err != nil {
		t.Fatal(err)
	}
	writes := []xentest.Write{{Path: "/local/domain/3/device/vif/1/mtu", Value: "1400"}, {Path: backend + "/gxswitch-rate", Value: "250000,20000"},
		{Path: backend + "/hotplug-status", Value: "connected"}}
	if got := c.store.Writes(); !slices.Equal(got, writes) || c.store.Exists(backend+"/rate") {
		t.Errorf("wrote %q", got)
	}
	// The tap's call, and a second of the vif's, say the same, and only the vif's writes.
	if err := errors.Join(c.run("add", "type_if=tap"), c.run("online")); err != nil {
		t.Fatal(err)
	}
	tap := want
	tap.Tap = true
	if diff := cmp.Diff([]control.HotplugSpec{want, tap, want}, c.daemon.specs, comparing); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := c.store.Writes(); len(got) != 5 {
		t.Errorf("wrote %q", got)
	}
}

// xl calls a domain that migrates here web1--incoming until it runs.
func TestAMigratingDomainHasItsName(t *testing.T) {
	for name, want := range map[string]string{"web1--incoming": "web1", "web1": "web1", "--incoming-web": "--incoming-web"} {
		c := newCall(t)
		c.store.AddVif(3, 1, name, nil)
		if err := c.run("online"); err != nil || c.daemon.specs[0].Domain != want {
			t.Errorf("%s: %v, %v", name, c.daemon.specs, err)
		}
	}
}

func TestWhatFailsIsWrittenOnceAndReturned(t *testing.T) {
	refused := control.Errorf(control.CodeNotFound, "vif3.1: no such network: xenbr0; there are: lan").WithHint("write bridge=")
	for name, v := range map[string]struct {
		prepare func(*call)
		args    string
		want    string // of hotplug-error
	}{
		"the daemon refuses": {func(c *call) { c.daemon.err = refused }, "online", "gxswitch: vif3.1: no such network: xenbr0; there are: lan; write bridge="},
		"so for a tap":       {func(c *call) { c.daemon.err = refused }, "add type_if=tap", "gxswitch: vif3.1: no such network: xenbr0; there are: lan; write bridge="},
		"the environment":    {func(c *call) { c.env["netdev"] = "../x" }, "online", `gxswitch: netdev: "../x": no interface can be named that; `},
		"a value":            {func(c *call) { c.store.Set(backend+"/rate", "0,1") }, "online", "gxswitch: " + backend + `/rate: "0,1": the rate is less than a byte`},
		"a key that is not there": {func(c *call) { c.store.Remove(backend + "/mac") }, "online",
			"gxswitch: " + backend + "/mac: there is no such key; look with xenstore-ls"},
		"an error without words for it": {func(c *call) { c.daemon.err = errors.New("a\nb\x1b[2J") }, "online", "gxswitch: a b?[2J"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCall(t)
			c.store.AddVif(3, 1, "db", nil)
			v.prepare(c)
			err := c.run(strings.Fields(v.args)...)
			writes := c.store.Writes()
			if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.CodeRefused {
				t.Errorf("%T %v", err, err)
			}
			if len(writes) != 2 || writes[0].Path != backend+"/hotplug-error" || !strings.HasPrefix(writes[0].Value, v.want) ||
				writes[1] != (xentest.Write{Path: backend + "/hotplug-status", Value: "error"}) {
				t.Errorf("wrote %q\nwant  %q", writes, v.want)
			}
		})
	}
}

func TestAVifThatWentMeanwhileIsAFailure(t *testing.T) {
	c := newCall(t)
	if err := c.run("online"); err == nil || len(c.daemon.specs) != 0 || len(c.store.Writes()) != 0 {
		t.Errorf("%v, %v", err, c.store.Writes())
	}
	if len(c.warned) != 1 || !strings.Contains(c.warned[0].Error(), "tell that vif3.1 failed") {
		t.Errorf("%v", c.warned)
	}
}

func TestWithoutXenstoredItIsSaidOnce(t *testing.T) {
	c := newCall(t)
	c.store.Close()
	if err := c.run("online"); err == nil || len(c.warned) != 0 {
		t.Errorf("%v, and warned of %v", err, c.warned)
	}
}

func TestTeardownAlwaysSucceeds(t *testing.T) {
	for name, prepare := range map[string]func(*call){
		"as it should":       func(*call) {},
		"refused":            func(c *call) { c.daemon.err = errors.New("no") },
		"no xenstored":       func(c *call) { c.store.Close() },
		"no environment":     func(c *call) { c.env["XENBUS_PATH"], c.env["INTERFACE"] = "", "" },
		"a hostile one":      func(c *call) { c.env["XENBUS_PATH"], c.env["INTERFACE"] = "backend/vif/../0", "$(id)" },
		"not even a network": func(c *call) { c.env["XENBUS_TYPE"] = "vbd" },
	} {
		c := newCall(t)
		prepare(c)
		if err := errors.Join(c.run("offline", "type_if=vif"), c.run("remove", "type_if=tap"), c.run("offline")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want := []control.HotplugRef{{DomID: 3, DevID: 1}, {DomID: 3, DevID: 1, Tap: true}, {DomID: 3, DevID: 1}}
		if asked := c.daemon.refs; len(c.warned) == 0 && !slices.Equal(asked, want) {
			t.Errorf("%s: %v", name, asked)
		}
	}
}

func TestOtherTypesAreNoneOfOurs(t *testing.T) {
	c := newCall(t)
	for _, args := range []string{"online type_if=tap", "offline type_if=tap", "add", "add type_if=vif", "remove", "online type_if=pci"} {
		if err := c.run(strings.Fields(args)...); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
	if len(c.daemon.specs)+len(c.daemon.refs)+len(c.store.Writes()) != 0 {
		t.Error("something was done")
	}
	for _, args := range []string{"type_if=vif", "reload", "Online"} {
		if err := c.run(strings.Fields(args)...); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
}

// Without xenstored nobody waits: the daemon alone is what hangs here.
func TestADaemonThatHangsTakesLessThanFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fake{hangs: true}
		start := time.Now()
		var warned []error
		env := map[string]string{"XENBUS_PATH": "backend/vif/3/1"}
		err := hotplug.Run(context.Background(), hotplug.Options{Args: []string{"offline"}, Getenv: func(k string) string { return env[k] }, Daemon: d,
			Warn: func(err error) { warned = append(warned, err) }})
		if took := time.Since(start); err != nil || took > 5*time.Second || len(warned) != 1 || fmt.Sprint(warned[0]) != "it took longer than 3.5s" {
			t.Errorf("%v after %v: %v", err, took, warned)
		}
	})
}

func TestWhateverXenstoredDoesACallEnds(t *testing.T) {
	var calls sync.WaitGroup
	for f := xentest.Polite; f <= xentest.NoEnd; f++ {
		c := newCall(t)
		c.store.AddVif(3, 1, "db", map[string]string{"bridge": "lan"})
		c.store.Misbehave(f, 3)
		calls.Go(func() {
			start := time.Now()
			err := c.run("online")
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("fault %d: it took %v", f, took)
			}
			if connected := c.store.Value(backend+"/hotplug-status") == "connected"; (err == nil) != connected {
				t.Errorf("fault %d: %v, and connected is %v", f, err, connected)
			}
		})
	}
	calls.Wait()
}

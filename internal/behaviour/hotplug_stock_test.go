package behaviour

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/xen/xentest"
)

// trace is what a call of a hotplug script left behind.
type trace struct {
	Exit   int
	Writes []string // key=value, relative to where xl wrote; of hotplug-error the key
	Name   string   // of the interface
	MTU    int
	Up     bool
	MAC    string
}

// TestDoesWhatVifBridgeDoes has the cases that Xen's own vif-bridge and
// vif-gxswitch answer alike. Where the two differ on purpose (vlan, the MTU beside
// a vifname, an offline whose bridge is gone) there are tests of their own.
func TestDoesWhatVifBridgeDoes(t *testing.T) {
	t.Parallel()
	for script, newHost := range map[string]func(*testing.T) *dom0{"vif-gxswitch": newOurs, "vif-bridge": newStock} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			d := newHost(t)
			if d == nil {
				t.Log("Xen's own scripts are not here: vif-gxswitch is compared with what they did where they were")
				return
			}
			const mac = "fe:ff:ff:ff:ff:ff"
			for i, c := range []struct {
				name string
				keys map[string]string
				want trace
			}{
				{"a vif", map[string]string{"bridge": "lan"},
					trace{0, []string{"frontend/mtu=1500", "hotplug-status=connected"}, "vif1.0", 1500, true, mac}},
				{"an MTU of its own", map[string]string{"bridge": "lan", "mtu": "1300"},
					trace{0, []string{"frontend/mtu=1300", "hotplug-status=connected"}, "vif2.0", 1300, true, mac}},
				{"that of the network", map[string]string{"bridge": "vault"},
					trace{0, []string{"frontend/mtu=1400", "hotplug-status=connected"}, "vif3.0", 1400, true, mac}},
				{"an emulated NIC beside it", map[string]string{"bridge": "lan", "type": "vif_ioemu"},
					trace{0, []string{"frontend/mtu=1500", "hotplug-status=connected"}, "vif4.0", 1500, true, mac}},
				{"no such network", map[string]string{"bridge": "nope"},
					trace{1, []string{"hotplug-error", "hotplug-status=error"}, "vif5.0", 1500, false, ""}},
				{"a vifname that is taken", map[string]string{"bridge": "lan", "vifname": "lo"},
					trace{1, []string{"hotplug-error", "hotplug-status=error"}, "vif6.0", 1500, false, ""}},
			} {
				d.nic(i+1, 0, c.name, c.keys)
				got := d.trace(i + 1)
				if c.want.MAC == "" { // which it had before
					got.MAC = ""
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.name, diff)
				}
				if c.want.Exit == 0 {
					d.down(i+1, 0, "offline", "type_if=vif")
				}
			}
		})
	}
}

func newOurs(t *testing.T) *dom0 {
	d := newDom0(t, anyEngine)
	d.start(twoNetworks)
	return d
}

// trace calls a script for a vif.
func (d *dom0) trace(domid int) trace {
	d.t.Helper()
	before := len(d.store.Writes())
	o := d.call(domid, 0, "online", "type_if=vif")
	var writes []string
	for _, w := range d.store.Writes()[before:] {
		writes = append(writes, d.short(domid, w))
	}
	l, err := d.host.Link(vifName(domid, 0))
	if err != nil {
		d.t.Fatal(err)
	}
	return trace{o.exit, writes, l.Name, l.MTU, l.AdminUp, l.MAC.String()}
}

func (d *dom0) short(domid int, w xentest.Write) string {
	key := strings.TrimPrefix(w.Path, backend(domid, 0)+"/")
	key = strings.Replace(key, fmt.Sprintf("/local/domain/%d/device/vif/0", domid), "frontend", 1)
	if key == "hotplug-error" {
		return key
	}
	return key + "=" + w.Value
}

// newStock is a host with Linux bridges and Xen's own scripts, nil where there are
// none (.ci/xen-scripts).
func newStock(t *testing.T) *dom0 {
	from := "/etc/xen/scripts"
	if _, err := os.Stat("../../bin/xen-scripts/vif-bridge"); err == nil {
		from = "../../bin/xen-scripts"
	}
	scripts, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil || len(scripts) == 0 {
		return nil
	}
	d := newDom0(t, anyEngine)
	dir := d.path("scripts")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		text, err := os.ReadFile(s)
		if err != nil {
			continue // a directory of hooks
		}
		// Its log is the machine's.
		text = []byte(strings.ReplaceAll(string(text), "/var/log/xen/xen-hotplug.log", d.path("hotplug.log")))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(s)), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	enter := "#!/bin/sh\nexec ip netns exec " + d.host.Name + " " + filepath.Join(dir, "vif-bridge") + " \"$@\"\n"
	d.script = d.path("enter")
	if err := os.WriteFile(d.script, []byte(enter), 0o755); err != nil {
		t.Fatal(err)
	}
	d.env = append(d.env, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	for name, mtu := range map[string]string{"lan": "1500", "vault": "1400"} {
		mustRun(t, d.host, "ip", "link", "add", name, "mtu", mtu, "type", "bridge")
		mustRun(t, d.host, "ip", "link", "set", name, "up")
	}
	return d
}

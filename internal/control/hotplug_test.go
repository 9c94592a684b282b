package control_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
	"gxswitch/internal/frame"
)

// plugged keeps the last calls that it got.
type plugged struct {
	controltest.Switch
	spec control.HotplugSpec
	ref  control.HotplugRef
}

func (p *plugged) Hotplug(s control.HotplugSpec) (control.Port, error) {
	p.spec = s
	return control.Port{Name: s.Port()}, nil
}

func (p *plugged) Unplug(r control.HotplugRef) error {
	p.ref = r
	return nil
}

func TestHotplugCallsArriveAsTheyWereSent(t *testing.T) {
	sw := &plugged{}
	d := start(t, sw)
	vif, tap := control.HotplugRef{DomID: 3, DevID: 1}, control.HotplugRef{DomID: 32751, DevID: 65535, Tap: true}
	for _, c := range []struct {
		spec control.HotplugSpec
		port string
	}{
		{control.HotplugSpec{HotplugRef: vif, Domain: "web1", UUID: "u", MAC: frame.MAC{0, 0x16, 0x3e, 1, 2, 3}}, "vif3.1"},
		{control.HotplugSpec{HotplugRef: tap, Domain: "web1", UUID: "u"}, "vif32751.65535-emu"},
		{control.HotplugSpec{HotplugRef: vif, VifName: "web0"}, "web0"},
		{control.HotplugSpec{HotplugRef: tap, VifName: "web0", Emulated: true, Network: "lab", MTU: 1400,
			IP: []netip.Addr{netip.MustParseAddr("10.0.0.5")}, VLAN: *vlans(t, "10p/20"), RateFrom: *limit(t, "100Mb/s@20ms")}, "web0-emu"},
	} {
		port, err := d.client.Hotplug(t.Context(), c.spec)
		if diff := cmp.Diff(c.spec, sw.spec, comparing); err != nil || diff != "" || port.Name != c.port {
			t.Errorf("port %q, %v (-want +got):\n%s", port.Name, err, diff)
		}
		if err := d.client.Unplug(t.Context(), c.spec.HotplugRef); err != nil || sw.ref != c.spec.HotplugRef {
			t.Errorf("unplug: %+v, %v", sw.ref, err)
		}
	}
	if log := d.log.String(); !strings.Contains(log, "object=vif32751.65535-emu") {
		t.Errorf("the log does not say which:\n%s", log)
	}
}

func TestHotplugRefusesNumbersNoDomainHas(t *testing.T) {
	d := seeded(t)
	for body, want := range map[string]string{
		`{}`:                        "domid: want 1 to 32751, got 0",
		`{"domid":32752}`:           "domid: want 1 to 32751, got 32752",
		`{"domid":1,"devid":-1}`:    "devid: want 0 to 65535, got -1",
		`{"domid":1,"devid":65536}`: "devid: want 0 to 65535, got 65536",
		`{"domid":"1"}`:             "domid: want a whole number, got string",
		`{"domid":1,"bridge":"x"}`:  `body: unknown key \"bridge\"`,
	} {
		for _, method := range []string{"POST", "DELETE"} {
			if status, _, answer := d.request(t, method, "/v1/hotplug", strings.NewReader(body)); status != 400 || !strings.Contains(answer, want) {
				t.Errorf("%s %s: %d %s", method, body, status, answer)
			}
		}
	}
}

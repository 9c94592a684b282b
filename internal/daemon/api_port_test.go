package daemon

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

// Every setting that a command may send arrives at the port, and is named where a
// port exists with another.
func TestEverySettingOfAPortIsAppliedAndCompared(t *testing.T) {
	on := control.GuardOn
	all := map[string]control.PortSpec{
		"mac":        {MAC: &frame.MAC{2}},
		"mtu":        {MTU: ref(1400)},
		"label":      {Label: ref("web1")},
		"vlan":       {VLAN: ref(vlan.Access(7))},
		"rate_from":  {RateFrom: ref(mustRate(t, "1Mb/s"))},
		"rate_to":    {RateTo: ref(mustRate(t, "1Mb/s"))},
		"ip":         {IP: &[]netip.Addr{addr("10.0.0.5")}},
		"antispoof":  {Antispoof: ref(filter.MACIP)},
		"isolated":   {Isolated: ref(true)},
		"storm":      {Storm: ref(filter.StormRate(100))},
		"mac_limit":  {MACLimit: ref(3)},
		"ra_guard":   {RAGuard: &on},
		"dhcp_guard": {DHCPGuard: &on},
		"bpdu_guard": {BPDUGuard: &on},
	}
	fields := reflect.TypeFor[control.PortSpec]()
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Field(i).Tag.Get("json"), ",")
		s, known := all[name]
		if name == "port" || name == "network" {
			continue
		}
		if !known || reflect.ValueOf(s).Field(i).IsNil() {
			t.Errorf("%s is not in this test", name)
			continue
		}
		is := config.Port{Name: "p1", Network: "lan"}
		asked := applyPort(is, s)
		if is.Equal(asked) {
			t.Errorf("%s is not applied", name)
		}
		// antispoof brings its guards with it.
		if got := differences(is, asked); !strings.HasPrefix(got[0], name+" is ") || len(got) != 1 && name != "antispoof" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := applyPort(config.Port{IP: []netip.Addr{addr("10.0.0.5")}, Label: "x"}, control.PortSpec{IP: &[]netip.Addr{}}); got.IP != nil || got.Label != "x" {
		t.Errorf("no addresses any more: %v, label %q", got.IP, got.Label)
	}
}

func ref[T any](v T) *T { return &v }

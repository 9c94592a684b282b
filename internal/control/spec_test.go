package control_test

import (
	"context"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// recorder keeps the last specs that it got.
type recorder struct {
	controltest.Switch
	port    control.PortSpec
	network control.NetworkSpec
}

func (r *recorder) SetPort(s control.PortSpec) (control.Port, error) {
	r.port = s
	return control.Port{}, nil
}

func (r *recorder) SetNetwork(s control.NetworkSpec) (control.Network, error) {
	r.network = s
	return control.Network{}, nil
}

func limit(t *testing.T, s string) *shaping.Limit {
	t.Helper()
	l, err := shaping.ParseLimit(s)
	if err != nil {
		t.Fatal(err)
	}
	return &l
}

func vlans(t *testing.T, s string) *vlan.Set {
	t.Helper()
	set, err := vlan.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return &set
}

// comparing compares what has no exported fields by ==.
var comparing = cmp.Options{
	cmp.Comparer(func(a, b vlan.Set) bool { return a == b }),
	cmp.Comparer(func(a, b shaping.Limit) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

// A spec is what arrives, field by field: absent stays absent, and what takes
// something back is not absent.
func TestSpecsArriveAsTheyWereSent(t *testing.T) {
	sw := &recorder{}
	d, ctx := start(t, sw), context.Background()
	for name, spec := range map[string]control.PortSpec{
		"nothing": {Name: "vif1.0"},
		"all": {Name: "vif1.0", Network: "lab", MAC: &frame.MAC{0, 0x16, 0x3e, 0, 0, 5}, MTU: ptr(9000), Label: ptr("web1"),
			VLAN: vlans(t, "10p/20-30u/100+10x4"), RateFrom: limit(t, "100Mb/s@20ms"), RateTo: limit(t, "1GB/s"),
			IP:        &[]netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")},
			Antispoof: ptr(filter.MACIP), Isolated: ptr(true), Storm: ptr(filter.StormRate(2000)), MACLimit: ptr(16),
			RAGuard: ptr(control.GuardOn), DHCPGuard: ptr(control.GuardOff), BPDUGuard: ptr(control.GuardOn)},
		"all taken back": {Name: "vif1.0", MAC: &frame.MAC{}, MTU: ptr(0), Label: ptr(""),
			VLAN: &vlan.Set{}, RateFrom: &shaping.Limit{}, RateTo: &shaping.Limit{},
			IP:        &[]netip.Addr{},
			Antispoof: ptr(filter.Off), Isolated: ptr(false), Storm: ptr(filter.StormRate(0)), MACLimit: ptr(0),
			RAGuard: ptr(control.GuardAuto), DHCPGuard: ptr(control.GuardAuto), BPDUGuard: ptr(control.GuardAuto)},
	} {
		if name != "nothing" {
			everyPointerIsSet(t, spec)
		}
		if _, err := d.client.SetPort(ctx, spec); err != nil {
			t.Errorf("port, %s: %v", name, err)
		} else if diff := cmp.Diff(spec, sw.port, comparing); diff != "" {
			t.Errorf("port, %s (-want +got):\n%s", name, diff)
		}
	}
	for name, spec := range map[string]control.NetworkSpec{
		"nothing": {Name: "lab"},
		"all": {Name: "lab", Mode: "bridged", Uplink: "eth1", UplinkVLAN: ptr(4094), VLAN: vlans(t, "1p/2-4094"), Address: ptr("10.0.0.1/24"),
			MTU: ptr(9000), Ageing: ptr(control.Duration(60e9)), FDBLimit: ptr(16), RateUp: limit(t, "1Gb/s"), RateDown: limit(t, "1Mb/s@1s"),
			Takeover: ptr(true), ProxyARP: ptr(false), NATAddress: ptr("192.0.2.1"),
			DHCP: &control.DHCPSpec{On: ptr(true), Range: ptr("10.0.0.50-10.0.0.99"), Lease: ptr(control.Duration(3600e9)), Router: ptr("none"),
				DNS: &[]netip.Addr{netip.MustParseAddr("192.0.2.53")}, Domain: ptr("xen"), Routes: &[]string{"192.0.2.0/24 via 10.0.0.2"},
				PortLimit: ptr(4), Authoritative: ptr(true)},
			DNS: &control.DNSSpec{On: ptr(true), Domain: ptr("xen"), Upstream: &[]string{"system"}, RebindOK: &[]string{"."}}},
		"all taken back": {Name: "lab", UplinkVLAN: ptr(0), VLAN: &vlan.Set{}, Address: ptr(""),
			MTU: ptr(0), Ageing: ptr(control.Duration(0)), FDBLimit: ptr(0), RateUp: &shaping.Limit{}, RateDown: &shaping.Limit{},
			Takeover: ptr(false), ProxyARP: ptr(true), NATAddress: ptr(""),
			DHCP: &control.DHCPSpec{On: ptr(false), Range: ptr(""), Lease: ptr(control.Duration(0)), Router: ptr(""),
				DNS: &[]netip.Addr{}, Domain: ptr(""), Routes: &[]string{}, PortLimit: ptr(0), Authoritative: ptr(false)},
			DNS: &control.DNSSpec{On: ptr(false), Domain: ptr(""), Upstream: &[]string{}, RebindOK: &[]string{}}},
	} {
		if name != "nothing" {
			everyPointerIsSet(t, spec)
			everyPointerIsSet(t, *spec.DHCP)
			everyPointerIsSet(t, *spec.DNS)
		}
		if _, err := d.client.SetNetwork(ctx, spec); err != nil {
			t.Errorf("network, %s: %v", name, err)
		} else if diff := cmp.Diff(spec, sw.network, comparing); diff != "" {
			t.Errorf("network, %s (-want +got):\n%s", name, diff)
		}
	}
}

// everyPointerIsSet fails for a field that the test forgot.
func everyPointerIsSet(t *testing.T, spec any) {
	t.Helper()
	v := reflect.ValueOf(spec)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && f.IsNil() {
			t.Errorf("%T.%s is not in the test", spec, v.Type().Field(i).Name)
		}
	}
}

func TestNoneLiftsALimit(t *testing.T) {
	sw := &recorder{}
	d := start(t, sw)
	const body = `{"rate_from":"none","rate_to":"","storm":"none"}`
	if status, _, answer := d.request(t, "PATCH", "/v1/ports/vif1.0", strings.NewReader(body)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	got := sw.port
	if got.RateFrom == nil || !got.RateFrom.IsZero() || got.RateTo == nil || !got.RateTo.IsZero() || got.Storm == nil || *got.Storm != 0 {
		t.Errorf("%s: got %+v", body, got)
	}
}

func TestShaperIsThereWithALimitAlone(t *testing.T) {
	d := seeded(t)
	_, _, body := d.request(t, "GET", "/v1/ports/vif1.0", nil)
	if strings.Contains(body, "shaper") {
		t.Errorf("without a limit: %s", body)
	}
	_, _, body = d.request(t, "PATCH", "/v1/ports/vif1.0", strings.NewReader(`{"rate_from":"100Mb/s@20ms"}`))
	const want = `"shaper_from":{"credit_bytes":250000,"interval_us":20000,"passed_packets":1000,"passed_bytes":1500000,` +
		`"dropped_packets":3,"dropped_bytes":4500,"queued_packets":2,"queued_bytes":3000,"throttled_ms":2500}`
	if !strings.Contains(body, want) || strings.Contains(body, "shaper_to") {
		t.Errorf("with one: %s", body)
	}
}

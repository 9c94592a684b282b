package daemon

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/vlan"
)

// everyKey has each key of a port, and each of a network that some mode has.
const everyKey = `
[network.lan]
mode     = "bridged"
uplink   = "eth0"
vlan     = "1p/10-20"
mtu      = 1400
takeover = true
ageing   = "10s"
fdb_limit = 100
rate_up   = "1Gb/s"
rate_down = "2Gb/s@10ms"
[network.br10]
mode        = "bridged"
uplink      = "eth0"
uplink_vlan = 30
[network.dmz]
mode      = "routed"
uplink    = "eth1"
address   = "203.0.113.17/28"
proxy_arp = false
[network.nat0]
mode        = "nat"
uplink      = "eth1"
address     = "10.20.0.1/24"
nat_address = "192.0.2.30"
dhcp = { range = "10.20.0.50-10.20.0.90", lease = "1h", router = "none", dns = ["10.20.0.2"], domain = "lan.test",
         routes = ["10.0.0.0/8 via 10.20.0.3"], port_limit = 3, authoritative = false }
dns  = { domain = "xen", upstream = ["192.0.2.53"], rebind_ok = ["example.test"] }
[[network.nat0.host]]
name = "web1"
mac  = "00:16:3e:11:22:33"
ip   = "10.20.0.10"
[[network.nat0.forward]]
listen = "tcp/8080"
to     = "web1:80"

[[port]]
name       = "p1"
network    = "lan"
vlan       = "10p/20"
rate_from  = "100Mb/s@20ms"
rate_to    = "200Mb/s"
mac        = "00:16:3e:00:00:05"
ip         = ["10.0.0.5", "fd00::5"]
isolated   = true
label      = "web1"
mtu        = 1300
antispoof  = "mac+ip"
storm      = "2000pps"
mac_limit  = 4
ra_guard   = false
dhcp_guard = true
bpdu_guard = false
`

// What the next daemon reads is what this one wrote, key by key: also keys that are
// new here.
func TestTheJournalKeepsEverySetting(t *testing.T) {
	m := managerOf(t, everyKey)
	for _, n := range m.networks {
		n.runtime = true
	}
	vif := control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3, DevID: 1, Tap: true}, Domain: "web1", UUID: "u", Emulated: true, VifName: "web0",
		Network: "lan", MAC: frame.MAC{2, 1}, IP: []netip.Addr{addr("10.0.0.9")}, VLAN: vlan.Access(7), RateFrom: mustRate(t, "1Mb/s"), MTU: 1400}
	p1, _ := m.cfg.MatchPort("p1")
	m.runtime["p1"] = &runtimePort{ifindex: 5, override: true, over: p1, spec: p1, base: p1, xen: &vif}
	m.leases[5] = learned{"lan", frame.MAC{2, 1}, []dataplane.Lease{{Addr: addr("10.0.0.9"), Expires: time.Unix(1800000000, 0).UTC()}}}
	m.touched[5] = touched{Name: "p1", IfIndex: 5, Sealed: true, Was: host.Sealed{WasUp: true}, WasMTU: 1500}
	m.reserved = "32768-40000"
	m.bootID, m.netNS = host.BootID(), host.NetNS()
	if err := m.journal(); err != nil {
		t.Fatal(err)
	}
	st, err := loadState(m.stateDir)
	if err != nil || len(st.Networks) != len(m.networks) || len(st.Ports) != 1 {
		t.Fatalf("%+v, %v", st, err)
	}
	set := map[string]bool{}
	note := func(v reflect.Value) {
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				set[v.Type().Name()+"."+v.Type().Field(i).Name] = true
			}
		}
	}
	for _, spec := range st.Networks {
		if !spec.Equal(m.networks[spec.Name].spec) {
			t.Errorf("network %s: %+v", spec.Name, spec)
		}
		note(reflect.ValueOf(spec))
		note(reflect.ValueOf(spec.DHCP))
		note(reflect.ValueOf(spec.DNS))
	}
	p := st.Ports[0]
	if !p.Spec.Equal(p1) || !p.Over.Equal(p1) || !p.Base.Equal(p1) || !p.Override || p.IfIndex != 5 || !reflect.DeepEqual(*p.Xen, vif) {
		t.Errorf("%+v", p)
	}
	note(reflect.ValueOf(p.Spec))
	note(reflect.ValueOf(*p.Xen))
	if !reflect.DeepEqual(st.Leases, m.leases) || st.Touched[0] != m.touched[5] || st.Reserved != m.reserved {
		t.Errorf("%+v", st)
	}
	for _, v := range []any{config.Network{}, config.DHCP{}, config.DNS{}, config.Port{}, control.HotplugSpec{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			name := reflect.TypeOf(v).Name() + "." + f.Name
			unused := []string{"Port.Match", "Port.AntispoofTold"} // a port of the journal has neither
			if len(f.Index) == 1 && !set[name] && !slices.Contains(unused, name) {
				t.Errorf("%s is nowhere in the journal, or in this test", name)
			}
		}
	}
}

// A journal of another boot, or namespace, tells of other interfaces.
func TestJournalsOfElsewhereAreNone(t *testing.T) {
	here := state{BootID: host.BootID(), NetNS: host.NetNS(), Reserved: "1-2"}
	for name, c := range map[string]struct {
		change func(*state)
		want   string
	}{
		"this boot":         {func(*state) {}, "1-2"},
		"another boot":      {func(st *state) { st.BootID = "x" }, ""},
		"another namespace": {func(st *state) { st.NetNS++ }, ""},
	} {
		dir, st := t.TempDir(), here
		c.change(&st)
		if err := st.save(dir); err != nil {
			t.Fatal(err)
		}
		got, err := loadState(dir)
		if err != nil || got.Reserved != c.want || got.BootID != here.BootID || got.NetNS != here.NetNS {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if info, err := os.Stat(filepath.Join(dir, stateFile)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	dir := t.TempDir()
	if st, err := loadState(dir); err != nil || st.BootID != here.BootID {
		t.Errorf("no journal: %+v, %v", st, err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(`{"boot_id":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := loadState(dir); err == nil || st.BootID != here.BootID {
		t.Errorf("half a journal: %+v, %v", st, err)
	}
}

// The next daemon knows interfaces by their index. What the command line changed of
// a configured port holds as long as that is configured so.
func TestWhatTheNextDaemonAdopts(t *testing.T) {
	t.Setenv("XENSTORED_PATH", filepath.Join(t.TempDir(), "none"))
	m := managerOf(t, everyKey)
	p1, _ := m.cfg.MatchPort("p1")
	older := p1
	older.Label = "before"
	spec := func(name string) config.Port { return config.Port{Name: name, Network: "lan"} }
	m.adopt(state{
		Ports: []statePort{
			{IfIndex: 5, Spec: spec("tap5")},
			{IfIndex: 6, Spec: spec("tap6")},
			{IfIndex: 7, Spec: spec("tap7")},
			{IfIndex: 8, Spec: p1, Over: p1, Override: true},
			{IfIndex: legIndex, Spec: spec("nat0"), Override: true},
			{IfIndex: 9, Spec: spec("vif3.0"), Xen: &control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 3}, Domain: "web1", Network: "lan"}, Base: &older},
		},
		Touched: []touched{{Name: "tap5", IfIndex: 5}, {Name: "tap6", IfIndex: 6}},
		Leases:  map[int]learned{5: {}, 6: {}},
	}, []host.Link{{Index: 5, Name: "tap5"}, {Index: 7, Name: "renamed"}, {Index: 8, Name: "p1"}, {Index: 9, Name: "vif3.0"}})
	var got []string
	for name, r := range m.runtime {
		got = append(got, name)
		if r.spec.Name != name {
			t.Errorf("%s is known as %s", name, r.spec.Name)
		}
	}
	slices.Sort(got)
	if want := []string{"nat0", "p1", "renamed", "tap5", "vif3.0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if r := m.runtime["vif3.0"]; r == nil || r.xen == nil || r.spec.Label != "web1" {
		t.Errorf("what the configuration says of a domain's NIC has changed meanwhile: %+v", r)
	}
	for name, there := range map[string][]int{"to restore": slices.Collect(maps.Keys(m.touched)), "leases": slices.Collect(maps.Keys(m.leases))} {
		if !slices.Equal(there, []int{5}) {
			t.Errorf("%s: %v", name, there)
		}
	}

	for name, c := range map[string]statePort{
		"another configuration since":    {IfIndex: 8, Spec: p1, Over: older, Override: true},
		"it is called otherwise by now":  {IfIndex: 7, Spec: p1, Over: p1, Override: true},
		"its interface is gone":          {IfIndex: 6, Spec: p1, Over: p1, Override: true},
		"the leg's configuration is new": {IfIndex: legIndex, Spec: spec("nat0"), Over: older, Override: true},
	} {
		m := managerOf(t, everyKey)
		m.adopt(state{Ports: []statePort{c}}, []host.Link{{Index: 7, Name: "renamed"}, {Index: 8, Name: "p1"}})
		if len(m.runtime) != 0 {
			t.Errorf("%s: %v", name, m.runtime)
		}
	}
}

// NAT sessions that are kept are of this boot and namespace, as the journal is.
func TestSessionsOfElsewhereAreNone(t *testing.T) {
	m := managerOf(t, everyKey)
	for name, c := range map[string]struct {
		file string
		want uint64
	}{
		"of here":      {encoded(t, savedSessions{BootID: m.bootID, NetNS: m.netNS, Secret: [2]uint64{7, 7}}), 7},
		"of elsewhere": {encoded(t, savedSessions{BootID: "x", NetNS: m.netNS, Secret: [2]uint64{7, 7}}), 0},
		"damaged":      {`{"secret":[7,7],`, 0},
	} {
		if err := os.WriteFile(m.sessionsFile("nat0"), []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := m.loadSessions("nat0"); got.Secret[0] != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

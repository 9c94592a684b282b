package dataplane

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

// modelSpec is a port of the model's test.
type modelSpec struct {
	PortConfig
	vlans modelSet
	of    string // shares the interface of that port
}

// The networks of the test. Nothing may leak from one to another.
var modelNetworks = []NetworkConfig{
	{Name: "n"}, {Name: "ho", HostOnly: true}, {Name: "v"}, {Name: "br0"}, {Name: "br1"}, {Name: "tagged0"}, {Name: "br2"},
}

// modelVIDs are the VLANs that frames and random ports have.
var modelVIDs = []int{1, 10, 20, 30, 4093, 4094}

var modelPorts = []modelSpec{
	{PortConfig: PortConfig{Name: "a", Network: "n", MTU: 1500}},
	{PortConfig: PortConfig{Name: "b", Network: "n", MTU: 1500}},
	{PortConfig: PortConfig{Name: "jumbo", Network: "n", MTU: 9000}},
	{PortConfig: PortConfig{Name: "small", Network: "n", MTU: 576}},
	{PortConfig: PortConfig{Name: "up", Network: "n", Role: Uplink, MTU: 1500, Local: frame.MAC{2, 0, 0, 0, 0, 9}}},

	{PortConfig: PortConfig{Name: "x", Network: "ho", MTU: 1500}},
	{PortConfig: PortConfig{Name: "y", Network: "ho", MTU: 1500}},
	{PortConfig: PortConfig{Name: "h", Network: "ho", Role: Host, MTU: 1500, Local: frame.MAC{2, 0, 0, 0, 0, 8}}},

	{PortConfig: PortConfig{Name: "access10", Network: "v", MTU: 1500}, vlans: someVLANs(10, nil)},
	{PortConfig: PortConfig{Name: "access20", Network: "v", MTU: 1500}, vlans: someVLANs(20, nil)},
	{PortConfig: PortConfig{Name: "trunk", Network: "v", MTU: 1500}, vlans: someVLANs(1, []int{10, 20})},
	{PortConfig: PortConfig{Name: "native", Network: "v", MTU: 1500}, vlans: someVLANs(10, []int{20, 30})},
	{PortConfig: PortConfig{Name: "bare", Network: "v", MTU: 1500}, vlans: someVLANs(20, []int{30}, 10)},
	{PortConfig: PortConfig{Name: "isolated1", Network: "v", MTU: 1500, Isolated: true}},
	{PortConfig: PortConfig{Name: "isolated2", Network: "v", MTU: 1500, Isolated: true}, vlans: someVLANs(10, []int{1, 20})},
	{PortConfig: PortConfig{Name: "vif", Network: "v", MTU: 1500, Twin: "emu"}, vlans: someVLANs(10, []int{20})},
	{PortConfig: PortConfig{Name: "emu", Network: "v", MTU: 1500, Twin: "vif"}, vlans: someVLANs(10, []int{20})},
	{PortConfig: PortConfig{Name: "leg", Network: "v", Role: Host, MTU: 1500, Local: frame.MAC{2, 0, 0, 0, 0, 8}}, vlans: someVLANs(10, nil)},

	// One NIC, a network per VLAN of it, and one with all the others.
	{PortConfig: PortConfig{Name: "nic", Network: "br0", Role: Uplink, MTU: 1500, UplinkVLAN: 4094, Local: frame.MAC{2, 0, 0, 0, 0, 9}}, vlans: someVLANs(1, nil)},
	{PortConfig: PortConfig{Name: "nic in br1", Network: "br1", Role: Uplink, MTU: 1500, UplinkVLAN: 4093, Local: frame.MAC{2, 0, 0, 0, 0, 9}}, vlans: someVLANs(1, nil), of: "nic"},
	{PortConfig: PortConfig{Name: "nic in tagged0", Network: "tagged0", Role: Uplink, MTU: 1500, Local: frame.MAC{2, 0, 0, 0, 0, 9}}, of: "nic"},
	{PortConfig: PortConfig{Name: "in br0", Network: "br0", MTU: 1500}},
	{PortConfig: PortConfig{Name: "in br1", Network: "br1", MTU: 1500}},
	{PortConfig: PortConfig{Name: "in br1 too", Network: "br1", MTU: 1500}, vlans: someVLANs(10, []int{1})},
	{PortConfig: PortConfig{Name: "in tagged0", Network: "tagged0", MTU: 1500}},
	{PortConfig: PortConfig{Name: "in tagged0 on 10", Network: "tagged0", MTU: 1500}, vlans: someVLANs(10, nil)},

	// A NIC of which one VLAN is used.
	{PortConfig: PortConfig{Name: "nic2", Network: "br2", Role: Uplink, MTU: 1500, UplinkVLAN: 30}, vlans: someVLANs(1, nil)},
	{PortConfig: PortConfig{Name: "in br2", Network: "br2", MTU: 1500}},
}

// config is the port as the switch is told it.
func (s modelSpec) config(t testing.TB) PortConfig {
	c := s.PortConfig
	c.Up = true
	if c.UplinkVLAN == 0 {
		c.VLANs = parseVLANs(t, s.vlans)
	}
	return c
}

func parseVLANs(t testing.TB, s modelSet) vlan.Set {
	t.Helper()
	if s.untagged == nil {
		return vlan.Set{}
	}
	set, err := vlan.Parse(s.String())
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// randomVLANs is a set for a port; pick(n) is a number below n.
func randomVLANs(pick func(n int) int) modelSet {
	var tagged, untagged []int
	for _, v := range modelVIDs {
		switch pick(3) {
		case 0:
			tagged = append(tagged, v)
		case 1:
			untagged = append(untagged, v)
		}
	}
	pvid := modelVIDs[pick(len(modelVIDs))]
	return someVLANs(pvid, slices.DeleteFunc(tagged, func(v int) bool { return v == pvid }), untagged...)
}

func newModel() *model {
	m := &model{
		ports: map[string]*modelPort{}, wires: map[string]*modelWire{}, fdb: map[modelKey]modelEntry{},
		hosts: []string{"\x0a\x00\x00\x01"}, net: map[string]uint64{},
	}
	for _, s := range modelPorts {
		p := &modelPort{cfg: s.PortConfig, vlans: s.vlans, hostOnly: s.Network == "ho" && s.Role == Host}
		p.cfg.Up = true
		p.stats = PortStats{Name: s.Name, Network: s.Network}
		if p.wire = m.wires[s.of]; p.wire == nil {
			p.wire = &modelWire{}
			m.wires[s.Name] = p.wire
		}
		p.wire.members = append(p.wire.members, p)
		m.ports[s.Name] = p
		m.order = append(m.order, s.Name)
		m.pin(p)
	}
	return m
}

// wireOf is the interface of a port.
func (m *model) wireOf(port string) string { return m.ports[port].wire.members[0].cfg.Name }

// modelLab is a switch, and the model of it.
type modelLab struct {
	*lab
	model *model
}

// newModelLab is closed by close; open makes an interface.
func newModelLab(t *testing.T, attach func(l *lab, cfg PortConfig)) *modelLab {
	l := &modelLab{lab: newLab(nop{t}), model: newModel()}
	for _, n := range modelNetworks {
		if n.Name != "n" {
			l.network(n)
		}
	}
	l.sw.SetHostAddresses([]netip.Addr{netip.MustParseAddr("10.0.0.1")})
	for _, s := range modelPorts {
		if s.of != "" {
			l.share(s.config(t), s.of)
		} else {
			attach(l.lab, s.config(t))
		}
	}
	return l
}

// nop is a test whose cleanup is done by hand, once a check.
type nop struct{ *testing.T }

func (nop) Cleanup(func()) {}

// failer is a test, or a check of one.
type failer interface {
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func (l *modelLab) close(t failer) {
	if err := l.sw.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// What follows changes the switch and the model alike.

func (l *modelLab) toggleUp(p *modelPort) {
	up := !p.cfg.Up
	l.update(p.cfg.Name, func(c *PortConfig) { c.Up = up })
	if p.cfg.Up = up; !up {
		l.model.forget(p.cfg.Name)
	}
}

func (l *modelLab) setVLANs(p *modelPort, s modelSet) {
	set := parseVLANs(l.t, s)
	l.update(p.cfg.Name, func(c *PortConfig) { c.VLANs = set })
	l.model.setVLANs(p, s)
}

func (l *modelLab) toggleIsolated(p *modelPort) {
	isolated := !p.cfg.Isolated
	l.update(p.cfg.Name, func(c *PortConfig) { c.Isolated = isolated })
	p.cfg.Isolated = isolated
}

func (l *modelLab) addFDB(t failer, p *modelPort, vid int, station frame.MAC) {
	key := modelKey{p.cfg.Network, string(station[:]), vid}
	err := l.sw.AddFDB(p.cfg.Name, uint16(vid), station)
	e := l.model.fdb[key]
	if refused := e.pinned && e.port != p.cfg.Name; refused != (err != nil) {
		t.Fatalf("AddFDB(%s, %d, %v) where there is %+v: %v", p.cfg.Name, vid, station, e, err)
	}
	if err == nil {
		l.model.fdb[key] = modelEntry{p.cfg.Name, true}
	}
}

func (l *modelLab) delFDB(t failer, network string, vid int, station frame.MAC) {
	key := modelKey{network, string(station[:]), vid}
	_, known := l.model.fdb[key]
	if ok, err := l.sw.DelFDB(network, uint16(vid), station); ok != known || err != nil {
		t.Fatalf("DelFDB(%s, %d, %v): %v, %v; want %v", network, vid, station, ok, err, known)
	}
	delete(l.model.fdb, key)
}

func (l *modelLab) flush(t failer, port string) {
	want := l.model.forget(port)
	if n, err := l.sw.FlushFDB("", port); n != want || err != nil {
		t.Fatalf("FlushFDB(%s): %d, %v; want %d", port, n, err, want)
	}
}

// memory attaches a port in memory.
func memory(l *lab, cfg PortConfig) { l.attach(cfg) }

func (l *modelLab) compareCounters(t failer) {
	for _, got := range l.sw.PortStats() {
		if d := cmp.Diff(l.model.ports[got.Name].stats, got); d != "" {
			t.Errorf("counters of %s (-want +got):\n%s", got.Name, d)
		}
	}
	for _, got := range l.sw.NetworkStats() {
		if got.Flooded != l.model.net[got.Name] {
			t.Errorf("network %s flooded %d, want %d", got.Name, got.Flooded, l.model.net[got.Name])
		}
	}
	l.checkSums()
}

package daemon

import (
	"fmt"
	"slices"
	"testing"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/host"
)

const fourNetworks = `
[network.lan]
mode   = "bridged"
uplink = "eth0"
[network.br10]
mode        = "bridged"
uplink      = "eth0"
uplink_vlan = 10
[network.lab]
mode    = "host-only"
address = "192.168.60.1/24"
mtu     = 9000
[network.vault]
mode = "isolated"
[[port]]
name    = "lab"
network = "lab"
vlan    = "5"
[[port]]
name    = "tap7"
network = "lab"
[[port]]
name    = "vif*.0"
network = "vault"
mtu     = 1400
`

// An interface is known by its index; its name is what others may have had.
func TestWhatAnInterfaceIsWanted(t *testing.T) {
	vif := &control.HotplugSpec{HotplugRef: control.HotplugRef{DomID: 4}}
	m := managerOf(t, fourNetworks)
	m.runtime = map[string]*runtimePort{
		"tap1":   {ifindex: 21, spec: config.Port{Name: "tap1", Network: "lan"}},
		"tap2":   {ifindex: 22, spec: config.Port{Name: "tap2", Network: "deleted"}},
		"tap3":   {ifindex: 23, spec: config.Port{Name: "tap3", Network: "vault"}},
		"tap7":   {ifindex: 27, spec: config.Port{Name: "tap7", Network: "vault"}, override: true},
		"vif4.0": {ifindex: 40, spec: config.Port{Name: "vif4.0", Network: "lab"}, xen: vif},
	}
	m.removed = map[string]bool{"vif6.0": true, "tap3": true}
	legOfLab := m.networks["lab"].leg
	for _, c := range []struct {
		index int
		name  string
		xen   config.XenMode
		want  string // role, networks, source, MTU, VLANs
	}{
		{2, "eth0", config.XenOff, "uplink of [br10 lan], config"},
		{legOfLab.Inner.Index, legOfLab.Inner.Name, config.XenOff, "host of [lab], config, 9000 bytes, VLANs 5"},
		{200, legOfLab.Inner.Name, config.XenOff, "nothing"},
		{legOfLab.Host.Index, "lab", config.XenOff, "nothing"},
		{21, "tap1", config.XenOff, "guest of [lan], runtime"},
		{91, "tap1", config.XenOff, "nothing"},
		{22, "tap2", config.XenOff, "nothing"},
		{23, "tap3", config.XenOff, "guest of [vault], runtime"},
		{27, "tap7", config.XenOff, "guest of [vault], config"},
		{97, "tap7", config.XenOff, "guest of [lab], config, 9000 bytes"},
		{30, "vif5.0", config.XenOff, "guest of [vault], config, 1400 bytes"},
		{30, "vif5.0", config.XenOn, "nothing"},
		{40, "vif4.0", config.XenOn, "guest of [lab], runtime, 9000 bytes"},
		{90, "vif4.0", config.XenOn, "nothing"},
		{60, "vif6.0", config.XenOff, "nothing"},
		{31, "vif5.1", config.XenOff, "nothing"},
		{32, "gxp0123abcd0r", config.XenOff, "nothing"},
	} {
		m.xen = c.xen
		got := "nothing"
		if w, ok := m.wanted(host.Link{Name: c.name, Index: c.index}); ok {
			got = fmt.Sprintf("%s of %v, %s", w.role, w.networks, w.source)
			if w.mtu != 0 {
				got += fmt.Sprintf(", %d bytes", w.mtu)
			}
			if !w.spec.VLAN.IsZero() {
				got += ", VLANs " + w.spec.VLAN.String()
			}
			if w.spec.Network != w.networks[0] || w.role == dataplane.Guest && w.spec.Name != c.name {
				t.Errorf("%s: as %s in %s", c.name, w.spec.Name, w.spec.Network)
			}
		}
		if got != c.want {
			t.Errorf("interface %d %s, xen %s: %s, want %s", c.index, c.name, c.xen, got, c.want)
		}
	}
}

// Of networks that share a NIC each is the configuration's or the command line's.
func TestASharedUplinkIsOfEachNetworksSource(t *testing.T) {
	m := managerOf(t, fourNetworks)
	m.networks["lan"].runtime = true
	nic := host.Link{Name: "eth0", Index: 2}
	first, _ := m.wanted(nic)
	for range 20 { // networks are in no order
		if w, _ := m.wanted(nic); !w.equal(first) {
			t.Fatalf("wanted as of the %s, then of the %s", first.source, w.source)
		}
	}
	p := &port{link: nic, role: dataplane.Uplink, want: first, members: first.networks}
	for network, want := range map[string]string{"lan": "runtime", "br10": "config"} {
		if got := m.portRow(p, network).Source; got != want {
			t.Errorf("uplink of %s: source %s, want %s", network, got, want)
		}
	}
}

func TestPortsOfTheCommandLineFollowTheirInterface(t *testing.T) {
	p1 := func() *runtimePort { return &runtimePort{ifindex: 5, spec: config.Port{Name: "p1", Network: "gone"}} }
	link := func(index int, name string, gone bool) host.Event {
		return host.Event{Link: host.Link{Index: index, Name: name}, Gone: gone}
	}
	for _, c := range []struct {
		name   string
		port   *runtimePort
		events []host.Event
		want   []string // names of ports of the command line
	}{
		{"renamed", p1(), []host.Event{link(5, "p2", false)}, []string{"p2"}},
		{"renamed, and another has its name", p1(), []host.Event{link(5, "p2", false), link(6, "p1", false)}, []string{"p2"}},
		{"gone, and another has its name", p1(), []host.Event{link(5, "p1", true), link(6, "p1", false)}, nil},
		{"another of its name is gone", p1(), []host.Event{link(6, "p1", true)}, []string{"p1"}},
		{"a configured port is renamed", &runtimePort{ifindex: 5, override: true, spec: config.Port{Name: "p1"}},
			[]host.Event{link(5, "p2", false)}, []string{"p1"}},
	} {
		m := managerOf(t, fourNetworks)
		m.links[5] = host.Link{Index: 5, Name: "p1"}
		m.runtime["p1"] = c.port
		m.problems["p1"] = "enslaved"
		m.handle(c.events)
		var got []string
		for name, r := range m.runtime {
			got = append(got, name)
			if r.spec.Name != name {
				t.Errorf("%s: %s is known as %s", c.name, r.spec.Name, name)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if p := m.problems["p1"]; p != "" && !slices.Contains(c.want, "p1") {
			t.Errorf("%s: nobody's problem: %s", c.name, p)
		}
	}
}

// What comes while a batch is worked at is the next one, whole and in order.
func TestEventsThatWaitComeTogether(t *testing.T) {
	events, batches := make(chan host.Event), make(chan []host.Event)
	go gather(events, batches)
	for batch := range 3 {
		for i := range 5 {
			events <- host.Event{Link: host.Link{Index: 10*batch + i}}
		}
		got := <-batches
		if len(got) != 5 || got[0].Link.Index != 10*batch || got[4].Link.Index != 10*batch+4 {
			t.Errorf("batch %d: %v", batch, got)
		}
	}
	close(events)
	if _, open := <-batches; open {
		t.Error("a batch after the end")
	}
}

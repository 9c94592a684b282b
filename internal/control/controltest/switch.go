// Package controltest has a Switch for tests: a few networks and ports in
// memory that keep the API's promises, and none of a real switch's trouble.
package controltest

import (
	"encoding"
	"slices"
	"sync"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

// Switch is a control.Switch in memory. Its zero value has no networks.
type Switch struct {
	mu       sync.Mutex // guards everything below
	nets     []control.Network
	ports    []control.Port
	fdb      []control.FDBEntry
	told     map[string]guards // by port
	forwards []control.Forward
	leases   []control.Lease
	round    uint64 // how often Stats was asked; the counters grow with it
}

// New makes a Switch with two networks, three ports and three entries.
func New() *Switch {
	guest := frame.MAC{0x00, 0x16, 0x3e, 0, 0, 0x05}
	nic := frame.MAC{0x02, 0, 0, 0, 0, 0x01}
	return &Switch{
		nets: []control.Network{
			{Name: "lab", Mode: "host-only", Address: "192.168.60.1/24", MTU: 1500, FDBLimit: 8192, AgeingS: 300, Source: "runtime"},
			{Name: "xenbr0", Mode: "bridged", Uplink: "eth0", VLAN: "1p/2-4094", MTU: 1500, FDBLimit: 8192, AgeingS: 300, Source: "config"},
		},
		ports: []control.Port{
			{Name: "lab", Network: "lab", Role: "host", State: "up", IfIndex: 7, MTU: 1500, VLAN: "1p/2-4094",
				RateFromBy: "gxswitch", AntiSpoof: "off", Engine: "afpacket", Source: "runtime"},
			{Name: "eth0", Network: "xenbr0", Role: "uplink", State: "up", IfIndex: 2, MTU: 1500, VLAN: "1p/2-4094",
				RateFromBy: "gxswitch", AntiSpoof: "off", Engine: "afpacket", Source: "config"},
			{Name: "vif1.0", Network: "xenbr0", Role: "guest", State: "up", IfIndex: 12, MAC: guest, MTU: 1500, VLAN: "1p/2-4094",
				RateFromBy: "gxswitch", AntiSpoof: "off", Label: "web1", Engine: "afpacket", Source: "config"},
		},
		fdb: []control.FDBEntry{
			{Network: "xenbr0", VLAN: 1, MAC: guest, Port: "vif1.0", AgeS: 12, Kind: "dynamic"},
			{Network: "xenbr0", VLAN: 20, MAC: guest, Port: "vif1.0", Kind: "static"},
			{Network: "xenbr0", VLAN: 1, MAC: nic, Port: "eth0", AgeS: 3, Kind: "dynamic"},
		},
		leases: []control.Lease{
			{Network: "lab", MAC: guest, IP: "192.168.60.100", Hostname: "web1", Expires: time.Date(2026, 11, 22, 10, 30, 0, 0, time.UTC), Port: "vif1.0"},
			{Network: "lab", MAC: nic, IP: "192.168.60.101", Expires: time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)},
		},
	}
}

func noNetwork(name string) error {
	return control.Errorf(control.CodeNotFound, "network %s: no such network", name).
		WithHint("gxswitch network list shows those there are")
}

func noPort(name string) error {
	return control.Errorf(control.CodeNotFound, "port %s: no such port", name).
		WithHint("gxswitch port list shows those there are")
}

// Status implements control.Switch.
func (s *Switch) Status() control.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return control.Status{Version: "v0.1.0", Engine: "afpacket", UptimeS: 3725, PID: 4242,
		Networks: len(s.nets), Ports: len(s.ports), Workers: 2, Config: "/etc/gxswitch/gxswitch.toml"}
}

// Networks implements control.Switch.
func (s *Switch) Networks() []control.Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.nets)
	for i := range all {
		for _, p := range s.ports {
			if p.Network == all[i].Name {
				all[i].Ports++
			}
		}
		for _, e := range s.fdb {
			if e.Network == all[i].Name {
				all[i].FDBEntries++
			}
		}
	}
	return all
}

func (s *Switch) net(name string) *control.Network {
	i := slices.IndexFunc(s.nets, func(n control.Network) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return &s.nets[i]
}

func (s *Switch) port(name string) *control.Port {
	i := slices.IndexFunc(s.ports, func(p control.Port) bool { return p.Name == name })
	if i < 0 {
		return nil
	}
	return &s.ports[i]
}

// AddNetwork implements control.Switch.
func (s *Switch) AddNetwork(spec control.NetworkSpec) (control.Network, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.net(spec.Name); n != nil {
		if n.Mode != spec.Mode {
			return *n, control.Errorf(control.CodeConflict, "network %s exists with mode %s, not %s", n.Name, n.Mode, spec.Mode)
		}
		return *n, nil
	}
	s.nets = append(s.nets, control.Network{Name: spec.Name, Mode: spec.Mode, Uplink: spec.Uplink,
		MTU: 1500, FDBLimit: 8192, AgeingS: 300, Source: "runtime"})
	n := s.net(spec.Name)
	apply(n, spec)
	return *n, nil
}

// SetNetwork implements control.Switch.
func (s *Switch) SetNetwork(spec control.NetworkSpec) (control.Network, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.net(spec.Name)
	if n == nil {
		return control.Network{}, noNetwork(spec.Name)
	}
	if spec.Mode != "" && spec.Mode != n.Mode {
		return *n, control.Errorf(control.CodeRefused, "network %s: its mode is %s for life", n.Name, n.Mode).
			WithHint("delete it and add it again")
	}
	apply(n, spec)
	return *n, nil
}

func apply(n *control.Network, spec control.NetworkSpec) {
	if spec.Uplink != "" {
		n.Uplink = spec.Uplink
	}
	set(&n.Address, spec.Address)
	set(&n.MTU, spec.MTU)
	set(&n.FDBLimit, spec.FDBLimit)
	if spec.Ageing != nil {
		n.AgeingS = time.Duration(*spec.Ageing).Seconds()
	}
	set(&n.UplinkVLAN, spec.UplinkVLAN)
	set(&n.Takeover, spec.Takeover)
	applyServices(n, spec)
	setText(&n.RateUp, spec.RateUp)
	setText(&n.RateDown, spec.RateDown)
	setText(&n.VLAN, spec.VLAN)
	switch {
	case n.Uplink == "" || n.UplinkVLAN != 0:
		n.VLAN = ""
	case n.VLAN == "":
		n.VLAN = vlan.Default().String()
	}
}

// applyServices lets any field turn a server on. It has no range of its own.
func applyServices(n *control.Network, spec control.NetworkSpec) {
	if d := spec.DHCP; d != nil {
		if n.DHCP.Leases == nil {
			n.DHCP = control.DHCP{LeaseS: 43200, Router: "192.168.60.1", PortLimit: 16, Authoritative: new(bool), Leases: new(int)}
			*n.DHCP.Authoritative = true
		}
		set(&n.DHCP.Range, d.Range)
		set(&n.DHCP.Router, d.Router)
		if n.DHCP.Router == "none" {
			n.DHCP.Router = ""
		}
		set(&n.DHCP.Domain, d.Domain)
		set(&n.DHCP.Routes, d.Routes)
		set(&n.DHCP.PortLimit, d.PortLimit)
		set(n.DHCP.Authoritative, d.Authoritative)
		if d.Lease != nil {
			n.DHCP.LeaseS = time.Duration(*d.Lease).Seconds()
		}
		if d.DNS != nil {
			n.DHCP.DNS = nil
			for _, a := range *d.DNS {
				n.DHCP.DNS = append(n.DHCP.DNS, a.String())
			}
		}
		if d.On != nil && !*d.On {
			n.DHCP = control.DHCP{}
		}
	}
	if d := spec.DNS; d != nil {
		if n.DNS.Upstream == nil {
			n.DNS.Upstream = []string{"system"}
		}
		set(&n.DNS.Domain, d.Domain)
		set(&n.DNS.Upstream, d.Upstream)
		set(&n.DNS.RebindOK, d.RebindOK)
		if d.On != nil && !*d.On {
			n.DNS = control.DNS{}
		}
	}
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// setText makes the row's text what the spec's value says.
func setText[T encoding.TextMarshaler](to *string, from *T) {
	if from != nil {
		text, _ := (*from).MarshalText() // it came as text
		*to = string(text)
	}
}

// DelNetwork implements control.Switch.
func (s *Switch) DelNetwork(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.net(name) == nil {
		return noNetwork(name)
	}
	s.nets = slices.DeleteFunc(s.nets, func(n control.Network) bool { return n.Name == name })
	s.ports = slices.DeleteFunc(s.ports, func(p control.Port) bool { return p.Network == name })
	s.fdb = slices.DeleteFunc(s.fdb, func(e control.FDBEntry) bool { return e.Network == name })
	return nil
}

// FDB implements control.Switch.
func (s *Switch) FDB(network, port string) ([]control.FDBEntry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(network, port); err != nil {
		return nil, err
	}
	var out []control.FDBEntry
	for _, e := range s.fdb {
		if matches(e, network, port) {
			out = append(out, e)
		}
	}
	return out, nil
}

// known fails for a network or port that isn't there. The caller holds mu.
func (s *Switch) known(network, port string) error {
	if network != "" && s.net(network) == nil {
		return noNetwork(network)
	}
	if port != "" && s.port(port) == nil {
		return noPort(port)
	}
	return nil
}

func matches(e control.FDBEntry, network, port string) bool {
	return (network == "" || e.Network == network) && (port == "" || e.Port == port)
}

// AddFDB implements control.Switch.
func (s *Switch) AddFDB(spec control.FDBSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.port(spec.Port)
	if p == nil {
		return noPort(spec.Port)
	}
	s.fdb = append(s.fdb, control.FDBEntry{Network: p.Network, VLAN: max(spec.VLAN, 1), MAC: spec.MAC, Port: p.Name, Kind: "static"})
	return nil
}

// DelFDB implements control.Switch.
func (s *Switch) DelFDB(spec control.FDBSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(spec.Network, ""); err != nil {
		return err
	}
	before := len(s.fdb)
	s.fdb = slices.DeleteFunc(s.fdb, func(e control.FDBEntry) bool {
		return e.Network == spec.Network && e.MAC == spec.MAC && e.VLAN == max(spec.VLAN, 1)
	})
	if len(s.fdb) == before {
		return control.Errorf(control.CodeNotFound, "%s in VLAN %d: no such entry in network %s", spec.MAC, max(spec.VLAN, 1), spec.Network)
	}
	return nil
}

// FlushFDB implements control.Switch.
func (s *Switch) FlushFDB(network, port string) (control.Flushed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(network, port); err != nil {
		return control.Flushed{}, err
	}
	before := len(s.fdb)
	s.fdb = slices.DeleteFunc(s.fdb, func(e control.FDBEntry) bool { return e.Kind == "dynamic" && matches(e, network, port) })
	return control.Flushed{Entries: before - len(s.fdb)}, nil
}

// Stats implements control.Switch. Each time it is asked, every port has
// received 1000 frames of 100 bytes more.
func (s *Switch) Stats(ports []string) (control.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range ports {
		if s.port(name) == nil {
			return control.Stats{}, noPort(name)
		}
	}
	s.round++
	var out control.Stats
	for _, p := range s.ports {
		if len(ports) > 0 && !slices.Contains(ports, p.Name) {
			continue
		}
		st := control.PortStats{Port: p.Name, Network: p.Network, RxPackets: 1000 * s.round, RxBytes: 100000 * s.round}
		if p.Role == "guest" {
			st.RxDropped = 3
			st.Drops = map[string]uint64{"mtu": 1, "malformed": 2}
		}
		st.Forwarded = st.RxPackets - st.RxDropped
		out.Ports = append(out.Ports, st)
	}
	for _, n := range s.nets {
		out.Networks = append(out.Networks, control.NetworkStats{Network: n.Name, FDBLimit: n.FDBLimit, Flooded: 5})
	}
	return out, nil
}

// Leases implements control.Switch.
func (s *Switch) Leases(network string) ([]control.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(network, ""); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(s.leases), func(l control.Lease) bool { return network != "" && l.Network != network }), nil
}

// DelLease implements control.Switch.
func (s *Switch) DelLease(spec control.LeaseSpec) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(spec.Network, ""); err != nil {
		return err
	}
	before := len(s.leases)
	s.leases = slices.DeleteFunc(s.leases, func(l control.Lease) bool { return l.Network == spec.Network && l.MAC == spec.MAC })
	if len(s.leases) == before {
		return control.Errorf(control.CodeNotFound, "%s: has no lease in network %s", spec.MAC, spec.Network)
	}
	return nil
}

// DNSNames implements control.Switch.
func (s *Switch) DNSNames(network string) ([]control.DNSName, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(network, ""); err != nil || s.net("lab") == nil || network != "" && network != "lab" {
		return nil, err
	}
	return []control.DNSName{
		{Network: "lab", Name: "db1.xen", Source: control.SourceHost},
		{Network: "lab", Name: "gateway.xen", IP: []string{"192.168.60.1"}, Source: control.SourceGateway},
		{Network: "lab", Name: "web1.xen", IP: []string{"192.168.60.100", "fd00::100"}, Source: control.SourceLease},
	}, nil
}

// QueryDNS implements control.Switch. It knows web1.xen.
func (s *Switch) QueryDNS(q control.DNSQuery) (control.DNSAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.known(q.Network, ""); err != nil {
		return control.DNSAnswer{}, err
	}
	if q.Name != "web1.xen" {
		return control.DNSAnswer{}, control.Errorf(control.CodeNotFound, "%s: no such name (NXDOMAIN)", q.Name).
			WithHint("gxswitch dns list --network lab shows those of guests")
	}
	a := control.DNSAnswer{Network: "lab", Name: "web1.xen.", Type: "A", Code: "NOERROR"}
	switch q.Type {
	case "", "A":
		a.Answers = []control.DNSRecord{{Name: "web1.xen.", TTLS: 10, Type: "A", Value: "192.168.60.100"}}
	case "MX":
		a.Type = "MX"
	default:
		return control.DNSAnswer{}, control.Errorf(control.CodeUsage, "type %q: want one as A, AAAA, PTR, MX or TXT", q.Type)
	}
	return a, nil
}

// Config implements control.Switch.
func (s *Switch) Config() control.ConfigText {
	return control.ConfigText{File: "/etc/gxswitch/gxswitch.toml", TOML: "[network.xenbr0]\nmode = \"bridged\"\nuplink = \"eth0\"\n"}
}

// Reload implements control.Switch.
func (s *Switch) Reload() (control.Reloaded, error) {
	return control.Reloaded{Changes: []string{"network lab: added", "port vif2.0: set"}}, nil
}

package dataplane

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"gxswitch/fdb"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/ports"
)

// Role is what a port is to the machine.
type Role uint8

// The roles.
const (
	Guest  Role = iota // a vif, tap or veth with a guest behind it
	Uplink             // a NIC
	Host               // the machine's own leg
)

func (r Role) String() string { return [...]string{"guest", "uplink", "host"}[r] }

// view is what the workers see of the configuration. It is never changed, only
// replaced as a whole; members and their slices belong to it.
type view struct {
	ports   []*member // by fdb.PortID, nil where there is none
	entries []*entry  // by wire.id, nil where there is none
	fast    []*entry  // of the Kernel's ports, by their number
	hosts   map[netip.Addr]struct{}
	legs    map[string]*member // the host's, by network: see Locate
}

// entry is where the frames of an interface come in: its one member, or, on a
// NIC that several networks share, the member by the frame's VLAN. Gateways whose
// uplink it is come first.
type entry struct {
	wire   *wire
	one    *member
	byVLAN *[4096]*member // where one is nil
	rest   *member        // for what byVLAN does not have, untagged frames too; nil: refused
	first  *member        // who counts what is refused
	many   bool           // a way from the kernel: of no member, each frame says of which port it is
	gates  []*member      // gateways that are asked first
}

// member is a port as one view has it.
type member struct {
	id      fdb.PortID
	cfg     PortConfig
	maxLen  int // longest frame the interface takes, without tag
	net     *network
	port    *port
	vlans   vlan.Set
	others  *[4096]*member // on a shared NIC: the members that have VLANs of it for themselves
	pvid    uint16
	guard   *filter.Guard         // nil: none
	storm   *filter.Storm         // nil: no limit
	from    *pacer                // of frames from the port; nil: never had a limit
	to      *pacer                // of frames to the port, likewise
	trusted bool                  // what it says of leases is believed
	twin    *member               // the other interface of the same virtual NIC, nil without one
	up      []*member             // the network's members that are up, to flood to: one slice for all of them
	all     []*member             // the network's members, likewise
	owners  map[frame.MAC]*member // guests whose MAC this one may not use; nil for one that is held to its own
	noWay   bool                  // a host leg that only the host's own addresses may use
	way     *route                // the network's gateway, nil without one
	brings  uint16                // number of the port for the Kernel, if it may bring packets for a gateway from it, see flowWays
	takes   uint16                // likewise, if it may take them there
	gates   []*member             // in a network whose host leg bears the MAC of its NIC: the gateways of that NIC
}

// network outlives views.
type network struct {
	number   uint32      // the Kernel's; 0 without one
	carrying sync.Mutex  // held from the look into table to what the Kernel is told of it
	crowded  atomic.Bool // a station found no room in the Kernel

	cfg     NetworkConfig // guarded by Switch.mu
	table   *fdb.Table
	flooded atomic.Uint64
	gateway atomic.Pointer[Gateway]

	natVersion atomic.Uint64 // nat.Table.Version, as of the gateway

	waiting waiting
	vlans   [4096]atomic.Pointer[vlanCounters] // made at a VLAN's first frame
}

// vlanCounters are what entered a network in one VLAN.
type vlanCounters struct{ packets, bytes atomic.Uint64 }

// countVLAN adds to a VLAN's counters.
func (n *network) countVLAN(vid uint16, packets, bytes uint64) {
	c := n.vlans[vid].Load()
	if c == nil {
		n.vlans[vid].CompareAndSwap(nil, &vlanCounters{})
		c = n.vlans[vid].Load()
	}
	c.packets.Add(packets)
	c.bytes.Add(bytes)
}

// wire is an interface that is open. It outlives views.
type wire struct {
	id      int32
	io      ports.Port
	worker  *worker       // who reads it
	taken   atomic.Uint64 // frames that its worker took, super-frames as one
	members int           // ports that share it; guarded by Switch.mu, as the next two are
	ring    ringWatch
	read    readOf
	losing  atomic.Bool // set by the worker, for Switch.tick
}

// port outlives views: an interface in one network, with its counters, and what
// each worker has ready to send to it.
type port struct {
	*wire
	counters counters
	pending  [][]ports.Send // by worker, touched by that worker alone

	// Guarded by Switch.mu; members have their own:

	carries  vlan.Set
	names    bool // its VLANs are few: see VLANStats
	guard    *filter.Guard
	storm    *filter.Storm
	from, to *pacer         // kept when a limit is lifted: they may hold frames
	rules    fastpath.Rules // that the Kernel follows, if told
	told     bool

	passage fastpath.Counters // of a gateway's uplink: what the Kernel had counted before
}

// counters of one port. Workers add to them once a batch and port.
type counters struct {
	rxPackets, rxBytes           atomic.Uint64
	txPackets, txBytes           atomic.Uint64
	forwarded, flooded, consumed atomic.Uint64
	rxDrops, txDrops             [frame.NumReasons]atomic.Uint64
}

// build makes the view of the members given; s.mu is held.
func (s *Switch) build() *view {
	v := &view{hosts: s.hosts, ports: make([]*member, len(s.attached)), entries: make([]*entry, s.wires), legs: map[string]*member{}}
	byNet := map[*network][]*member{}
	byName := map[string]*member{}
	for id, a := range s.attached {
		if a == nil {
			continue
		}
		m := s.member(fdb.PortID(id), a)
		v.ports[id] = m
		v.enter(m)
		byNet[m.net] = append(byNet[m.net], m)
		byName[m.cfg.Name] = m
		if m.cfg.Role == Host {
			v.legs[m.cfg.Network] = m
		}
	}
	v.enterFast(s)
	for _, e := range v.entries {
		if e != nil && e.rest != nil {
			e.rest.others = e.byVLAN
		}
	}
	for net, ms := range byNet {
		v.ways(net, ms)
	}
	for _, m := range v.ports {
		if m != nil {
			m.flowWays(v)
		}
	}
	for _, ms := range byNet {
		up := slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return !m.cfg.Up || m.gate() })
		owners := owners(ms)
		for _, m := range ms {
			m.up, m.all = up, ms
			if m.cfg.Role == Guest && !m.held() {
				m.owners = owners
			}
			if twin := byName[m.cfg.Twin]; twin != nil && twin.net == m.net {
				m.twin, twin.twin = twin, m
			}
		}
	}
	return v
}

// ways finds how a network's gateway is connected, if it has one. Where the host
// is a station of the bridged network that shares the NIC (its leg bears the NIC's
// MAC), what gateways want of that NIC may come from that network's guests too.
func (v *view) ways(net *network, ms []*member) {
	if !net.cfg.Gateway {
		return
	}
	y := &route{}
	for _, m := range ms {
		switch {
		case m.gate():
			y.gate = m
		case m.cfg.Role == Host:
			y.leg = m
		}
	}
	if y.gate == nil || y.leg == nil {
		return
	}
	for _, m := range ms {
		m.way = y
	}
	e := v.entries[y.gate.port.wire.id]
	if e.rest == nil {
		return
	}
	for _, m := range v.ports {
		if m != nil && m.net == e.rest.net && m.cfg.Role == Host && m.cfg.Local == y.gate.cfg.Local {
			y.lan = e.rest
		}
	}
	if y.lan != nil {
		for _, m := range v.ports {
			if m != nil && m.net == y.lan.net && m != y.lan {
				m.gates = e.gates
			}
		}
	}
}

// gate reports whether the port is the uplink of a network with a gateway.
func (m *member) gate() bool { return m.cfg.Role == Uplink && m.net.cfg.Gateway }

func (s *Switch) member(id fdb.PortID, a *attachment) *member {
	net := s.networks[a.cfg.Network]
	m := &member{
		id:      id,
		cfg:     a.cfg,
		maxLen:  a.cfg.MTU + frame.HeaderLen,
		net:     net,
		port:    a.port,
		vlans:   a.port.carries,
		guard:   a.port.guard,
		storm:   a.port.storm,
		from:    a.port.from,
		to:      a.port.to,
		trusted: a.cfg.Role != Guest,
		noWay:   a.cfg.Role == Host && net.cfg.HostOnly,
	}
	m.pvid = m.vlans.PVID()
	return m
}

// enter notes that the member takes frames of its wire: all, those of one VLAN,
// or what no other member takes.
func (v *view) enter(m *member) {
	e := v.entries[m.port.wire.id]
	if e == nil {
		e = &entry{wire: m.port.wire, first: m}
		v.entries[m.port.wire.id] = e
	}
	if m.gate() {
		e.gates = append(e.gates, m)
		return
	}
	if m.port.wire.members == 1 && m.cfg.UplinkVLAN == 0 {
		e.one = m
		return
	}
	if m.cfg.UplinkVLAN == 0 {
		e.rest = m
		return
	}
	if e.byVLAN == nil {
		e.byVLAN = new([4096]*member)
	}
	e.byVLAN[m.cfg.UplinkVLAN] = m
}

// entry is where the wire's frames come in; nil if the view does not know it.
func (v *view) entry(on *wire) *entry {
	if int(on.id) < len(v.entries) {
		if e := v.entries[on.id]; e != nil && e.wire == on {
			return e
		}
	}
	return nil
}

// take is who takes a frame that came in here; nil: nobody.
func (e *entry) take(f *frame.Frame) *member {
	if e.byVLAN != nil && f.Tagged {
		if m := e.byVLAN[f.VID()]; m != nil {
			return m
		}
	}
	return e.rest
}

// carries reports whether frames of the VLAN may leave by the port. What other
// networks have of a shared NIC is theirs alone.
func (m *member) carries(vid uint16) bool {
	return m.vlans.Carries(vid) && (m.others == nil || m.others[vid] == nil || m.vlans.Untagged(vid))
}

// held reports whether the guest's MAC is told and it is held to it.
func (m *member) held() bool {
	return m.cfg.Policy.Antispoof != filter.Off && !m.cfg.Policy.MAC.IsZero()
}

// owners are the guests that are held to a MAC: nobody else may use it. Two that
// have the same (a migration within the host) hold neither, but twins are one.
func owners(ms []*member) map[frame.MAC]*member {
	var all map[frame.MAC]*member
	for _, m := range ms {
		if !m.held() {
			continue
		}
		if all == nil {
			all = map[frame.MAC]*member{}
		}
		mac := m.cfg.Policy.MAC
		switch first, twice := all[mac]; {
		case !twice:
			all[mac] = m
		case first == nil || first.cfg.Twin != m.cfg.Name && m.cfg.Twin != first.cfg.Name:
			all[mac] = nil
		}
	}
	return all
}

// isHost reports whether the address is one of the host's own.
func (v *view) isHost(a netip.Addr) bool {
	_, ok := v.hosts[a]
	return ok
}

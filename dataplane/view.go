package dataplane

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
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
	ports []*member // by fdb.PortID, nil where there is none
	hosts map[netip.Addr]struct{}
}

// member is a port as one view has it.
type member struct {
	id     fdb.PortID
	cfg    PortConfig
	maxLen int // longest frame the interface takes, without tag
	net    *network
	port   *port
	up     []*member // the network's members that are up, to flood to: one slice for all of them
	noWay  bool      // a host leg that only the host's own addresses may use
}

// network outlives views.
type network struct {
	cfg     NetworkConfig // guarded by Switch.mu
	table   *fdb.Table
	flooded atomic.Uint64
}

// port outlives views: the interface, its counters, and what each worker has
// ready to send to it.
type port struct {
	io       ports.Port
	counters counters
	pending  [][]ports.Send // by worker, touched by that worker alone
	worker   *worker        // who reads it
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
	v := &view{hosts: s.hosts}
	byNet := map[*network][]*member{}
	for id, p := range s.attached {
		if p == nil {
			v.ports = append(v.ports, nil)
			continue
		}
		net := s.networks[p.cfg.Network]
		m := &member{
			id:     fdb.PortID(id),
			cfg:    p.cfg,
			maxLen: p.cfg.MTU + frame.HeaderLen,
			net:    net,
			port:   p.port,
			noWay:  p.cfg.Role == Host && net.cfg.HostOnly,
		}
		v.ports = append(v.ports, m)
		byNet[net] = append(byNet[net], m)
	}
	for _, ms := range byNet {
		up := slices.DeleteFunc(slices.Clone(ms), func(m *member) bool { return !m.cfg.Up })
		for _, m := range ms {
			m.up = up
		}
	}
	return v
}

// isHost reports whether the address is one of the host's own.
func (v *view) isHost(a netip.Addr) bool {
	_, ok := v.hosts[a]
	return ok
}

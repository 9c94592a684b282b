package daemon

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"time"

	"gxswitch/dataplane"
	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
	"gxswitch/internal/host"
)

// layer3 is what the kernel says of addresses, routes and neighbours, and what
// networks with a gateway make of it.
type layer3 struct {
	addrSet  *host.Set[netip.Addr]
	routeSet *host.Set[host.Route]

	addrs      []netip.Addr // the host's own
	routes     []host.Route
	tables     map[int]*gateway.Routes // of routes, by link; made when asked for
	external   map[int]netip.Addr      // what NAT by a link borrows, likewise
	neighbours map[int]map[netip.Addr]frame.MAC
	asked      map[neighbour]time.Time // whose MAC a gateway wanted
	guarded    map[int]host.UplinkGuard
	reserved   bool // the NAT ports are
}

type neighbour struct {
	link int
	addr netip.Addr
}

const (
	askedAtMost      = 4096             // neighbours that are kept fresh
	askedFor         = 10 * time.Minute // that a neighbour is kept fresh after it was wanted
	announceInterval = 2 * time.Second  // at most, from the first announcement to the second (RFC 5227, 1.1)
)

func newLayer3() layer3 {
	return layer3{
		tables: map[int]*gateway.Routes{}, external: map[int]netip.Addr{},
		neighbours: map[int]map[netip.Addr]frame.MAC{}, asked: map[neighbour]time.Time{}, guarded: map[int]host.UplinkGuard{},
	}
}

// routesBy is the table of the routes that lead out by a link.
func (m *manager) routesBy(link int) *gateway.Routes {
	t := m.l3.tables[link]
	if t == nil {
		var routes []gateway.Route
		for _, r := range m.l3.routes {
			routes = append(routes, gateway.Route{To: r.To, Via: r.Via, Unreachable: r.Link != link})
		}
		t = gateway.NewRoutes(routes)
		m.l3.tables[link] = t
	}
	return t
}

// followLayer3 keeps gateways abreast of the host's addresses, routes and
// neighbours, and has neighbours resolved that they want.
func (m *manager) followLayer3(ctx context.Context, neighbours <-chan []host.NeighbourEvent) {
	freshen, again := time.NewTicker(10*time.Second), time.NewTicker(announceInterval)
	defer freshen.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-m.l3.addrSet.Changed:
			if !ok {
				return
			}
			m.locked(m.takeAddrs)
		case _, ok := <-m.l3.routeSet.Changed:
			if !ok {
				return
			}
			m.locked(m.takeRoutes)
		case events, ok := <-neighbours:
			if !ok {
				return
			}
			m.locked(func() { m.heard(events) })
		case hop := <-m.sw.Unresolved():
			m.resolve(hop)
		case <-freshen.C:
			m.forgetAsked()
		case <-again.C:
			m.announceAgain()
		}
	}
}

func (m *manager) locked(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
	m.refreshGateways()
}

func (m *manager) takeAddrs() {
	m.l3.addrs = m.l3.addrSet.Latest()
	m.sw.SetHostAddresses(m.l3.addrs)
	clear(m.l3.external)
}

func (m *manager) takeRoutes() {
	m.l3.routes = m.l3.routeSet.Latest()
	clear(m.l3.tables)
}

// moved looks at what a takeover has just moved from one link to another, for gateways
// to follow at once: the kernel's word comes later, and until then no route would lead
// out by the new link. What the old one's neighbours were asked for is asked for there.
func (m *manager) moved(from, to int) {
	if !m.hasGates() {
		return
	}
	if err := errors.Join(m.l3.addrSet.Refresh(), m.l3.routeSet.Refresh()); err != nil {
		m.log.Error("look at what was moved", "err", err)
	}
	m.takeAddrs()
	m.takeRoutes()
	for k, at := range maps.Clone(m.l3.asked) {
		if k.link == from {
			delete(m.l3.asked, k)
			m.l3.asked[neighbour{to, k.addr}] = at
		}
	}
	known, err := host.Neighbours(to)
	if err != nil {
		m.log.Error("look at what was moved", "err", err)
		return
	}
	var events []host.NeighbourEvent
	for _, n := range known {
		if n.State != host.NeighbourFailed { // asked for long ago, perhaps
			events = append(events, host.NeighbourEvent{Neighbour: n})
		}
	}
	m.heard(events)
}

// hasGates reports whether there is a network with a gateway.
func (m *manager) hasGates() bool {
	for _, n := range m.networks {
		if n.gate != nil {
			return true
		}
	}
	return false
}

// heard takes in what the kernel learned of neighbours. One that a gateway uses,
// and the kernel does not, would not be asked again: we do.
func (m *manager) heard(events []host.NeighbourEvent) {
	for _, ev := range events {
		of := m.l3.neighbours[ev.Link]
		switch {
		case ev.Gone:
			delete(of, ev.Addr)
		case ev.State == host.NeighbourFailed:
			delete(of, ev.Addr)
			m.unreachable(ev.Link, ev.Addr)
		default:
			if of == nil {
				of = map[netip.Addr]frame.MAC{}
				m.l3.neighbours[ev.Link] = of
			}
			of[ev.Addr] = ev.MAC
			if _, wanted := m.l3.asked[neighbour{ev.Link, ev.Addr}]; wanted && ev.State == host.NeighbourStale {
				m.askKernel(ev.Link, ev.Addr)
			}
		}
	}
}

// unreachable gives up a next hop that does not answer.
func (m *manager) unreachable(link int, addr netip.Addr) {
	for name, n := range m.networks {
		if n.gate == nil {
			continue
		}
		out, ok := m.outside(n)
		switch {
		case n.leg.Host.Index == link:
			m.sw.Unreachable(dataplane.Hop{Network: name, To: gateway.Inside, Addr: addr})
		case ok && out.Index == link:
			m.sw.Unreachable(dataplane.Hop{Network: name, To: gateway.Outside, Addr: addr})
		}
	}
}

// resolve has the kernel find out a next hop's MAC.
func (m *manager) resolve(hop dataplane.Hop) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.networks[hop.Network]
	if n == nil || n.gate == nil {
		return
	}
	link := n.leg.Host.Index
	if hop.To == gateway.Outside {
		out, ok := m.outside(n)
		if !ok {
			return
		}
		link = out.Index
	}
	if len(m.l3.asked) < askedAtMost {
		m.l3.asked[neighbour{link, hop.Addr}] = time.Now()
	}
	m.askKernel(link, hop.Addr)
}

func (m *manager) askKernel(link int, addr netip.Addr) {
	if err := host.Resolve(link, addr); err != nil && !errors.Is(err, host.ErrNoLink) {
		m.log.Debug("resolve", "neighbour", addr, "err", err)
	}
}

// addressesBehind are those of the gateway's neighbours that are behind a guest's
// port.
func (m *manager) addressesBehind(p *port, network string) []netip.Addr {
	n := m.networks[network]
	if n == nil || n.gate == nil || p.role != dataplane.Guest || len(m.l3.neighbours[n.leg.Host.Index]) == 0 {
		return nil
	}
	entries, err := m.sw.FDB(network)
	if err != nil {
		m.log.Error("neighbours", "port", p.name(), "err", err)
	}
	macs := map[frame.MAC]bool{p.want.spec.MAC: true}
	for _, e := range entries {
		if e.PortName == p.key(network) {
			macs[e.Key.MAC()] = true
		}
	}
	var addrs []netip.Addr
	for a, mac := range m.l3.neighbours[n.leg.Host.Index] {
		if macs[mac] {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// forgetNeighbours drops guests that are gone: who comes with their addresses next
// may have another MAC, and what comes for it sooner than the kernel hears of that
// waits until it is asked for.
func (m *manager) forgetNeighbours(n *network, addrs []netip.Addr) {
	for _, a := range addrs {
		m.forgetNeighbour(n.leg.Host.Index, a)
	}
}

// forgetNeighbour drops one that is gone.
func (m *manager) forgetNeighbour(link int, addr netip.Addr) {
	delete(m.l3.neighbours[link], addr)
	if err := host.Unresolve(link, addr); err != nil && !errors.Is(err, host.ErrNoLink) {
		m.log.Warn("neighbour", "err", err)
	}
}

func (m *manager) forgetAsked() {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := time.Now().Add(-askedFor)
	maps.DeleteFunc(m.l3.asked, func(_ neighbour, at time.Time) bool { return at.Before(old) })
}

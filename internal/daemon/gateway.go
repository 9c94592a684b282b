package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"time"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
	"gxswitch/internal/host"
	"gxswitch/nat"
)

// layer3 is what the kernel says of addresses, routes and neighbours, and what
// networks with a gateway make of it.
type layer3 struct {
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

// gate is what a network with a gateway keeps while it exists.
type gate struct {
	nat      *nat.Table     // nil: routed
	ports    host.PortRange // of the external address that are nat's
	secret   [2]uint64      // of nat
	saved    []savedSession // that wait for the external address
	errors   *gateway.ErrorLimit
	borrowed netip.Addr          // of the uplink, where the network has no address
	routed   map[netip.Addr]bool // guests' addresses that have a host route; nil: not looked yet
	said     map[netip.Addr]bool // guests' addresses that the LAN was told of
	again    []netip.Addr        // of them those that it is to be told of once more

	extra   []config.Forward    // of the command line
	dropped map[nat.Listen]bool // of the configuration, taken out by the command line
}

// openGate makes a network's gateway, which passes nothing yet.
func (m *manager) openGate(n *network) error {
	if !n.spec.Mode.HasGateway() {
		return nil
	}
	n.gate = &gate{errors: gateway.NewErrorLimit(), said: map[netip.Addr]bool{}, dropped: map[nat.Listen]bool{}}
	return m.openNAT(n)
}

func (m *manager) openNAT(n *network) error {
	if n.spec.Mode != config.NAT {
		return nil
	}
	saved := m.loadSessions(n.spec.Name)
	if saved.Secret == [2]uint64{} {
		saved.Secret = [2]uint64{rand.Uint64(), rand.Uint64()}
	}
	var err error
	if n.gate.ports == (host.PortRange{}) {
		if n.gate.ports, err = m.natPorts(n.spec); err != nil {
			return err
		}
	}
	table, err := nat.New(nat.Config{
		Gateway: n.spec.Address, Secret: saved.Secret, FirstPort: n.gate.ports.First, LastPort: n.gate.ports.Last,
	})
	if err != nil {
		return err
	}
	n.gate.nat, n.gate.secret, n.gate.saved = table, saved.Secret, saved.Sessions
	return nil
}

// natPorts is the network's part of NAT's ports. Networks that have one address
// outside divide them: who they are is what the configuration says when the first
// of them is made, since sessions don't move.
func (m *manager) natPorts(spec config.Network) (host.PortRange, error) {
	external := m.externalBy(spec)
	shares := func(o config.Network) bool {
		return o.Mode == config.NAT && o.Uplink == spec.Uplink &&
			(o.NATAddress == spec.NATAddress || external.IsValid() && m.externalBy(o) == external)
	}
	names := []string{spec.Name}
	for _, o := range append(m.specs(), m.planned...) {
		if shares(o) {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	size := (nat.DefaultLastPort - nat.DefaultFirstPort + 1) / len(names)
	first := nat.DefaultFirstPort + size*slices.Index(names, spec.Name)
	mine := host.PortRange{First: uint16(first), Last: uint16(first + size - 1)}
	for _, o := range m.networks {
		if o.gate == nil || o.gate.nat == nil || o.spec.Name == spec.Name || !shares(o.spec) {
			continue
		}
		if theirs := o.gate.ports; theirs.First <= mine.Last && mine.First <= theirs.Last {
			return mine, &hinted{fmt.Errorf("network %s has the NAT ports of %s already", o.spec.Name, spec.Uplink),
				"give one of the two a nat_address, or put both into the configuration and restart the daemon: then they divide the ports"}
		}
	}
	return mine, nil
}

// externalBy is the address that a network would have outside, zero if that is not
// known yet.
func (m *manager) externalBy(spec config.Network) netip.Addr {
	n := &network{spec: spec}
	if out, ok := m.outside(n); ok || spec.NATAddress.IsValid() {
		return m.externalOf(n, out.Index)
	}
	return netip.Addr{}
}

// newPorts are the NAT ports of a network whose settings are about to change: with
// another address outside it shares them with others.
func (m *manager) newPorts(n *network, spec config.Network) (host.PortRange, error) {
	if n.gate == nil || n.gate.nat == nil || spec.NATAddress == n.spec.NATAddress {
		return host.PortRange{}, nil
	}
	return m.natPorts(spec)
}

// setGate follows the network's settings, which were old. Other addresses and other
// ports, if there are any, are other sessions.
func (m *manager) setGate(n *network, old config.Network, ports host.PortRange) error {
	if n.gate == nil {
		return nil
	}
	if ports == (host.PortRange{}) {
		ports = n.gate.ports
	}
	if n.spec.Address == old.Address && ports == n.gate.ports {
		return nil
	}
	n.gate.ports = ports
	err := m.openNAT(n)
	n.gate.saved = nil
	return err
}

// outside is the host's link to the LAN that the network's uplink is on: the NIC,
// or the host interface that took its addresses.
func (m *manager) outside(n *network) (host.Link, bool) {
	for _, o := range m.networks {
		if o.turned && o.spec.Uplink == n.spec.Uplink {
			return o.leg.Host, true
		}
	}
	return m.linkByName(n.spec.Uplink)
}

// refreshGateways gives every gateway the present picture, and keeps the host's
// stack from what they take.
func (m *manager) refreshGateways() {
	guards := map[int]*host.UplinkGuard{}
	reserve := false
	for _, n := range m.networks {
		if n.gate == nil {
			continue
		}
		reserve = reserve || n.gate.nat != nil
		if err := m.refreshGateway(n, guards); err != nil {
			m.log.Error("gateway", "network", n.spec.Name, "err", err)
		}
	}
	m.refreshGuards(guards)
	m.refreshReserved(reserve)
}

func (m *manager) refreshGateway(n *network, guards map[int]*host.UplinkGuard) error {
	out, ok := m.outside(n)
	if !ok || n.leg.Host.Index == 0 {
		n.gate.said = map[netip.Addr]bool{}
		return m.sw.SetGateway(n.spec.Name, nil)
	}
	external := m.externalOf(n, out.Index)
	if err := m.borrowAddress(n, external); err != nil {
		return err
	}
	guests := m.guestsOf(n)
	hosts := map[netip.Addr]struct{}{}
	for _, a := range m.l3.addrs {
		hosts[a] = struct{}{}
	}
	c := gateway.Config{
		Hosts: hosts, Guests: guests, Routes: m.routesBy(out.Index), Errors: n.gate.errors,
		ProxyARP: n.spec.Mode == config.Routed && n.spec.ProxyARP.Or(true),
		NAT:      n.gate.nat,
	}
	c.Link[gateway.Inside] = gateway.Link{MAC: n.leg.Host.MAC, MTU: n.leg.Host.MTU, Addr: n.spec.Address.Addr()}
	c.Link[gateway.Outside] = gateway.Link{MAC: out.MAC, MTU: out.MTU, Addr: external}
	c.Neighbours[gateway.Inside] = gateway.NewNeighbours(m.l3.neighbours[n.leg.Host.Index])
	c.Neighbours[gateway.Outside] = gateway.NewNeighbours(m.l3.neighbours[out.Index])
	if n.gate.nat != nil {
		if err := m.followExternal(n, external); err != nil {
			return err
		}
	}
	rules, err := gateway.New(c)
	if err != nil {
		return errors.Join(err, m.sw.SetGateway(n.spec.Name, nil))
	}
	if err := m.sw.SetGateway(n.spec.Name, &dataplane.Gateway{Rules: rules, NAT: n.gate.nat, Neighbours: c.Neighbours}); err != nil {
		return err
	}
	m.guardFor(n, out, external, guests, guards)
	m.tellOfGuests(n, guests)
	return nil
}

// externalOf is the address that the network has outside: what is configured, else
// the uplink's own.
func (m *manager) externalOf(n *network, link int) netip.Addr {
	if n.spec.NATAddress.IsValid() {
		return n.spec.NATAddress
	}
	if a, known := m.l3.external[link]; known {
		return a
	}
	a, err := host.SourceAddress(link)
	if err != nil {
		m.log.Error("address of the uplink", "network", n.spec.Name, "err", err)
	}
	m.l3.external[link] = a
	return a
}

// borrowAddress gives the host interface of a routed network without an address the
// uplink's, for the guests to know the host by.
func (m *manager) borrowAddress(n *network, external netip.Addr) error {
	if n.spec.Mode != config.Routed || n.spec.Address.IsValid() || n.gate.borrowed == external || !external.IsValid() {
		return nil
	}
	if _, err := host.EnsureLeg(n.spec.Name, m.mtu(n.spec), netip.PrefixFrom(external, 32)); err != nil {
		return err
	}
	n.gate.borrowed = external
	m.serveOrSay(n)
	return host.SetUnnumbered(n.leg.Host)
}

// followExternal gives NAT the address, and its forwards.
func (m *manager) followExternal(n *network, external netip.Addr) error {
	t := n.gate.nat
	if was := t.External(); was != external {
		if !external.IsValid() {
			m.log.Warn("the uplink has no IPv4 address, NAT waits for one", "network", n.spec.Name, "uplink", n.spec.Uplink)
		} else {
			m.log.Info("NAT", "network", n.spec.Name, "external", external)
		}
		if err := t.SetExternal(external); err != nil {
			return err
		}
	}
	want := map[nat.Listen]nat.Forward{}
	for _, f := range n.forwards() {
		if to, err := n.target(f.To, f.Listen.First); err == nil {
			want[f.Listen] = nat.Forward{Listen: f.Listen, To: to}
		} else {
			m.log.Error("forward", "network", n.spec.Name, "listen", f.Listen, "err", err)
		}
	}
	for _, f := range t.Forwards() {
		if want[f.Listen] != f {
			t.DeleteForward(f.Listen)
		}
	}
	var errs []error
	for _, f := range want {
		errs = append(errs, t.AddForward(f))
	}
	if external.IsValid() {
		m.restoreSessions(n)
	}
	return errors.Join(errs...)
}

// forwards are the network's: of the configuration and of the command line.
func (n *network) forwards() []config.Forward {
	all := slices.Clone(n.gate.extra)
	for _, f := range n.spec.Forwards {
		if !n.gate.dropped[f.Listen] {
			all = append(all, f)
		}
	}
	slices.SortFunc(all, func(a, b config.Forward) int {
		return cmp.Or(cmp.Compare(a.Listen.Protocol, b.Listen.Protocol), cmp.Compare(a.Listen.First, b.Listen.First))
	})
	return all
}

// target is the guest that a forward means; port is the first that it listens on.
func (n *network) target(t config.Target, port uint16) (netip.AddrPort, error) {
	a, err := n.spec.Resolve(t)
	return netip.AddrPortFrom(a, cmp.Or(t.Port, port)), err
}

// guestsOf are the addresses behind the gateway: the subnet, and those that ports
// of the network are told to have, as long as somebody is there to use them. A
// domain that is on its way to this host is still at another, whose LAN must not
// hear of it here.
func (m *manager) guestsOf(n *network) []netip.Prefix {
	var all []netip.Prefix
	if n.spec.Address.IsValid() {
		all = append(all, n.spec.Address.Masked())
	}
	if n.spec.Mode == config.Routed {
		for _, p := range m.ports {
			for _, a := range p.want.spec.IP {
				if p.role == dataplane.Guest && p.link.Running && p.members[0] == n.spec.Name && a.Is4() && !n.spec.Address.Masked().Contains(a) {
					all = append(all, netip.PrefixFrom(a, 32))
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return slices.Compact(all)
}

// tellOfGuests leads the host to guests outside the network's subnet, and tells
// the LAN of those that have come.
func (m *manager) tellOfGuests(n *network, guests []netip.Prefix) {
	g := n.gate
	if g.routed == nil { // a predecessor's may be there
		g.routed = map[netip.Addr]bool{}
		left, err := host.GuestRoutes(n.leg.Host.Index)
		if err != nil {
			m.log.Error("routes to guests", "network", n.spec.Name, "err", err)
		}
		for _, a := range left {
			g.routed[a] = true
		}
	}
	now := map[netip.Addr]bool{}
	for _, p := range guests {
		if p.IsSingleIP() {
			now[p.Addr()] = true
		}
	}
	for a := range now {
		if !g.routed[a] {
			if err := host.AddHostRoute(n.leg.Host.Index, a); err != nil {
				m.log.Error("route to guest", "network", n.spec.Name, "guest", a, "err", err)
				continue
			}
			g.routed[a] = true
		}
	}
	for a := range g.routed {
		if !now[a] {
			if err := host.DelHostRoute(n.leg.Host.Index, a); err != nil && !errors.Is(err, host.ErrNoLink) {
				m.log.Error("route to guest", "network", n.spec.Name, "guest", a, "err", err)
			}
			delete(g.routed, a)
			m.forgetNeighbour(n.leg.Host.Index, a) // who comes with it next may have another MAC
		}
	}
	if n.spec.Mode != config.Routed || !n.spec.ProxyARP.Or(true) {
		g.said = map[netip.Addr]bool{}
		return
	}
	up := map[netip.Addr]bool{} // behind a port that works
	for _, p := range m.ports {
		if p.role == dataplane.Guest && p.members[0] == n.spec.Name && p.link.Running {
			for _, a := range p.want.spec.IP {
				if up[a] = a.Is4(); up[a] && !g.said[a] {
					m.sw.Announce(n.spec.Name, a)
					g.again = append(g.again, a)
				}
			}
		}
	}
	g.said = up
}

// announceAgain tells the LAN once more of guests that have come: nobody confirms an
// announcement, so each goes out twice (RFC 5227, 2.3).
func (m *manager) announceAgain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.networks {
		if n.gate == nil {
			continue
		}
		for _, a := range n.gate.again {
			if n.gate.said[a] {
				m.sw.Announce(n.spec.Name, a)
			}
		}
		n.gate.again = nil
	}
}

// guardFor adds what the network's gateway takes of the packets that come by the
// uplink.
func (m *manager) guardFor(n *network, out host.Link, external netip.Addr, guests []netip.Prefix, guards map[int]*host.UplinkGuard) {
	g := guards[out.Index]
	if g == nil {
		g = &host.UplinkGuard{}
		guards[out.Index] = g
	}
	g.Prefixes = append(g.Prefixes, guests...)
	for _, a := range m.l3.addrs {
		if slices.ContainsFunc(guests, func(p netip.Prefix) bool { return p.Contains(a) }) {
			g.Host = append(g.Host, a)
		}
	}
	if n.gate.nat == nil || !external.IsValid() {
		return
	}
	if !slices.Contains(m.l3.addrs, external) {
		g.Prefixes = append(g.Prefixes, netip.PrefixFrom(external, 32))
	}
	ranges := []host.PortRange{n.gate.ports}
	for _, f := range n.gate.nat.Forwards() {
		ranges = append(ranges, host.PortRange{Proto: uint8(f.Protocol), First: f.First, Last: f.Last})
	}
	g.NAT = append(g.NAT, host.NATGuard{External: external, Ports: ranges})
}

// refreshGuards sets what is wanted where it differs from what there is.
func (m *manager) refreshGuards(wanted map[int]*host.UplinkGuard) {
	for index, g := range wanted {
		slices.SortFunc(g.NAT, func(a, b host.NATGuard) int { return a.External.Compare(b.External) })
		slices.SortFunc(g.Prefixes, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		if was, ok := m.l3.guarded[index]; ok && reflect.DeepEqual(was, *g) {
			continue
		}
		l, there := m.links[index]
		if !there {
			continue
		}
		err := host.SetUplinkGuard(l, *g)
		if errors.Is(err, host.ErrBypassed) {
			m.log.Warn("guard the uplink", "uplink", l.Name, "err", err)
			err = nil
		}
		if err != nil {
			m.log.Error("guard the uplink", "uplink", l.Name, "err", err)
			continue
		}
		m.l3.guarded[index] = *g
	}
	for index := range m.l3.guarded {
		if wanted[index] == nil {
			if l, there := m.links[index]; there {
				if err := host.DropUplinkGuard(l); err != nil && !errors.Is(err, host.ErrNoLink) {
					m.log.Error("take the uplink's guard away", "uplink", l.Name, "err", err)
				}
			}
			delete(m.l3.guarded, index)
		}
	}
}

// refreshReserved keeps the host's own connections out of NAT's ports.
func (m *manager) refreshReserved(want bool) {
	if want == m.l3.reserved && (want || m.reserved == "") {
		return
	}
	if !want {
		m.l3.reserved = false
		if err := host.RestorePorts(m.reserved); err != nil {
			m.log.Error("give back the NAT ports", "err", err)
		}
		m.reserved = ""
		return
	}
	if m.reserved == "" { // else a predecessor did
		added, err := host.UnreservedPorts(nat.DefaultFirstPort, nat.DefaultLastPort)
		if err != nil {
			m.log.Error("reserve the NAT ports", "err", err)
			return
		}
		m.reserved = added
		if err := m.journal(); err != nil {
			m.log.Error("reserve the NAT ports", "err", err)
		}
	}
	if _, err := host.ReservePorts(nat.DefaultFirstPort, nat.DefaultLastPort); err != nil {
		m.log.Error("reserve the NAT ports", "err", err)
		return
	}
	m.l3.reserved = true
}

// closeGate gives back what a network's gateway changed of the host. Its sessions
// stay in their file for the next daemon, but not where the network is no more.
func (m *manager) closeGate(n *network, forget bool) {
	if n.gate == nil {
		return
	}
	if n.gate.nat != nil {
		err := m.saveSessions(n)
		if forget {
			err = os.Remove(m.sessionsFile(n.spec.Name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			m.log.Error("sessions", "network", n.spec.Name, "err", err)
		}
	}
	n.gate = nil
	if err := m.sw.SetGateway(n.spec.Name, nil); err != nil {
		m.log.Error("gateway", "network", n.spec.Name, "err", err)
	}
	m.refreshGateways()
}

// adoptGuards takes over the uplinks' guards that a predecessor left: those that
// are not wanted go.
func (m *manager) adoptGuards() {
	left, err := host.UplinkGuards()
	if err != nil {
		m.log.Error("uplink guards of an earlier daemon", "err", err)
	}
	for _, l := range left {
		if m.ports[l.Index] == nil {
			mine, err := claim(fmt.Sprintf("interface %d", l.Index))
			if err != nil {
				continue // another daemon's, which is alive
			}
			mine.Close()
		}
		if _, known := m.l3.guarded[l.Index]; !known {
			m.l3.guarded[l.Index] = host.UplinkGuard{}
		}
	}
	m.refreshGateways()
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
func (m *manager) followLayer3(ctx context.Context, addrs <-chan []netip.Addr, routes <-chan []host.Route, neighbours <-chan []host.NeighbourEvent) {
	freshen, again := time.NewTicker(10*time.Second), time.NewTicker(announceInterval)
	defer freshen.Stop()
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case set, ok := <-addrs:
			if !ok {
				return
			}
			m.sw.SetHostAddresses(set)
			m.locked(func() {
				m.l3.addrs = set
				clear(m.l3.external)
			})
		case set, ok := <-routes:
			if !ok {
				return
			}
			m.locked(func() {
				m.l3.routes = set
				clear(m.l3.tables)
			})
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
	if n == nil || n.gate == nil || p.role != dataplane.Guest {
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

// gatewayText is what networkText says of a gateway.
func gatewayText(n config.Network) (text string) {
	if n.NATAddress.IsValid() {
		text += fmt.Sprintf(", nat_address %s", n.NATAddress)
	}
	if n.ProxyARP == config.Off {
		text += ", proxy_arp false"
	}
	for _, f := range n.Forwards {
		text += fmt.Sprintf(", forward %s to %s", f.Listen, f.To)
	}
	return text
}

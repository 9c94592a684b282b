package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"gxswitch/dataplane"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/ports"
)

// settle brings interfaces to what is wanted of them. Those that become ports
// are opened side by side: each socket waits for the kernel's grace periods,
// and two hundred of them one by one would take seconds.
func (m *manager) settle(links ...host.Link) {
	var joining []*opening
	for _, l := range links {
		if o := m.settleOne(l); o != nil {
			joining = append(joining, o)
		}
	}
	m.openAll(joining)
	for _, o := range joining {
		m.problem(o.link.Name, o.want, m.join(o))
	}
	m.settleTakeovers()
	m.refresh()
}

// refresh brings what depends on ports and their settings up to date. A gateway may
// borrow the address that servers have.
func (m *manager) refresh() {
	m.repin()
	m.refreshGateways()
	m.serveAll()
}

// settleOne does all but opening; what it returns is to be opened and joined.
func (m *manager) settleOne(l host.Link) *opening {
	for _, n := range m.networks {
		if n.leg.Host.Index == l.Index { // its MAC is pinned behind the inner end
			n.leg.Host = l
			if inner := m.ports[n.leg.Inner.Index]; inner != nil {
				m.update(inner, inner.link, inner.want)
			}
			return nil
		}
	}
	p := m.ports[l.Index]
	w, ok := m.wanted(l)
	if p != nil && (!ok || l.Master != 0 || p.link.Name != l.Name || p.role != w.role || !p.stays(w)) {
		m.detach(p, true)
		p = nil
	}
	switch {
	case !ok:
		delete(m.problems, l.Name)
		delete(m.leases, l.Index)
	case p == nil:
		o, err := m.prepare(l, w)
		m.problem(l.Name, w, err)
		return o
	default:
		m.update(p, l, w)
	}
	return nil
}

// stays reports whether the port is wanted in a network that it is in.
func (p *port) stays(w want) bool {
	return slices.ContainsFunc(p.members, func(n string) bool { return slices.Contains(w.networks, n) })
}

// problem notes why a port is not attached, or that it is. An event a second
// must not be a line a second.
func (m *manager) problem(name string, w want, err error) {
	switch {
	case err == nil:
		delete(m.problems, name)
	case m.problems[name] != err.Error():
		m.problems[name] = err.Error()
		m.log.Error("attach", "port", name, "network", w.spec.Network, "err", err)
	}
}

func (m *manager) settleAll() {
	links := slices.SortedFunc(maps.Values(m.links), func(a, b host.Link) int { return cmp.Compare(a.Index, b.Index) })
	m.settle(links...)
}

// gone forgets an interface that no longer exists.
func (m *manager) gone(l host.Link) {
	delete(m.links, l.Index)
	delete(m.problems, l.Name)
	delete(m.removed, l.Name)
	delete(m.touched, l.Index)
	delete(m.leases, l.Index)
	if r := m.runtime[l.Name]; r != nil && r.ifindex == l.Index {
		delete(m.runtime, l.Name) // the next interface of this name is another guest's
	}
	m.forget(l.Index)
	if p := m.ports[l.Index]; p != nil {
		m.detach(p, false)
		if err := m.journal(); err != nil {
			m.log.Error("detach", "port", p.name(), "err", err)
		}
	}
	for _, n := range m.networks {
		if i := n.leg.Inner.Index; i != 0 && (i == l.Index || n.leg.Host.Index == l.Index) {
			m.log.Warn("somebody removed the host leg, it is made again", "network", n.spec.Name)
			n.leg = host.Leg{}
			if n.gate != nil {
				n.gate.borrowed, n.gate.routed = netip.Addr{}, nil // went with it
			}
			if err := m.ensureLeg(n); err != nil {
				m.log.Error("host leg", "network", n.spec.Name, "err", err)
			}
		}
	}
}

// opening is an interface on its way to become a port.
type opening struct {
	link host.Link
	want want
	io   ports.Port
	why  string // the engine is another than that of the daemon
	err  error
}

// attach makes one interface a port: prepare (journal, seal), open, join. What
// a failure leaves half done is undone.
func (m *manager) attach(l host.Link, w want) error {
	o, err := m.prepare(l, w)
	if err != nil {
		return err
	}
	m.openAll([]*opening{o})
	return m.join(o)
}

// prepare writes down what the interface is like and makes it fit to be a port.
func (m *manager) prepare(l host.Link, w want) (_ *opening, err error) {
	if err := attachable(l); err != nil {
		return nil, err
	}
	if err := m.claimPort(l.Index, l.Name); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.releasePort(l.Index)
		}
	}()
	if _, known := m.touched[l.Index]; !known && w.role != dataplane.Host {
		now, err := host.LinkByIndex(l.Index) // l may be from before we gave its MTU back
		if err != nil {
			return nil, err
		}
		was, err := host.Inspect(now)
		if err != nil {
			return nil, err
		}
		l.MTU = now.MTU
		m.touched[l.Index] = touched{Name: l.Name, IfIndex: l.Index, Sealed: w.role == dataplane.Guest, Was: was, WasMTU: l.MTU}
		if err := m.journal(); err != nil {
			delete(m.touched, l.Index)
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			m.restore(l)
		}
	}()
	if w.role == dataplane.Guest {
		err = host.Seal(l)
	} else if !l.AdminUp {
		err = host.SetUp(l.Index, true)
	}
	if err != nil {
		return nil, err
	}
	if mtu := m.portMTU(l, w); mtu != l.MTU {
		if err := host.SetMTU(l.Index, mtu); err != nil {
			return nil, err
		}
	}
	if l, err = host.LinkByIndex(l.Index); err != nil {
		return nil, err
	}
	m.links[l.Index] = l
	return &opening{link: l, want: w}, nil
}

// openAll opens the sockets of several ports side by side.
func (m *manager) openAll(all []*opening) {
	var wg sync.WaitGroup
	for _, o := range all {
		wg.Go(func() {
			o.io, o.why, o.err = m.openPort(o.link, o.want.role)
		})
	}
	wg.Wait()
}

// join puts the open port into its network.
func (m *manager) join(o *opening) error {
	l, w := o.link, o.want
	err := o.err
	if err == nil {
		p := &port{link: l, role: w.role, want: w, engineReason: o.why}
		p.dropped, _ = host.TxDropped(l.Index)
		p.fast, _ = o.io.(*fastpath.Port)
		if err = m.sw.Attach(m.portConfig(p, w.networks[0]), o.io); err == nil {
			p.members = w.networks[:1:1]
			m.ports[l.Index] = p
			if was := m.leases[l.Index]; was.of(w.spec) {
				for _, lease := range was.Leases {
					m.sw.Allow(p.name(), lease)
				}
			}
			m.pinStations(p, w.networks[0])
			m.log.Info("port attached", "port", p.name(), "network", w.networks[0], "role", w.role.String())
			m.share(p)
			return nil
		}
	}
	m.restore(l)
	m.releasePort(l.Index)
	return err
}

// share makes the port a member of the networks that are wanted besides.
func (m *manager) share(p *port) {
	for _, network := range p.want.networks {
		if slices.Contains(p.members, network) {
			continue
		}
		if err := m.sw.Share(m.portConfig(p, network), p.key(p.members[0])); err != nil {
			m.log.Error("attach", "port", p.name(), "network", network, "err", err)
			continue
		}
		p.members = append(p.members, network)
		m.pinStations(p, network)
		m.log.Info("port attached", "port", p.name(), "network", network, "role", p.role.String())
	}
}

// leave takes the port out of one of several networks.
func (m *manager) leave(p *port, network string) {
	defer m.forgetNeighbours(m.networks[network], m.addressesBehind(p, network))
	if err := m.sw.Detach(p.key(network)); err != nil {
		m.log.Error("detach", "port", p.name(), "err", err)
	}
	m.dropStations(p, network)
	p.members = slices.DeleteFunc(p.members, func(n string) bool { return n == network })
	m.log.Info("port detached", "port", p.name(), "network", network)
}

// portConfig is the port in one of its networks as the dataplane takes it.
func (m *manager) portConfig(p *port, network string) dataplane.PortConfig {
	spec := p.want.spec
	c := dataplane.PortConfig{
		Name: p.key(network), Network: network, Role: p.role, MTU: p.link.MTU, Up: p.link.Running,
		Local: m.local(p, network), VLANs: spec.VLAN, RateFrom: spec.RateFrom, RateTo: spec.RateTo,
	}
	n := m.networks[network].spec
	if p.role != dataplane.Guest && (p.role == dataplane.Uplink || n.Uplink == "") { // the way out of the network
		c.RateFrom, c.RateTo = n.RateDown, n.RateUp
	}
	switch p.role {
	case dataplane.Uplink:
		c.VLANs, c.UplinkVLAN = n.VLAN, n.UplinkVLAN
	case dataplane.Guest:
		c.Policy, c.Storm, c.MACLimit, c.Isolated = spec.Policy(), spec.Storm, spec.MACLimit, spec.Isolated
		c.Twin = m.twin(p.link.Name)
	}
	return c
}

// twin is the other interface of the same virtual NIC: Xen's emulated one
// (vif1.0-emu) lives beside the paravirtual (vif1.0) until the guest has a
// driver for that.
func twin(name string) string {
	const emulated = "-emu"
	if vif, ok := strings.CutSuffix(name, emulated); ok {
		return vif
	}
	return name + emulated
}

// attachable refuses interfaces that something else moves frames for.
func attachable(l host.Link) error {
	switch {
	case l.Loopback:
		return fmt.Errorf("%s is the loopback interface", l.Name)
	case l.Master != 0:
		master := fmt.Sprintf("interface %d", l.Master)
		if b, err := host.LinkByIndex(l.Master); err == nil {
			master = b.Kind + " " + b.Name
		}
		return &hinted{fmt.Errorf("interface %s is enslaved to %s", l.Name, master),
			fmt.Sprintf("ip link set %s nomaster", l.Name)}
	}
	return nil
}

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// local is the host's own address behind the port: its leg's, or the NIC's. With
// takeover they are the same, and it is behind one of the two at a time.
func (m *manager) local(p *port, network string) frame.MAC {
	n := m.networks[network]
	switch {
	case p.role == dataplane.Uplink && !n.turned:
		return p.link.MAC
	case p.role == dataplane.Host && n.turned == n.spec.Takeover:
		return n.leg.Host.MAC
	}
	return frame.MAC{}
}

// portMTU is what the interface's MTU should be: the port's, else the
// network's if somebody set it, else what it was. A NIC keeps its own.
func (m *manager) portMTU(l host.Link, w want) int {
	if w.role == dataplane.Uplink {
		return l.MTU
	}
	if w.mtu != 0 {
		return w.mtu
	}
	if t, ok := m.touched[l.Index]; ok && t.WasMTU != 0 {
		return t.WasMTU
	}
	return l.MTU
}

// update follows what changed of an attached interface, or of what is wanted.
func (m *manager) update(p *port, l host.Link, w want) {
	changed := !p.want.equal(w)
	p.link, p.want = l, w
	m.look(p)
	if changed {
		if mtu := m.portMTU(l, w); mtu != l.MTU {
			if err := host.SetMTU(l.Index, mtu); err != nil {
				m.log.Error("update", "port", p.name(), "err", err)
			} else {
				p.link.MTU = mtu
			}
		}
		for _, network := range slices.Clone(p.members) {
			if !slices.Contains(w.networks, network) {
				m.leave(p, network)
			}
		}
		m.share(p)
	}
	for _, network := range p.members {
		c := m.portConfig(p, network)
		err := m.sw.Update(c.Name, func(now *dataplane.PortConfig) { *now = c })
		if err != nil {
			m.log.Error("update", "port", p.name(), "err", err)
		}
	}
}

// detach takes the port out of the switch and, if its interface is still
// there, puts that back as it was.
func (m *manager) detach(p *port, restore bool) {
	for _, network := range slices.Clone(p.members) {
		m.leave(p, network)
	}
	delete(m.ports, p.link.Index)
	if restore {
		m.restore(p.link)
	}
	m.releasePort(p.link.Index)
}

// restore puts an interface back as it was before it became a port.
func (m *manager) restore(l host.Link) {
	t, ok := m.touched[l.Index]
	if !ok {
		return
	}
	delete(m.touched, l.Index)
	var err error
	if t.Sealed && t.WasMTU != 0 { // an uplink's is not ours; l may be from before we changed it
		err = host.SetMTU(l.Index, t.WasMTU)
	}
	if t.Sealed {
		err = errors.Join(err, host.Unseal(l, t.Was))
	} else if !t.Was.WasUp {
		err = errors.Join(err, host.SetUp(l.Index, false))
	}
	if err != nil && !errors.Is(err, host.ErrNoLink) {
		m.log.Error("put the interface back as it was", "port", t.Name, "err", err)
	}
}

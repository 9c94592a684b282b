package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gxswitch/dataplane"
	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/host"
)

// manager holds what is wanted and what there is, and closes the gap.
type manager struct {
	kernel       *fastpath.Engine // nil: afpacket moves the frames
	engineReason string           // why, where another was wanted

	sw       *dataplane.Switch
	log      *slog.Logger
	stateDir string
	file     string // of the configuration, which may not be there
	bootID   string
	netNS    uint64
	started  time.Time
	hostname string               // one label
	pins     atomic.Pointer[pins] // replaced under mu

	calls pluggings // of the hotplug script, that wait for mu

	mu  sync.Mutex // guards all below
	cfg config.Config
	xen config.XenMode // as at the start; once a xenstore was seen, on

	links    map[int]host.Link
	networks map[string]*network
	ports    map[int]*port           // attached, by ifindex
	runtime  map[string]*runtimePort // of the command line and the hotplug script, by interface name
	removed  map[string]bool         // configured ports that the command line took out, by interface name
	problems map[string]string       // interface name → why it is not attached though it should be
	touched  map[int]touched         // by ifindex: what to restore
	claims   map[int]*net.UnixConn   // by ifindex: see claim
	leases   map[int]learned         // by ifindex, as of the last journal
	stations map[station]int         // static entries, with the ifindex of their port (legIndex: the host's leg)
	l3       layer3
	reserved string // ports that were taken from the host's own connections, as host.RestorePorts takes them

	takeovers map[string]*host.Takeover       // by network
	inherited map[string][]fastpath.Inherited // while it starts, by network
}

// network is one that exists.
type network struct {
	spec    config.Network
	runtime bool // made by the command line
	leg     host.Leg
	claim   *net.UnixConn // keeps the name, where the network has a leg
	gate    *gate         // nil where its mode has none
	turned  bool          // the host's own frames go to the leg, which has taken over the uplink
	refused refusal       // the last takeover failed

	services services
}

// port is an interface that is attached.
type port struct {
	link    host.Link
	role    dataplane.Role
	want    want
	members []string       // the networks it is a port of: one, but of an uplink there may be more
	fast    *fastpath.Port // nil: afpacket moves its frames

	engineReason string // why it does, where the daemon's engine is the other
	dropped      uint64 // by the device, before the port was attached
}

// name is what users call the port. The host's leg is called by the end that
// the host sees, which bears the network's name.
func (p *port) name() string {
	if p.role == dataplane.Host {
		return p.want.spec.Network
	}
	return p.link.Name
}

// key is what the dataplane calls the port's membership in a network. An uplink
// may have several; no interface has a slash in its name.
func (p *port) key(network string) string {
	if p.role == dataplane.Uplink {
		return p.link.Name + "/" + network
	}
	return p.name()
}

// shown is the port's name in a key of the dataplane's.
func shown(key string) string {
	name, _, _ := strings.Cut(key, "/")
	return name
}

// want is what an interface should be.
type want struct {
	role   dataplane.Role
	spec   config.Port // Name is the interface's, no pattern; Network is networks[0]
	source string      // "config" or "runtime"
	mtu    int         // the port's, else the network's; 0: left as it is

	networks []string // that it is a port of, in order
}

func (w want) equal(v want) bool {
	return w.role == v.role && w.source == v.source && w.mtu == v.mtu && w.spec.Equal(v.spec) && slices.Equal(w.networks, v.networks)
}

// runtimePort is a port of the command line or the hotplug script, or (override)
// what the command line changed of a configured one.
type runtimePort struct {
	ifindex  int
	override bool
	over     config.Port // with override: the [[port]] that was changed, as it was then
	spec     config.Port

	xen  *control.HotplugSpec // what the hotplug script said; nil: it is none of its ports
	base config.Port          // what that and the configuration came to
}

func newManager(sw *dataplane.Switch, log *slog.Logger, stateDir string) *manager {
	m := &manager{
		sw: sw, log: log, stateDir: stateDir,
		bootID: host.BootID(), netNS: host.NetNS(), started: time.Now(), hostname: hostLabel(),
		links:    map[int]host.Link{},
		networks: map[string]*network{},
		ports:    map[int]*port{},
		runtime:  map[string]*runtimePort{},
		removed:  map[string]bool{},
		problems: map[string]string{},
		touched:  map[int]touched{},
		claims:   map[int]*net.UnixConn{},
		leases:   map[int]learned{},
		stations: map[station]int{},
		l3:       newLayer3(),

		takeovers: map[string]*host.Takeover{},
	}
	m.pins.Store(&pins{})
	return m
}

// start makes the configured networks, takes over what a predecessor left, and
// attaches every port that is there.
func (m *manager) start(cfg config.Config, st state) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	links, err := host.Links()
	if err != nil {
		return err
	}
	for _, l := range links {
		m.links[l.Index] = l
	}
	m.inherit()
	if st.Takeovers != nil { // before anything that may fail: stop gives them back
		m.takeovers = st.Takeovers
	}
	for _, n := range cfg.Networks {
		if err := m.addNetwork(n, false); err != nil {
			return err
		}
	}
	m.cfg, m.xen = cfg, cfg.Daemon.Xen
	m.reserved = st.Reserved
	m.adopt(st, links)
	m.recoverTakeovers()
	if err := m.sweepLegs(); err != nil {
		return err
	}
	if links, err = host.Links(); err != nil { // with the legs
		return err
	}
	for _, l := range links {
		m.links[l.Index] = l
	}
	m.settle(links...)
	m.adopted()
	m.adoptGuards()
	for index := range m.touched { // a predecessor's ports that nobody wants now
		if m.ports[index] == nil {
			m.restore(m.links[index])
		}
	}
	for _, n := range m.networks {
		if _, there := m.linkByName(n.spec.Uplink); n.spec.Uplink != "" && !there {
			m.log.Warn("uplink is not there, the network waits for it",
				"network", n.spec.Name, "uplink", n.spec.Uplink, "hint", "ip link shows the names of interfaces")
		}
	}
	return m.journal()
}

// stop gives every interface back as it was. Ports of the command line stay in
// the journal for the next daemon.
func (m *manager) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.journal(); err != nil { // with the leases, before the guards go
		m.log.Error("stop", "err", err)
	}
	stations := maps.Clone(m.stations) // which are the next daemon's, as ports are
	for _, n := range m.networks {
		m.closeGate(n, false)
	}
	for name := range m.takeovers {
		if err := m.giveBack(name); err != nil {
			m.log.Error("give back the uplink", "err", err)
		}
	}
	for _, p := range m.ports {
		if p.role != dataplane.Host {
			m.detach(p, true)
		}
	}
	for _, n := range m.networks {
		m.dropLeg(n)
	}
	m.stations = stations
	if err := m.journal(); err != nil {
		m.log.Error("stop", "err", err)
	}
}

// handOver leaves everything to the next daemon, which finds it in the journal.
func (m *manager) handOver() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.log.Info("interfaces are left as they are, for the next daemon")
	err := m.journal() // with what guards have learned to this moment
	for _, n := range m.networks {
		if n.gate != nil && n.gate.nat != nil {
			err = errors.Join(err, m.saveSessions(n))
		}
	}
	if err != nil {
		m.log.Error("hand over", "err", err)
	}
}

// follow handles links as they come, change and go; what comes while it is busy
// is handled together.
func (m *manager) follow(events <-chan host.Event) {
	batches := make(chan []host.Event)
	go gather(events, batches)
	for batch := range batches {
		m.mu.Lock()
		m.handle(batch)
		m.mu.Unlock()
	}
}

// gather passes events on, all that have come since the last batch was taken.
func gather(events <-chan host.Event, batches chan<- []host.Event) {
	defer close(batches)
	var pending []host.Event
	for {
		var ready chan<- []host.Event
		if len(pending) > 0 {
			ready = batches
		}
		select {
		case ev, ok := <-events:
			if !ok {
				return
			}
			pending = append(pending, ev)
		case ready <- pending:
			pending = nil
		}
	}
}

// handle takes a batch of events in their order: an index that is gone is gone
// before whatever bears its name now is settled.
func (m *manager) handle(batch []host.Event) {
	var live []host.Link
	for _, ev := range batch {
		live = slices.DeleteFunc(live, func(l host.Link) bool { return l.Index == ev.Link.Index })
		if ev.Gone {
			m.gone(ev.Link)
			continue
		}
		ev.Link = m.current(ev.Link)
		m.renamed(m.links[ev.Link.Index].Name, ev.Link)
		m.links[ev.Link.Index] = ev.Link
		live = append(live, ev.Link)
	}
	m.settle(live...)
}

// renamed lets a port of the command line follow its interface's name. What keeps
// the interface from being a port is noted anew, under the new one.
func (m *manager) renamed(old string, l host.Link) {
	if old == l.Name {
		return
	}
	delete(m.problems, old)
	r := m.runtime[old]
	if r == nil || r.ifindex != l.Index || r.override {
		return
	}
	delete(m.runtime, old)
	r.spec.Name = l.Name
	m.runtime[l.Name] = r
}

// wanted is what the interface should be; false: none of ours.
func (m *manager) wanted(l host.Link) (want, bool) {
	w, ok := m.membership(l)
	if ok && w.role != dataplane.Uplink {
		w.mtu = m.wantedMTU(w.spec)
	}
	return w, ok
}

// wantedMTU is the port's, else its network's; 0: nobody set one.
func (m *manager) wantedMTU(spec config.Port) int {
	return cmp.Or(spec.MTU, m.networks[spec.Network].spec.MTU, m.vifMTU(spec))
}

func (m *manager) membership(l host.Link) (want, bool) {
	if fastpath.Owns(l.Name) {
		return want{}, false
	}
	up := want{role: dataplane.Uplink, spec: config.Port{Name: l.Name}}
	for _, n := range m.networks {
		switch l.Name {
		case n.leg.Inner.Name:
			return m.wantLeg(n), n.leg.Inner.Index == l.Index
		case n.leg.Host.Name:
			return want{}, false
		case n.spec.Uplink:
			up.networks = append(up.networks, n.spec.Name)
		}
	}
	if len(up.networks) > 0 {
		slices.Sort(up.networks)
		up.spec.Network = up.networks[0]
		up.source = m.networks[up.networks[0]].source()
		return up, true
	}
	if r := m.runtime[l.Name]; r != nil && r.ifindex == l.Index {
		source := "runtime"
		if r.override {
			source = "config"
		}
		return wantGuest(r.spec, source), m.networks[r.spec.Network] != nil
	}
	if m.removed[l.Name] || m.awaitsHotplug(l.Name) {
		return want{}, false
	}
	if spec, ok := m.cfg.MatchPort(l.Name); ok && m.networks[spec.Network] != nil {
		spec.Name = l.Name
		return wantGuest(spec, "config"), true
	}
	return want{}, false
}

func wantGuest(spec config.Port, source string) want {
	return want{role: dataplane.Guest, spec: spec, source: source, networks: []string{spec.Network}}
}

// wantLeg is the host's leg. A [[port]] of exactly its name, which is the
// network's, or the command line says which VLANs it carries.
func (m *manager) wantLeg(n *network) want {
	name := n.spec.Name
	spec := config.Port{Name: n.leg.Inner.Name, Network: name}
	if n.spec.Takeover {
		spec.VLAN = n.spec.VLAN // it stands for the uplink
	}
	for _, p := range m.cfg.Ports {
		if p.Name == name && p.Network == name {
			spec.VLAN = p.VLAN
			break
		}
	}
	if r := m.runtime[name]; r != nil && r.ifindex == legIndex {
		spec.VLAN = r.spec.VLAN
	}
	return want{role: dataplane.Host, spec: spec, source: n.source(), networks: []string{name}}
}

// legIndex stands for the interface of a host's leg, which is another after
// each start.
const legIndex = 0

func (n *network) source() string {
	if n.runtime {
		return "runtime"
	}
	return "config"
}

// specs are the networks there are, sorted by name.
func (m *manager) specs() []config.Network {
	var specs []config.Network
	for _, n := range m.networks {
		specs = append(specs, n.spec)
	}
	slices.SortFunc(specs, func(a, b config.Network) int { return cmp.Compare(a.Name, b.Name) })
	return specs
}

func (m *manager) linkByName(name string) (host.Link, bool) {
	for _, l := range m.links {
		if l.Name == name {
			return l, true
		}
	}
	return host.Link{}, false
}

// mtu is the network's: what is configured, else the uplink's, else 1500.
func (m *manager) mtu(n config.Network) int {
	if n.MTU != 0 {
		return n.MTU
	}
	if l, ok := m.linkByName(n.Uplink); ok {
		return l.MTU
	}
	return 1500
}

// portByName finds an attached port by what users call it.
func (m *manager) portByName(name string) *port {
	for _, p := range m.ports {
		if p.name() == name {
			return p
		}
	}
	return nil
}

// sweepLegs removes host legs that a predecessor left and nobody wants.
func (m *manager) sweepLegs() error {
	left, err := host.LeftoverLegs()
	if err != nil {
		return err
	}
	for _, name := range left {
		if n := m.networks[name]; n != nil && n.leg.Host.Index != 0 || m.takeovers[name] != nil {
			continue
		}
		mine, err := claim("network " + name)
		if err != nil {
			continue // another daemon's, which is alive
		}
		defer mine.Close()
		m.log.Info("remove the host leg that an earlier daemon left", "network", name)
		if err := host.DelLeg(name); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
	}
	return nil
}

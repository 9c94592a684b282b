package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gxswitch/fdb"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/ports"
	"gxswitch/shaping"
)

// Switch is a set of networks with their ports, and the workers that move
// frames between them. All methods may be called from any goroutine.
type Switch struct {
	view  atomic.Pointer[view]
	clock atomic.Int64 // seconds since New, for the FDB's stamps

	losing atomic.Bool // a worker read of losses
	leased atomic.Bool // a guard learned a lease: see LeasesChanged

	fast *fast // nil without an engine in the kernel

	unresolved chan Hop

	workers []*worker
	log     *slog.Logger
	started time.Time
	ticker  chan struct{} // closed to end tick
	ticked  chan struct{} // closed when tick ended

	closing sync.WaitGroup // ports that were detached

	mu       sync.Mutex // guards all below, and the replacing of view
	networks map[string]*network
	attached []*attachment // by fdb.PortID, nil where free
	wires    int           // above every wire.id in use
	byName   map[string]fdb.PortID
	hosts    map[netip.Addr]struct{} // replaced, never changed: views share it
	closed   bool
}

// attachment is a port with its present settings.
type attachment struct {
	cfg  PortConfig
	port *port
}

// Options are what a Switch starts with.
type Options struct {
	Workers int          // 0: one a CPU
	Log     *slog.Logger // nil: slog.Default

	Kernel Kernel       // the engine in the kernel; nil: none
	Punts  []ports.Port // its ways to user space
}

// NetworkConfig is a network as the dataplane sees it.
type NetworkConfig struct {
	Name     string
	FDBLimit int           // entries, 0: fdb.DefaultLimit
	Ageing   time.Duration // 0: fdb.DefaultAgeing
	HostOnly bool          // its host leg carries the host's own packets alone
	Gateway  bool          // it has a gateway, see SetGateway, and its uplink is the gateway's
}

// PortConfig is a port as the dataplane sees it.
type PortConfig struct {
	Name    string // of the port, unique in the switch
	Network string
	Role    Role
	MTU     int       // bytes at layer 3
	Up      bool      // frames may leave by it
	Local   frame.MAC // the host's own address behind it: pinned in the FDB; null for none

	VLANs      vlan.Set // zero: vlan.Default
	UplinkVLAN uint16   // the network is this VLAN of the interface, and untagged inside; 0: all of it

	Policy   filter.Policy
	Storm    filter.StormRate // 0: no limit
	MACLimit int              // addresses that may be learned behind it; 0: no limit of its own
	Isolated bool             // no frames from or to other isolated ports
	Twin     string           // the port that is the same virtual NIC: no frames between the two
	RateFrom shaping.Limit    // of what comes from the port; zero: none
	RateTo   shaping.Limit    // of what goes to it, likewise
}

// vlans is what the port carries inside the network.
func (c *PortConfig) vlans() vlan.Set {
	switch {
	case c.UplinkVLAN != 0:
		return vlan.Access(defaultVID)
	case c.VLANs.IsZero():
		return vlan.Default()
	}
	return c.VLANs
}

// defaultVID is the VLAN of untagged frames where nobody said another
// (802.1Q-2018, table 9-2).
const defaultVID = 1

// Errors of the methods, wrapped with the names.
var (
	ErrExists     = errors.New("exists already")
	ErrNoNetwork  = errors.New("no such network")
	ErrNoPort     = errors.New("no such port")
	ErrHasPorts   = errors.New("still has ports")
	ErrClosed     = errors.New("switch is stopped")
	ErrTooMany    = errors.New("too many ports")
	ErrShared     = errors.New("another port has this VLAN of the interface")
	errNotUnicast = errors.New("is no unicast address")
	errNoVLAN     = errors.New("no such VLAN")
)

const maxPorts = 1 << 16

// New starts a switch without networks.
func New(opt Options) (*Switch, error) {
	if opt.Workers <= 0 {
		opt.Workers = runtime.NumCPU()
	}
	if opt.Log == nil {
		opt.Log = slog.Default()
	}
	s := &Switch{
		log:      opt.Log,
		started:  time.Now(),
		ticker:   make(chan struct{}),
		ticked:   make(chan struct{}),
		networks: map[string]*network{},
		byName:   map[string]fdb.PortID{},

		unresolved: make(chan Hop, networkPackets),
	}
	s.view.Store(&view{})
	go s.tick()
	for i := range opt.Workers {
		w, err := newWorker(s, i)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start worker %d: %w", i, err), s.Close())
		}
		s.workers = append(s.workers, w)
		go w.loop()
	}
	if opt.Kernel != nil {
		s.startFast(opt.Kernel, opt.Punts)
	}
	return s, nil
}

// Close stops the workers and closes every port.
func (s *Switch) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	close(s.ticker)
	<-s.ticked
	s.stopFast()
	for _, w := range s.workers {
		w.stop()
	}
	for on := range s.open() {
		s.closing.Go(func() { on.io.Close() })
	}
	s.closing.Wait()
	return nil
}

// Workers is how many threads move frames.
func (s *Switch) Workers() int { return len(s.workers) }

// tick moves the clock, ages addresses, collects ring losses before the kernel's
// 32-bit counter can wrap, and looks after the rings' lengths: at those that lose
// frames at once, at the others each second.
func (s *Switch) tick() {
	defer close(s.ticked)
	t := time.NewTicker(lossTick)
	defer t.Stop()
	for {
		select {
		case <-s.ticker:
			return
		case <-t.C:
		}
		now := int64(time.Since(s.started) / time.Second)
		second := now != s.clock.Swap(now)
		if !second && !s.losing.Swap(false) {
			continue
		}
		s.mu.Lock()
		nets := slices.Collect(maps.Values(s.networks))
		for on, of := range s.open() {
			if on.losing.Swap(false) || second {
				var read uint64
				for _, a := range of {
					read += a.port.counters.rxPackets.Load()
				}
				s.watchRing(on, of[0].cfg.Name, read)
			}
		}
		s.mu.Unlock()
		if second {
			s.tickFast(now)
			for _, n := range nets {
				n.table.Age(now)
				if gw := n.gateway.Load(); gw != nil && gw.NAT != nil {
					gw.NAT.Expire(now)
				}
				s.remind(n, now)
			}
		}
	}
}

// open are the interfaces, with the ports that each is.
func (s *Switch) open() map[*wire][]*attachment {
	all := map[*wire][]*attachment{}
	for _, a := range s.attached {
		if a != nil {
			all[a.port.wire] = append(all[a.port.wire], a)
		}
	}
	return all
}

// AddNetwork makes a network without ports.
func (s *Switch) AddNetwork(cfg NetworkConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.networks[cfg.Name] != nil {
		return fmt.Errorf("network %s: %w", cfg.Name, ErrExists)
	}
	n := &network{cfg: cfg, table: fdb.New(fdb.Config{Limit: cfg.FDBLimit, Ageing: cfg.Ageing})}
	s.number(n)
	s.networks[cfg.Name] = n
	return nil
}

// SetNetwork changes a network while its traffic goes on.
func (s *Switch) SetNetwork(cfg NetworkConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	net := s.networks[cfg.Name]
	if net == nil {
		return fmt.Errorf("network %s: %w", cfg.Name, ErrNoNetwork)
	}
	net.cfg = cfg
	net.table.SetLimit(cfg.FDBLimit)
	net.table.SetAgeing(cfg.Ageing)
	s.publish()
	return nil
}

// DelNetwork removes a network that has no ports.
func (s *Switch) DelNetwork(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.networks[name] == nil {
		return fmt.Errorf("network %s: %w", name, ErrNoNetwork)
	}
	for _, a := range s.attached {
		if a != nil && a.cfg.Network == name {
			return fmt.Errorf("network %s: %w: %s", name, ErrHasPorts, a.cfg.Name)
		}
	}
	delete(s.networks, name)
	if s.fast != nil {
		return s.fast.DropNetwork(name)
	}
	return nil
}

// SetHostAddresses says which addresses are the host's own; see toHost.
func (s *Switch) SetHostAddresses(addrs []netip.Addr) {
	if s.fast != nil {
		if err := s.fast.SetHostAddresses(addrs); err != nil {
			s.log.Error("tell the kernel the host's addresses", "err", err)
		}
	}
	set := make(map[netip.Addr]struct{}, len(addrs))
	for _, a := range addrs {
		set[a.Unmap().WithZone("")] = struct{}{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts = set
	s.publish()
}

// publish replaces the view. When it returns, no frame is on its way that saw
// an older one.
func (s *Switch) publish() {
	v := s.build()
	s.tell(v)
	s.view.Store(v)
	if s.closed {
		return
	}
	for _, w := range s.workers {
		w.call(func() {})
	}
}

// Attach makes io a port of a network. The switch closes io, also when Attach
// fails.
func (s *Switch) Attach(cfg PortConfig, io ports.Port) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	on := &wire{io: io}
	err := s.vlanFree(on, cfg.UplinkVLAN)
	if err == nil {
		err = s.attach(cfg, on)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("port %s: %w", cfg.Name, err), io.Close())
	}
	if s.puntOf(io) == nil {
		on.worker.call(func() { on.worker.add(on) })
	}
	return nil
}

// Share makes the interface of the port called of a port of another network
// too. Each frame goes to one of them: to the one whose UplinkVLAN it bears, else
// to the one without.
func (s *Switch) Share(cfg PortConfig, of string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, _ := s.find(of)
	if first == nil {
		return fmt.Errorf("port %s: %s: %w", cfg.Name, of, ErrNoPort)
	}
	if !s.isGate(&cfg) {
		if err := s.vlanFree(first.port.wire, cfg.UplinkVLAN); err != nil {
			return fmt.Errorf("port %s: %w", cfg.Name, err)
		}
	}
	if err := s.attach(cfg, first.port.wire); err != nil {
		return fmt.Errorf("port %s: %w", cfg.Name, err)
	}
	return nil
}

// isGate reports whether the port is a gateway's uplink.
func (s *Switch) isGate(cfg *PortConfig) bool {
	net := s.networks[cfg.Network]
	return net != nil && net.cfg.Gateway && cfg.Role == Uplink
}

// vlanFree reports whether no port has that VLAN of the interface.
func (s *Switch) vlanFree(on *wire, vid uint16) error {
	if vid > vlan.MaxVID {
		return fmt.Errorf("VLAN %d: %w", vid, errNoVLAN)
	}
	for _, a := range s.open()[on] {
		if a.cfg.UplinkVLAN == vid && !s.isGate(&a.cfg) {
			return fmt.Errorf("%w: %s", ErrShared, a.cfg.Name)
		}
	}
	return nil
}

func (s *Switch) attach(cfg PortConfig, on *wire) error {
	if s.closed {
		return ErrClosed
	}
	net := s.networks[cfg.Network]
	if net == nil {
		return fmt.Errorf("network %s: %w", cfg.Network, ErrNoNetwork)
	}
	if _, ok := s.byName[cfg.Name]; ok {
		return ErrExists
	}
	id := s.freeID()
	if id >= maxPorts {
		return ErrTooMany
	}
	if err := pin(net, fdb.PortID(id), &cfg); err != nil {
		return err
	}
	if on.worker == nil {
		on.worker, on.id = s.leastLoaded(), s.freeWire()
		if way := s.puntOf(on.io); way != nil {
			on.worker = way.worker
		}
		s.wires = max(s.wires, int(on.id)+1)
	}
	on.members++
	p := &port{wire: on, pending: make([][]ports.Send, len(s.workers))}
	for i := range p.pending {
		p.pending[i] = make([]ports.Send, 0, ports.BatchSize)
	}
	if id == len(s.attached) {
		s.attached = append(s.attached, nil)
	}
	p.hold(fdb.PortID(id), PortConfig{}, cfg, s.nanos())
	net.table.SetPortLimit(fdb.PortID(id), cfg.MACLimit)
	s.attached[id] = &attachment{cfg: cfg, port: p}
	s.byName[cfg.Name] = fdb.PortID(id)
	s.publish()
	return nil
}

// hold makes what the port is held to follow its settings.
func (p *port) hold(id fdb.PortID, old, cfg PortConfig, now int64) {
	p.carries, p.names = cfg.vlans(), true
	n := 0
	for range p.carries.All() {
		if n++; n > namesAtMost {
			p.names = false
			break
		}
	}
	for _, r := range []struct {
		pacer *(*pacer)
		from  bool
		limit shaping.Limit
	}{{&p.from, true, cfg.RateFrom}, {&p.to, false, cfg.RateTo}} {
		if *r.pacer != nil {
			(*r.pacer).setLimit(r.limit, now)
		} else if !r.limit.IsZero() {
			*r.pacer = newPacer(id, p, r.from, r.limit, now)
		}
	}
	switch {
	case cfg.Policy.Equal(filter.Policy{IP: cfg.Policy.IP}):
		p.guard = nil // one with a MAC learns leases also while nothing is refused
	case p.guard == nil:
		p.guard = filter.NewGuard(cfg.Policy)
	case !cfg.Policy.Equal(old.Policy):
		p.guard = p.guard.With(cfg.Policy)
	}
	switch {
	case cfg.Storm == 0:
		p.storm = nil
	case p.storm == nil || cfg.Storm != old.Storm:
		p.storm = filter.NewStorm(cfg.Storm)
	}
}

// release drops what a port holds that is gone.
func (p *port) release(now int64) {
	for _, pacer := range []*pacer{p.from, p.to} {
		if pacer != nil {
			pacer.flush(now)
		}
	}
}

// nanos is the time that pacers and storm control go by.
func (s *Switch) nanos() int64 { return int64(time.Since(s.started)) }

// pin enters the host's own address behind the port.
func pin(net *network, id fdb.PortID, cfg *PortConfig) error {
	if cfg.Local.IsZero() || net.cfg.Gateway && cfg.Role == Uplink { // a gate's MAC is no station of the network
		return nil
	}
	if cfg.Local.IsMulticast() {
		return fmt.Errorf("%s %w", cfg.Local, errNotUnicast)
	}
	if err := net.table.Add(cfg.localKey(), id, fdb.Local); err != nil {
		return fmt.Errorf("host address %s: %w", cfg.Local, err)
	}
	return nil
}

// localKey is where the host's own address is in the FDB.
func (c *PortConfig) localKey() fdb.Key {
	set := c.vlans()
	return fdb.MakeKey(set.PVID(), c.Local)
}

func (s *Switch) freeID() int {
	for id, a := range s.attached {
		if a == nil {
			return id
		}
	}
	return len(s.attached)
}

func (s *Switch) freeWire() int32 {
	used := map[int32]bool{}
	if s.fast != nil {
		for _, on := range s.fast.punts {
			used[on.id] = true
		}
	}
	for on := range s.open() {
		used[on.id] = true
	}
	id := int32(0)
	for used[id] {
		id++
	}
	return id
}

// leastLoaded is the worker with the fewest interfaces.
func (s *Switch) leastLoaded() *worker {
	count := make([]int, len(s.workers))
	for on := range s.open() {
		count[on.worker.index]++
	}
	best := 0
	for i := range count {
		if count[i] < count[best] {
			best = i
		}
	}
	return s.workers[best]
}

// Update changes a port's settings without detaching it. The name, the network
// and the role stay as they are.
func (s *Switch) Update(name string, change func(*PortConfig)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, id := s.find(name)
	if a == nil {
		return fmt.Errorf("port %s: %w", name, ErrNoPort)
	}
	old := a.cfg
	cfg := old
	change(&cfg)
	cfg.Name, cfg.Network, cfg.Role = old.Name, old.Network, old.Role
	if reflect.DeepEqual(cfg, old) {
		return nil
	}
	if cfg.UplinkVLAN != old.UplinkVLAN {
		if err := s.vlanFree(a.port.wire, cfg.UplinkVLAN); err != nil {
			return fmt.Errorf("port %s: %w", name, err)
		}
	}
	net := s.networks[cfg.Network]
	if cfg.Local != old.Local || cfg.localKey() != old.localKey() {
		if err := pin(net, id, &cfg); err != nil {
			return fmt.Errorf("port %s: %w", name, err)
		}
		if !s.isGate(&cfg) {
			net.table.Delete(old.localKey())
		}
	}
	net.table.SetPortLimit(id, cfg.MACLimit)
	a.port.hold(id, old, cfg, s.nanos())
	a.cfg = cfg
	s.publish()
	if !cfg.Up && old.Up || cfg.vlans() != old.vlans() || cfg.UplinkVLAN != old.UplinkVLAN {
		net.table.FlushPort(id)
	}
	return nil
}

// Detach takes a port out. When it returns, no frame is on its way to or from
// it any more; it is closed in the background, since the kernel takes its time
// over sockets.
func (s *Switch) Detach(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, id := s.find(name)
	switch {
	case s.closed:
		return ErrClosed
	case a == nil:
		return fmt.Errorf("port %s: %w", name, ErrNoPort)
	}
	delete(s.byName, name)
	s.attached[id] = nil
	defer a.port.release(s.nanos())
	on := a.port.wire
	if on.members--; on.members > 0 {
		s.publish()
		s.networks[a.cfg.Network].table.RemovePort(id)
		return nil
	}
	if f := a.port.fastPort(); f != nil {
		s.failed(&member{cfg: a.cfg}, f.Disable())
	}
	v := s.build()
	s.tell(v)
	s.view.Store(v)
	for _, w := range s.workers {
		w.call(func() { w.remove(on) })
	}
	s.networks[a.cfg.Network].table.RemovePort(id)
	s.closing.Go(func() {
		if err := on.io.Close(); err != nil {
			s.log.Error("close", "port", name, "err", err)
		}
	})
	return nil
}

func (s *Switch) find(name string) (*attachment, fdb.PortID) {
	id, ok := s.byName[name]
	if !ok {
		return nil, 0
	}
	return s.attached[id], id
}

package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// Switch is a set of networks with their ports, and the workers that move
// frames between them. All methods may be called from any goroutine.
type Switch struct {
	view  atomic.Pointer[view]
	clock atomic.Int64 // seconds since New, for the FDB's stamps

	workers []*worker
	log     *slog.Logger
	started time.Time
	ticker  chan struct{} // closed to end tick
	ticked  chan struct{} // closed when tick ended

	closing sync.WaitGroup // ports that were detached

	mu       sync.Mutex // guards all below, and the replacing of view
	networks map[string]*network
	attached []*attachment // by fdb.PortID, nil where free
	byName   map[string]fdb.PortID
	hosts    map[netip.Addr]struct{} // replaced, never changed: views share it
	closed   bool
}

// attachment is a port with its present settings.
type attachment struct {
	cfg  PortConfig
	port *port

	ring ringWatch
}

// Options are what a Switch starts with.
type Options struct {
	Workers int          // 0: one a CPU
	Log     *slog.Logger // nil: slog.Default
}

// NetworkConfig is a network as the dataplane sees it.
type NetworkConfig struct {
	Name     string
	FDBLimit int           // entries, 0: fdb.DefaultLimit
	Ageing   time.Duration // 0: fdb.DefaultAgeing
	HostOnly bool          // its host leg carries the host's own packets alone
}

// PortConfig is a port as the dataplane sees it.
type PortConfig struct {
	Name    string
	Network string
	Role    Role
	MTU     int       // bytes at layer 3
	Up      bool      // frames may leave by it
	Local   frame.MAC // the host's own address behind it: pinned in the FDB; null for none
}

// Errors of the methods, wrapped with the names.
var (
	ErrExists     = errors.New("exists already")
	ErrNoNetwork  = errors.New("no such network")
	ErrNoPort     = errors.New("no such port")
	ErrHasPorts   = errors.New("still has ports")
	ErrClosed     = errors.New("switch is stopped")
	ErrTooMany    = errors.New("too many ports")
	errNotUnicast = errors.New("is no unicast address")
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
	for _, w := range s.workers {
		w.stop()
	}
	for _, a := range s.attached {
		if a != nil {
			s.closing.Go(func() { a.port.io.Close() })
		}
	}
	s.closing.Wait()
	return nil
}

// Workers is how many threads move frames.
func (s *Switch) Workers() int { return len(s.workers) }

// tick moves the clock, ages addresses, collects ring losses before the kernel's
// 32-bit counter can wrap, and looks after the rings' lengths.
func (s *Switch) tick() {
	defer close(s.ticked)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-s.ticker:
			return
		case <-t.C:
		}
		now := int64(time.Since(s.started) / time.Second)
		s.clock.Store(now)
		s.mu.Lock()
		nets := slices.Collect(maps.Values(s.networks))
		for id, a := range s.attached {
			if a != nil {
				s.watchRing(fdb.PortID(id), a)
			}
		}
		s.mu.Unlock()
		for _, n := range nets {
			n.table.Age(now)
		}
	}
}

// AddNetwork makes a network without ports.
func (s *Switch) AddNetwork(cfg NetworkConfig) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.networks[cfg.Name] != nil {
		return fmt.Errorf("network %s: %w", cfg.Name, ErrExists)
	}
	s.networks[cfg.Name] = &network{cfg: cfg, table: fdb.New(fdb.Config{Limit: cfg.FDBLimit, Ageing: cfg.Ageing})}
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
	return nil
}

// SetHostAddresses says which addresses are the host's own; see toHost.
func (s *Switch) SetHostAddresses(addrs []netip.Addr) {
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
	s.view.Store(s.build())
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
	err := s.attach(cfg, io)
	if err != nil {
		return errors.Join(fmt.Errorf("port %s: %w", cfg.Name, err), io.Close())
	}
	return nil
}

func (s *Switch) attach(cfg PortConfig, io ports.Port) error {
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
	if err := pin(net, fdb.PortID(id), cfg.Local); err != nil {
		return err
	}
	p := &port{io: io, pending: make([][]ports.Send, len(s.workers)), worker: s.leastLoaded()}
	for i := range p.pending {
		p.pending[i] = make([]ports.Send, 0, ports.BatchSize)
	}
	if id == len(s.attached) {
		s.attached = append(s.attached, nil)
	}
	s.attached[id] = &attachment{cfg: cfg, port: p}
	s.byName[cfg.Name] = fdb.PortID(id)
	s.view.Store(s.build())
	p.worker.call(func() { p.worker.add(fdb.PortID(id), p) })
	return nil
}

// pin enters the host's own address behind the port.
func pin(net *network, id fdb.PortID, mac frame.MAC) error {
	if mac.IsZero() {
		return nil
	}
	if mac.IsMulticast() {
		return fmt.Errorf("%s %w", mac, errNotUnicast)
	}
	if err := net.table.Add(fdb.MakeKey(defaultVID, mac), id, fdb.Local); err != nil {
		return fmt.Errorf("host address %s: %w", mac, err)
	}
	return nil
}

func (s *Switch) freeID() int {
	for id, a := range s.attached {
		if a == nil {
			return id
		}
	}
	return len(s.attached)
}

// leastLoaded is the worker with the fewest ports.
func (s *Switch) leastLoaded() *worker {
	count := make([]int, len(s.workers))
	for _, a := range s.attached {
		if a != nil {
			count[a.port.worker.index]++
		}
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
	if cfg == old {
		return nil
	}
	net := s.networks[cfg.Network]
	if cfg.Local != old.Local {
		if err := pin(net, id, cfg.Local); err != nil {
			return fmt.Errorf("port %s: %w", name, err)
		}
		net.table.Delete(fdb.MakeKey(defaultVID, old.Local))
	}
	a.cfg = cfg
	s.publish()
	if !cfg.Up && old.Up {
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
	s.view.Store(s.build())
	for _, w := range s.workers {
		w.call(func() { w.remove(id) })
	}
	s.networks[a.cfg.Network].table.RemovePort(id)
	s.closing.Go(func() {
		if err := a.port.io.Close(); err != nil {
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

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
	balancer balancer
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
		s.mu.Lock() // tick is at work
		s.workers = append(s.workers, w)
		s.mu.Unlock()
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
		s.balance()
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
	s.nextEra()
	if s.closed {
		return
	}
	for _, w := range s.workers {
		w.call(func() {})
	}
}

// nanos is the time that pacers and storm control go by.
func (s *Switch) nanos() int64 { return int64(time.Since(s.started)) }

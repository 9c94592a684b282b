package fastpath

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Bounds of the maps, as in maps.bpf.h.
const (
	maxPorts  = 4096
	maxWays   = 256
	hostAddrs = 0xffffffff
)

// Engine is the program with its maps, the ports that it is attached to, and the
// way to user space.
type Engine struct {
	log     *slog.Logger
	hash    string   // of the run directory's name
	pins    string   // directory in a bpffs; "" without one
	held    *os.File // pins, see hold
	obj     objects
	filters bool // no tcx links, though the kernel has them

	successor bool        // of one that had ports
	leaving   atomic.Bool // to a successor, see Leave

	punts []*Punt
	shm   []punts // gx_punts: of each port, then of each way
	flows flows

	stations stations

	full atomic.Uint64           // addresses that found no room, each time that they were tried
	at   [maxPorts]atomic.Uint32 // where of each port, 0 where free

	vlanMu    sync.RWMutex // guards what follows; nobody waits with it held
	databases map[vlanKey]*database
	byFID     [maxFIDs]*database

	mu       sync.Mutex              // guards what follows
	ports    []*Port                 // by number, nil where free
	adopted  map[int]uint16          // ifindex → number, of a predecessor's ports
	links    map[int]*hook           // by ifindex, of a predecessor
	hadAddrs map[uint32][]netip.Addr // that a predecessor told gx_addrs of
	networks map[string]uint32       // numbers
	unasked  map[string]bool         // networks of a predecessor's that nobody has asked for
	next     uint16                  // number to try next

	hostMu    sync.Mutex // guards hostAddrs
	hostAddrs []netip.Addr
}

// objects are what is loaded.
type objects struct {
	objectPrograms
	objectMaps
}

// punts is struct punts of maps.bpf.h.
type punts struct {
	punted, settled uint64
	_               [6]uint64
}

// Options say how to open the engine.
type Options struct {
	RunDir  string // whose name tells this engine's pins from another's
	Punts   int    // ways to user space: one a worker
	Filters bool   // attach by tc filters, as on kernels without tcx (before 6.6)
	Log     *slog.Logger
}

// Open loads the program and the maps, or adopts what a predecessor with the
// same run directory left. It needs CAP_BPF and CAP_NET_ADMIN.
func Open(opt Options) (_ *Engine, err error) {
	e := &Engine{
		log:       opt.Log,
		hash:      nameHash(opt.RunDir),
		ports:     make([]*Port, maxPorts),
		adopted:   map[int]uint16{},
		links:     map[int]*hook{},
		networks:  map[string]uint32{},
		unasked:   map[string]bool{},
		hadAddrs:  map[uint32][]netip.Addr{},
		databases: map[vlanKey]*database{},
		next:      1, // 0 is nobody's, as in a frame that bears no number
		filters:   opt.Filters,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.release())
		}
	}()
	e.pins, err = pinDir(opt.RunDir)
	if err != nil {
		e.log.Warn("traffic will not go on without the daemon", "err", err)
	}
	if err := othersPins(e.pins); err != nil {
		return nil, err
	}
	if e.pins != "" {
		if err := e.hold(); err != nil {
			return nil, err
		}
	}
	// A program of another layout would go on forwarding, before ours and by rules
	// that nobody changes.
	if old, err := removePins(opt.RunDir, e.pins); err != nil {
		return nil, fmt.Errorf("remove what a daemon of another version left: %w", err)
	} else if old {
		e.log.Warn("removed what a daemon of another version left in the kernel")
	}
	if err := e.load(); err != nil {
		return nil, fmt.Errorf("load the eBPF program: %w", explain(err))
	}
	e.shm, err = mapShared[punts](e.obj.GxPunts, maxPorts+maxWays)
	if err != nil {
		return nil, fmt.Errorf("map the counters of punts: %w", err)
	}
	if err := e.flows.open(&e.obj); err != nil {
		return nil, err
	}
	if err := e.stations.open(&e.obj); err != nil {
		return nil, fmt.Errorf("map the addresses: %w", err)
	}
	if err := e.adopt(); err != nil {
		return nil, fmt.Errorf("adopt what an earlier daemon left: %w", err)
	}
	if err := e.openPunts(opt.Punts); err != nil {
		return nil, err
	}
	return e, nil
}

// load makes the maps, or takes those that are pinned, and loads the programs.
// Maps of another version are of no use: what they belong to goes.
func (e *Engine) load() error {
	err := e.loadOnce()
	if errors.Is(err, ebpf.ErrMapIncompatible) {
		e.log.Warn("an earlier daemon's maps are of another version, they are made anew", "err", err)
		if err := os.RemoveAll(e.pins); err != nil {
			return err
		}
		if err := e.hold(); err != nil {
			return err
		}
		err = e.loadOnce()
	}
	return err
}

func (e *Engine) loadOnce() error {
	spec, err := loadObject()
	if err != nil {
		return err
	}
	var opt ebpf.CollectionOptions
	if e.pins != "" {
		opt.Maps.PinPath = e.pins
		for _, m := range spec.Maps {
			m.Pinning = ebpf.PinByName
		}
	}
	return spec.LoadAndAssign(&e.obj, &opt)
}

// explain says what an error of the kernel's means here.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (it needs root, or CAP_BPF and CAP_NET_ADMIN)", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w (no memory for its maps; RLIMIT_MEMLOCK or the memory cgroup)", err)
	case errors.Is(err, unix.ENOSYS), errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w (the kernel lacks what it needs; Linux 5.15 or later with CONFIG_BPF_SYSCALL)", err)
	}
	return err
}

// Leave makes Close, of ports too, leave to a successor all that is pinned: it goes
// on forwarding. Without pins it changes nothing.
func (e *Engine) Leave() { e.leaving.Store(e.Survives()) }

// Close takes the program off every port and removes everything, pins included.
func (e *Engine) Close() error {
	if e.leaving.Load() {
		return e.release()
	}
	e.mu.Lock()
	var all []*Port
	for _, p := range e.ports {
		if p != nil {
			all = append(all, p)
		}
	}
	e.mu.Unlock()
	var errs []error
	for _, p := range all {
		errs = append(errs, p.Close())
	}
	errs = append(errs, e.Sweep())
	for _, p := range e.punts {
		errs = append(errs, p.remove())
	}
	if e.pins != "" {
		errs = append(errs, os.RemoveAll(e.pins))
		_ = os.Remove(filepath.Dir(e.pins)) // unless another namespace has its own there
	}
	errs = append(errs, e.release())
	return errors.Join(errs...)
}

// release gives up the descriptors; what is pinned goes on.
func (e *Engine) release() error {
	errs := []error{unmapShared(e.shm), e.stations.close(), e.flows.close()}
	e.shm = nil
	for _, h := range e.links {
		errs = append(errs, h.close())
	}
	for _, p := range e.punts {
		errs = append(errs, p.release())
	}
	e.punts = nil
	if e.held != nil {
		errs = append(errs, e.held.Close())
		e.held = nil
	}
	if e.obj.GxIngress != nil {
		errs = append(errs, e.obj.objectPrograms.Close(), e.obj.objectMaps.Close())
	}
	return errors.Join(errs...)
}

// Survives reports whether the engine is pinned, so that traffic goes on without
// the process.
func (e *Engine) Survives() bool { return e.pins != "" }

// Full is how often an address found no room in the kernel. Its frames are
// forwarded by user space.
func (e *Engine) Full() uint64 { return e.full.Load() }

// noRoom counts an address that found none.
func (e *Engine) noRoom(why string) {
	if e.full.Add(1) == 1 {
		e.log.Warn("no room for another address in the kernel, user space forwards its frames; status counts them", "why", why)
	}
}

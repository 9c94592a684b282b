package nat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Bounds and defaults.
const (
	DefaultLimit     = 65536 // sessions
	DefaultFirstPort = 61000 // Linux's own range ends at 60999 (ip_local_port_range)
	DefaultLastPort  = 65535

	// MaxLimit keeps the memory of a mistyped limit around 700 MiB.
	MaxLimit = 1 << 22
)

// Guest is the number of who opens sessions, and whose they count for: the port
// that a packet came from, since the address in it is the guest's to choose. The
// caller chooses numbers densely from 0.
type Guest uint16

// Config is what a Table starts with. Zero values stand for the defaults, but
// Gateway has none.
type Config struct {
	// Gateway is the switch's address in the guests' network, and that network.
	Gateway netip.Prefix

	// FirstPort to LastPort, which both belong to it, is the range that sessions
	// get their external ports from.
	FirstPort, LastPort uint16

	Limit      int // sessions
	GuestLimit int // of them, of one guest or forward; a quarter of Limit
	Timeouts   Timeouts

	// Secret decides which external port a guest's port gets if it is free. Zero:
	// nobody knows. A caller that keeps it keeps it to itself.
	Secret [2]uint64
}

// Table is the sessions and forwards of one network. Make one with New.
//
// Its memory is 160 bytes a session of its limit, of which the system gives what
// has been used.
type Table struct {
	// Of Config, and never changed:
	gateway           uint32
	network, mask     uint32
	limit, guestLimit int
	timeouts          [numStates]int32
	ports             seed
	seed              seed // of the index

	buckets []bucket
	slots   []slot

	external  atomic.Uint32
	portRange atomic.Uint32 // first<<16 | last
	forwards  atomic.Pointer[forwards]
	siblings  atomic.Pointer[[]*Table]
	bypass    atomic.Pointer[Bypass]
	version   atomic.Uint64
	_         [64]byte // the mutex, which opening takes, apart from what all read

	// mu guards the fields below, the slots' links, and every change of a slot but
	// for stamp and tracks.
	mu     sync.Mutex
	owners []owner
	bySize []uint32 // every owner, a heap: the one with the most sessions first
	guests []uint32 // owners by Guest, plus one
	spare  []uint32 // owners that were a forward's
	free   uint32   // the first free slot of those that have been used
	used   uint32   // slots from here on never have been
	len    int

	fragments fragments
}

// New returns an empty table without external address: nothing passes it before
// SetExternal.
func New(c Config) (*Table, error) {
	if !c.Gateway.IsValid() || !c.Gateway.Addr().Is4() {
		return nil, fmt.Errorf("NAT gateway %v: want an IPv4 address with prefix length, as in 10.20.0.1/24", c.Gateway)
	}
	if c.FirstPort == 0 && c.LastPort == 0 {
		c.FirstPort, c.LastPort = DefaultFirstPort, DefaultLastPort
	}
	if c.FirstPort == 0 || c.LastPort < c.FirstPort {
		return nil, fmt.Errorf("NAT ports %d-%d: want the lower one first, from 1", c.FirstPort, c.LastPort)
	}
	if c.Limit <= 0 {
		c.Limit = DefaultLimit
	}
	c.Limit = min(c.Limit, MaxLimit)
	if c.GuestLimit <= 0 {
		c.GuestLimit = max(c.Limit/4, 1)
	}
	if c.Secret == [2]uint64{} {
		c.Secret = [2]uint64{rand.Uint64(), rand.Uint64()}
	}
	t := &Table{
		gateway:    addressFrom(c.Gateway.Addr()),
		mask:       ^uint32(0) << (32 - c.Gateway.Bits()),
		limit:      c.Limit,
		guestLimit: c.GuestLimit,
		timeouts:   c.Timeouts.seconds(),
		ports:      seed{c.Secret[0], c.Secret[1], 0x9e3779b97f4a7c15},
		// The runtime's ChaCha8, seeded from the kernel: not to be foreseen. Without
		// a secret a guest could choose ports that share a bucket.
		seed:    seed{rand.Uint64(), rand.Uint64(), rand.Uint64()},
		buckets: newIndex(c.Limit),
		slots:   make([]slot, c.Limit),
		free:    none,
	}
	t.network = t.gateway & t.mask
	t.forwards.Store(&forwards{})
	t.siblings.Store(&[]*Table{})
	t.portRange.Store(uint32(c.FirstPort)<<16 | uint32(c.LastPort))
	t.fragments.init()
	return t, nil
}

// SetExternal changes the address that guests share; the zero Addr is none. All
// sessions end if it is another than before, as all of them are bound to it.
func (t *Table) SetExternal(a netip.Addr) error {
	if a.IsValid() && !a.Is4() {
		return fmt.Errorf("NAT address %v: want an IPv4 address", a)
	}
	is := addressFrom(a)
	if is != 0 && t.isInside(is) {
		return fmt.Errorf("NAT address %v: is in the guests' network %v", a, t.Network())
	}
	t.mu.Lock()
	was := t.external.Swap(is)
	t.mu.Unlock()
	if was != is {
		t.version.Add(1)
		t.removeIf(func(s *slot) bool { return s.external() == was })
		t.fragments.forget()
	}
	return nil
}

// SetPorts changes the range that new sessions get their external ports from.
// Sessions that there are keep theirs.
func (t *Table) SetPorts(first, last uint16) error {
	if first == 0 || last < first {
		return fmt.Errorf("NAT ports %d-%d: want the lower one first, from 1", first, last)
	}
	t.mu.Lock()
	if is := uint32(first)<<16 | uint32(last); t.portRange.Swap(is) != is {
		t.version.Add(1)
	}
	t.mu.Unlock()
	return nil
}

// SetSiblings names the tables that have the same external address. Their ranges
// are to be others; what they have of this one's, sessions from before SetPorts and
// forwards, is left to them.
func (t *Table) SetSiblings(siblings []*Table) {
	if was := t.siblings.Swap(&siblings); !slices.Equal(*was, siblings) {
		t.version.Add(1)
	}
}

// elsewhere reports whether a sibling takes what comes with that key from outside.
func (t *Table) elsewhere(k key) bool {
	for _, s := range *t.siblings.Load() {
		var m match
		if s.find(k, &m) || s.forwards.Load().at(k.proto(), k.dport()) != nil {
			return true
		}
	}
	return false
}

func (t *Table) portsNow() (first, last uint16) {
	is := t.portRange.Load()
	return uint16(is >> 16), uint16(is)
}

// External is the address that guests share, the zero Addr if there is none.
func (t *Table) External() netip.Addr { return addr(t.external.Load()) }

// Gateway is the switch's address in the guests' network.
func (t *Table) Gateway() netip.Addr { return addr4(t.gateway) }

// Network is the guests' network.
func (t *Table) Network() netip.Prefix {
	bits := 0
	for m := t.mask; m != 0; m <<= 1 {
		bits++
	}
	return netip.PrefixFrom(addr4(t.network), bits)
}

// Len is the number of sessions, with those that are overdue.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.len
}

// Expire removes the sessions that have been silent for too long, and returns how
// many. It is meant to be called about once a second, and reads the whole table.
func (t *Table) Expire(now int64) int {
	return t.removeIf(func(s *slot) bool {
		t.hear(s, now)
		return s.age(now) > t.timeouts[state(s.state.Load())]
	})
}

// Flush removes every session and returns how many.
func (t *Table) Flush() int {
	t.fragments.forget()
	return t.removeIf(func(*slot) bool { return true })
}

// stride is how many slots removeIf looks at before it lets go of the mutex.
const stride = 256

// removeIf removes the sessions for which f is true. One that is opened meanwhile
// may be missed.
func (t *Table) removeIf(f func(*slot) bool) (removed int) {
	for at, more := uint32(0), true; more; at += stride {
		var n int
		n, more = t.removeSome(at, f)
		removed += n
	}
	return removed
}

func (t *Table) removeSome(from uint32, f func(*slot) bool) (removed int, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	to := min(from+stride, t.used)
	for at := from; at < to; at++ {
		if s := &t.slots[at]; s.generation.Load()&1 != 0 && f(s) {
			t.remove(at)
			removed++
		}
	}
	return removed, to < t.used
}

// insert makes a session that was last heard at now, and sets m to it. The caller holds the mutex,
// and has seen to it that neither key is taken and that there is room.
func (t *Table) insert(o uint32, keys [2]key, st state, now int64, m *match) {
	at := t.free
	if at == none {
		at = t.used
		t.used++
	} else {
		t.free = t.slots[at].next
	}
	s := &t.slots[at]
	s.keys[opener].store(keys[opener])
	s.keys[other].store(keys[other])
	s.stamp.Store(uint32(now))
	s.state.Store(uint32(st) | o<<8)
	s.tracks[opener].Store(0)
	s.tracks[other].Store(0)
	s.ways[opener].Store(0)
	s.ways[other].Store(0)
	s.seen = uint32(now)
	t.listOf(o, st).append(t.slots, at)
	t.rerank(o)
	t.len++
	generation := s.generation.Add(1)
	t.refer(keys[opener], at, opener)
	t.refer(keys[other], at, other)
	*m = match{s, at, generation, opener, keys[other], s.state.Load()}
}

// remove ends a session. The caller holds the mutex.
func (t *Table) remove(at uint32) {
	s := &t.slots[at]
	word := match{word: s.state.Load()}
	s.generation.Add(1)
	t.unbind(s)
	t.unrefer(s.keys[opener].load(), at, opener)
	t.unrefer(s.keys[other].load(), at, other)
	t.listOf(word.owner(), word.state()).cut(t.slots, at)
	t.rerank(word.owner())
	t.len--
	s.next, t.free = t.free, at
}

// setState brings a session on from the state that m was found in, unless another
// worker was faster.
func (t *Table) setState(m *match, is state, now int64) {
	t.mu.Lock()
	s := m.slot
	if s.generation.Load() == m.generation && s.state.Load() == m.word {
		if was := m.state(); was.assured() != is.assured() {
			t.listOf(m.owner(), was).cut(t.slots, m.at)
			t.listOf(m.owner(), is).append(t.slots, m.at)
			s.seen = uint32(now)
		}
		s.state.Store(uint32(is) | m.owner()<<8)
		if !is.bypassable() {
			t.unbind(s)
		}
	}
	t.mu.Unlock()
}

// findAlive is find for a session that is not overdue; one that is it removes.
// The caller holds the mutex.
func (t *Table) findAlive(k key, now int64, m *match) bool {
	if !t.find(k, m) {
		return false
	}
	if t.overdue(m, now) {
		t.remove(m.at)
		return false
	}
	return true
}

// external is the address that the session is bound to. Of an outbound session it
// is where answers come to, of the others where the opener sent to.
func (s *slot) external() uint32 {
	if k := s.keys[other].load(); k.from() == outside {
		return k.dst()
	}
	return s.keys[opener].load().dst()
}

func (t *Table) isInside(a uint32) bool { return a&t.mask == t.network }

package lease

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gxswitch/internal/frame"
)

var (
	// ErrExhausted means that no address is free for this client.
	ErrExhausted = errors.New("no address is free")
	// ErrLimit means that the client's port has as many as it may.
	ErrLimit = errors.New("the port has as many addresses as it may")
	// ErrRefused means that the client can't have this address.
	ErrRefused = errors.New("the address is not this client's")
	// ErrUnknown means that the client was not given this address, as far as
	// the table remembers, but could be.
	ErrUnknown = errors.New("the address was not offered to this client")
)

// Client is who asks, and what for.
type Client struct {
	MAC       frame.MAC
	Port      string     // behind which it is; "" if not known, which counts as one port
	Unlimited bool       // the port may hold any number: an uplink
	Fixed     netip.Addr // what the port is configured to have, if anything
	Requested netip.Addr
	Hostname  string        // as the client says it
	Time      time.Duration // it wants the lease for, if not 0
}

// Lease is an address that a station has.
type Lease struct {
	MAC      frame.MAC
	Addr     netip.Addr
	Hostname string // what DNS calls it, "" if nothing
	Port     string // behind which the station was when it last asked
	Expires  time.Time
}

// Table is a network's leases. Make one with New.
type Table struct {
	mu     sync.RWMutex // guards the fields below
	view   *view
	byAddr map[netip.Addr]*entry
	held   map[frame.MAC]*entry // bound and past
	offers map[frame.MAC]*entry
	names  map[string]frame.MAC // of live leases, without those of the configuration
	ports  map[string]int       // addresses that count for a port
	next   time.Time            // nothing ends before; zero if nothing ever does
	full   time.Time            // until then the range has no address that ends; see choose
	events []Event
}

type state byte

const (
	offered state = iota
	bound
	blocked
	past
)

// entry is what the table knows of an address. For a blocked one mac is zero.
type entry struct {
	addr    netip.Addr
	mac     frame.MAC
	state   state
	name    string
	port    string
	counted bool // in ports
	until   time.Time
}

func (e *entry) lease() Lease {
	return Lease{MAC: e.mac, Addr: e.addr, Hostname: e.name, Port: e.port, Expires: e.until}
}

// New returns an empty table.
func New(c Config) (*Table, error) {
	v, err := newView(c)
	if err != nil {
		return nil, err
	}
	return &Table{
		view:   v,
		byAddr: map[netip.Addr]*entry{},
		held:   map[frame.MAC]*entry{},
		offers: map[frame.MAC]*entry{},
		names:  map[string]frame.MAC{},
		ports:  map[string]int{},
	}, nil
}

// Configure changes the rules. Leases stay, and one that the new rules do not allow
// is refused when its client renews it; but those of another subnet end, for nobody
// reaches them there.
func (t *Table) Configure(c Config) error {
	v, err := newView(c)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.view, t.full = v, time.Time{}
	t.leaveSubnets()
	t.reviewNames()
	return nil
}

// Offer reserves an address for the client for a short while. With probe, the
// caller should look whether somebody uses it already, and say Conflict if so.
func (t *Table) Offer(c Client, now time.Time) (a netip.Addr, probe bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	a, err = t.choose(&c, now)
	if err != nil {
		return netip.Addr{}, false, err
	}
	old := t.offers[c.MAC]
	if e := t.held[c.MAC]; e != nil && e.addr == a && e.state == bound {
		t.drop(old)
		return a, false, nil
	}
	known := old != nil && old.addr == a
	t.drop(old)
	if e := t.byAddr[a]; e != nil && e.state == bound {
		return a, false, nil // the port's: Bind takes it over
	}
	t.evict(a)
	e := &entry{addr: a, mac: c.MAC, state: offered, port: c.Port, until: now.Add(offerTime)}
	t.enter(e, &c)
	return a, !known && !t.configured(a, &c), nil
}

// Bind gives the client the address. A client that the address was not offered
// to gets it only with claim, if it is free for this client: one that remembers
// a lease which this table lost.
func (t *Table) Bind(c Client, a netip.Addr, claim bool, now time.Time) (Lease, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if !t.permits(a, &c) {
		return Lease{}, ErrRefused
	}
	was := t.byAddr[a]
	known := was != nil && was.mac == c.MAC && was.state != blocked
	if !known && !t.configured(a, &c) {
		if !claim {
			return Lease{}, ErrUnknown
		}
		if !t.room(a, &c) {
			return Lease{}, ErrLimit
		}
	}

	renewed := known && was.state == bound
	name := ""
	if h := t.held[c.MAC]; h != nil {
		name = h.name
		if h.state == bound && !renewed {
			t.end(h)
		}
		t.remove(h)
	}
	t.drop(t.offers[c.MAC])
	t.evict(a)
	e := &entry{addr: a, mac: c.MAC, state: bound, port: c.Port, until: now.Add(t.time(c.Time))}
	t.enter(e, &c)
	t.rename(e, t.nameFor(&c, name))
	kind := Given
	if renewed {
		kind = Renewed
	}
	t.events = append(t.events, Event{kind, e.lease()})
	return e.lease(), nil
}

// Time is how long a lease is, for a client that wants it for so long.
func (t *Table) Time(wanted time.Duration) time.Duration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.time(wanted)
}

// Contains reports whether the address is one of the subnet.
func (t *Table) Contains(a netip.Addr) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.view.Subnet.Contains(a)
}

// Lookup is the lease that a station has.
func (t *Table) Lookup(mac frame.MAC, now time.Time) (Lease, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.held[mac]
	if e == nil || e.state != bound || !now.Before(e.until) {
		return Lease{}, false
	}
	return e.lease(), true
}

func (t *Table) time(wanted time.Duration) time.Duration {
	if wanted <= 0 {
		return t.view.Time
	}
	return min(t.view.Time, max(wanted, shortest))
}

// Withdraw takes back what was offered: the client took another server's.
func (t *Table) Withdraw(mac frame.MAC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(t.offers[mac])
}

// Release ends the lease, if the client has it, and reports whether it had.
func (t *Table) Release(mac frame.MAC, a netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	e := t.held[mac]
	if e == nil || e.addr != a || e.state != bound {
		return false
	}
	t.end(e)
	return true
}

// Decline notes that the client found the address, which it was given, in use.
// An address that the configuration gives the client is not blocked for it.
func (t *Table) Decline(c Client, a netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	e := t.byAddr[a]
	if e == nil || e.mac != c.MAC || e.state != bound && e.state != offered {
		return false
	}
	if e.state == bound {
		t.end(e)
	}
	t.remove(e)
	if !t.configured(a, &c) {
		t.block(a, &c, now)
	}
	return true
}

// Conflict notes that a station answered for an address that is offered, and
// reports whether it is blocked now. It is not where the station's port has its
// share: then the offer stands.
func (t *Table) Conflict(a netip.Addr, by Client, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	e := t.byAddr[a]
	if e == nil || e.state != offered || !by.Unlimited && t.ports[by.Port] >= t.view.PerPort {
		return false
	}
	t.remove(e)
	t.block(a, &by, now)
	return true
}

// Delete removes what a station has, and what is remembered of it.
func (t *Table) Delete(mac frame.MAC, now time.Time) (Lease, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	t.drop(t.offers[mac])
	e := t.held[mac]
	if e == nil {
		return Lease{}, false
	}
	l, live := e.lease(), e.state == bound
	if live {
		t.end(e)
	}
	t.remove(e)
	return l, live
}

// List is every lease, by address.
func (t *Table) List(now time.Time) []Lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	list := []Lease{}
	for _, e := range t.sorted() {
		if e.state == bound {
			list = append(list, e.lease())
		}
	}
	return list
}

// Expire ends what has had its time, and says when to come again: the zero Time
// if nothing is to end. All other functions do it first.
func (t *Table) Expire(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	return t.next
}

func (t *Table) sorted() []*entry {
	all := make([]*entry, 0, len(t.byAddr))
	for _, e := range t.byAddr {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *entry) int { return a.addr.Compare(b.addr) })
	return all
}

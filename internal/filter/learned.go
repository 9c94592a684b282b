package filter

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Forever is the end of a lease that has none.
const Forever = math.MaxInt64

// maxLeases bounds the addresses of one guest.
const maxLeases = 16

// graceSeconds is how long a lease outlives its end: a client counts from when
// it asked, a server from when it answered, and a frame may wait in a queue.
const graceSeconds = 60

// Lease is an address that DHCP gave the guest.
type Lease struct {
	Addr    netip.Addr
	Expires int64 // in seconds of the caller's clock; Forever
}

// Leases lists the leases that count, in order of address, for a caller that
// wants to have them again (Allow) after it was started anew.
func (g *Guard) Leases(now int64) []Lease {
	var all []Lease
	for _, l := range g.learned.load() {
		if l.counts(now) {
			all = append(all, Lease{l.addr.addr(), l.expires})
		}
	}
	slices.SortFunc(all, func(a, b Lease) int { return a.Addr.Compare(b.Addr) })
	return all
}

// Allow adds an address of the guest, or moves the end of one: a lease of our
// own server, or one of Leases. It reports whether the address is new.
func (g *Guard) Allow(a netip.Addr, expires, now int64) bool {
	return g.learned.add(addressFrom(a), expires, now)
}

// Revoke takes a learned address away, because somebody else has it now. An
// address of Policy.IP stays.
func (g *Guard) Revoke(a netip.Addr) { g.learned.remove(addressFrom(a)) }

// learned is what a guard has found out about its guest. Readers take no lock.
type learned struct {
	mac    atomic.Uint64           // 48 bits; 0: not known yet
	leases atomic.Pointer[[]lease] // never changed, always replaced

	mu sync.Mutex // for whoever replaces leases
}

type lease struct {
	addr    address
	expires int64
}

func (l lease) counts(now int64) bool { return now-graceSeconds <= l.expires }

func (l *learned) load() []lease {
	if p := l.leases.Load(); p != nil {
		return *p
	}
	return nil
}

// has reports whether the address is leased.
func (l *learned) has(a address, now int64) bool {
	leases := l.load()
	for i := range leases {
		if leases[i].addr == a {
			return leases[i].counts(now)
		}
	}
	return false
}

// add takes up a lease and reports whether its address is new. Where there are
// too many, the one that ends first goes.
func (l *learned) add(a address, expires, now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.load()
	if slices.Contains(old, lease{a, expires}) {
		return false // an answer that came twice
	}
	isNew := true
	leases := make([]lease, 0, len(old)+1)
	for _, o := range old {
		if o.addr == a {
			isNew = !o.counts(now)
		} else if o.counts(now) {
			leases = append(leases, o)
		}
	}
	if len(leases) == maxLeases {
		ends := 0
		for i := range leases {
			if leases[i].expires < leases[ends].expires {
				ends = i
			}
		}
		leases = slices.Delete(leases, ends, ends+1)
	}
	leases = append(leases, lease{a, expires})
	l.leases.Store(&leases)
	return isNew
}

func (l *learned) remove(a address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	leases := slices.DeleteFunc(slices.Clone(l.load()), func(o lease) bool { return o.addr == a })
	l.leases.Store(&leases)
}

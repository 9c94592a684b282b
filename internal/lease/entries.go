package lease

import (
	"net/netip"
	"time"
)

// Kind is what an Event tells.
type Kind byte

// What can happen to a lease.
const (
	Given   Kind = iota // a station has an address that it did not have
	Renewed             // for longer, or under another name
	Ended               // by time, by its station, or by an administrator
)

func (k Kind) String() string { return [...]string{"given", "renewed", "ended"}[k] }

// Event is something that happened to a lease.
type Event struct {
	Kind  Kind
	Lease Lease
}

// Events are those since the last call, in their order.
func (t *Table) Events() []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.events
	t.events = nil
	return e
}

// enter puts a live entry into an empty place.
func (t *Table) enter(e *entry, c *Client) {
	t.byAddr[e.addr] = e
	switch e.state {
	case offered:
		t.offers[e.mac] = e
	case bound:
		t.held[e.mac] = e
	}
	if !c.Unlimited && !t.configured(e.addr, c) {
		e.counted = true
		t.ports[e.port]++
	}
	if t.next.IsZero() || e.until.Before(t.next) {
		t.next = e.until
	}
}

// uncount is for an entry that no longer counts for its port.
func (t *Table) uncount(e *entry) {
	if !e.counted {
		return
	}
	e.counted = false
	if t.ports[e.port]--; t.ports[e.port] == 0 {
		delete(t.ports, e.port)
	}
	t.full = time.Time{}
}

// remove takes an entry out of everything.
func (t *Table) remove(e *entry) {
	t.uncount(e)
	t.rename(e, "")
	delete(t.byAddr, e.addr)
	if t.offers[e.mac] == e {
		delete(t.offers, e.mac)
	}
	if t.held[e.mac] == e {
		delete(t.held, e.mac)
	}
	t.full = time.Time{}
}

// drop removes an offer, if there is one.
func (t *Table) drop(e *entry) {
	if e != nil {
		t.remove(e)
	}
}

// end makes a bound entry a past one.
func (t *Table) end(e *entry) {
	t.events = append(t.events, Event{Ended, e.lease()})
	name := e.name
	t.rename(e, "")
	e.name = name // it gets it again, if it is free then
	e.state = past
	t.uncount(e)
	t.full = time.Time{}
}

// evict makes the address's place empty. The caller knows that it may.
func (t *Table) evict(a netip.Addr) {
	e := t.byAddr[a]
	if e == nil {
		return
	}
	if e.state == bound {
		t.end(e)
	}
	t.remove(e)
}

// leaveSubnets forgets the addresses that are neither of the subnet nor a port's.
func (t *Table) leaveSubnets() {
	for a := range t.byAddr {
		if !t.view.Subnet.Contains(a) && (t.view.PinnedTo == nil || t.view.PinnedTo(a) == "") {
			t.evict(a)
		}
	}
}

func (t *Table) block(a netip.Addr, by *Client, now time.Time) {
	e := &entry{addr: a, state: blocked, port: by.Port, until: now.Add(blockTime)}
	t.byAddr[a] = e
	if !by.Unlimited {
		e.counted = true
		t.ports[e.port]++
	}
	if t.next.IsZero() || e.until.Before(t.next) {
		t.next = e.until
	}
}

// expire ends what is due. It looks at everything, but only when something is.
func (t *Table) expire(now time.Time) {
	if t.next.IsZero() || now.Before(t.next) {
		return
	}
	t.next = time.Time{}
	for _, e := range t.byAddr {
		switch {
		case e.state == past:
		case !now.Before(e.until):
			if e.state == bound {
				t.end(e)
			} else {
				t.remove(e)
			}
		case t.next.IsZero() || e.until.Before(t.next):
			t.next = e.until
		}
	}
}

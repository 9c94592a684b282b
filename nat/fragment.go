package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"gxswitch/internal/frame"
)

const (
	fragmentSets = 256
	fragmentWays = 8

	// fragmentSeconds is how long fragments may be apart. They are sent together.
	fragmentSeconds = 5
)

// fragments remembers where the packets go to whose first fragment has passed. A
// packet has a place in one set alone, chosen by a hash that nobody can foresee.
// In a full set an owner takes the place of its own oldest packet, if it has one,
// else of the oldest: who sends beginnings only does not push out others for long.
type fragments struct {
	mu     sync.Mutex // guards the rest
	sets   [][fragmentWays]fragmented
	seed   seed
	nextID uint16
}

// fragmented is a packet that comes in pieces.
type fragmented struct {
	key   key    // addresses, protocol and side, with the identification as a port
	addrs uint64 // what the addresses become
	owner uint32
	stamp uint32 // seconds, of the last fragment
	end   uint16 // of the first fragment, in units of 8 bytes
	id    uint16 // what the identification becomes
	to    Place  // Dropped: the place is free
}

func (f *fragments) init() {
	f.sets = make([][fragmentWays]fragmented, fragmentSets)
	f.seed = seed{rand.Uint64(), rand.Uint64(), rand.Uint64()}
	f.nextID = uint16(rand.Uint32())
}

func (f *fragmented) alive(now int64) bool {
	return f.to != Dropped && int32(uint32(now)-f.stamp) <= fragmentSeconds
}

// fragmentKey is what the fragments of a packet have in common (RFC 791, 2.3).
func (p *packet) fragmentKey() key {
	k := p.key
	k.ends = k.ends&0xffff | uint64(binary.BigEndian.Uint16(p.d[4:]))<<32
	return k
}

// leadFragments notes the first fragment of a packet, rewritten already.
//
// A packet to the uplink gets an identification of the table's own. Two guests
// can use the same at a time, and their fragments, from one address now, would be
// put together by the receiver (RFC 7857, 10).
func (t *Table) leadFragments(p *packet, addrs uint64, to Place, owner uint32, now int64) {
	k := p.fragmentKey()
	f := &t.fragments
	f.mu.Lock()
	e := f.place(k, owner, now)
	if !e.alive(now) || e.key != k || e.addrs != addrs {
		id := uint16(k.ends >> 32)
		if to == Outside {
			f.nextID++
			id = f.nextID
		}
		*e = fragmented{key: k, addrs: addrs, owner: owner, id: id, to: to}
	}
	e.stamp, e.end = uint32(now), uint16((len(p.d)-p.l4)/8)
	id := e.id
	f.mu.Unlock()
	p.rewriteID(id)
}

// place returns where the packet is, or what takes its place.
func (f *fragments) place(k key, owner uint32, now int64) *fragmented {
	set := &f.sets[f.seed.hash(k)%fragmentSets]
	best, bestWorth := &set[0], int64(-1)
	for i := range set {
		e := &set[i]
		worth := int64(max(int32(uint32(now)-e.stamp), 0))
		switch {
		case e.to != Dropped && e.key == k:
			return e
		case !e.alive(now):
			worth = 1 << 34
		case e.owner == owner:
			worth += 1 << 33
		}
		if worth > bestWorth {
			best, bestWorth = e, worth
		}
	}
	return best
}

// follow rewrites a fragment behind the first. ok is false where that has not
// passed.
func (t *Table) follow(p *packet, now int64) (v Verdict, ok bool) {
	k := p.fragmentKey()
	f := &t.fragments
	f.mu.Lock()
	set := &f.sets[f.seed.hash(k)%fragmentSets]
	var e fragmented
	for i := range set {
		if set[i].key == k && set[i].alive(now) {
			set[i].stamp = uint32(now)
			e = set[i]
		}
	}
	f.mu.Unlock()
	if e.to == Dropped {
		return Verdict{}, false
	}
	// It would write over ports and flags that have been looked at.
	if binary.BigEndian.Uint16(p.d[6:])&fragmentOffset < e.end {
		return drop(frame.Malformed), true
	}
	p.rewriteAddresses(e.addrs)
	p.rewriteID(e.id)
	return deliver(e.to, uint32(e.addrs)), true
}

// forget drops what is known of fragments, so that none follow a session that has
// ended on purpose.
func (f *fragments) forget() {
	f.mu.Lock()
	clear(f.sets)
	f.mu.Unlock()
}

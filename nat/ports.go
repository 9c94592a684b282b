package nat

import (
	"math/bits"
	"math/rand/v2"
)

// probes is how many ports a session tries. With 19 of 20 taken it finds one 96
// times of 100; all of the range would hold the mutex for 100 µs. After enough of
// them it stops where it can take the place of a session of the same guest.
const (
	probes = 64
	enough = 16
)

// freePort gives the reply key of a new session of o a port, and returns it. The
// session's opener is k. Ports are tried in this order:
//
//   - first, if it is not 0
//   - the guest's own, if it is in the range (RFC 4787, 4.2.1)
//   - one that follows from the guest's address and port, so that all sessions of
//     a guest's socket have one external port wherever it is free, and STUN finds
//     the port that others will be answered from
//   - any, by chance (RFC 6056, 3.3)
//
// Parity is not kept (RFC 7857, 8). Ports of forwards are left to them.
//
// Where all that were tried are taken, a session of the remote port in question
// gives way, by the rule of owner.makeRoom. So a guest that takes every port to
// the resolver that all use does not keep others from it. The caller holds the
// mutex.
func (t *Table) freePort(reply, k key, first uint16, o uint32, now int64) (key, bool) {
	firstPort, lastPort := t.portsNow()
	size := uint64(lastPort-firstPort) + 1
	fs := t.forwards.Load()
	if t.refused(o) {
		return key{}, false // nobody is to lose a port for nothing
	}
	var chance uint64
	var best match
	var bestWorth uint64
	for i := range probes {
		var port uint16
		switch i {
		case 0:
			port = first
		case 1:
			port = k.sport()
		case 2:
			own := makeKey(inside, k.proto(), k.src(), 0, k.sport(), 0)
			port = firstPort + uint16(t.ports.hash(own)>>32*size>>32)
		case 3:
			chance = rand.Uint64()
			fallthrough
		default:
			port = firstPort + spread(chance, i, size)
		}
		if i == 0 && port == 0 {
			continue
		}
		if i > 0 && (port < firstPort || port > lastPort || fs.at(k.proto(), port) != nil) {
			continue
		}
		free := reply.withDport(port)
		if t.elsewhere(free) {
			continue
		}
		var m match
		if !t.findAlive(free, now, &m) {
			return free, true
		}
		if w := t.worth(&m, o, now); i > 0 && w > bestWorth {
			best, bestWorth = m, w
			reply = free
		}
		if i > enough && bestWorth >= transitoryWorth && best.owner() == o {
			break
		}
	}
	if bestWorth == 0 {
		return key{}, false
	}
	t.remove(best.at)
	return reply, true
}

// spread is the ith of numbers below size that begin anywhere and lie evenly, by
// the golden ratio: no two of few are the same, and 61 of them find every number
// where size is up to 46.
func spread(begin uint64, i int, size uint64) uint16 {
	n, _ := bits.Mul64(begin+uint64(i)*0x9e3779b97f4a7c15, size)
	return uint16(n)
}

// transitoryWorth is more than what any established session is worth.
const transitoryWorth = 1 << 62

// worth says how good it is to end a session in favour of o: 0 if it must not be.
func (t *Table) worth(m *match, o uint32, now int64) uint64 {
	n, own := t.owners[m.owner()].n(), t.owners[o].n()
	w := uint64(n)<<32 | uint64(max(m.slot.age(now), 0))
	switch {
	case !m.state().assured() && n >= own:
		return w | transitoryWorth
	case n > own+1:
		return w
	}
	return 0
}

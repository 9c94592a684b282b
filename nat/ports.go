package nat

import "math/rand/v2"

// probes is how many ports a session tries. With 19 of 20 taken it finds one 96
// times of 100; all of the range would hold the mutex for 50 µs.
const probes = 64

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
	size := uint64(t.lastPort-t.firstPort) + 1
	fs := t.forwards.Load()
	if t.refused(o) {
		return key{}, false // nobody is to lose a port for nothing
	}
	var start, stride uint64
	var best match
	var bestWorth uint64
	for i := range probes {
		var port uint16
		if i == 3 {
			start, stride = rand.Uint64N(size), 1
			if size > probes-3 {
				stride += rand.Uint64N(size - 1)
			}
		}
		switch i {
		case 0:
			port = first
		case 1:
			port = k.sport()
		case 2:
			own := makeKey(inside, k.proto(), k.src(), 0, k.sport(), 0)
			port = t.firstPort + uint16(t.ports.hash(own)>>32*size>>32)
		default:
			port = t.firstPort + uint16((start+uint64(i)*stride)%size)
		}
		if i == 0 && port == 0 {
			continue
		}
		if i > 0 && (port < t.firstPort || port > t.lastPort || fs.at(k.proto(), port) != nil) {
			continue
		}
		free := reply.withDport(port)
		m, taken := t.findAlive(free, now)
		if !taken {
			return free, true
		}
		if w := t.worth(m, o, now); i > 0 && w > bestWorth {
			best, bestWorth = m, w
			reply = free
		}
	}
	if bestWorth == 0 {
		return key{}, false
	}
	t.remove(best.at)
	return reply, true
}

// worth says how good it is to end a session in favour of o: 0 if it must not be.
func (t *Table) worth(m match, o uint32, now int64) uint64 {
	n, own := t.owners[m.owner()].n(), t.owners[o].n()
	w := uint64(n)<<32 | uint64(max(m.slot.age(now), 0))
	switch {
	case !m.state().assured() && n >= own:
		return w | 1<<62
	case n > own+1:
		return w
	}
	return 0
}

package nat

import "gxswitch/internal/frame"

// Inbound rewrites a packet that came by the uplink for the external address. raw
// begins with the virtio-net header, and its bytes are changed. now is in
// seconds. A packet to another address is the Host's.
func (t *Table) Inbound(raw []byte, now int64) Verdict {
	var p packet
	if reason := p.parse(raw, outside); reason != frame.Pass {
		return drop(reason)
	}
	switch p.kind {
	case endpoints:
		var m match
		if t.find(p.key, &m) && !t.overdue(&m, now) {
			return t.pass(&p, &m, now)
		}
		if f := t.forwards.Load().at(p.key.proto(), p.key.dport()); f != nil && p.key.dst() == t.external.Load() {
			return t.openInbound(&p, now)
		}
	case laterFragment:
		if v, ok := t.follow(&p, now); ok {
			return v
		}
	case icmpError:
		if v, ok := t.translateError(&p, now); ok {
			return v
		}
	}
	return t.declineInbound(&p)
}

// openInbound finds or makes the session of a packet that a forward takes.
func (t *Table) openInbound(p *packet, now int64) Verdict {
	if !p.opens() {
		return drop(frame.NATNoSession)
	}
	if t.impossibleOutside(p.key.src()) {
		return drop(frame.SpoofIP)
	}
	t.mu.Lock()
	var m match
	reason := t.openForward(p.key, now, &m)
	t.mu.Unlock()
	if reason != frame.Pass {
		return drop(reason)
	}
	return t.pass(p, &m, now)
}

// openForward makes the session of a remote that comes by a forward. The caller
// holds the mutex.
func (t *Table) openForward(k key, now int64, m *match) frame.DropReason {
	if t.findAlive(k, now, m) {
		return frame.Pass // another worker was faster
	}
	f := t.forwards.Load().at(k.proto(), k.dport())
	if f == nil || k.dst() != t.external.Load() {
		return frame.NATNoSession // both were true before the lock
	}
	to, port := f.target(k.dport())
	reply := makeKey(inside, k.proto(), to, k.src(), port, k.sport())
	// The guest can have opened a session to the same remote from the forward's
	// target itself, before there was the forward. It can't tell the two apart.
	if t.findAlive(reply, now, m) {
		if m.state().assured() {
			return frame.NATExhausted
		}
		t.remove(m.at)
	}
	if !t.makeRoom(f.owner) {
		return frame.NATExhausted
	}
	t.insert(f.owner, [2]key{k, reply}, firstState(k), now, m)
	return frame.Pass
}

// declineInbound says what becomes of a packet that has neither session nor
// forward.
func (t *Table) declineInbound(p *packet) Verdict {
	switch {
	case t.impossibleOutside(p.key.src()):
		return drop(frame.SpoofIP)
	case p.key.dst() == t.external.Load() && t.inRange(p):
		return drop(frame.NATNoSession)
	}
	return Verdict{To: Host}
}

// impossibleOutside tells an address that nobody behind the uplink has: a
// guest's, and our own.
func (t *Table) impossibleOutside(a uint32) bool {
	return t.isInside(a) || a == t.external.Load() && a != 0
}

package nat

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// Outbound rewrites a packet of a guest: one that leaves the guests' network, or
// that is for the external address or the gateway's. Also answers of a forward's
// guest to another come to the gateway's address, see hairpin. raw begins with
// the virtio-net header, and its bytes are changed. now is in seconds.
func (t *Table) Outbound(raw []byte, from Guest, now int64) Verdict {
	var p packet
	if reason := p.parse(raw, inside); reason != frame.Pass {
		return drop(reason)
	}
	switch p.kind {
	case endpoints:
		var m match
		if t.find(p.key, &m) && !t.overdue(&m, now) {
			return t.pass(&p, &m, now)
		}
		return t.openOutbound(&p, from, now)
	case laterFragment:
		if v, ok := t.follow(&p, now); ok {
			return v
		}
	case icmpError:
		if v, ok := t.translateError(&p, now); ok {
			return v
		}
	}
	return t.declineOutbound(&p)
}

// pass rewrites a packet of a session.
func (t *Table) pass(p *packet, m *match, now int64) Verdict {
	if m.slot.age(now) > 0 {
		m.slot.stamp.Store(uint32(now))
	}
	switch {
	case p.key.proto() == protoTCP:
		t.passTCP(p, m, now)
	case m.state() == udpUnreplied && m.dir == other:
		t.setState(m, udpReplied, now)
	}
	is := m.reply.reversed(inside)
	p.rewrite(is)
	to := placeOf(m.reply.from())
	if p.first {
		t.leadFragments(p, is.addrs, to, m.owner(), now)
	}
	v := deliver(to, is.dst())
	v.Session = p.ref(m)
	return v
}

func (t *Table) passTCP(p *packet, m *match, now int64) {
	segment, is := p.d[p.l4:], m.state()
	if p.flags&(syn|fin|rst) != 0 || is > tcpOtherFin {
		t.catchUp(m.slot, m.dir^1)
		expected := track(m.slot.tracks[m.dir^1].Load()).expects(binary.BigEndian.Uint32(segment[4:]))
		if next := nextTCP(is, m.dir, p.flags, expected); next != is {
			t.setState(m, next, now)
		}
	}
	note(&m.slot.tracks[m.dir], segment, p.flags)
}

// openOutbound finds or makes the session of a guest's packet that none has been
// found for.
func (t *Table) openOutbound(p *packet, from Guest, now int64) Verdict {
	k, external := p.key, t.external.Load()
	hairpin := k.dst() == external && external != 0 && t.forwards.Load().at(k.proto(), k.dport()) != nil
	toUplink := k.dst() != external && k.dst() != t.gateway
	if v := t.declineOutbound(p); v.Reason == frame.SpoofIP || !hairpin && (!toUplink || v.Reason != frame.NATNoSession) {
		return v
	}
	if !p.opens() {
		return drop(frame.NATNoSession)
	}
	t.mu.Lock()
	var m match
	var reason frame.DropReason
	if hairpin {
		reason = t.openHairpin(k, from, now, &m)
	} else {
		reason = t.openToUplink(k, from, now, &m)
	}
	t.mu.Unlock()
	if reason != frame.Pass {
		return drop(reason)
	}
	return t.pass(p, &m, now)
}

// openToUplink makes an outbound session. The caller holds the mutex.
func (t *Table) openToUplink(k key, from Guest, now int64, m *match) frame.DropReason {
	if t.findAlive(k, now, m) {
		return frame.Pass // another worker was faster
	}
	external := t.external.Load()
	if external == 0 || k.dst() == external {
		return frame.NoRoute // it has just become so
	}
	// What a forward leads to keeps the forward's port when it is the one that
	// begins, so that a remote knows the service by one address: SIP and games.
	o, first := t.guest(from), uint16(0)
	if f := t.forwards.Load().serving(k.proto(), k.src(), k.sport()); f != nil {
		first = f.First + (k.sport() - f.To.Port())
	}
	reply := makeKey(outside, k.proto(), k.dst(), external, k.dport(), 0)
	if reply, ok := t.freePort(reply, k, first, o, now); ok && t.makeRoom(o) {
		t.insert(o, [2]key{k, reply}, firstState(k), now, m)
		return frame.Pass
	}
	return frame.NATExhausted
}

// openHairpin makes a session from one guest to another by the external address.
// The other answers to the gateway's address: it would answer a guest directly,
// which expects the answer from elsewhere (RFC 4787, REQ-9). The caller holds the
// mutex.
func (t *Table) openHairpin(k key, from Guest, now int64, m *match) frame.DropReason {
	if t.findAlive(k, now, m) {
		return frame.Pass
	}
	f := t.forwards.Load().at(k.proto(), k.dport())
	if f == nil || k.dst() != t.external.Load() {
		return frame.NATNoSession // both were true before the lock
	}
	to, port := f.target(k.dport())
	reply := makeKey(inside, k.proto(), to, t.gateway, port, 0)
	o := t.guest(from)
	if reply, ok := t.freePort(reply, k, 0, o, now); ok && t.makeRoom(o) {
		t.insert(o, [2]key{k, reply}, firstState(k), now, m)
		return frame.Pass
	}
	return frame.NATExhausted
}

// declineOutbound says what becomes of a guest's packet that has no session.
func (t *Table) declineOutbound(p *packet) Verdict {
	src, dst := p.key.src(), p.key.dst()
	external := t.external.Load()
	switch {
	case !t.isInside(src) || src == t.gateway:
		return drop(frame.SpoofIP)
	case (dst == t.gateway || dst == external && external != 0) && !t.inRange(p):
		return Verdict{To: Host}
	case dst != t.gateway && (external == 0 || !isUnicast(dst) || t.isInside(dst)):
		return drop(frame.NoRoute)
	}
	return drop(frame.NATNoSession)
}

// inRange reports whether the packet is for a port of the range that sessions
// get theirs from, and so not for the host. ICMP is the host's also there: its
// own pings choose identifiers as they like, and it answers no reply.
func (t *Table) inRange(p *packet) bool {
	port := p.key.dport()
	first, last := t.portsNow()
	return p.kind == endpoints && p.key.proto() != protoICMP && port >= first && port <= last
}

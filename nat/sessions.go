package nat

import "net/netip"

// Session is one session as people see it, and as it is kept over a restart.
type Session struct {
	Protocol Protocol
	Guest    netip.AddrPort // the guest whose address is hidden; of ICMP the port is the identifier
	External netip.AddrPort // what the remote takes for the guest
	Remote   netip.AddrPort
	// Gateway is what the guest takes for the remote, where the remote is a guest
	// too (hairpin).
	Gateway netip.AddrPort
	// Forward tells that Remote opened the session, by a port forward.
	Forward bool
	// Opener is the number of the guest that opened the session, if no forward did.
	// After a restart guests may have other numbers: the caller sets it before
	// Restore.
	Opener      Guest
	State       string
	IdleSeconds int64 // since the last packet
	Bypassed    bool  `json:"-"` // the Bypass has it
}

// Sessions lists the sessions that are not overdue.
func (t *Table) Sessions(now int64) []Session {
	t.mu.Lock()
	used := t.used
	guests := make(map[uint32]Guest)
	for g, o := range t.guests {
		if o != 0 {
			guests[o-1] = Guest(g)
		}
	}
	l := make([]Session, 0, t.len)
	t.mu.Unlock()
	for at := range used {
		s := &t.slots[at]
		k := s.keys[opener].load()
		t.hear(s, now)
		var m match
		if !t.read(at<<2|uint32(opener)<<1, k, &m) || t.overdue(&m, now) {
			continue
		}
		v := view(k, m.reply)
		v.State, v.IdleSeconds, v.Opener = stateWord(m.state(), v.opened()), int64(max(s.age(now), 0)), guests[m.owner()]
		v.Bypassed = s.bypass.Load() != 0
		l = append(l, v)
	}
	return l
}

// opened reports whether the guest opened the session.
func (v Session) opened() bool { return !v.Forward && !v.Gateway.IsValid() }

// Assured tells a session that both ends have agreed to, and that is not over.
func (v Session) Assured() bool {
	first := udpUnreplied
	if v.Protocol == TCP {
		first = tcpOpening
	}
	return stateFrom(v.State, v.opened(), first).assured()
}

// view is the session with these keys.
func view(k, r key) Session {
	v := Session{Protocol: Protocol(k.proto())}
	if r.from() == outside {
		v.Guest = netip.AddrPortFrom(addr4(k.src()), k.sport())
		v.External = netip.AddrPortFrom(addr4(r.dst()), r.dport())
		v.Remote = netip.AddrPortFrom(addr4(k.dst()), k.dport())
		if k.proto() == protoICMP {
			v.Remote = netip.AddrPortFrom(addr4(k.dst()), r.dport())
		}
		return v
	}
	v.Guest = netip.AddrPortFrom(addr4(r.src()), r.sport())
	v.External = netip.AddrPortFrom(addr4(k.dst()), k.dport())
	v.Remote = netip.AddrPortFrom(addr4(k.src()), k.sport())
	v.Forward = k.from() == outside
	if !v.Forward {
		v.Gateway = netip.AddrPortFrom(addr4(r.dst()), r.dport())
	}
	return v
}

// keys is view, backwards. ok is false for what is no session of this table.
func (v Session) keys(t *Table) (k, r key, ok bool) {
	proto := uint8(v.Protocol)
	guest, external, remote, gateway := addressFrom(v.Guest.Addr()), addressFrom(v.External.Addr()), addressFrom(v.Remote.Addr()), addressFrom(v.Gateway.Addr())
	remotePort := v.Remote.Port()
	if v.Protocol == ICMP {
		remotePort = 0
	}
	if !t.isInside(guest) || guest == t.gateway || external == 0 || external != t.external.Load() {
		return k, r, false
	}
	switch {
	case v.Forward, gateway != 0:
		from, replyTo, replyPort := outside, remote, remotePort
		if gateway != 0 {
			from, replyTo, replyPort = inside, gateway, v.Gateway.Port()
		}
		f := t.forwards.Load().at(proto, v.External.Port())
		if f == nil || v.Forward && gateway != 0 || t.isInside(remote) != (from == inside) || from == inside && gateway != t.gateway {
			return k, r, false
		}
		if to, port := f.target(v.External.Port()); to != guest || port != v.Guest.Port() {
			return k, r, false
		}
		k = makeKey(from, proto, remote, external, remotePort, v.External.Port())
		r = makeKey(inside, proto, guest, replyTo, v.Guest.Port(), replyPort)
	default:
		if t.isInside(remote) || !isUnicast(remote) || proto != protoTCP && proto != protoUDP && proto != protoICMP {
			return k, r, false
		}
		k = makeKey(inside, proto, guest, remote, v.Guest.Port(), remotePort)
		r = makeKey(outside, proto, remote, external, remotePort, v.External.Port())
	}
	return k, r, true
}

// Restore opens sessions of an earlier Table, after SetExternal and AddForward,
// and returns how many. It leaves out those of another external address, of
// forwards that are no more, that are overdue, or that there is no room for. TCP
// connections that went on meanwhile go on.
func (t *Table) Restore(l []Session, now int64) (restored int) {
	for _, v := range l {
		if t.restore(v, now) {
			restored++
		}
	}
	return restored
}

func (t *Table) restore(v Session, now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, r, ok := v.keys(t)
	if !ok {
		return false
	}
	is := stateFrom(v.State, v.opened(), firstState(k))
	if v.IdleSeconds < 0 || v.IdleSeconds > int64(t.timeouts[is]) {
		return false
	}
	var m match
	if t.findAlive(k, now, &m) || t.findAlive(r, now, &m) || !v.Forward && t.elsewhere(r) {
		return false
	}
	var o uint32
	if v.Forward {
		o = t.forwards.Load().at(k.proto(), k.dport()).owner
	} else {
		o = t.guest(v.Opener)
	}
	if own := &t.owners[o]; t.len >= t.limit || own.n() >= t.guestLimit {
		return false
	}
	t.insert(o, [2]key{k, r}, is, now-v.IdleSeconds, &m)
	return true
}

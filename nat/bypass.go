package nat

import "net/netip"

// Bypass rewrites packets of sessions elsewhere, as the table would: the table
// does not see them. What it gives it with Bind are sessions in which such packets
// change nothing; for their timeouts and the ends of TCP connections the table asks
// what the Bypass has seen. A session has a number there, from 1.
//
// The methods wait for nobody. End is called with the table's mutex held.
type Bypass interface {
	// Heard is how many seconds ago it had a packet of the session.
	Heard(id uint32) (seconds int64)
	// Acknowledged is what an end of a TCP session, 0 for who opened it, has
	// acknowledged lately; false where that is not known.
	Acknowledged(id uint32, end int) (ack uint32, window uint16, ok bool)
	// End ends a session: when it returns, no more packets of it are rewritten.
	End(id uint32)
}

// Ref is one direction of a session, as a Verdict has it: of a packet whose like a
// Bypass may rewrite. The zero Ref is none.
type Ref struct {
	at, generation uint32 // of the slot; a session's generation is odd
	dir            direction
	patience       uint8
}

// IsZero tells a Ref that is none.
func (r Ref) IsZero() bool { return r.generation == 0 }

// How many packets of a direction the table wants to see before a Bypass is worth
// while. Of a session that nobody has answered it takes more: who scans, or floods,
// is not to fill the Bypass.
const (
	patience          = 8
	patienceUnreplied = 64
)

// bypassable tells a state that packets without SYN, FIN and RST don't change, at
// least those of the opener.
func (s state) bypassable() bool { return s.assured() || s == udpUnreplied }

// ref is what a packet's Verdict says of its session. A packet that other workers'
// packets may depend on is of none.
func (p *packet) ref(m *match) Ref {
	is := m.state()
	if p.l4 != ipLen || p.first || p.flags&(syn|fin|rst) != 0 || !is.bypassable() {
		return Ref{}
	}
	r := Ref{m.at, m.generation, m.dir, patience}
	if is == udpUnreplied {
		r.patience = patienceUnreplied
	}
	return r
}

// News notes by which way packets of r could pass by the table, and reports
// whether that is another than it was noted before, after some packets. way is
// any number from 2^32 on.
func (t *Table) News(r Ref, way uint64) bool {
	w := &t.slots[r.at].ways[r.dir]
	switch was := w.Load(); {
	case was == way:
		return false
	case was < uint64(r.patience):
		w.Store(was + 1)
		return false
	}
	w.Store(way)
	return true
}

// Forget makes what was News be so again.
func (t *Table) Forget(r Ref) { t.slots[r.at].ways[r.dir].Store(0) }

// Flow is one direction of a session: what its packets are, and what they become.
type Flow struct {
	Protocol       Protocol
	Src, Dst       netip.AddrPort
	NewSrc, NewDst netip.AddrPort
	Outside        bool // it comes from outside
	End            int  // that sends: 0 is who opened the session
}

// SetBypass gives the table a Bypass, or with nil takes it away: its sessions there
// end, those of the table don't.
func (t *Table) SetBypass(b Bypass) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b == nil {
		for at := range t.used {
			t.unbind(&t.slots[at])
		}
		t.bypass.Store(nil)
		return
	}
	t.bypass.Store(&b)
}

// Bind gives a session to the Bypass, under the number that it has there already,
// else under the one that open returns; 0: none. ok is false where there is
// nothing to be passed by: the session has ended, or is in another state.
func (t *Table) Bind(r Ref, open func() uint32) (f Flow, id uint32, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.slots[r.at]
	if t.bypass.Load() == nil || s.generation.Load() != r.generation || !state(s.state.Load()).bypassable() {
		return f, 0, false
	}
	if id = s.bypass.Load(); id == 0 {
		if id = open(); id == 0 {
			return f, 0, false
		}
		s.bypass.Store(id)
	}
	k, reply := s.keys[r.dir].load(), s.keys[r.dir^1].load()
	is := reply.reversed(inside)
	return Flow{
		Protocol: Protocol(k.proto()),
		Src:      netip.AddrPortFrom(addr4(k.src()), k.sport()), Dst: netip.AddrPortFrom(addr4(k.dst()), k.dport()),
		NewSrc: netip.AddrPortFrom(addr4(is.src()), is.sport()), NewDst: netip.AddrPortFrom(addr4(is.dst()), is.dport()),
		Outside: k.from() == outside, End: int(r.dir),
	}, id, true
}

// SessionOf is the way back from Bind, for a flow that has outlived its table in a
// Bypass: the session that it is a direction of, for Restore. The state is the least
// that lets a session pass by. ok is false for what no table has made.
func (t *Table) SessionOf(f Flow) (v Session, ok bool) {
	from, back := inside, outside
	switch {
	case f.Outside:
		from, back = outside, inside
	case t.isInside(addressFrom(f.NewDst.Addr())): // hairpin
		back = inside
	}
	proto := uint8(f.Protocol)
	k := makeKey(from, proto, addressFrom(f.Src.Addr()), addressFrom(f.Dst.Addr()), f.Src.Port(), f.Dst.Port())
	r := makeKey(inside, proto, addressFrom(f.NewSrc.Addr()), addressFrom(f.NewDst.Addr()), f.NewSrc.Port(), f.NewDst.Port()).reversed(back)
	is := tcpEstablished
	switch {
	case f.Protocol != TCP && f.End == int(other):
		is = udpReplied
	case f.Protocol != TCP:
		is = udpUnreplied
	}
	if f.End == int(other) {
		k, r = r, k
	}
	v = view(k, r)
	v.State = stateWords[is]
	switch {
	case r.from() == outside: // whom the opener sends to is who answers
		ok = r.src() == k.dst() && r.sport() == k.dport() && r.dport() != 0
	case k.from() == outside:
		ok = r.dst() == k.src() && r.dport() == k.sport()
	default:
		ok = true
	}
	return v, ok && (f.Protocol == TCP || f.Protocol == UDP)
}

// unbind takes a session from the Bypass. The caller holds the mutex.
func (t *Table) unbind(s *slot) {
	for i := range s.ways {
		s.ways[i].Store(0)
	}
	if id := s.bypass.Swap(0); id != 0 {
		(*t.bypass.Load()).End(id)
	}
}

// hear takes over when a session was last heard of by the Bypass.
func (t *Table) hear(s *slot, now int64) {
	id, b := s.bypass.Load(), t.bypass.Load()
	if id == 0 || b == nil {
		return
	}
	if at := uint32(now - (*b).Heard(id)); int32(at-s.stamp.Load()) > 0 {
		s.stamp.Store(at)
	}
}

// catchUp takes over what an end of a TCP session has acknowledged to the other by
// the Bypass.
func (t *Table) catchUp(s *slot, end direction) {
	id, b := s.bypass.Load(), t.bypass.Load()
	if id == 0 || b == nil {
		return
	}
	ack, window, ok := (*b).Acknowledged(id, int(end))
	is := track(s.tracks[end].Load())
	if ok && (is&trackKnown == 0 || int32(ack-uint32(is>>32)) > 0) {
		s.tracks[end].Store(uint64(track(ack)<<32 | trackKnown | is&(0xf<<16) | track(window)))
	}
}

// Version becomes another one when what decides about sessions does: the external
// address, ports, forwards, siblings.
func (t *Table) Version() uint64 { return t.version.Load() }

package nat

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// model is the table as its documentation puts it: sessions in a slice, and who
// may lose one to whom not decided but checked.
type model struct {
	sessions []*modelSession
	forwards map[string]end // by protocol and port, as "tcp/80"
	now      int64
}

type modelSession struct {
	proto       Protocol
	opened      tuple // packets of the opener
	answered    tuple // packets of the other end
	established bool
	last        int64
}

// tuple is packets that come from a side, and what they are rewritten to.
type tuple struct {
	outside  bool
	src, dst end
	to       Place
	is, at   end
}

func (s *modelSession) timeout() int64 {
	switch {
	case s.proto == TCP && s.established:
		return 7440
	case s.proto == TCP:
		return 240
	case s.proto == ICMP:
		return 60
	case s.opened.dst.port == 53:
		return 30
	}
	return 300
}

func (s *modelSession) has(p modelPacket) (tuple, bool) {
	for _, t := range []tuple{s.opened, s.answered} {
		if s.proto == p.proto && t.outside == p.outside && t.src == p.src && t.dst == p.dst {
			return t, true
		}
	}
	return tuple{}, false
}

func (m *model) alive() (l []*modelSession) {
	for _, s := range m.sessions {
		if m.now-s.last <= s.timeout() {
			l = append(l, s)
		}
	}
	return l
}

// modelPacket is what a test sends.
type modelPacket struct {
	outside  bool
	proto    Protocol
	src, dst end
	flags    byte
}

func (p modelPacket) raw() []byte {
	switch p.proto {
	case TCP:
		return segment{flags: p.flags, seq: 1, ack: 1}.build(p.src, p.dst)
	case UDP:
		return udp(5)(p.src, p.dst)
	}
	return echo(p.src, p.dst)
}

const (
	modelFirst, modelLast = 61000, 61003
	modelLimit, modelPart = 14, 6
)

func inModelRange(p uint16) bool { return p >= modelFirst && p <= modelLast }

// expect says what becomes of a packet: of a session it has one, else a verdict,
// or that it opens a session.
func (m *model) expect(p modelPacket) (s *modelSession, t tuple, v Verdict, opens bool) {
	for _, s := range m.alive() {
		if t, ok := s.has(p); ok {
			return s, t, Verdict{}, false
		}
	}
	_, forwarded := m.forwards[fmt.Sprintf("%v/%d", p.proto, p.dst.port)]
	own := p.dst.ip == external || !p.outside && p.dst.ip == gateway
	mayOpen := p.proto == UDP || p.proto == TCP && p.flags == syn || p.proto == ICMP && p.src.port != 0
	switch {
	case own && p.dst.ip == external && forwarded || !own && !p.outside:
		if mayOpen {
			return nil, tuple{}, Verdict{}, true
		}
		return nil, tuple{}, drop(frame.NATNoSession), false
	case own && p.proto != ICMP && inModelRange(p.dst.port):
		return nil, tuple{}, drop(frame.NATNoSession), false
	}
	return nil, tuple{}, Verdict{To: Host}, false
}

// opened is the session that a packet has opened which was rewritten to these.
func (m *model) opened(t *rapid.T, p modelPacket, src, dst end) *modelSession {
	s := &modelSession{proto: p.proto, last: m.now}
	to := Inside
	if !p.outside && p.dst.ip != external {
		to = Outside
	}
	s.opened = tuple{p.outside, p.src, p.dst, to, src, dst}
	back := Inside
	if p.outside {
		back = Outside
	}
	s.answered = tuple{to == Outside, dst, src, back, p.dst, p.src}
	if p.proto == ICMP { // the identifier changes ends in a reply
		s.answered.src.port, s.answered.dst.port = 0, src.port
		s.answered.is.port, s.answered.at.port = 0, p.src.port
	}

	target, forwarded := m.forwards[fmt.Sprintf("%v/%d", p.proto, p.dst.port)]
	ext := src
	switch {
	case to == Outside:
		if dst != p.dst || src.ip != external {
			t.Fatalf("%+v left as %v to %v", p, src, dst)
		}
	case !forwarded || dst != target:
		t.Fatalf("%+v was led to %v", p, dst)
	case p.outside:
		if src != p.src {
			t.Fatalf("%+v comes from %v", p, src)
		}
		return s
	case src.ip != gateway:
		t.Fatalf("%+v comes from %v", p, src)
	}
	kept := m.forwards[fmt.Sprintf("%v/%d", p.proto, ext.port)] == p.src && to == Outside
	if !inModelRange(ext.port) && !kept {
		t.Fatalf("%+v got %v", p, ext)
	}
	for _, other := range m.alive() {
		if _, taken := other.has(modelPacket{outside: s.answered.outside, proto: s.proto, src: s.answered.src, dst: s.answered.dst}); taken {
			t.Fatalf("%+v got %v, which %+v has", p, ext, other)
		}
	}
	return s
}

// standing is what decides who may lose a session.
type standing struct {
	owners   map[uint32]int // sessions of each, also overdue ones
	sessions map[key]*match // that are not overdue, by the opener's key
	len      int
}

func standingOf(n *Table, now int64) standing {
	s := standing{map[uint32]int{}, map[key]*match{}, n.len}
	for at := range n.used {
		k := n.slots[at].keys[opener].load()
		m := &match{}
		if n.read(at<<2, k, m) {
			s.owners[m.owner()]++
			if !n.overdue(m, now) {
				s.sessions[k] = m
			}
		}
	}
	return s
}

// checkLosses checks that nobody lost a session who should not have when k asked
// for one, and that it was not refused without need.
func checkLosses(t *rapid.T, n *Table, before standing, k key, v Verdict, now int64) {
	after := standingOf(n, now)
	var o uint32
	if m, ok := after.sessions[k]; ok {
		o = m.owner()
	} else if k.from() == outside {
		o = n.forwards.Load().at(k.proto(), k.dport()).owner
	} else {
		o = n.guest(Guest(k.src() & 0xff))
	}
	own, lost := before.owners[o], 0
	for key, m := range before.sessions {
		if _, ok := after.sessions[key]; ok {
			continue
		}
		lost++
		// A guest's session from a forward's target may give way to the forward.
		replaced := k.from() == outside && m.state() != tcpEstablished && key.src() == n.forwards.Load().at(k.proto(), k.dport()).to
		theirs := before.owners[m.owner()]
		if (m.state().assured() || m.owner() != o && theirs < own) && theirs <= own+1 && !replaced {
			t.Fatalf("%d with %d sessions took %v of %d with %d", o, own, stateWords[m.state()], m.owner(), theirs)
		}
	}
	if lost > 2 || after.owners[o] > modelPart || after.len > modelLimit {
		t.Fatalf("%d lost, the owner has %d, all %d", lost, after.owners[o], after.len)
	}
	if v.Reason == frame.NATExhausted && k.from() == inside && own < modelPart && before.len < modelLimit {
		taken := 0
		for port := uint16(modelFirst); port <= modelLast; port++ {
			r := makeKey(outside, k.proto(), k.dst(), addressFrom(netip.MustParseAddr(external)), k.dport(), port)
			if f := n.forwards.Load().at(k.proto(), k.dport()); f != nil && addr4(k.dst()).String() == external {
				to, toPort := f.target(k.dport())
				r = makeKey(inside, k.proto(), to, n.gateway, toPort, port)
			}
			if n.find(r, &match{}) || n.forwards.Load().at(k.proto(), port) != nil {
				taken++
			}
		}
		if taken <= modelLast-modelFirst {
			t.Fatalf("refused with %d ports taken", taken)
		}
	}
}

// forget drops from the model what the table has evicted.
func (m *model) forget(n *Table) {
	after := standingOf(n, m.now)
	m.sessions = slices.DeleteFunc(m.sessions, func(s *modelSession) bool {
		from := inside
		if s.opened.outside {
			from = outside
		}
		src, dst := s.opened.src, s.opened.dst
		_, ok := after.sessions[makeKey(from, uint8(s.proto), addressFrom(src.addrPort().Addr()), addressFrom(dst.addrPort().Addr()), src.port, dst.port)]
		return !ok
	})
}

func TestTableIsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, err := New(Config{Gateway: prefix(gateway + "/24"), FirstPort: modelFirst, LastPort: modelLast, Limit: modelLimit, GuestLimit: modelPart})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.SetExternal(netip.MustParseAddr(external)); err != nil {
			t.Fatal(err)
		}
		m := &model{forwards: map[string]end{}, now: at}
		t.Repeat(map[string]func(*rapid.T){
			"packet":  func(t *rapid.T) { m.send(t, n, m.draw(t)) },
			"packet ": func(t *rapid.T) { m.send(t, n, m.draw(t)) },
			"answer": func(t *rapid.T) {
				if len(m.sessions) == 0 {
					t.Skip("no session")
				}
				s := rapid.SampledFrom(m.sessions).Draw(t, "session")
				d := rapid.SampledFrom([]tuple{s.opened, s.answered}).Draw(t, "direction")
				m.send(t, n, modelPacket{d.outside, s.proto, d.src, d.dst, rapid.SampledFrom([]byte{syn, syn | ack, ack}).Draw(t, "flags")})
			},
			"time":   func(t *rapid.T) { m.now += rapid.SampledFrom([]int64{1, 20, 61, 241, 301}).Draw(t, "seconds") },
			"expire": func(*rapid.T) { n.Expire(m.now) },
			"forward": func(t *rapid.T) {
				l := Listen{rapid.SampledFrom([]Protocol{TCP, UDP}).Draw(t, "protocol"), 8080, 8080}
				if _, ok := m.forwards[l.String()]; ok {
					delete(m.forwards, l.String())
					n.DeleteForward(l)
					m.sessions = slices.DeleteFunc(m.sessions, func(s *modelSession) bool {
						d := s.opened.dst
						if s.opened.to == Outside {
							d = s.opened.is
						}
						return s.proto == l.Protocol && d.port == 8080
					})
					return
				}
				m.forwards[l.String()] = end{server, 80}
				if err := n.AddForward(Forward{l, end{server, 80}.addrPort()}); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) { m.compare(t, n) },
		})
	})
}

func (m *model) draw(t *rapid.T) modelPacket {
	p := modelPacket{
		outside: rapid.Bool().Draw(t, "outside"),
		proto:   rapid.SampledFrom([]Protocol{TCP, UDP, ICMP}).Draw(t, "protocol"),
		flags:   rapid.SampledFrom([]byte{syn, syn, ack}).Draw(t, "flags"),
	}
	guests := rapid.SampledFrom([]end{{guestA, 1}, {guestA, 2}, {guestA, 61001}, {guestB, 1}, {guestB, 61001}, {server, 80}, {server, 81}})
	remotes := rapid.SampledFrom([]end{{remote, 53}, {remote, 443}, {remote2, 53}, {remote, 80}})
	ours := rapid.SampledFrom([]end{{external, 22}, {external, 8080}, {external, 61000}, {external, 61001}})
	if p.outside {
		p.src, p.dst = remotes.Draw(t, "from"), ours.Draw(t, "to")
	} else {
		p.src = guests.Draw(t, "from")
		p.dst = rapid.OneOf(remotes, remotes, ours, rapid.Just(end{gateway, 61000}), rapid.Just(end{gateway, 22})).Draw(t, "to")
	}
	if p.proto == ICMP { // requests from inside, answers from outside
		if p.outside {
			p.src.port = 0
		} else {
			p.dst.port = 0
		}
	}
	return p
}

func (m *model) send(t *rapid.T, n *Table, p modelPacket) {
	s, want, verdict, opens := m.expect(p)
	raw, before := p.raw(), standingOf(n, m.now)
	var got Verdict
	if p.outside {
		got = n.Inbound(raw, m.now)
	} else {
		got = n.Outbound(raw, Guest(netip.MustParseAddr(p.src.ip).As4()[3]), m.now)
	}
	switch {
	case opens:
		var parsed packet
		parsed.parse(p.raw(), map[bool]side{false: inside, true: outside}[p.outside])
		checkLosses(t, n, before, parsed.key, got, m.now)
		m.forget(n)
		if got == drop(frame.NATExhausted) {
			return
		}
		if got.To != Inside && got.To != Outside {
			t.Fatalf("%+v: %v, %v; want a session", p, got.To, got.Reason)
		}
		src, dst := modelEnds(raw)
		s = m.opened(t, p, src, dst)
		m.sessions = append(m.sessions, s)
		want = s.opened
	case s == nil:
		if got != verdict {
			t.Fatalf("%+v: %v, %v; want %v, %v", p, got.To, got.Reason, verdict.To, verdict.Reason)
		}
		if !bytes.Equal(raw, p.raw()) {
			t.Fatalf("%+v: changed", p)
		}
		return
	}
	fresh := p
	fresh.src, fresh.dst = want.is, want.at
	if got.To != want.to || !bytes.Equal(raw, fresh.raw()) {
		src, dst := modelEnds(raw)
		t.Fatalf("%+v: %v as %v to %v; want %v, %v to %v", p, got.To, src, dst, want.to, want.is, want.at)
	}
	s.last = m.now
	if answered := want == s.answered; answered && (p.proto == UDP && s.opened.dst.port != 53 || p.proto == TCP && p.flags&syn != 0) {
		s.established = true
	}
}

func modelEnds(raw []byte) (src, dst end) {
	var p packet
	p.parse(raw, inside)
	return end{addr4(p.key.src()).String(), p.key.sport()}, end{addr4(p.key.dst()).String(), p.key.dport()}
}

func (m *model) compare(t *rapid.T, n *Table) {
	got, want := map[string]int64{}, map[string]int64{}
	for _, s := range n.Sessions(m.now) {
		got[fmt.Sprint(s.Protocol, s.Guest, s.External, s.Remote)] = s.IdleSeconds
	}
	for _, s := range m.alive() {
		guest, ext, rem := s.opened.src, s.opened.is, s.opened.dst
		if s.opened.to == Inside {
			guest, ext, rem = s.opened.at, s.opened.dst, s.opened.src
		}
		if s.proto == ICMP {
			rem.port = ext.port
		}
		want[fmt.Sprint(s.proto, guest.addrPort(), ext.addrPort(), rem.addrPort())] = m.now - s.last
	}
	if !maps.Equal(got, want) {
		t.Fatalf("sessions %v\nwant %v", got, want)
	}
	checkIntegrity(t, n)
}

// checkIntegrity checks that what the table knows twice agrees.
func checkIntegrity(t interface{ Fatalf(string, ...any) }, n *Table) {
	words, live, listed := 0, 0, 0
	var overflow uint64
	for i := range n.buckets {
		overflow += n.buckets[i].overflow.Load()
		for j := range n.buckets[i].words {
			if n.buckets[i].words[j].Load() != 0 {
				words++
			}
		}
	}
	for at := range n.used {
		if n.slots[at].generation.Load()&1 != 0 {
			live++
		}
	}
	for i := range n.owners {
		o := &n.owners[i]
		listed += o.n()
		for _, l := range []list{o.transitory, o.assured} {
			c := 0
			for a := l.first; a != none; a = n.slots[a].next {
				m := match{word: n.slots[a].state.Load()}
				if m.owner() != uint32(i) || n.listOf(m.owner(), m.state()).first != l.first {
					t.Fatalf("slot %d is in a list not its own", a)
				}
				c++
			}
			if c != l.n {
				t.Fatalf("a list of %d says %d", c, l.n)
			}
		}
		if n.bySize[o.rank] != uint32(i) || o.rank > 0 && n.larger(uint32(i), n.bySize[(o.rank-1)/2]) {
			t.Fatalf("owner %d is at the wrong place of the heap", i)
		}
	}
	if words != 2*live || live != n.len || listed != live || live == 0 && overflow != 0 {
		t.Fatalf("%d words, %d sessions, %d listed, %d counted, overflow %d", words, live, listed, n.len, overflow)
	}
}

package nat

import (
	"fmt"
	"net/netip"
	"testing"
)

// pretended is a Bypass that has heard what the test says.
type pretended struct {
	silent int64
	ack    [2]uint32 // 0: not known
	ended  []uint32
	next   uint32
}

func (b *pretended) Heard(uint32) int64 { return b.silent }
func (b *pretended) End(id uint32)      { b.ended = append(b.ended, id) }
func (b *pretended) Acknowledged(_ uint32, end int) (uint32, uint16, bool) {
	return b.ack[end], 100, b.ack[end] != 0
}

func (b *pretended) open() uint32 {
	b.next++
	return b.next
}

// bypassedSession is an established session of TCP, or one of UDP that was
// answered, with a Bypass.
func bypassedSession(t *testing.T, proto uint8) (table *Table, b *pretended, out, in func(segment) Verdict) {
	t.Helper()
	table, b = newTable(t, nil), &pretended{}
	table.SetBypass(b)
	g, r, e := end{guestA, 61001}, end{remote, 443}, end{external, 61001}
	packet := func(s segment, src, dst end) []byte {
		if proto == protoUDP {
			return udp(10)(src, dst)
		}
		return s.build(src, dst)
	}
	out = func(s segment) Verdict { return table.Outbound(packet(s, g, r), numberA, at) }
	in = func(s segment) Verdict { return table.Inbound(packet(s, r, e), at) }
	if v := out(segment{flags: syn, seq: 1}); v.To != Outside || proto == protoTCP && !v.Session.IsZero() {
		t.Fatalf("the first packet: %+v", v)
	}
	if v := in(segment{flags: syn | ack, seq: 1, ack: 2}); v.To != Inside {
		t.Fatalf("the answer: %+v", v)
	}
	return table, b, out, in
}

// A session is one for a Bypass when both ends have spoken, but its packets with
// SYN, FIN or RST are not.
func TestWhatMayPassBy(t *testing.T) {
	_, _, out, in := bypassedSession(t, protoTCP)
	for _, tt := range []struct {
		name string
		v    Verdict
		may  bool
	}{
		{"ACK", out(segment{flags: ack, ack: 2}), true},
		{"data", in(segment{flags: ack, ack: 2, length: 100}), true},
		{"RST that is not expected", in(segment{flags: rst, seq: 1 << 30}), false},
		{"FIN", out(segment{flags: fin | ack, seq: 2, ack: 2}), false},
		{"data of the other end after it", in(segment{flags: ack, seq: 2, ack: 3, length: 100}), true},
		{"FIN of the other end", in(segment{flags: fin | ack, seq: 102, ack: 3}), false},
		{"after both", out(segment{flags: ack, seq: 3, ack: 103}), false},
		{"SYN", out(segment{flags: syn}), false},
	} {
		if tt.v.Session.IsZero() == tt.may {
			t.Errorf("%s: %+v", tt.name, tt.v)
		}
	}
	_, _, out, in = bypassedSession(t, protoUDP)
	for name, v := range map[string]Verdict{"UDP out": out(segment{}), "UDP in": in(segment{})} {
		if v.Session.IsZero() {
			t.Errorf("%s: %+v", name, v)
		}
	}
	table := newTable(t, nil)
	for _, tt := range []struct {
		name string
		raw  []byte
	}{
		{"echo", echo(end{guestA, 5}, end{remote, 0})},
		{"fragment", fragmentOf(udp(100)(end{guestA, 5000}, end{remote, 80}), 0, 64, true)},
		{"DNS", udp(10)(end{guestA, 5000}, end{remote, 53})},
	} {
		if v := table.Outbound(tt.raw, numberA, at); v.To != Outside || !v.Session.IsZero() {
			t.Errorf("%s: %+v", tt.name, v)
		}
	}
}

// A way is news after some packets, once; another way is news at once.
func TestNewsOfASession(t *testing.T) {
	table, _, out, _ := bypassedSession(t, protoUDP)
	count := func(way uint64) (packets int) {
		for packets = 1; !table.News(out(segment{}).Session, way); packets++ {
			if packets > 1000 {
				return 0
			}
		}
		return packets
	}
	const way = 1 << 32
	for _, tt := range []struct {
		name string
		way  uint64
		want int
	}{{"first", way, patience + 1}, {"the same", way, 0}, {"another", 2 * way, 1}, {"the first again", way, 1}} {
		if got := count(tt.way); got != tt.want {
			t.Errorf("%s: news after %d packets, want %d", tt.name, got, tt.want)
		}
	}
	table.Forget(out(segment{}).Session)
	if got := count(way); got != patience+1 {
		t.Errorf("forgotten: news after %d packets, want %d", got, patience+1)
	}
	unanswered := newTable(t, nil)
	got := 0
	for got = 1; !unanswered.News(unanswered.Outbound(udp(10)(end{guestA, 5000}, end{remote, 80}), numberA, at).Session, way) && got < 1000; got++ {
	}
	if got != patienceUnreplied+1 {
		t.Errorf("nobody has answered: news after %d packets, want %d", got, patienceUnreplied+1)
	}
}

// Bind says what the packets of each direction become, and a session has one
// number.
func TestBind(t *testing.T) {
	table, b, out, in := bypassedSession(t, protoTCP)
	guest, rem, ext := netip.MustParseAddrPort(guestA+":61001"), netip.MustParseAddrPort(remote+":443"), netip.MustParseAddrPort(external+":61001")
	for _, tt := range []struct {
		v    Verdict
		want Flow
	}{
		{out(segment{flags: ack, ack: 2}), Flow{TCP, guest, rem, ext, rem, false, 0}},
		{in(segment{flags: ack, ack: 2}), Flow{TCP, rem, ext, rem, guest, true, 1}},
	} {
		if f, id, ok := table.Bind(tt.v.Session, b.open); f != tt.want || id != 1 || !ok {
			t.Errorf("%+v, %d, %v; want %+v", f, id, ok, tt.want)
		}
	}
	ref := out(segment{flags: ack, ack: 2}).Session
	if _, _, ok := newTable(t, nil).Bind(ref, b.open); ok {
		t.Error("bound by a table without a Bypass")
	}
	full := func() uint32 { return 0 }
	other := table.Outbound(udp(10)(end{guestB, 5000}, end{remote, 80}), numberB, at)
	if _, _, ok := table.Bind(other.Session, full); ok {
		t.Error("bound, but there was no room")
	}
	table.Flush()
	if _, _, ok := table.Bind(ref, b.open); ok {
		t.Error("bound a session that has ended")
	}
}

// Whatever ends a session, or keeps its packets from passing by, ends it in the
// Bypass, once.
func TestSessionsEndInTheBypass(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(table *Table, out, in func(segment) Verdict)
		ends bool
	}{
		{"nothing", func(*Table, func(segment) Verdict, func(segment) Verdict) {}, false},
		{"flush", func(table *Table, _, _ func(segment) Verdict) { table.Flush() }, true},
		{"another address", func(table *Table, _, _ func(segment) Verdict) { _ = table.SetExternal(netip.Addr{}) }, true},
		{"no Bypass", func(table *Table, _, _ func(segment) Verdict) { table.SetBypass(nil) }, true},
		{"a FIN", func(_ *Table, out, _ func(segment) Verdict) { out(segment{flags: fin | ack, seq: 2, ack: 2}) }, false},
		{"two", func(_ *Table, out, in func(segment) Verdict) {
			out(segment{flags: fin | ack, seq: 2, ack: 2})
			in(segment{flags: fin | ack, seq: 2, ack: 3})
		}, true},
		{"a RST", func(_ *Table, _, in func(segment) Verdict) { in(segment{flags: rst, seq: 2}) }, true},
	} {
		table, b, out, in := bypassedSession(t, protoTCP)
		if _, _, ok := table.Bind(out(segment{flags: ack, seq: 2, ack: 2}).Session, b.open); !ok {
			t.Fatal("not bound")
		}
		tt.end(table, out, in)
		if got := fmt.Sprint(b.ended) == "[1]"; got != tt.ends || !tt.ends && len(b.ended) > 0 {
			t.Errorf("%s: ended %v", tt.name, b.ended)
		}
	}
}

// Who was forged a RST for is back when the end that is said to have sent it goes
// on, and may pass by again.
func TestForgedResetOfABypassedSession(t *testing.T) {
	table, b, out, in := bypassedSession(t, protoTCP)
	_, _, _ = table.Bind(in(segment{flags: ack, seq: 2, ack: 2}).Session, b.open)
	in(segment{flags: rst, seq: 2})
	if v := in(segment{flags: ack, seq: 2, ack: 2}); len(b.ended) != 1 || !v.Session.IsZero() {
		t.Errorf("ended %v, then %+v", b.ended, v)
	}
	if v := out(segment{flags: ack, seq: 2, ack: 2}); v.Session.IsZero() {
		t.Errorf("established again: %+v", v)
	}
}

// A session is silent when the Bypass has not heard of it either.
func TestTimeoutOfABypassedSession(t *testing.T) {
	table, b, out, _ := bypassedSession(t, protoUDP)
	if _, _, ok := table.Bind(out(segment{}).Session, b.open); !ok {
		t.Fatal("not bound")
	}
	const timeout = 300
	b.silent = 10
	if n := table.Expire(at + 2*timeout); n != 0 {
		t.Error("ended, though the Bypass had a packet 10 seconds ago")
	}
	if s := table.Sessions(at + 2*timeout); len(s) != 1 || s[0].IdleSeconds != 10 {
		t.Errorf("%+v, want it silent for 10 s", s)
	}
	b.silent = timeout + 1
	if n := table.Expire(at + 3*timeout); n != 1 || len(b.ended) != 1 {
		t.Errorf("%d ended, %v in the Bypass", n, b.ended)
	}
}

// A FIN or RST counts if it fits what the Bypass has seen acknowledged.
func TestResetAgainstWhatTheBypassSaw(t *testing.T) {
	const far = 1 << 28
	for _, tt := range []struct {
		name string
		saw  uint32 // that the guest has acknowledged
		seq  uint32
		over bool
	}{
		{"nothing, and it fits", 0, 2, true},
		{"nothing, and it does not", 0, far, false},
		{"much, and it fits", far, far + 10, true},
		{"much, and it does not", far, 2, false},
	} {
		table, b, out, in := bypassedSession(t, protoTCP)
		if _, _, ok := table.Bind(out(segment{flags: ack, seq: 2, ack: 2, window: 1000}).Session, b.open); !ok {
			t.Fatal("not bound")
		}
		b.ack[opener] = tt.saw
		in(segment{flags: rst, seq: tt.seq})
		if got := len(b.ended) == 1; got != tt.over {
			t.Errorf("%s: ended %v", tt.name, b.ended)
		}
	}
}

// What decides about sessions has versions.
func TestVersion(t *testing.T) {
	table := newTable(t, nil)
	forward := Forward{Listen: Listen{TCP, 80, 80}, To: netip.MustParseAddrPort(server + ":80")}
	other := newTable(t, nil)
	for _, tt := range []struct {
		name string
		do   func() error
		news bool
	}{
		{"the same address", func() error { return table.SetExternal(netip.MustParseAddr(external)) }, false},
		{"the same ports", func() error { return table.SetPorts(DefaultFirstPort, DefaultLastPort) }, false},
		{"other ports", func() error { return table.SetPorts(62000, 63000) }, true},
		{"a forward", func() error { return table.AddForward(forward) }, true},
		{"the same", func() error { return table.AddForward(forward) }, false},
		{"without it", func() error { table.DeleteForward(forward.Listen); return nil }, true},
		{"a sibling", func() error { table.SetSiblings([]*Table{other}); return nil }, true},
		{"the same sibling", func() error { table.SetSiblings([]*Table{other}); return nil }, false},
		{"another address", func() error { return table.SetExternal(netip.MustParseAddr(remote2)) }, true},
	} {
		was := table.Version()
		if err := tt.do(); err != nil {
			t.Fatal(err)
		}
		if got := table.Version() != was; got != tt.news {
			t.Errorf("%s: another version %v", tt.name, got)
		}
	}
}

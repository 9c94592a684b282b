package nat

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"gxswitch/internal/frame"
)

func TestForwardLeadsToTheGuestAndBack(t *testing.T) {
	n := newTable(t, nil)
	forwardTo(t, n, "tcp/8080-8090", end{server, 80})
	forwardTo(t, n, "udp/8080", end{guestB, 1})
	r := end{remote, 5000}
	for _, c := range []struct{ listen, to uint16 }{{8080, 80}, {8085, 85}, {8090, 90}} {
		listen, s := end{external, c.listen}, end{server, c.to}
		raw := synSegment.build(r, listen)
		inbound(t, n, raw, at)
		if want := synSegment.build(r, s); !bytes.Equal(raw, want) {
			t.Errorf("in:\n got % x\nwant % x", raw, want)
		}
		raw = synAckSegment.build(s, r)
		outbound(t, n, numberS, raw, Outside, at)
		if want := synAckSegment.build(listen, r); !bytes.Equal(raw, want) {
			t.Errorf("out:\n got % x\nwant % x", raw, want)
		}
	}
	forHost(t, "below", n.Inbound(synSegment.build(r, end{external, 8079}), at))
	forHost(t, "above", n.Inbound(synSegment.build(r, end{external, 8091}), at))
}

func TestHairpinByAForward(t *testing.T) {
	n := newTable(t, nil)
	forwardTo(t, n, "tcp/80", end{server, 8080})
	g, s, listen := end{guestA, 40000}, end{server, 8080}, end{external, 80}
	raw := synSegment.build(g, listen)
	w, _ := outbound(t, n, numberA, raw, Inside, at)
	if want := synSegment.build(w, s); w.ip != gateway || !bytes.Equal(raw, want) {
		t.Errorf("there:\n got % x\nwant % x", raw, want)
	}
	raw = synAckSegment.build(s, w)
	outbound(t, n, numberS, raw, Inside, at)
	if want := synAckSegment.build(listen, g); !bytes.Equal(raw, want) {
		t.Errorf("back:\n got % x\nwant % x", raw, want)
	}
	if l := n.Sessions(at); len(l) != 1 || l[0].State != "established" || l[0].Gateway != w.addrPort() {
		t.Errorf("%+v", l)
	}
	// The server to itself.
	self := end{server, 40000}
	w, dst := outbound(t, n, numberS, synSegment.build(self, listen), Inside, at)
	if src, back := outbound(t, n, numberS, synAckSegment.build(s, w), Inside, at); dst != s || src != listen || back != self {
		t.Errorf("to %v, and from %v to %v", dst, src, back)
	}
	dropped(t, "answer to nobody", func(raw []byte) Verdict { return n.Outbound(raw, numberS, at) },
		synAckSegment.build(s, end{gateway, w.port ^ 1}), frame.NATNoSession)
}

func TestForwardsGuestIsKnownByOneAddress(t *testing.T) {
	n, s, r := newTable(t, nil), end{server, 5060}, end{remote, 5060}
	forwardTo(t, n, "udp/5060", s)
	if e := open(t, n, numberS, udp(0), s, r, at); e.port != 5060 {
		t.Errorf("the server calls from %v", e)
	}
	if _, dst := inbound(t, n, udp(0)(r, end{external, 5060}), at); dst != s {
		t.Errorf("answered to %v", dst)
	}
	if e := open(t, n, numberS, udp(0), end{server, 5061}, r, at); e.port == 5060 {
		t.Errorf("another port calls from %v", e)
	}
}

func TestForwardMeetsASessionThatWasThere(t *testing.T) {
	n, s, r := newTable(t, nil), end{server, 5060}, end{remote, 5060}
	e := open(t, n, numberS, udp(0), s, r, at)
	forwardTo(t, n, "udp/5060", s)
	inbound(t, n, udp(0)(r, e), at)
	dropped(t, "agreed session", func(raw []byte) Verdict { return n.Inbound(raw, at) },
		udp(0)(r, end{external, 5060}), frame.NATExhausted)

	r2 := end{remote2, 5060}
	if n.DeleteForward(Listen{UDP, 5060, 5060}); n.Len() != 1 {
		t.Fatalf("%v", n.Sessions(at))
	}
	open(t, n, numberS, udp(0), s, r2, at)
	forwardTo(t, n, "udp/5060", s)
	inbound(t, n, udp(0)(r2, end{external, 5060}), at)
	if src, _ := outbound(t, n, numberS, udp(0)(s, r2), Outside, at); src.port != 5060 {
		t.Errorf("answers from %v", src)
	}
}

func TestSessionsOfARemovedForwardEnd(t *testing.T) {
	n, r, g := newTable(t, nil), end{remote, 5000}, end{guestA, 40000}
	forwardTo(t, n, "udp/53", end{server, 53})
	forwardTo(t, n, "udp/54", end{server, 54})
	inbound(t, n, udp(0)(r, end{external, 53}), at)
	inbound(t, n, udp(0)(r, end{external, 54}), at)
	outbound(t, n, numberA, udp(0)(g, end{external, 53}), Inside, at)
	outbound(t, n, numberS, udp(0)(end{server, 53}, end{remote2, 1}), Outside, at)
	outbound(t, n, numberA, udp(0)(g, end{remote, 53}), Outside, at)
	if n.DeleteForward(Listen{UDP, 53, 54}) || n.DeleteForward(Listen{TCP, 53, 53}) || !n.DeleteForward(Listen{UDP, 53, 53}) {
		t.Error("want exactly udp/53 to be one")
	}
	l := n.Sessions(at)
	slices.SortFunc(l, func(a, b Session) int { return a.External.Compare(b.External) })
	if len(l) != 2 || l[0].External.Port() != 54 || l[1].Guest != g.addrPort() {
		t.Errorf("%v", l)
	}
	forHost(t, "in", n.Inbound(udp(0)(r, end{external, 53}), at))
	forHost(t, "hairpin", n.Outbound(udp(0)(g, end{external, 53}), numberA, at))
}

func TestPortsOfForwardsAreNotGivenToSessions(t *testing.T) {
	n := newTable(t, func(c *Config) { c.FirstPort, c.LastPort = 62000, 62003 })
	forwardTo(t, n, "udp/62001-62003", end{server, 1})
	if e := open(t, n, numberA, udp(0), end{guestA, 62002}, end{remote, 1}, at); e.port != 62000 {
		t.Errorf("%v", e)
	}
}

func TestForwardsAreChecked(t *testing.T) {
	n := newTable(t, nil)
	add := func(l Listen, to string) error { return n.AddForward(Forward{l, netip.MustParseAddrPort(to)}) }
	for i := range 2 {
		if err := add(Listen{TCP, 80, 90}, "10.20.0.7:0"); err != nil {
			t.Fatalf("time %d: %v", i, err)
		}
	}
	for _, c := range []struct {
		l      Listen
		to     string
		exists bool
	}{
		{Listen{TCP, 80, 90}, "10.20.0.7:81", true},
		{Listen{TCP, 90, 100}, "10.20.0.8:80", true},
		{Listen{TCP, 85, 85}, "10.20.0.7:85", true},
		{Listen{ICMP, 1, 1}, "10.20.0.7:1", false},
		{Listen{UDP, 0, 1}, "10.20.0.7:1", false},
		{Listen{UDP, 2, 1}, "10.20.0.7:1", false},
		{Listen{UDP, 1, 11}, "10.20.0.7:65526", false},
		{Listen{UDP, 1, 1}, "10.20.0.1:1", false},
		{Listen{UDP, 1, 1}, "10.21.0.1:1", false},
		{Listen{UDP, 1, 1}, "[fd00::1]:1", false},
	} {
		if err := add(c.l, c.to); err == nil || errors.Is(err, ErrExists) != c.exists {
			t.Errorf("%v to %v: %v", c.l, c.to, err)
		}
	}
	if err := add(Listen{UDP, 1, 10}, "10.20.0.7:65526"); err != nil {
		t.Error(err)
	}
	want := []Forward{
		{Listen{TCP, 80, 90}, netip.MustParseAddrPort("10.20.0.7:80")},
		{Listen{UDP, 1, 10}, netip.MustParseAddrPort("10.20.0.7:65526")},
	}
	if got := n.Forwards(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestParseListen(t *testing.T) {
	for _, s := range []string{"tcp/1", "udp/65535", "tcp/8000-8010"} {
		if l, err := ParseListen(s); err != nil || l.String() != s {
			t.Errorf("%s: %v, %v", s, l, err)
		}
	}
	if l, err := ParseListen("tcp/80-80"); err != nil || l.String() != "tcp/80" {
		t.Errorf("%v, %v", l, err)
	}
	for _, s := range []string{"", "tcp", "tcp/", "80", "icmp/1", "TCP/1", "tcp/0", "tcp/65536", "tcp/-1", "tcp/1-", "tcp/2-1", "tcp/1-2-3", "tcp/+1", "tcp/ 1", "tcp/1/2"} {
		if l, err := ParseListen(s); err == nil {
			t.Errorf("%q is %v", s, l)
		}
	}
}

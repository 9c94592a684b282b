package nat

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// shakeHands opens a TCP session between two ends, that the table gives others for.
func shakeHands(t *testing.T, first, answer func(raw []byte) Verdict, from, to, back, seen end) {
	t.Helper()
	for i, v := range []Verdict{
		first(synSegment.build(from, to)), answer(synAckSegment.build(back, seen)), first(ackSegment.build(from, to)),
	} {
		if v.To != Inside && v.To != Outside {
			t.Fatalf("packet %d: %+v", i, v)
		}
	}
}

// bindAll gives a table's sessions to a Bypass, and returns their flows.
func bindAll(n *Table) (all []Flow) {
	b := &pretended{}
	n.SetBypass(b)
	for at := range n.used {
		for _, dir := range []direction{opener, other} {
			if f, _, ok := n.Bind(Ref{at: at, generation: n.slots[at].generation.Load(), dir: dir}, b.open); ok {
				all = append(all, f)
			}
		}
	}
	return all
}

// A session comes back from either of its flows, and goes on as before: of every
// kind, in both directions, at the same port, and for as long as it may be silent.
func TestSessionsComeBackFromFlows(t *testing.T) {
	before := newTable(t, nil)
	forwardTo(t, before, "tcp/80", end{server, 8080})
	g, r := end{guestA, 40000}, end{remote, 443}
	establish(t, before, numberA, g, r, at)
	out := func(raw []byte) Verdict { return before.Outbound(raw, numberA, at) }
	in := func(raw []byte) Verdict { return before.Inbound(raw, at) }
	shakeHands(t, in, out, end{remote2, 5}, end{external, 80}, end{server, 8080}, end{remote2, 5})
	out(synSegment.build(g, end{external, 80}))
	for _, s := range before.Sessions(at) {
		if s.Gateway.IsValid() {
			w := end{gateway, s.Gateway.Port()}
			shakeHands(t, out, out, g, end{external, 80}, end{server, 8080}, w)
		}
	}
	open(t, before, numberA, udp(0), g, end{remote, 9}, at)
	e := open(t, before, numberA, udp(0), g, end{remote, 8}, at)
	inbound(t, before, udp(0)(end{remote, 8}, e), at)
	want := before.Sessions(at)
	flows := bindAll(before)
	if len(want) != 5 || len(flows) != 10 {
		t.Fatalf("%d sessions, %d flows", len(want), len(flows))
	}

	for _, ofEnd := range []int{0, 1} {
		after := newTable(t, nil)
		forwardTo(t, after, "tcp/80", end{server, 8080})
		var l []Session
		for _, f := range flows {
			if f.End != ofEnd {
				continue
			}
			s, ok := after.SessionOf(f)
			if !ok {
				t.Errorf("%+v is of no session", f)
			}
			s.IdleSeconds = 100
			l = append(l, s)
		}
		if n := after.Restore(l, at); n != len(want) {
			t.Errorf("end %d: %d restored", ofEnd, n)
		}
		got := after.Sessions(at)
		for i := range want {
			want[i].IdleSeconds, want[i].Bypassed = 100, false
			if want[i].Protocol == UDP { // that nobody has answered, or that somebody has, by what the flow can tell
				want[i].State = []string{"unreplied", "replied"}[ofEnd]
			}
		}
		if !slices.Equal(sorted(got), sorted(want)) {
			t.Errorf("end %d:\n got %+v\nwant %+v", ofEnd, got, want)
		}
		for _, f := range flows { // a packet of each is rewritten as it was
			raw := udp(9)(end{f.Src.Addr().String(), f.Src.Port()}, end{f.Dst.Addr().String(), f.Dst.Port()})
			if f.Protocol == TCP {
				raw = ackSegment.build(end{f.Src.Addr().String(), f.Src.Port()}, end{f.Dst.Addr().String(), f.Dst.Port()})
			}
			v := after.Inbound
			if !f.Outside {
				v = func(raw []byte, now int64) Verdict { return after.Outbound(raw, numberA, now) }
			}
			if verdict := v(raw, at); verdict.To != Inside && verdict.To != Outside {
				t.Errorf("%+v: %+v", f, verdict)
				continue
			}
			if src, dst := packetOf(t, raw); src.addrPort() != f.NewSrc || dst.addrPort() != f.NewDst {
				t.Errorf("%+v became %v to %v", f, src, dst)
			}
		}
		if n := after.Expire(at + 300); n != 0 {
			t.Errorf("%d ended", n)
		}
		if n := after.Expire(at + 301); n != 2 {
			t.Errorf("%d ended after 301 seconds, want UDP's two", n)
		}
	}
}

// A session that has been silent for too long does not come back.
func TestOverdueFlowsAreOver(t *testing.T) {
	for _, tt := range []struct {
		proto Protocol
		idle  int64
		want  int
	}{{TCP, 7440, 1}, {TCP, 7441, 0}, {UDP, 300, 1}, {UDP, 301, 0}} {
		n := newTable(t, nil)
		s, ok := n.SessionOf(Flow{tt.proto, end{guestA, 5}.addrPort(), end{remote, 80}.addrPort(), end{external, 61000}.addrPort(), end{remote, 80}.addrPort(), false, 0})
		s.IdleSeconds = tt.idle
		if got := n.Restore([]Session{s}, at); got != tt.want || !ok {
			t.Errorf("%v, silent for %d s: %d restored (%v)", tt.proto, tt.idle, got, ok)
		}
	}
}

// Whatever is said to be a flow, what comes of it is a session that the table could
// have made, or none.
func TestFlowsThatNobodyMade(t *testing.T) {
	ends := []string{guestA, guestB, server, gateway, external, remote, remote2, "0.0.0.0", "255.255.255.255"}
	rapid.Check(t, func(rt *rapid.T) {
		n := newTable(t, nil)
		forwardTo(t, n, "tcp/80", end{server, 8080})
		draw := func(name string) netip.AddrPort {
			a := netip.MustParseAddr(rapid.SampledFrom(ends).Draw(rt, name))
			return netip.AddrPortFrom(a, rapid.SampledFrom([]uint16{0, 80, 443, 8080, 61000}).Draw(rt, name+" port"))
		}
		f := Flow{
			Protocol: rapid.SampledFrom([]Protocol{0, ICMP, TCP, UDP, 47}).Draw(rt, "protocol"),
			Src:      draw("src"), Dst: draw("dst"), NewSrc: draw("new src"), NewDst: draw("new dst"),
			Outside: rapid.Bool().Draw(rt, "outside"), End: rapid.IntRange(0, 1).Draw(rt, "end"),
		}
		s, ok := n.SessionOf(f)
		if !ok || n.Restore([]Session{s}, at) == 0 {
			return
		}
		var made bool
		for _, back := range bindAll(n) {
			made = made || back == f
		}
		if !made || s.External.Port() == 0 {
			rt.Errorf("%+v became %+v", f, s)
		}
	})
}

package nat

import (
	"encoding/json"
	"slices"
	"testing"
)

// populate opens one session of each kind.
func populate(t *testing.T, n *Table) {
	t.Helper()
	forwardTo(t, n, "tcp/80", end{server, 8080})
	r, g := end{remote, 443}, end{guestA, 40000}
	establish(t, n, numberA, g, r, at)
	e := establish(t, n, numberB, end{guestB, 40000}, r, at)
	inbound(t, n, segment{flags: fin | ack, seq: 901, ack: 101}.build(r, e), at)
	open(t, n, numberA, udp(0), g, end{remote, 53}, at)
	open(t, n, numberA, echo, g, end{remote, 0}, at)
	inbound(t, n, synSegment.build(end{remote2, 5}, end{external, 80}), at)
	outbound(t, n, numberA, synSegment.build(g, end{external, 80}), Inside, at)
}

func sorted(l []Session) []Session {
	slices.SortFunc(l, func(a, b Session) int {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return slices.Compare(x, y)
	})
	return l
}

func TestSessionsAreSeenFromTheGuest(t *testing.T) {
	n := newTable(t, nil)
	populate(t, n)
	states := map[string]int{}
	for _, s := range n.Sessions(at + 9) {
		states[s.State]++
		if s.IdleSeconds != 9 || s.External.Addr().String() != external || !s.Guest.Addr().Is4() || s.Remote.Addr() == s.Guest.Addr() {
			t.Errorf("%+v", s)
		}
		if s.Gateway.IsValid() && (s.Guest != end{server, 8080}.addrPort() || s.Remote != end{guestA, 40000}.addrPort() || s.External.Port() != 80) {
			t.Errorf("hairpin %+v", s)
		}
		if s.Forward && (s.Guest != end{server, 8080}.addrPort() || s.Remote != end{remote2, 5}.addrPort()) {
			t.Errorf("forward %+v", s)
		}
	}
	for state, want := range map[string]int{"established": 1, "half-closed by remote": 1, "dns": 1, "echo": 1, "opening": 2} {
		if states[state] != want {
			t.Errorf("%d are %s, want %d", states[state], state, want)
		}
	}
}

func TestRestoredSessionsGoOn(t *testing.T) {
	before := newTable(t, nil)
	populate(t, before)
	e := establish(t, before, numberA, end{guestA, 50000}, end{remote, 443}, at)
	saved, err := json.Marshal(before.Sessions(at + 10))
	if err != nil {
		t.Fatal(err)
	}
	var l []Session
	if err := json.Unmarshal(saved, &l); err != nil {
		t.Fatal(err)
	}

	after, now := newTable(t, nil), int64(5) // another clock
	forwardTo(t, after, "tcp/80", end{server, 8080})
	if got := after.Restore(l, now); got != 7 {
		t.Fatalf("%d restored", got)
	}
	if got := after.Restore(l, now); got != 0 {
		t.Errorf("%d restored twice", got)
	}
	if got := after.Sessions(now); !slices.Equal(sorted(got), sorted(l)) {
		t.Errorf("\n got %v\nwant %v", got, l)
	}
	if _, dst := inbound(t, after, ackSegment.build(end{remote, 443}, e), now); dst != (end{guestA, 50000}) {
		t.Errorf("answer went to %v", dst)
	}
	if ended := after.Expire(now + 25); ended != 1 {
		t.Errorf("%d ended, want the DNS query", ended)
	}
}

func TestWhatIsNotRestored(t *testing.T) {
	n := newTable(t, func(c *Config) { c.GuestLimit = 1 })
	good := Session{Protocol: UDP, Guest: end{guestA, 1}.addrPort(), External: end{external, 61000}.addrPort(), Remote: end{remote, 1}.addrPort()}
	for name, change := range map[string]func(*Session){
		"another external address": func(s *Session) { s.External = end{remote2, 61000}.addrPort() },
		"no guest":                 func(s *Session) { s.Guest = end{remote2, 61000}.addrPort() },
		"the gateway as a guest":   func(s *Session) { s.Guest = end{gateway, 61000}.addrPort() },
		"a guest as the remote":    func(s *Session) { s.Remote = end{guestB, 61000}.addrPort() },
		"overdue":                  func(s *Session) { s.IdleSeconds = 301 },
		"from the future":          func(s *Session) { s.IdleSeconds = -1 },
		"GRE":                      func(s *Session) { s.Protocol = 47 },
		"no such forward":          func(s *Session) { s.Forward = true },
		"no such hairpin":          func(s *Session) { s.Remote, s.Gateway = end{guestB, 1}.addrPort(), end{gateway, 61000}.addrPort() },
		"nothing at all":           func(s *Session) { *s = Session{} },
	} {
		s := good
		change(&s)
		if n.Restore([]Session{s}, at) != 0 {
			t.Errorf("%s: restored", name)
		}
	}
	next := good
	next.Guest, next.External = end{guestA, 2}.addrPort(), end{external, 61001}.addrPort()
	if got := n.Restore([]Session{good, next}, at); got != 1 {
		t.Errorf("%d restored, want one, the limit", got)
	}
}

func TestFlush(t *testing.T) {
	n := newTable(t, nil)
	populate(t, n)
	if got := n.Flush(); got != 6 || n.Len() != 0 || len(n.Sessions(at)) != 0 {
		t.Errorf("%d flushed, %d left", got, n.Len())
	}
	populate(t, n)
	if n.Len() != 6 {
		t.Errorf("%d afterwards", n.Len())
	}
}

func TestGatewayAndNetwork(t *testing.T) {
	n := newTable(t, nil)
	if got := n.Gateway().String(); got != gateway {
		t.Errorf("gateway %s, want %s", got, gateway)
	}
	if got := n.Network().String(); got != "10.20.0.0/24" {
		t.Errorf("network %s, want 10.20.0.0/24", got)
	}
}

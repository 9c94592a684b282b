package nat

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func TestGuestsWithEqualSourcePorts(t *testing.T) {
	n, r := newTable(t, nil), end{remote, 53}
	a, b := end{guestA, 5353}, end{guestB, 5353}
	ea := open(t, n, numberA, udp(10), a, r, at)
	eb := open(t, n, numberB, udp(10), b, r, at)
	if ea == eb {
		t.Fatalf("both are %v", ea)
	}
	if _, dst := inbound(t, n, udp(10)(r, ea), at); dst != a {
		t.Errorf("answer to %v went to %v", a, dst)
	}
	if _, dst := inbound(t, n, udp(10)(r, eb), at); dst != b {
		t.Errorf("answer to %v went to %v", b, dst)
	}
}

func TestPortsComeFromTheRange(t *testing.T) {
	n := newTable(t, func(c *Config) { c.FirstPort, c.LastPort = 62000, 62009 })
	for port := range uint16(10) {
		for _, r := range []end{{remote, 80}, {remote2, 80}} {
			if e := open(t, n, numberA, udp(0), end{guestA, 1000 + port}, r, at); e.port < 62000 || e.port > 62009 {
				t.Errorf("%v", e)
			}
		}
	}
}

func TestOneExternalPortToAllRemotes(t *testing.T) {
	n, g := newTable(t, nil), end{guestA, 40000}
	e := open(t, n, numberA, udp(0), g, end{remote, 3478}, at)
	for port := uint16(1); port < 1000; port++ {
		if got := open(t, n, numberA, udp(0), g, end{remote2, port}, at); got != e {
			t.Fatalf("to port %d from %v, before from %v", port, got, e)
		}
	}
}

func TestGuestsPortInTheRangeIsKept(t *testing.T) {
	n := newTable(t, nil)
	if e := open(t, n, numberA, udp(0), end{guestA, 62345}, end{remote, 80}, at); e.port != 62345 {
		t.Errorf("%v", e)
	}
	if e := open(t, n, numberB, udp(0), end{guestB, 62345}, end{remote, 80}, at); e.port == 62345 {
		t.Errorf("two have %v", e)
	}
}

func TestSecretKeepsPortsOverARestart(t *testing.T) {
	secret := func(c *Config) { c.Secret = [2]uint64{1, 2} }
	g, r := end{guestA, 40000}, end{remote, 443}
	e := open(t, newTable(t, secret), numberA, udp(0), g, r, at)
	if got := open(t, newTable(t, secret), numberA, udp(0), g, r, at); got != e {
		t.Errorf("%v, before the restart %v", got, e)
	}
}

func TestOnlyTheRemoteThatWasAskedAnswers(t *testing.T) {
	n := newTable(t, nil)
	e := open(t, n, numberA, udp(0), end{guestA, 40000}, end{remote, 53}, at)
	in := func(raw []byte) Verdict { return n.Inbound(raw, at) }
	dropped(t, "another address", in, udp(0)(end{remote2, 53}, e), frame.NATNoSession)
	dropped(t, "another port", in, udp(0)(end{remote, 54}, e), frame.NATNoSession)
	dropped(t, "another protocol", in, synSegment.build(end{remote, 53}, e), frame.NATNoSession)
	dropped(t, "a guest's address", in, udp(0)(end{guestA, 40000}, end{remote, 53}), frame.SpoofIP)
	dropped(t, "our own address", in, udp(0)(e, e), frame.SpoofIP)
}

func TestWhatIsTheHosts(t *testing.T) {
	n := newTable(t, nil)
	forwardTo(t, n, "tcp/8080", end{server, 80})
	r := end{remote, 5000}
	for name, raw := range map[string][]byte{
		"below the range":     udp(0)(r, end{external, 60999}),
		"UDP beside forward":  udp(0)(r, end{external, 8080}),
		"echo request":        echo(r, end{external, 0}),
		"echo reply":          echo(end{remote, 0}, end{external, 62000}),
		"another destination": udp(0)(r, end{remote2, 62000}),
		"GRE":                 serialize(ipv4(r, end{external, 0}, layers.IPProtocolGRE), payload(8)),
		"a later fragment":    fragmentOf(udp(100)(r, end{external, 62000}), 16, 16, false),
	} {
		forHost(t, name, n.Inbound(raw, at))
	}
	g := end{guestA, 40000}
	for name, raw := range map[string][]byte{
		"SSH to the gateway":          synSegment.build(g, end{gateway, 22}),
		"SSH to the external address": synSegment.build(g, end{external, 22}),
		"ping of the gateway":         echo(g, end{gateway, 0}),
		"answer to the host's ping":   echo(end{guestA, 0}, end{gateway, 62000}),
		"answer to the host":          ackSegment.build(g, end{gateway, 40000}),
	} {
		forHost(t, name, n.Outbound(raw, numberA, at))
	}
}

func TestWhatGuestsCanNotSend(t *testing.T) {
	n, g := newTable(t, nil), end{guestA, 40000}
	out := func(raw []byte) Verdict { return n.Outbound(raw, numberA, at) }
	dropped(t, "not its network", out, udp(0)(end{remote2, 1}, end{remote, 1}), frame.SpoofIP)
	dropped(t, "the gateway's address", out, udp(0)(end{gateway, 1}, end{remote, 1}), frame.SpoofIP)
	dropped(t, "the external address", out, udp(0)(end{external, 1}, end{remote, 1}), frame.SpoofIP)
	dropped(t, "to another guest", out, udp(0)(g, end{guestB, 1}), frame.NoRoute)
	dropped(t, "multicast", out, udp(0)(g, end{"224.0.0.251", 5353}), frame.NoRoute)
	dropped(t, "broadcast", out, udp(0)(g, end{"255.255.255.255", 67}), frame.NoRoute)
	dropped(t, "loopback", out, udp(0)(g, end{"127.0.0.1", 53}), frame.NoRoute)
	dropped(t, "middle of a connection", out, ackSegment.build(g, end{remote, 443}), frame.NATNoSession)
	dropped(t, "echo reply", out, echo(end{guestA, 0}, end{remote, 7}), frame.NATNoSession)
	dropped(t, "GRE", out, serialize(ipv4(g, end{remote, 0}, layers.IPProtocolGRE), payload(8)), frame.NATNoSession)
	dropped(t, "later fragment alone", out, fragmentOf(udp(100)(g, end{remote, 53}), 16, 16, false), frame.NATNoSession)
	if err := n.SetExternal(netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	dropped(t, "no external address", out, udp(0)(g, end{remote, 1}), frame.NoRoute)
}

func TestNewExternalAddressEndsSessions(t *testing.T) {
	n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 443}
	forwardTo(t, n, "udp/53", end{server, 53})
	e := open(t, n, numberA, udp(0), g, r, at)
	inbound(t, n, udp(0)(r, end{external, 53}), at)
	outbound(t, n, numberA, udp(0)(g, end{external, 53}), Inside, at)
	if err := n.SetExternal(netip.MustParseAddr(external)); err != nil || n.Len() != 3 {
		t.Fatalf("the same address: %v, %d sessions", err, n.Len())
	}
	if err := n.SetExternal(netip.MustParseAddr("192.0.2.8")); err != nil || n.Len() != 0 {
		t.Fatalf("another: %v, %d sessions", err, n.Len())
	}
	forHost(t, "to the old address", n.Inbound(udp(0)(r, e), at))
	if src, _ := outbound(t, n, numberA, udp(0)(g, r), Outside, at); src.ip != "192.0.2.8" {
		t.Errorf("from %v", src)
	}
}

func TestSilentSessionsEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		build build
		r     end
		reply build // nil: none
		lasts time.Duration
	}{
		{"UDP", udp(0), end{remote, 123}, nil, 5 * time.Minute},
		{"UDP, answered", udp(0), end{remote, 123}, udp(0), 5 * time.Minute},
		{"DNS", udp(0), end{remote, 53}, udp(0), 30 * time.Second},
		{"echo", echo, end{remote, 0}, echo, time.Minute},
		{"SYN", synSegment.build, end{remote, 443}, nil, 4 * time.Minute},
		{"TCP", synSegment.build, end{remote, 443}, synAckSegment.build, 2*time.Hour + 4*time.Minute},
	} {
		n, g := newTable(t, nil), end{guestA, 40000}
		src, dst := outbound(t, n, numberA, c.build(g, c.r), Outside, at)
		if c.reply != nil {
			inbound(t, n, c.reply(dst, src), at)
		}
		last := at + int64(c.lasts.Seconds())
		if ended := n.Expire(last); ended != 0 {
			t.Errorf("%s: gone after %v", c.name, c.lasts)
		}
		if l := n.Sessions(last + 1); len(l) != 0 {
			t.Errorf("%s: %v after %v and a second", c.name, l, c.lasts)
		}
		answer := c.reply
		if answer == nil {
			answer = c.build
		}
		if v := n.Inbound(answer(dst, src), last+1); v.To == Inside {
			t.Errorf("%s: still answered", c.name)
		}
		if ended := n.Expire(last + 1); ended != 1 || n.Len() != 0 {
			t.Errorf("%s: %d ended, %d left", c.name, ended, n.Len())
		}
	}
}

func TestPacketsKeepASession(t *testing.T) {
	n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 123}
	e := open(t, n, numberA, udp(0), g, r, at)
	outbound(t, n, numberA, udp(0)(g, r), Outside, at+300)
	inbound(t, n, udp(0)(r, e), at+600)
	if got := open(t, n, numberA, udp(0), g, r, at+900); got != e || n.Expire(at+1200) != 0 {
		t.Errorf("%v, at first %v", got, e)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{
		{},
		{Gateway: prefix("fd00::1/64")},
		{Gateway: prefix("10.0.0.1/24"), FirstPort: 5},
		{Gateway: prefix("10.0.0.1/24"), FirstPort: 5, LastPort: 4},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	n := newTable(t, nil)
	for _, a := range []string{"10.20.0.9", "fd00::1"} {
		if n.SetExternal(netip.MustParseAddr(a)) == nil || n.External().String() != external {
			t.Errorf("external address %v is taken", a)
		}
	}
}

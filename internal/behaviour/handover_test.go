package behaviour

import (
	"strings"
	"syscall"
	"testing"
)

// A restart by the service manager (SIGUSR1) leaves everything to the next
// daemon: the host's interface is the same one, with a route that somebody put
// there, and in between the host sees nothing of its guests.
func TestHandOver(t *testing.T) { bothEngines(t, testHandOver) }
func testHandOver(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.guest(2)
	mustRun(t, l.host, "ip", "addr", "add", "10.9.0.99/32", "dev", "lo")
	before := footprint(t, l.host)
	l.start(hostOnly)
	l.must("port", "set", "p1", "--label", "one")
	mustRun(t, l.host, "ip", "route", "add", "192.0.2.0/24", "via", guestIP(2))
	leg := func() string {
		index, _, _ := strings.Cut(mustRun(t, l.host, "ip", "-o", "link", "show", "lab"), ":")
		return index + ": " + mustRun(t, l.host, "ip", "route", "show", "192.0.2.0/24")
	}
	was := leg()
	l.daemon.end(t, syscall.SIGUSR1)
	if l.daemon.err != nil {
		t.Errorf("daemon ended with %v", l.daemon.err)
	}
	if out, err := run(t, g1, "arping", "-c", "2", "-w", "1", "-I", "eth0", "10.9.0.99"); err == nil {
		t.Errorf("between two daemons the host answers:\n%s", out)
	}
	l.start(hostOnly)
	if is := leg(); is != was {
		t.Errorf("the host's interface and route were %q, are %q", was, is)
	}
	talk(t, g1, guestIP(2))
	if p := l.port("p1"); p.Label != "one" {
		t.Errorf("label after the restart: %q", p.Label)
	}
	mustRun(t, l.host, "ip", "route", "del", "192.0.2.0/24")
	l.daemon.end(t, syscall.SIGTERM)
	if after := footprint(t, l.host); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

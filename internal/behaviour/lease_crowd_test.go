package behaviour

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/frame"
	"gxswitch/internal/testnet/nettest"
)

// 250 guests that start at once have their addresses within ten seconds, each
// its own, and there is none left for the next.
//
//	crowd [e0 … e24]--p0 … p24--lab
func TestCrowdOfGuests(t *testing.T) { bothEnginesAlone(t, testCrowdOfGuests) }
func testCrowdOfGuests(t *testing.T, engine string) {
	const ports, each, within = 25, 10, 10 * time.Second
	l := newLab(t, engine)
	crowd := nettest.Namespace(t, l.net, "crowd")
	batch := ""
	for i := range ports {
		batch += fmt.Sprintf("link add p%d up type veth peer name e%d netns %s\n", i, i, crowd.Name)
	}
	l.write("batch", batch)
	mustRun(t, l.host, "ip", "-batch", l.path("batch"))
	stations := make([]*station, ports)
	for i := range stations {
		mustRun(t, crowd, "ip", "link", "set", fmt.Sprint("e", i), "up")
		stations[i] = newStation(t, crowd, fmt.Sprint("e", i))
	}
	config := strings.NewReplacer("10.9.0.254/24", "10.9.0.1/23", "10.9.0.50-10.9.0.99", "10.9.0.10-10.9.1.3").Replace(served) // 250 addresses
	l.start(config + allPorts)
	for i := range ports {
		l.awaitPort(fmt.Sprint("p", i), "up")
		awaitOperational(t, crowd, fmt.Sprint("e", i))
	}
	mac := func(station, i int) frame.MAC { return guestMAC(1000 + station*each + i) }
	began := time.Now()
	for n, s := range stations {
		for i := range each {
			s.say(dhcpv4.MessageTypeDiscover, mac(n, i), nil)
		}
	}
	got := map[netip.Addr]frame.MAC{}
	for n, s := range stations {
		bound := map[frame.MAC]netip.Addr{}
		for len(bound) < each {
			a, ok := s.next(began.Add(within))
			if !ok {
				t.Fatalf("station %d: %d of %d leases within %s", n, len(bound), each, within)
			}
			switch a.MessageType() {
			case dhcpv4.MessageTypeOffer:
				s.say(dhcpv4.MessageTypeRequest, a.mac, selecting(a))
			case dhcpv4.MessageTypeAck:
				bound[a.mac] = a.addr
			}
		}
		for m, a := range bound {
			if other, twice := got[a]; twice {
				t.Errorf("%s to %s and to %s", a, other, m)
			}
			got[a] = m
		}
	}
	t.Logf("%d leases in %s", ports*each, time.Since(began))
	if n := len(leases(l)); n != ports*each {
		t.Errorf("%d leases", n)
	}
	// Newcomers get nothing, and who has something keeps it.
	for i := range 5 {
		stations[i].say(dhcpv4.MessageTypeDiscover, guestMAC(5000+i), nil)
	}
	if a := stations[0].ask(dhcpv4.MessageTypeDiscover, mac(0, 0), nil); got[a.addr] != mac(0, 0) {
		t.Errorf("%s was offered %s", mac(0, 0), a.addr)
	}
	patience := 500 * time.Millisecond
	for i := range 5 {
		if a, ok := stations[i].next(time.Now().Add(patience)); ok {
			t.Errorf("%s was offered %s", a.mac, a.addr)
		}
		patience = 10 * time.Millisecond // the others have waited meanwhile
	}
	if !strings.Contains(l.daemon.log.String(), "no address is free for a DHCP client") {
		t.Error("the log does not tell of it")
	}
}

// A guest that speaks for many gets its share, and others get theirs at once.
//
//	g1, greedy--p1--+-- lab
//	g2 (udhcpc)--p2-+
func TestGreedyGuestStarvesNobody(t *testing.T) { bothEnginesAlone(t, testGreedyGuestStarvesNobody) }
func testGreedyGuestStarvesNobody(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1, g2 := l.bare(1), l.bare(2)
	l.start(served + allPorts)
	l.awaitPort("p1", "up")
	l.awaitPort("p2", "up")
	s := newStation(t, g1, "eth0")
	for i := range 24 {
		s.say(dhcpv4.MessageTypeDiscover, guestMAC(1000+i), nil)
	}
	for bound := 0; bound < 16; {
		switch a, ok := s.next(time.Now().Add(5 * time.Second)); {
		case !ok:
			t.Fatalf("%d leases for a guest that may have 16", bound)
		case a.MessageType() == dhcpv4.MessageTypeOffer:
			s.say(dhcpv4.MessageTypeRequest, a.mac, selecting(a))
		case a.MessageType() == dhcpv4.MessageTypeAck:
			bound++
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // it goes on while the other one asks
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				s.say(dhcpv4.MessageTypeDiscover, guestMAC(2000+i), nil)
			}
		}
	}()
	began := time.Now()
	l.udhcpc(g2)
	took := time.Since(began)
	close(stop)
	<-stopped
	t.Logf("the other guest waited %s", took)
	if took > 2*time.Second {
		t.Errorf("the other guest waited %s", took)
	}
	mine := 0
	for _, lease := range leases(l) {
		if lease.Port == "p1" {
			mine++
		}
	}
	if mine != 16 {
		t.Errorf("the greedy guest has %d leases, want 16", mine)
	}
}

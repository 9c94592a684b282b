package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
	"gxswitch/nat"
)

// A packet whose next hop is not known waits for it, and its sender learns if it
// does not come.
func TestGatewayWaitsForNeighbours(t *testing.T) {
	l := newGatewayLab(t, false)
	inside := map[string]string{web1IP: web1MAC}
	l.know(inside, nil)
	l.expectPacket("to a next hop that is not known", "web1", udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64), "", "nothing")
	hop := Hop{Network: "gw", To: gateway.Outside, Addr: netip.MustParseAddr(routerIP)}
	select {
	case got := <-l.sw.Unresolved():
		if got != hop {
			t.Errorf("asks for %v, want %v", got, hop)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody is asked")
	}
	l.know(inside, map[string]string{routerIP: routerMAC})
	l.settle()
	l.expectLeft("known", "nic", "02:00:00:00:00:e0 > 02:00:00:00:00:aa 10.20.0.10 > 198.51.100.7 ttl 63")

	l.know(inside, nil)
	l.arrives("web1", udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64))
	l.sw.Unreachable(hop)
	l.settle()
	l.expectLeft("given up", "web1", "02:00:00:00:00:f1 > 02:00:00:00:00:11 10.20.0.1 > 10.20.0.10 ttl 64 DestinationUnreachable(Host)")
	if st := l.stats("nic"); st.TxDrops[frame.NoRoute] != 1 {
		t.Errorf("nic: %v, want one no_route", reasons(st.TxDrops))
	}
	l.checkSums()
}

// A picture may come between a worker's look at the one before and the packet's
// waiting: nothing waited then, and nobody will tell again.
func TestGatewayMissesNoNeighbour(t *testing.T) {
	l := newGatewayLab(t, false)
	l.know(map[string]string{web1IP: web1MAC}, nil)
	w := l.sw.workers[0]
	net := l.sw.networks["gw"]
	before := net.gateway.Load()
	l.know(map[string]string{web1IP: web1MAC}, map[string]string{routerIP: routerMAC})
	w.post(func() {
		v := w.sw.view.Load()
		for _, m := range v.ports {
			if m == nil || m.net != net || m.cfg.Role != Guest || m.cfg.Name != "web1" {
				continue
			}
			var f frame.Frame
			f.Reset(append(make([]byte, frame.VNetLen), udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64)...))
			if f.Parse() != frame.Pass {
				t.Error("the test's frame is none")
				return
			}
			verdict := before.Rules.Route(gateway.Inside, f.Raw, nat.Guest(m.id), w.now)
			if reason := w.carry(v, m, m, gateway.Inside, before, &f, verdict); reason != frame.Pass {
				t.Errorf("dropped: %v", reason)
			}
		}
	})
	l.settle()
	l.settle() // what the first one posted
	l.expectLeft("the packet", "nic", "02:00:00:00:00:e0 > 02:00:00:00:00:aa 10.20.0.10 > 198.51.100.7 ttl 63")
}

// What waits is bounded: a guest that asks for everybody fills no memory.
func TestGatewayBoundsWhatWaits(t *testing.T) {
	l := newGatewayLab(t, false)
	l.know(map[string]string{web1IP: web1MAC}, nil)
	for i := range 1000 {
		to := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i%100)}).String()
		l.inject("web1", nil, udpFrame(t, web1MAC, legMAC, web1IP, to, 5000, i, 64), 1)
	}
	l.settle()
	st := l.stats("web1")
	if kept := st.Forwarded; kept != senderPackets || st.RxDrops[frame.NoRoute] != 1000-senderPackets {
		t.Errorf("%d wait, %v, want %d to wait and the rest no_route", kept, reasons(st.RxDrops), senderPackets)
	}
	l.arrives("web2", udpFrame(t, web2MAC, legMAC, web2IP, lanIP, 5000, 6000, 64))
	if st := l.stats("web2"); st.Forwarded != 1 {
		t.Errorf("the other guest has no room: %v", reasons(st.RxDrops))
	}
	l.checkSums()
}

// Who sent a packet through NAT learns it too if the next hop does not answer, and
// sees the packet as it was sent.
func TestNextHopOfNATIsUnreachable(t *testing.T) {
	l := newGatewayLab(t, true)
	if err := l.table.AddForward(nat.Forward{Listen: nat.Listen{Protocol: nat.UDP, First: 53, Last: 53}, To: netip.MustParseAddrPort("10.20.0.99:53")}); err != nil {
		t.Fatal(err)
	}
	l.know(map[string]string{web1IP: web1MAC}, nil)
	for _, c := range []struct {
		by   string
		data []byte
		hop  Hop
		want string
	}{
		{"web1", udpFrame(t, web1MAC, legMAC, web1IP, "192.0.2.99", 5000, 6000, 64), Hop{"gw", gateway.Outside, netip.MustParseAddr("192.0.2.99")},
			"02:00:00:00:00:f1 > 02:00:00:00:00:11 10.20.0.1 > 10.20.0.10 ttl 64 DestinationUnreachable(Host)"},
		{"nic", udpFrame(t, routerMAC, nicMAC, farIP, hostIP, 5000, 53, 64), Hop{"gw", gateway.Inside, netip.MustParseAddr("10.20.0.99")},
			"02:00:00:00:00:e0 > 02:00:00:00:00:aa 192.0.2.20 > 198.51.100.7 ttl 64 DestinationUnreachable(Host)"},
		{"web1", udpFrame(t, web1MAC, legMAC, web1IP, hostIP, 5000, 53, 64), Hop{"gw", gateway.Inside, netip.MustParseAddr("10.20.0.99")},
			"02:00:00:00:00:f1 > 02:00:00:00:00:11 10.20.0.1 > 10.20.0.10 ttl 64 DestinationUnreachable(Host)"},
	} {
		l.expectPacket("to a next hop that is not known", c.by, c.data, "", "nothing")
		l.sw.Unreachable(c.hop)
		l.settle()
		at, p := l.leaves()
		if at != c.by || looks(p) != c.want {
			t.Errorf("%v: by %q\n     %s\nwant %s", c.hop, at, looks(p), c.want)
			continue
		}
		about := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4).Payload
		if sent := c.data[frame.HeaderLen:]; string(about[12:28]) != string(sent[12:28]) {
			t.Errorf("%v: about\n%x, sent\n%x", c.hop, about, sent)
		}
	}
	l.checkSums()
}

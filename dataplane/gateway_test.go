package dataplane

import (
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
)

func TestGatewayRoutes(t *testing.T) {
	l := newGatewayLab(t, false)
	for _, c := range []struct {
		what, in, src, dst, from, to string
		ttl                          int
		out, want                    string
	}{
		{"to the internet", "web1", web1MAC, legMAC, web1IP, farIP, 64, "nic", "02:00:00:00:00:e0 > 02:00:00:00:00:aa 10.20.0.10 > 198.51.100.7 ttl 63"},
		{"to the LAN", "web1", web1MAC, legMAC, web1IP, lanIP, 64, "nic", "02:00:00:00:00:e0 > 02:00:00:00:00:ab 10.20.0.10 > 192.0.2.77 ttl 63"},
		{"from the internet", "nic", routerMAC, nicMAC, farIP, web1IP, 60, "web1", "02:00:00:00:00:f1 > 02:00:00:00:00:11 198.51.100.7 > 10.20.0.10 ttl 59"},
		{"to the host", "web1", web1MAC, legMAC, web1IP, gatewayIP, 64, "leg", "02:00:00:00:00:11 > 02:00:00:00:00:f1 10.20.0.10 > 10.20.0.1 ttl 64"},
		{"to the host's LAN address", "web1", web1MAC, legMAC, web1IP, hostIP, 1, "leg", "02:00:00:00:00:11 > 02:00:00:00:00:f1 10.20.0.10 > 192.0.2.20 ttl 01"},
		{"guest to guest", "web1", web1MAC, web2MAC, web1IP, web2IP, 64, "web2", "02:00:00:00:00:11 > 02:00:00:00:00:12 10.20.0.10 > 10.20.0.11 ttl 64"},
		{"guest to guest by the gateway", "web1", web1MAC, legMAC, web1IP, web2IP, 64, "web2", "02:00:00:00:00:f1 > 02:00:00:00:00:12 10.20.0.10 > 10.20.0.11 ttl 63"},
		{"TTL used up", "web1", web1MAC, legMAC, web1IP, farIP, 1, "web1", "02:00:00:00:00:f1 > 02:00:00:00:00:11 10.20.0.1 > 10.20.0.10 ttl 64 TimeExceeded(TTLExceeded)"},
		{"the LAN to the host", "nic", routerMAC, nicMAC, farIP, hostIP, 60, "", "nothing"},
		{"somebody else's", "nic", routerMAC, lanMAC, farIP, lanIP, 60, "", "nothing"},
	} {
		l.expectPacket(c.what, c.in, udpFrame(t, c.src, c.dst, c.from, c.to, 5000, 6000, c.ttl), c.out, c.want)
	}
	if st := l.stats("nic"); st.RxDrops[frame.NoDestination] != 1 || st.Consumed != 1 || st.Forwarded != 1 {
		t.Errorf("nic: %d forwarded, %d consumed, %v", st.Forwarded, st.Consumed, reasons(st.RxDrops))
	}
	l.checkSums()
}

// A network with a gateway leaks nothing past it, even where the host forwards.
func TestGatewayIsTheOnlyWay(t *testing.T) {
	l := newGatewayLab(t, true)
	l.expectNone("a stranger's private destination", "nic", udpFrame(t, routerMAC, nicMAC, farIP, web1IP, 5000, 6000, 60), frame.NoRoute)
	l.expectNone("what the host forwards", "leg", udpFrame(t, legMAC, web1MAC, farIP, web1IP, 5000, 6000, 60), frame.NoRoute)
	l.expectNone("another's address", "web1", udpFrame(t, web1MAC, legMAC, "10.9.9.9", farIP, 5000, 6000, 60), frame.SpoofIP)
	before := l.stats("nic").TxPackets
	l.inject("web1", nil, unhex(t, all+web1MAC+payload), 1) // no broadcast leaves by the gate
	l.inject("web1", nil, unhex(t, "0200deadbeef"+web1MAC+payload), 1)
	l.settle()
	if n := l.stats("nic").TxPackets - before; n != 0 {
		t.Errorf("%d frames left by the NIC that were not routed", n)
	}
	l.checkSums()
}

func TestGatewayTranslates(t *testing.T) {
	l := newGatewayLab(t, true)
	at, p := l.arrives("web1", udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64))
	if want := "02:00:00:00:00:e0 > 02:00:00:00:00:aa 192.0.2.20 > 198.51.100.7 ttl 63"; at != "nic" || looks(p) != want {
		t.Fatalf("out: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	port := int(p.Layer(layers.LayerTypeUDP).(*layers.UDP).SrcPort)
	l.expectPacket("back", "nic", udpFrame(t, routerMAC, nicMAC, farIP, hostIP, 6000, port, 60), "web1",
		"02:00:00:00:00:f1 > 02:00:00:00:00:11 198.51.100.7 > 10.20.0.10 ttl 59")
	l.expectNone("another remote, same port", "nic", udpFrame(t, routerMAC, nicMAC, lanIP, hostIP, 6000, port, 60), frame.NATNoSession)
	l.checkSums()
}

func TestGatewayAnswersARP(t *testing.T) {
	l := newGatewayLab(t, false)
	l.expectPacket("on the uplink", "nic", arpFrame(t, lanMAC, lanIP, web1IP), "nic",
		"02:00:00:00:00:e0 > 02:00:00:00:00:ab arp 10.20.0.10 is at 02:00:00:00:00:e0")
	l.expectPacket("inside", "web1", arpFrame(t, web1MAC, web1IP, lanIP), "web1",
		"02:00:00:00:00:f1 > 02:00:00:00:00:11 arp 192.0.2.77 is at 02:00:00:00:00:f1")
	l.expectPacket("for a station of the LAN", "nic", arpFrame(t, lanMAC, lanIP, routerIP), "", "nothing")
	l.sw.Announce("gw", netip.MustParseAddr(web1IP))
	l.settle()
	l.expectLeft("announced", "nic", "02:00:00:00:00:e0 > ff:ff:ff:ff:ff:ff arp 10.20.0.10 is at 02:00:00:00:00:e0")
	l.checkSums()
}

// What a gateway forwards allocates nothing.
func TestGatewayAllocatesNothing(t *testing.T) {
	l := newGatewayLab(t, true)
	raw := append(make([]byte, frame.VNetLen), udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64)...)
	w, v := l.sw.workers[0], l.sw.view.Load()
	var in *member
	for _, m := range v.ports {
		if m != nil && m.cfg.Name == "web1" {
			in = m
		}
	}
	var allocs float64
	w.call(func() {
		work := make([]byte, len(raw))
		frames := make([]frame.Frame, 1)
		allocs = testing.AllocsPerRun(200, func() {
			copy(work, raw)
			frames[0].Reset(work)
			w.process(v, in, frames)
			for _, p := range w.dirty {
				p.pending[w.index] = p.pending[w.index][:0]
			}
			w.dirty = w.dirty[:0]
		})
	})
	if allocs != 0 {
		t.Errorf("%v allocations a packet", allocs)
	}
}

// What is longer than the uplink takes, and may be cut, leaves in pieces that are
// the packet again; of a super-frame each of its packets.
func TestGatewayCutsWhatIsTooLong(t *testing.T) {
	const mtu = 600
	ip := &layers.IPv4{Version: 4, TTL: 64, Id: 9, Protocol: layers.IPProtocolTCP, SrcIP: netip.MustParseAddr(web1IP).AsSlice(), DstIP: netip.MustParseAddr(farIP).AsSlice()}
	tcp := &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1000, ACK: true, Window: 1000}
	content := make([]byte, 4000)
	for i := range content {
		content[i] = byte(i * 7)
	}
	eth := &layers.Ethernet{SrcMAC: unhex(t, web1MAC), DstMAC: unhex(t, legMAC), EthernetType: layers.EthernetTypeIPv4}
	packet := func(n int) []byte {
		if err := tcp.SetNetworkLayerForChecksum(ip); err != nil {
			t.Fatal(err)
		}
		b := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, tcp, gopacket.Payload(content[:n])); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		name    string
		vnet    []byte
		data    []byte
		waits   bool
		packets int // on the way, before they are cut
	}{
		{"one packet", nil, packet(1400), false, 1},
		{"one that waits for the router", nil, packet(1400), true, 1},
		{"a super-frame", []byte{1, 1, 54, 0, 0x78, 0x05, 34, 0, 16, 0}, packet(4000), false, 3},
		{"a super-frame that waits", []byte{1, 1, 54, 0, 0x78, 0x05, 34, 0, 16, 0}, packet(4000), true, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newGatewayLab(t, false)
			l.config.Link[gateway.Outside].MTU = mtu
			routers := map[string]string{routerIP: routerMAC}
			if c.waits {
				l.know(map[string]string{web1IP: web1MAC}, nil)
			} else {
				l.know(map[string]string{web1IP: web1MAC}, routers)
			}
			l.inject("web1", c.vnet, c.data, c.packets)
			l.settle()
			if c.waits {
				l.know(map[string]string{web1IP: web1MAC}, routers)
				l.settle()
			}
			got, lengths := map[uint16][]byte{}, 0
			for _, raw := range l.ports["nic"].Sent() {
				p := gopacket.NewPacket(raw[frame.VNetLen:], layers.LayerTypeEthernet, gopacket.Default)
				piece := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
				if int(piece.Length) > mtu || looks(p)[:37] != "02:00:00:00:00:e0 > 02:00:00:00:00:aa" {
					t.Fatalf("a piece of %d bytes: %s", piece.Length, looks(p))
				}
				at := int(piece.FragOffset) * 8
				b := got[piece.Id]
				b = append(b, make([]byte, max(0, at+len(piece.Payload)-len(b)))...)
				copy(b[at:], piece.Payload)
				got[piece.Id] = b
				lengths++
			}
			var joined []byte
			for id := range c.packets {
				if b := got[uint16(9+id)]; len(b) > 20 {
					joined = append(joined, b[20:]...)
				}
			}
			if want := string(content[:len(c.data)-54]); string(joined) != want {
				t.Errorf("%d bytes in %d pieces of %d packets, want %d bytes", len(joined), lengths, len(got), len(want))
			}
			l.checkSums()
		})
	}
}

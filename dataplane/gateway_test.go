package dataplane

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
	"gxswitch/nat"
)

// The stations of the tests of gateways. The NIC's and the legs' are the host's.
const (
	nicMAC, legMAC, leg2MAC          = "0200000000e0", "0200000000f1", "0200000000f2"
	routerMAC, lanMAC                = "0200000000aa", "0200000000ab"
	web1MAC, web2MAC                 = "020000000011", "020000000012"
	hostIP, routerIP, lanIP          = "192.0.2.20", "192.0.2.1", "192.0.2.77"
	gatewayIP, web1IP, web2IP, farIP = "10.20.0.1", "10.20.0.10", "10.20.0.11", "198.51.100.7"
)

// gatewayLab is a network with a gateway, guests web1 and web2, on the NIC:
//
//	web1, web2 ── n ── gateway ── nic
type gatewayLab struct {
	*lab
	config gateway.Config
	table  *nat.Table
}

func newGatewayLab(t *testing.T, nating bool) *gatewayLab {
	l := &gatewayLab{lab: newLab(t)}
	l.network(NetworkConfig{Name: "gw", HostOnly: true, Gateway: true})
	for _, g := range []string{"web1", "web2"} {
		l.attach(PortConfig{Name: g, Network: "gw", MTU: 1500, Up: true})
	}
	l.attach(PortConfig{Name: "leg", Network: "gw", Role: Host, MTU: 1500, Up: true, Local: mac(t, legMAC)})
	l.attach(PortConfig{Name: "nic", Network: "gw", Role: Uplink, MTU: 1500, Up: true, Local: mac(t, nicMAC)})
	hosts := map[netip.Addr]struct{}{netip.MustParseAddr(hostIP): {}, netip.MustParseAddr(gatewayIP): {}}
	l.sw.SetHostAddresses([]netip.Addr{netip.MustParseAddr(hostIP), netip.MustParseAddr(gatewayIP)})
	l.config = gateway.Config{
		Hosts: hosts, Guests: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/24")}, ProxyARP: !nating,
		Routes: gateway.NewRoutes([]gateway.Route{
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr(routerIP)},
			{To: netip.MustParsePrefix("192.0.2.0/24")},
		}),
	}
	l.config.Link[gateway.Inside] = gateway.Link{MAC: mac(t, legMAC), MTU: 1500, Addr: netip.MustParseAddr(gatewayIP)}
	l.config.Link[gateway.Outside] = gateway.Link{MAC: mac(t, nicMAC), MTU: 1500, Addr: netip.MustParseAddr(hostIP)}
	if nating {
		l.table = l.nat("10.20.0.1/24")
		l.config.NAT = l.table
	}
	l.know(map[string]string{web1IP: web1MAC, web2IP: web2MAC}, map[string]string{routerIP: routerMAC, lanIP: lanMAC})
	for _, g := range []string{web1MAC, web2MAC} { // the switch learns them
		l.inject(map[string]string{web1MAC: "web1", web2MAC: "web2"}[g], nil, unhex(t, all+g+payload), 1)
	}
	l.settle()
	l.forget()
	return l
}

func (l *lab) nat(inside string) *nat.Table {
	l.t.Helper()
	table, err := nat.New(nat.Config{Gateway: netip.MustParsePrefix(inside)})
	if err == nil {
		err = table.SetExternal(netip.MustParseAddr(hostIP))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return table
}

// know gives the gateway its neighbours.
func (l *gatewayLab) know(inside, outside map[string]string) {
	l.t.Helper()
	for side, all := range map[gateway.Side]map[string]string{gateway.Inside: inside, gateway.Outside: outside} {
		macs := map[netip.Addr]frame.MAC{}
		for a, m := range all {
			macs[netip.MustParseAddr(a)] = mac(l.t, m)
		}
		l.config.Neighbours[side] = gateway.NewNeighbours(macs)
	}
	l.setGateway("gw", l.config)
}

func (l *lab) setGateway(network string, c gateway.Config) {
	l.t.Helper()
	rules, err := gateway.New(c)
	if err == nil {
		err = l.sw.SetGateway(network, &Gateway{Rules: rules, NAT: c.NAT, Neighbours: c.Neighbours})
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// forget drops what left so far.
func (l *lab) forget() {
	for _, m := range l.ports {
		m.Sent()
	}
}

// udpFrame is a UDP packet with right checksums.
func udpFrame(t testing.TB, src, dst, from, to string, sport, dport, ttl int) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: uint8(ttl), Protocol: layers.IPProtocolUDP, Flags: layers.IPv4DontFragment,
		SrcIP: netip.MustParseAddr(from).AsSlice(), DstIP: netip.MustParseAddr(to).AsSlice()}
	u := &layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}
	if err := u.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: unhex(t, src), DstMAC: unhex(t, dst), EthernetType: layers.EthernetTypeIPv4}, ip, u, gopacket.Payload("a datagram's content"))
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// arrives injects a frame and returns the one that left, and by which port; ""
// where none did.
func (l *lab) arrives(port string, data []byte) (string, gopacket.Packet) {
	l.t.Helper()
	l.inject(port, nil, data, 1)
	l.settle()
	return l.leaves()
}

func (l *lab) leaves() (at string, p gopacket.Packet) {
	l.t.Helper()
	for name, m := range l.ports {
		for _, raw := range m.Sent() {
			if at != "" {
				l.t.Errorf("a frame left by %s and one by %s", at, name)
			}
			at, p = name, gopacket.NewPacket(raw[frame.VNetLen:], layers.LayerTypeEthernet, gopacket.Default)
		}
	}
	return at, p
}

// looks is a frame in one line.
func looks(p gopacket.Packet) string {
	if p == nil {
		return "nothing"
	}
	eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	s := eth.SrcMAC.String() + " > " + eth.DstMAC.String()
	if ip, ok := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4); ok {
		s += " " + ip.SrcIP.String() + " > " + ip.DstIP.String() + " ttl " + string('0'+rune(ip.TTL/10)) + string('0'+rune(ip.TTL%10))
	}
	if a, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		s += " arp " + netip.AddrFrom4([4]byte(a.SourceProtAddress)).String() + " is at " + frame.MAC(a.SourceHwAddress).String()
	}
	if i, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		s += " " + i.TypeCode.String()
	}
	return s
}

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
		at, p := l.arrives(c.in, udpFrame(t, c.src, c.dst, c.from, c.to, 5000, 6000, c.ttl))
		if at != c.out || looks(p) != c.want {
			t.Errorf("%s: by %q\n     %s\nwant %s by %q", c.what, at, looks(p), c.want, c.out)
		}
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

func (l *lab) expectNone(what, port string, data []byte, reason frame.DropReason) {
	l.t.Helper()
	before := l.stats(port).RxDrops
	at, p := l.arrives(port, data)
	before[reason]++
	if after := l.stats(port).RxDrops; at != "" || after != before {
		l.t.Errorf("%s: %s by %q, %v, want %v", what, looks(p), at, reasons(after), reasons(before))
	}
}

func TestGatewayTranslates(t *testing.T) {
	l := newGatewayLab(t, true)
	at, p := l.arrives("web1", udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64))
	if want := "02:00:00:00:00:e0 > 02:00:00:00:00:aa 192.0.2.20 > 198.51.100.7 ttl 63"; at != "nic" || looks(p) != want {
		t.Fatalf("out: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	port := int(p.Layer(layers.LayerTypeUDP).(*layers.UDP).SrcPort)
	at, p = l.arrives("nic", udpFrame(t, routerMAC, nicMAC, farIP, hostIP, 6000, port, 60))
	if want := "02:00:00:00:00:f1 > 02:00:00:00:00:11 198.51.100.7 > 10.20.0.10 ttl 59"; at != "web1" || looks(p) != want {
		t.Errorf("back: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	l.expectNone("another remote, same port", "nic", udpFrame(t, routerMAC, nicMAC, lanIP, hostIP, 6000, port, 60), frame.NATNoSession)
	l.checkSums()
}

// A packet whose next hop is not known waits for it, and its sender learns if it
// does not come.
func TestGatewayWaitsForNeighbours(t *testing.T) {
	l := newGatewayLab(t, false)
	inside := map[string]string{web1IP: web1MAC}
	l.know(inside, nil)
	if at, p := l.arrives("web1", udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64)); at != "" {
		t.Fatalf("left by %s: %s", at, looks(p))
	}
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
	at, p := l.leaves()
	if want := "02:00:00:00:00:e0 > 02:00:00:00:00:aa 10.20.0.10 > 198.51.100.7 ttl 63"; at != "nic" || looks(p) != want {
		t.Errorf("known: by %q\n     %s\nwant %s", at, looks(p), want)
	}

	l.know(inside, nil)
	l.arrives("web1", udpFrame(t, web1MAC, legMAC, web1IP, farIP, 5000, 6000, 64))
	l.sw.Unreachable(hop)
	l.settle()
	at, p = l.leaves()
	if want := "02:00:00:00:00:f1 > 02:00:00:00:00:11 10.20.0.1 > 10.20.0.10 ttl 64 DestinationUnreachable(Host)"; at != "web1" || looks(p) != want {
		t.Errorf("given up: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	if st := l.stats("nic"); st.TxDrops[frame.NoRoute] != 1 {
		t.Errorf("nic: %v, want one no_route", reasons(st.TxDrops))
	}
	l.checkSums()
}

// What waits is bounded: a guest that asks for everybody fills no memory.
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
	at, p := l.leaves()
	if want := "02:00:00:00:00:e0 > 02:00:00:00:00:aa 10.20.0.10 > 198.51.100.7 ttl 63"; at != "nic" || looks(p) != want {
		t.Errorf("by %q\n     %s\nwant %s", at, looks(p), want)
	}
}

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
		if at, p := l.arrives(c.by, c.data); at != "" {
			t.Fatalf("left by %s: %s", at, looks(p))
		}
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

// arpFrame is a request.
func arpFrame(t testing.TB, asker, askerIP, target string) []byte {
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{},
		&layers.Ethernet{SrcMAC: unhex(t, asker), DstMAC: unhex(t, all), EthernetType: layers.EthernetTypeARP},
		&layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: layers.ARPRequest,
			SourceHwAddress: unhex(t, asker), SourceProtAddress: netip.MustParseAddr(askerIP).AsSlice(),
			DstHwAddress: make([]byte, 6), DstProtAddress: netip.MustParseAddr(target).AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGatewayAnswersARP(t *testing.T) {
	l := newGatewayLab(t, false)
	at, p := l.arrives("nic", arpFrame(t, lanMAC, lanIP, web1IP))
	if want := "02:00:00:00:00:e0 > 02:00:00:00:00:ab arp 10.20.0.10 is at 02:00:00:00:00:e0"; at != "nic" || looks(p) != want {
		t.Errorf("on the uplink: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	at, p = l.arrives("web1", arpFrame(t, web1MAC, web1IP, lanIP))
	if want := "02:00:00:00:00:f1 > 02:00:00:00:00:11 arp 192.0.2.77 is at 02:00:00:00:00:f1"; at != "web1" || looks(p) != want {
		t.Errorf("inside: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	if at, p := l.arrives("nic", arpFrame(t, lanMAC, lanIP, routerIP)); at != "" {
		t.Errorf("for a station of the LAN: %s by %s", looks(p), at)
	}
	l.sw.Announce("gw", netip.MustParseAddr(web1IP))
	l.settle()
	at, p = l.leaves()
	if want := "02:00:00:00:00:e0 > ff:ff:ff:ff:ff:ff arp 10.20.0.10 is at 02:00:00:00:00:e0"; at != "nic" || looks(p) != want {
		t.Errorf("announced: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	l.checkSums()
}

// A NIC may be a bridged network's uplink and several gateways'. Each gets its own.
func TestGatewaysShareANIC(t *testing.T) {
	l := newGatewayLab(t, true)
	l.network(NetworkConfig{Name: "gw2", HostOnly: true, Gateway: true})
	l.attach(PortConfig{Name: "db", Network: "gw2", MTU: 1500, Up: true})
	l.attach(PortConfig{Name: "leg2", Network: "gw2", Role: Host, MTU: 1500, Up: true, Local: mac(t, leg2MAC)})
	l.share(PortConfig{Name: "nic of gw2", Network: "gw2", Role: Uplink, MTU: 1500, Up: true, Local: mac(t, nicMAC)}, "nic")
	l.share(PortConfig{Name: "nic of n", Network: "n", Role: Uplink, MTU: 1500, Up: true, Local: mac(t, nicMAC)}, "nic")
	l.attach(PortConfig{Name: "bridged", Network: "n", MTU: 1500, Up: true})
	c := l.config
	c.NAT, c.Guests, c.ProxyARP = nil, []netip.Prefix{netip.MustParsePrefix("10.30.0.0/24")}, true
	c.Link[gateway.Inside] = gateway.Link{MAC: mac(t, leg2MAC), MTU: 1500, Addr: netip.MustParseAddr("10.30.0.1")}
	c.Neighbours[gateway.Inside] = gateway.NewNeighbours(map[netip.Addr]frame.MAC{netip.MustParseAddr("10.30.0.5"): mac(t, web2MAC)})
	l.setGateway("gw2", c)

	at, p := l.arrives("nic", udpFrame(t, routerMAC, nicMAC, farIP, "10.30.0.5", 5000, 6000, 60))
	if want := "02:00:00:00:00:f2 > 02:00:00:00:00:12 198.51.100.7 > 10.30.0.5 ttl 59"; at != "db" || looks(p) != want {
		t.Errorf("to the second network: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	if at, p := l.arrives("nic", udpFrame(t, routerMAC, nicMAC, farIP, hostIP, 5000, 80, 60)); at != "" {
		t.Errorf("to the host: %s by %s", looks(p), at)
	}
	if st := l.stats("nic of n"); st.Consumed != 1 {
		t.Errorf("nic of n: %d consumed, want the host's one", st.Consumed)
	}
	l.send("nic", all+routerMAC+payload)
	l.expect("a broadcast", all+routerMAC+payload, "bridged")
	l.send("bridged", all+lanMAC+payload)
	l.expect("a bridged guest's", all+lanMAC+payload, "nic")
	l.checkSums()
}

// Where the host is a station of the bridged network on the NIC (takeover), that
// network's guests reach a gateway's, and the other way round.
func TestGatewayBehindTakenOverNIC(t *testing.T) {
	l := newGatewayLab(t, false)
	l.share(PortConfig{Name: "nic of n", Network: "n", Role: Uplink, MTU: 1500, Up: true}, "nic")
	l.attach(PortConfig{Name: "n's leg", Network: "n", Role: Host, MTU: 1500, Up: true, Local: mac(t, nicMAC)})
	l.attach(PortConfig{Name: "bridged", Network: "n", MTU: 1500, Up: true})
	l.inject("bridged", nil, unhex(t, all+lanMAC+payload), 1)
	l.settle()
	l.forget()

	at, p := l.arrives("bridged", udpFrame(t, lanMAC, nicMAC, lanIP, web1IP, 5000, 6000, 64))
	if want := "02:00:00:00:00:f1 > 02:00:00:00:00:11 192.0.2.77 > 10.20.0.10 ttl 63"; at != "web1" || looks(p) != want {
		t.Errorf("from a bridged guest: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	at, p = l.arrives("web1", udpFrame(t, web1MAC, legMAC, web1IP, lanIP, 5000, 6000, 64))
	if want := "02:00:00:00:00:e0 > 02:00:00:00:00:ab 10.20.0.10 > 192.0.2.77 ttl 63"; at != "bridged" || looks(p) != want {
		t.Errorf("to a bridged guest: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	at, p = l.arrives("bridged", arpFrame(t, lanMAC, lanIP, web1IP))
	if want := "02:00:00:00:00:e0 > 02:00:00:00:00:ab arp 10.20.0.10 is at 02:00:00:00:00:e0"; at != "bridged" || looks(p) != want {
		t.Errorf("a bridged guest asks: by %q\n     %s\nwant %s", at, looks(p), want)
	}
	at, p = l.arrives("nic", udpFrame(t, routerMAC, nicMAC, farIP, hostIP, 5000, 80, 60))
	if at != "n's leg" {
		t.Errorf("to the host: %s by %q", looks(p), at)
	}
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

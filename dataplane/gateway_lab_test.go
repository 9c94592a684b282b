package dataplane

import (
	"net/netip"
	"testing"

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

// expectLeft wants one frame to have left, by that port and of that look; "" and
// "nothing" for none.
func (l *lab) expectLeft(what, port, look string) {
	l.t.Helper()
	if at, p := l.leaves(); at != port || looks(p) != look {
		l.t.Errorf("%s: by %q\n     %s\nwant %s by %q", what, at, looks(p), look, port)
	}
}

// expectPacket wants that of a frame which arrives.
func (l *lab) expectPacket(what, in string, data []byte, out, look string) {
	l.t.Helper()
	l.inject(in, nil, data, 1)
	l.settle()
	l.expectLeft(what, out, look)
}

// expectNone wants it dropped, with the reason counted.
func (l *lab) expectNone(what, port string, data []byte, reason frame.DropReason) {
	l.t.Helper()
	before := l.stats(port).RxDrops
	at, p := l.arrives(port, data)
	before[reason]++
	if after := l.stats(port).RxDrops; at != "" || after != before {
		l.t.Errorf("%s: %s by %q, %v, want %v", what, looks(p), at, reasons(after), reasons(before))
	}
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

package host_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet/nettest"
)

var anyGuard = host.UplinkGuard{
	Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("192.0.2.21/32")},
	Host:     []netip.Addr{netip.MustParseAddr("10.1.0.1")},
	NAT: []host.NATGuard{
		{External: netip.MustParseAddr("192.0.2.1"), Ports: []host.PortRange{
			{First: 61000, Last: 65535}, {Proto: 6, First: 80, Last: 80}, {Proto: 17, First: 5000, Last: 5007},
		}},
		{External: netip.MustParseAddr("192.0.2.2"), Ports: []host.PortRange{{Proto: 6, First: 1, Last: 1}}},
		{External: netip.MustParseAddr("192.0.2.2"), Ports: []host.PortRange{{Proto: 17, First: 2, Last: 2}}},
	},
}

// serialize lays a frame out as gopacket does.
func serialize(t *testing.T, l ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	ok := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true}, l...)
	if ok != nil {
		t.Fatal(ok)
	}
	return slices.Clone(b.Bytes())
}

func ethernet(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: t}
}

func ipv4(dst string, proto layers.IPProtocol, change ...func(*layers.IPv4)) *layers.IPv4 {
	p := &layers.IPv4{Version: 4, IHL: 5, TTL: 64, Id: 7, Protocol: proto, SrcIP: net.IPv4(198, 51, 100, 1).To4(), DstIP: net.ParseIP(dst).To4()}
	for _, f := range change {
		f(p)
	}
	return p
}

func tcp(port uint16) gopacket.SerializableLayer {
	return &layers.TCP{SrcPort: 61001, DstPort: layers.TCPPort(port), SYN: true}
}

func udp(port uint16) gopacket.SerializableLayer {
	return &layers.UDP{SrcPort: 61001, DstPort: layers.UDPPort(port)}
}

func icmp(typ uint8, id uint16) gopacket.SerializableLayer {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(typ, 0), Id: id}
}

func options(p *layers.IPv4) {
	p.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}} // router alert
}

func TestTheUplinkGuardTakesWhatIsTheSwitchs(t *testing.T) {
	t.Parallel()
	nettest.Require(t)
	const tcpProto, udpProto, icmpProto = layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolICMPv4
	packet := func(ip *layers.IPv4, l ...gopacket.SerializableLayer) []byte {
		return serialize(t, append([]gopacket.SerializableLayer{ethernet(layers.EthernetTypeIPv4), ip}, l...)...)
	}
	// about is the packet within an ICMP error.
	about := func(src string, proto layers.IPProtocol, port uint16, change ...func(*layers.IPv4)) gopacket.SerializableLayer {
		in := ipv4("198.51.100.1", proto, append(change, func(p *layers.IPv4) { p.SrcIP = net.ParseIP(src).To4() })...)
		var l4 gopacket.SerializableLayer = &layers.UDP{SrcPort: layers.UDPPort(port), DstPort: 9}
		if proto == icmpProto {
			l4 = icmp(8, port)
		}
		return gopacket.Payload(serialize(t, in, l4))
	}
	arp := func(op uint16, target string) []byte {
		return serialize(t, ethernet(layers.EthernetTypeARP), &layers.ARP{
			AddrType: 1, Protocol: 0x0800, HwAddressSize: 6, ProtAddressSize: 4, Operation: op,
			SourceHwAddress: make([]byte, 6), SourceProtAddress: make([]byte, 4),
			DstHwAddress: make([]byte, 6), DstProtAddress: net.ParseIP(target).To4(),
		})
	}
	short := func(n int, b []byte) []byte { return b[:n] }

	tests := []struct {
		name  string
		frame []byte
		taken bool
	}{
		{"first of the range, TCP", packet(ipv4("192.0.2.1", tcpProto), tcp(61000)), true},
		{"last of the range, UDP", packet(ipv4("192.0.2.1", udpProto), udp(65535)), true},
		{"below the range", packet(ipv4("192.0.2.1", tcpProto), tcp(60999)), false},
		{"from the range", packet(ipv4("192.0.2.1", tcpProto), tcp(22)), false},
		{"forward", packet(ipv4("192.0.2.1", tcpProto), tcp(80)), true},
		{"forward, other protocol", packet(ipv4("192.0.2.1", udpProto), udp(80)), false},
		{"forward of UDP", packet(ipv4("192.0.2.1", udpProto), udp(5007)), true},
		{"behind a forward", packet(ipv4("192.0.2.1", udpProto), udp(5008)), false},
		{"another external address", packet(ipv4("192.0.2.2", tcpProto), tcp(1)), true},
		{"another external address, second part", packet(ipv4("192.0.2.2", udpProto), udp(2)), true},
		{"another external address, the first's port", packet(ipv4("192.0.2.2", tcpProto), tcp(80)), false},
		{"address of nobody", packet(ipv4("192.0.2.3", tcpProto), tcp(61000)), false},
		{"IP options", packet(ipv4("192.0.2.1", tcpProto, options), tcp(80)), true},
		{"IP options, the host's", packet(ipv4("192.0.2.1", tcpProto, options), tcp(81)), false},
		{"SCTP", packet(ipv4("192.0.2.1", layers.IPProtocolSCTP), udp(61000)), false},
		{"no port", short(14+20+3, packet(ipv4("192.0.2.1", tcpProto), tcp(61000))), false},
		{"no more than ports", short(14+20+4, packet(ipv4("192.0.2.1", tcpProto), tcp(61000))), true},

		{"echo reply", packet(ipv4("192.0.2.1", icmpProto), icmp(0, 61000)), false},
		{"echo request", packet(ipv4("192.0.2.1", icmpProto), icmp(8, 61000)), false},
		{"unreachable", packet(ipv4("192.0.2.1", icmpProto), icmp(3, 0), about("192.0.2.1", udpProto, 61000)), true},
		{"time exceeded, options", packet(ipv4("192.0.2.1", icmpProto, options), icmp(11, 0), about("192.0.2.1", tcpProto, 80, options)), true},
		{"about the host's port", packet(ipv4("192.0.2.1", icmpProto), icmp(3, 0), about("192.0.2.1", udpProto, 60999)), false},
		{"about a ping", packet(ipv4("192.0.2.1", icmpProto), icmp(11, 0), about("192.0.2.1", icmpProto, 61000)), false},
		{"about another's packet", packet(ipv4("192.0.2.1", icmpProto), icmp(3, 0), about("192.0.2.2", udpProto, 61000)), false},
		{"about a later fragment", packet(ipv4("192.0.2.1", icmpProto), icmp(3, 0), about("192.0.2.1", udpProto, 61000, func(p *layers.IPv4) { p.FragOffset = 1 })), false},
		{"redirect", packet(ipv4("192.0.2.1", icmpProto), icmp(5, 0), about("192.0.2.1", udpProto, 61000)), false},

		{"routed guest", packet(ipv4("192.0.2.21", tcpProto), tcp(22)), true},
		{"routed guest, any protocol", packet(ipv4("10.1.0.255", layers.IPProtocolGRE)), true},
		{"routed guest, later fragment", packet(ipv4("10.1.0.2", udpProto, func(p *layers.IPv4) { p.FragOffset = 100 })), true},
		{"routed guest, ping", packet(ipv4("10.1.0.2", icmpProto), icmp(8, 1)), true},
		{"beside the prefix", packet(ipv4("10.1.1.2", tcpProto), tcp(22)), false},
		{"gateway's own address", packet(ipv4("10.1.0.1", tcpProto), tcp(61000)), false},

		{"ARP for a guest", arp(1, "10.1.0.2"), true},
		{"ARP for the host", arp(1, "192.0.2.1"), false},
		{"ARP for the gateway", arp(1, "10.1.0.1"), false},
		{"ARP for nobody", arp(1, "192.0.2.22"), false},
		{"ARP answer", arp(2, "10.1.0.2"), false},
		{"RARP", func() []byte { f := arp(1, "10.1.0.2"); f[12], f[13] = 0x80, 0x35; return f }(), false},
		{"IPv6", serialize(t, ethernet(layers.EthernetTypeIPv6), gopacket.Payload(make([]byte, 40))), false},
	}
	prog, err := anyGuard.Program()
	ok(t, err)
	defer prog.Close()
	for _, tt := range tests {
		if got := taken(t, prog, tt.frame); got != tt.taken {
			t.Errorf("%s: taken %v, want %v", tt.name, got, tt.taken)
		}
	}
}

// taken runs the guard on a frame.
func taken(t *testing.T, prog *ebpf.Program, frame []byte) bool {
	t.Helper()
	verdict, err := prog.Run(&ebpf.RunOptions{Data: frame})
	ok(t, err)
	switch int32(verdict) {
	case 2: // TC_ACT_SHOT
		return true
	case -1: // TC_ACT_UNSPEC
		return false
	}
	t.Fatalf("verdict %d", int32(verdict))
	return false
}

func TestFragmentsGoWhereTheirFirstWent(t *testing.T) {
	t.Parallel()
	nettest.Require(t)
	prog, err := anyGuard.Program()
	ok(t, err)
	defer prog.Close()
	fragment := func(id uint16, offset uint16, port uint16) []byte {
		ip := ipv4("192.0.2.1", layers.IPProtocolUDP, func(p *layers.IPv4) { p.Id, p.FragOffset, p.Flags = id, offset, layers.IPv4MoreFragments })
		if offset > 0 {
			return serialize(t, ethernet(layers.EthernetTypeIPv4), ip, gopacket.Payload(make([]byte, 16)))
		}
		return serialize(t, ethernet(layers.EthernetTypeIPv4), ip, udp(port), gopacket.Payload(make([]byte, 8)))
	}
	tests := []struct {
		name             string
		id, offset, port uint16
		taken            bool
	}{
		{"before its first", 1, 2, 0, false},
		{"first, NAT's", 1, 0, 61000, true},
		{"second", 1, 2, 0, true},
		{"third", 1, 4, 0, true},
		{"first, the host's", 2, 0, 53, false},
		{"second of the host's", 2, 2, 0, false},
		{"another packet's", 3, 2, 0, false},
	}
	for _, tt := range tests {
		if got := taken(t, prog, fragment(tt.id, tt.offset, tt.port)); got != tt.taken {
			t.Errorf("%s: taken %v, want %v", tt.name, got, tt.taken)
		}
	}
	// Another sender with the same identification.
	other := fragment(1, 2, 0)
	other[14+15]++
	if taken(t, prog, other) {
		t.Error("a fragment followed another sender's first")
	}
}

func TestABadUplinkGuardIsRefused(t *testing.T) {
	t.Parallel()
	ext := netip.MustParseAddr("192.0.2.1")
	tests := []struct {
		guard host.UplinkGuard
		want  string
	}{
		{host.UplinkGuard{Prefixes: []netip.Prefix{netip.MustParsePrefix("fd00::/64")}}, "prefix fd00::/64: want one of IPv4"},
		{host.UplinkGuard{Prefixes: []netip.Prefix{{}}}, "prefix invalid Prefix: want one of IPv4"},
		{host.UplinkGuard{Host: []netip.Addr{{}}}, "host's address invalid IP: want one of IPv4"},
		{host.UplinkGuard{NAT: []host.NATGuard{{}}}, "external address invalid IP: want one of IPv4"},
		{host.UplinkGuard{NAT: []host.NATGuard{{External: ext, Ports: []host.PortRange{{First: 2, Last: 1}}}}}, "ports of 192.0.2.1: 2-1: want the lower port first"},
		{host.UplinkGuard{NAT: []host.NATGuard{{External: ext, Ports: []host.PortRange{{Proto: 1, First: 2, Last: 2}}}}}, "ports of 192.0.2.1: 2-2: protocol 1: want 6 for TCP, 17 for UDP, or 0 for both"},
	}
	for _, tt := range tests {
		p, err := tt.guard.Program()
		if err == nil {
			p.Close()
		}
		if err == nil || err.Error() != tt.want {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}

// The program and a slow reading of the same rules agree on packets of all sorts,
// also broken ones.
func TestTheUplinkGuardDoesWhatItsModelDoes(t *testing.T) {
	t.Parallel()
	nettest.Require(t)
	prog, err := anyGuard.Program()
	ok(t, err)
	defer prog.Close()
	dsts := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.21", "10.1.0.1", "10.1.0.77", "10.1.1.1"}
	ports := []uint16{0, 1, 2, 22, 80, 4999, 5000, 5007, 5008, 60999, 61000, 65535}
	counts := map[bool]int{}
	rapid.Check(t, func(r *rapid.T) {
		protos := []byte{1, 6, 17, 47}
		header := func(src, dst string) []byte {
			b := make([]byte, 20, 80)
			ihl := rapid.SampledFrom([]int{5, 5, 5, 6, 15}).Draw(r, "ihl")
			b[0] = 0x40 | byte(ihl)
			b[9] = rapid.SampledFrom(protos).Draw(r, "protocol")
			copy(b[12:], net.ParseIP(src).To4())
			copy(b[16:], net.ParseIP(dst).To4())
			// No later fragments in the outer header: they have a memory.
			binary.BigEndian.PutUint16(b[6:], rapid.SampledFrom([]uint16{0, 0x4000, 0x2000}).Draw(r, "fragment"))
			return b[:ihl*4]
		}
		frame := append(serialize(t, ethernet(layers.EthernetTypeIPv4))[:14], header("198.51.100.9", rapid.SampledFrom(dsts).Draw(r, "destination"))...)
		if frame[14+9] == 1 {
			frame = append(frame, rapid.SampledFrom([]byte{0, 3, 4, 5, 8, 11, 12, 13}).Draw(r, "type"), 0, 0, 0, 0xee, 0x48, 0, 0)
			in := header(rapid.SampledFrom(dsts).Draw(r, "source"), "198.51.100.9")
			if rapid.Bool().Draw(r, "later fragment") {
				in[7] = 1
			}
			frame = append(frame, in...)
		}
		frame = binary.BigEndian.AppendUint16(frame, rapid.SampledFrom(ports).Draw(r, "source port"))
		frame = binary.BigEndian.AppendUint16(frame, rapid.SampledFrom(ports).Draw(r, "destination port"))
		frame = frame[:max(len(frame)-rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, 5, 20}).Draw(r, "cut"), 34)]
		want := model(anyGuard, frame)
		counts[want]++
		if got := taken(t, prog, frame); got != want {
			r.Fatalf("% x: taken %v, want %v", frame, got, want)
		}
	})
	if counts[true] == 0 || counts[false] == 0 {
		t.Errorf("the packets are of one sort: %v", counts)
	}
}

// model says whether the guard takes an IPv4 packet that is no later fragment.
func model(g host.UplinkGuard, frame []byte) bool {
	ip := frame[14:]
	dst := netip.AddrFrom4([4]byte(ip[16:20]))
	l4 := ip[min(int(ip[0]&15)*4, len(ip)):]
	for _, n := range g.NAT {
		if n.External != dst {
			continue
		}
		if modelPort(g, dst, ip[9], l4) {
			return true
		}
	}
	for _, n := range g.NAT {
		if n.External == dst {
			return false
		}
	}
	if slices.Contains(g.Host, dst) {
		return false
	}
	return slices.ContainsFunc(g.Prefixes, func(p netip.Prefix) bool { return p.Contains(dst) })
}

func modelPort(g host.UplinkGuard, ext netip.Addr, proto byte, l4 []byte) bool {
	var port uint16
	switch {
	case proto == 1:
		if len(l4) < 8+20 || !slices.Contains([]byte{3, 4, 11, 12}, l4[0]) {
			return false
		}
		in := l4[8:]
		at := int(in[0]&15) * 4
		if netip.AddrFrom4([4]byte(in[12:16])) != ext || binary.BigEndian.Uint16(in[6:])&0x1fff != 0 || len(in) < at+2 {
			return false
		}
		proto, port = in[9], binary.BigEndian.Uint16(in[at:])
	case len(l4) < 4:
		return false
	default:
		port = binary.BigEndian.Uint16(l4[2:])
	}
	for _, n := range g.NAT {
		for _, r := range n.Ports {
			if n.External == ext && (proto == 6 || proto == 17) && (r.Proto == 0 || r.Proto == proto) && r.First <= port && port <= r.Last {
				return true
			}
		}
	}
	return false
}

// fixChecksums completes a TCP packet that serialize has made.
func fixChecksums(t *testing.T, b []byte) {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	ip, l4 := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4), p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	ok(t, l4.SetNetworkLayerForChecksum(ip))
	buf := gopacket.NewSerializeBuffer()
	ok(t, gopacket.SerializeLayers(buf, gopacket.SerializeOptions{ComputeChecksums: true}, p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), ip, l4))
	copy(b, buf.Bytes())
}

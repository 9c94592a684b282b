package gateway

import (
	"bytes"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"gxswitch/internal/frame"
)

var askerMAC = frame.MAC{2, 0, 0, 0, 0, 0xaa}

func request(sender, target string, change ...func(*layers.Ethernet, *layers.ARP)) []byte {
	eth := &layers.Ethernet{SrcMAC: askerMAC[:], DstMAC: frame.Broadcast[:], EthernetType: layers.EthernetTypeARP}
	arp := &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
		SourceHwAddress: askerMAC[:], SourceProtAddress: ip(sender).AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: ip(target).AsSlice(),
	}
	for _, f := range change {
		f(eth, arp)
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{}, eth, arp); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func TestARP(t *testing.T) {
	recipe, wide, off := unnumbered(), routed(), routed()
	wide.ProxyARP = true
	recipe.Hosts[ip("192.168.1.200")] = struct{}{}
	const guest, other, lan = "192.168.1.21", "192.168.1.22", "192.168.1.77"
	bytesOf := func(m frame.MAC) []byte { return m[:] }
	for _, c := range []struct {
		name   string
		config Config
		from   Side
		data   []byte
		want   bool
	}{
		{"for a guest", recipe, Outside, request(lan, guest), true},
		{"for a guest, to us alone", recipe, Outside, request(lan, guest, func(e *layers.Ethernet, _ *layers.ARP) { e.DstMAC = outsideMAC[:] }), true},
		{"for a guest, to another", recipe, Outside, request(lan, guest, func(e *layers.Ethernet, _ *layers.ARP) { e.DstMAC = lanMAC[:] }), false},
		{"for a guest, probe", recipe, Outside, request("0.0.0.0", guest), true},
		{"for a guest, without a lease", recipe, Outside, request("169.254.7.7", guest), true},
		{"for a guest, by a guest", recipe, Outside, request(other, guest), false},
		{"for a guest, by itself", recipe, Outside, request(guest, guest), false},
		{"for a guest, by the host", recipe, Outside, request("192.168.1.20", guest), false},
		{"for a guest, by a group", recipe, Outside, request("224.0.0.1", guest), false},
		{"for the host", recipe, Outside, request(lan, "192.168.1.20"), false},
		{"for somebody else", recipe, Outside, request(lan, "192.168.1.78"), false},
		{"for a guest of a network", wide, Outside, request(router, guestA), true},
		{"for the gateway", wide, Outside, request(router, inner), false},
		{"for the guests' broadcast", wide, Outside, request(router, "10.20.0.255"), false},
		{"for a guest, switched off", off, Outside, request(router, guestA), false},

		{"for the LAN", recipe, Inside, request(guest, lan), true},
		{"for beyond", recipe, Inside, request(guest, "8.8.8.8"), true},
		{"for another guest", recipe, Inside, request(guest, other), false},
		{"for the asker", recipe, Inside, request(guest, guest), false},
		{"for the host, inside", recipe, Inside, request(guest, "192.168.1.20"), false},
		{"for the host's other address", recipe, Inside, request(guest, "192.168.1.200"), false},
		{"probe", recipe, Inside, request("0.0.0.0", lan), false},
		{"by somebody else", recipe, Inside, request("192.168.1.99", lan), false},
		{"for the LAN's broadcast", recipe, Inside, request(guest, "192.168.1.255"), false},
		{"for a group", recipe, Inside, request(guest, "224.0.0.1"), false},
		{"for link-local", recipe, Inside, request(guest, "169.254.169.254"), false},
		{"for what has a route", off, Inside, request(guestA, remote), true},
		{"for what has no route", off, Inside, request(guestA, nowhere), false},
		{"for a guest of the network", off, Inside, request(guestA, guestB), false},

		{"reply", recipe, Outside, request(lan, guest, func(_ *layers.Ethernet, a *layers.ARP) { a.Operation = 2 }), false},
		{"RARP", recipe, Outside, request(lan, guest, func(_ *layers.Ethernet, a *layers.ARP) { a.Operation = 3 }), false},
		{"EtherType of RARP", recipe, Outside, request(lan, guest, func(e *layers.Ethernet, _ *layers.ARP) { e.EthernetType = 0x8035 }), false},
		{"not Ethernet", recipe, Outside, request(lan, guest, func(_ *layers.Ethernet, a *layers.ARP) { a.AddrType = 6 }), false},
		{"not IPv4", recipe, Outside, request(lan, guest, func(_ *layers.Ethernet, a *layers.ARP) { a.Protocol = 0x86dd }), false},
		{"from a group", recipe, Outside, request(lan, guest, func(_ *layers.Ethernet, a *layers.ARP) { a.SourceHwAddress = bytesOf(frame.Broadcast) }), false},
		{"from no station", recipe, Outside, request(lan, guest, func(_ *layers.Ethernet, a *layers.ARP) { a.SourceHwAddress = make([]byte, 6) }), false},
		{"cut", recipe, Outside, request(lan, guest)[:41], false},
		{"padded", recipe, Outside, append(request(lan, guest), make([]byte, 18)...), true},
		{"nothing", recipe, Outside, nil, false},
	} {
		raw, ok := newGateway(t, c.config).ARP(make([]byte, 0, ARPLen), c.from, c.data)
		if ok != c.want {
			t.Errorf("%s: %v, want %v", c.name, ok, c.want)
		}
		if !ok {
			continue
		}
		p := decode(t, raw)
		eth, arp := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeARP).(*layers.ARP)
		mac := map[Side][]byte{Inside: insideMAC[:], Outside: outsideMAC[:]}[c.from]
		if !bytes.Equal(eth.SrcMAC, mac) || !bytes.Equal(eth.DstMAC, askerMAC[:]) {
			t.Errorf("%s: from %v to %v", c.name, eth.SrcMAC, eth.DstMAC)
		}
		if arp.Operation != 2 || !bytes.Equal(arp.SourceHwAddress, mac) || !bytes.Equal(arp.DstHwAddress, askerMAC[:]) ||
			!bytes.Equal(arp.SourceProtAddress, c.data[38:42]) || !bytes.Equal(arp.DstProtAddress, c.data[28:32]) {
			t.Errorf("%s: %+v", c.name, arp)
		}
	}
}

func TestAnnouncement(t *testing.T) {
	g := newGateway(t, unnumbered())
	raw := g.AppendAnnouncement([]byte("head"), ip("192.168.1.21"))
	p := decode(t, raw[4:])
	eth, arp := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeARP).(*layers.ARP)
	address := ip("192.168.1.21").AsSlice()
	if !bytes.Equal(eth.DstMAC, frame.Broadcast[:]) || !bytes.Equal(eth.SrcMAC, outsideMAC[:]) || arp.Operation != 1 ||
		!bytes.Equal(arp.SourceHwAddress, outsideMAC[:]) || !bytes.Equal(arp.DstHwAddress, make([]byte, 6)) ||
		!bytes.Equal(arp.SourceProtAddress, address) || !bytes.Equal(arp.DstProtAddress, address) {
		t.Errorf("%+v %+v", eth, arp)
	}
	if len(raw) != 4+ARPLen {
		t.Errorf("%d bytes, want %d", len(raw)-4, ARPLen)
	}
	if got := g.AppendAnnouncement(nil, ip("fe80::1")); len(got) != 0 {
		t.Errorf("announced an IPv6 address: %x", got)
	}
}

func TestARPAllocatesNothing(t *testing.T) {
	g, data, buf := newGateway(t, unnumbered()), request("192.168.1.77", "192.168.1.21"), make([]byte, 0, ARPLen)
	if n := testing.AllocsPerRun(1000, func() {
		if _, ok := g.ARP(buf, Outside, data); !ok {
			t.Fatal("no answer")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package dhcpd

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
)

var (
	epoch     = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	serverMAC = frame.MAC{2, 0xff, 0, 0, 0, 1}
	quiet     = slog.New(slog.NewTextHandler(io.Discard, nil))
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(n int) frame.MAC { return frame.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)} }

func config() Config {
	return Config{
		Network: "nat0", Interface: "nat0",
		Leases: lease.Config{
			Subnet: netip.MustParsePrefix("10.0.0.0/24"),
			First:  ip("10.0.0.10"), Last: ip("10.0.0.19"),
			Time:  time.Hour,
			Hosts: []lease.Host{{Name: "web1", MAC: mac(100), Addrs: []netip.Addr{ip("10.0.0.2")}}},
			Self:  []lease.Host{{Name: "gateway", Addrs: []netip.Addr{ip("10.0.0.1")}}},
		},
		Server: ip("10.0.0.1"), Router: ip("10.0.0.1"), DNS: []netip.Addr{ip("10.0.0.1")},
		Domain: "xen", MTU: 1400,
	}
}

// rig is a core with a clock and what it sent.
type rig struct {
	t    testing.TB
	core *core
	now  time.Time
	sent [][]byte
}

func newRig(t testing.TB, c Config, sw Switch) *rig {
	t.Helper()
	r := &rig{t: t, now: epoch}
	k, err := newCore(c, sw, quiet, serverMAC, func(b []byte) { r.sent = append(r.sent, b) })
	if err != nil {
		t.Fatal(err)
	}
	r.core = k
	return r
}

// discover is mac(1)'s first word; what follows is for settle.
func (r *rig) discover() {
	r.t.Helper()
	r.core.receive(pack(r.t, message(dhcpv4.MessageTypeDiscover, mac(1), nil), mac(1), netip.IPv4Unspecified()), r.now)
}

// hear gives the core a message, waits out the probes, and returns the answers.
func (r *rig) hear(m *dhcpv4.DHCPv4) []answer {
	r.t.Helper()
	src := netip.IPv4Unspecified()
	if a := specified(m.ClientIPAddr.To4()); a.IsValid() {
		src = a
	}
	r.core.receive(pack(r.t, m, frame.MAC(m.ClientHWAddr), src), r.now)
	return r.settle()
}

func (r *rig) settle() []answer {
	r.t.Helper()
	for len(r.core.probes) > 0 {
		r.now = r.now.Add(probeInterval)
		r.core.tick(r.now)
	}
	var all []answer
	for _, b := range append(r.sent, r.core.acks...) {
		if a, ok := unpack(r.t, b); ok {
			all = append(all, a)
		}
	}
	r.sent, r.core.acks = nil, nil
	return all
}

// one is the only answer, of the kind; with MessageTypeNone there is to be none.
func (r *rig) one(kind dhcpv4.MessageType, m *dhcpv4.DHCPv4) answer {
	r.t.Helper()
	a := r.hear(m)
	switch {
	case kind == dhcpv4.MessageTypeNone && len(a) == 0:
		return answer{}
	case len(a) != 1 || a[0].MessageType() != kind:
		for _, x := range a {
			r.t.Log(x.Summary())
		}
		r.t.Fatalf("to %s: %d answers, want one %s", m.MessageType(), len(a), kind)
	case a[0].TransactionID != m.TransactionID:
		r.t.Fatal("another transaction")
	}
	return a[0]
}

// lease goes the whole way.
func (r *rig) lease(from frame.MAC) answer {
	r.t.Helper()
	offer := r.one(dhcpv4.MessageTypeOffer, message(dhcpv4.MessageTypeDiscover, from, nil))
	return r.one(dhcpv4.MessageTypeAck, message(dhcpv4.MessageTypeRequest, from, selecting(offer)))
}

// message makes a client's message; change may be nil.
func message(kind dhcpv4.MessageType, from frame.MAC, change func(*dhcpv4.DHCPv4)) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.New(dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(net.HardwareAddr(from[:])))
	if err != nil {
		panic(err)
	}
	if change != nil {
		change(m)
	}
	return m
}

func selecting(offer answer) func(*dhcpv4.DHCPv4) {
	return func(m *dhcpv4.DHCPv4) {
		m.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))
	}
}

func requesting(a netip.Addr) func(*dhcpv4.DHCPv4) {
	return func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptRequestedIPAddress(a.AsSlice())) }
}

func having(a netip.Addr) func(*dhcpv4.DHCPv4) {
	return func(m *dhcpv4.DHCPv4) { m.ClientIPAddr = a.AsSlice() }
}

// pack makes a frame of it, with gopacket's checksums.
func pack(t testing.TB, m *dhcpv4.DHCPv4, src frame.MAC, from netip.Addr) []byte {
	t.Helper()
	return packBytes(t, m.ToBytes(), src, from)
}

func packBytes(t testing.TB, payload []byte, src frame.MAC, from netip.Addr) []byte {
	t.Helper()
	v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: from.AsSlice(), DstIP: net.IPv4bcast}
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	udp.SetNetworkLayerForChecksum(v4)
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: src[:], DstMAC: frame.Broadcast[:], EthernetType: layers.EthernetTypeIPv4},
		v4, udp, gopacket.Payload(payload))
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// answer is a frame of the server, taken apart by gopacket, which also checks
// what was computed.
type answer struct {
	*dhcpv4.DHCPv4
	toMAC frame.MAC
	to    netip.Addr
}

func unpack(t testing.TB, b []byte) (a answer, ok bool) {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	udp, isUDP := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if !isUDP || udp.SrcPort != 67 || udp.DstPort != 68 {
		return a, false
	}
	v4 := p.NetworkLayer().(*layers.IPv4)
	if err := udp.SetNetworkLayerForChecksum(v4); err != nil {
		t.Fatal(err)
	}
	if err, mismatches := p.VerifyChecksums(); err != nil || len(mismatches) != 0 {
		t.Errorf("checksums: %v, %v", err, mismatches)
	}
	if udp.Checksum == 0 {
		t.Error("no UDP checksum")
	}
	m, err := dhcpv4.FromBytes(udp.Payload)
	if err != nil {
		t.Fatal(err)
	}
	a.DHCPv4, a.toMAC = m, frame.MAC(b[:6])
	a.to, _ = netip.AddrFromSlice(v4.DstIP.To4())
	return a, true
}

func addrOf(b net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(b.To4())
	return a
}

package dhcpd

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
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

// lease goes the whole way.
func (r *rig) lease(from frame.MAC) answer {
	r.t.Helper()
	offer := r.one(dhcpv4.MessageTypeOffer, message(dhcpv4.MessageTypeDiscover, from, nil))
	return r.one(dhcpv4.MessageTypeAck, message(dhcpv4.MessageTypeRequest, from, selecting(offer)))
}

func addrOf(b net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(b.To4())
	return a
}

func TestALeaseSaysWhatTheNetworkIs(t *testing.T) {
	r := newRig(t, config(), Switch{})
	a := r.lease(mac(1))
	got := []any{
		a.SubnetMask().String(), a.Router()[0].String(), a.DNS()[0].String(), a.DomainName(),
		a.IPAddressLeaseTime(0), a.IPAddressRenewalTime(0), a.IPAddressRebindingTime(0),
		a.BroadcastAddress().String(), binary.BigEndian.Uint16(a.Options.Get(dhcpv4.OptionInterfaceMTU)),
		a.ServerIdentifier().String(), a.toMAC, a.to,
	}
	want := []any{
		"ffffff00", "10.0.0.1", "10.0.0.1", "xen",
		time.Hour, 30 * time.Minute, 52*time.Minute + 30*time.Second,
		"10.0.0.255", uint16(1400), "10.0.0.1", mac(1), addrOf(a.YourIPAddr),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestWhatIsNotConfiguredIsNotTold(t *testing.T) {
	c := config()
	c.Router, c.DNS, c.Domain, c.MTU = netip.Addr{}, nil, "", 0
	a := newRig(t, c, Switch{}).lease(mac(1))
	for _, o := range []dhcpv4.OptionCode{
		dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName,
		dhcpv4.OptionInterfaceMTU, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionHostName,
	} {
		if a.Options.Has(o) {
			t.Errorf("%s", o)
		}
	}
}

func TestOnlyWhatIsAskedForIsTold(t *testing.T) {
	r := newRig(t, config(), Switch{})
	a := r.one(dhcpv4.MessageTypeOffer, message(dhcpv4.MessageTypeDiscover, mac(100), func(m *dhcpv4.DHCPv4) {
		m.Options.Update(dhcpv4.OptParameterRequestList(dhcpv4.OptionDomainName))
	}))
	if a.DomainName() != "xen" || a.SubnetMask() == nil || a.Router() != nil || a.DNS() != nil {
		t.Error(a.Summary())
	}
	if a.Options.Get(dhcpv4.OptionInterfaceMTU) == nil {
		t.Error("an MTU that is not the usual one was not told")
	}
}

func TestClientIdentifiersComeBack(t *testing.T) {
	long := make([]byte, 255)
	for i := range long {
		long[i] = byte(i)
	}
	for _, id := range [][]byte{{1, 2, 0, 0, 0, 0, 1}, long} {
		r := newRig(t, config(), Switch{})
		a := r.one(dhcpv4.MessageTypeOffer, message(dhcpv4.MessageTypeDiscover, mac(1), func(m *dhcpv4.DHCPv4) {
			m.UpdateOption(dhcpv4.OptClientIdentifier(id))
		}))
		if !slices.Equal(a.Options.Get(dhcpv4.OptionClientIdentifier), id) {
			t.Errorf("%d bytes: not the same", len(id))
		}
		if n := len(a.ToBytes()); n > minMTU-ipLen-udpLen {
			t.Errorf("%d bytes, more than every client takes", n)
		}
		if a.SubnetMask() == nil || a.Router() == nil {
			t.Error("what matters most was left out")
		}
	}
}

func TestRequestsAreAnsweredByWhatTheyMean(t *testing.T) {
	const ack, nak, none = dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak, dhcpv4.MessageTypeNone
	server := func(a string) func(*dhcpv4.DHCPv4) {
		return func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptServerIdentifier(ip(a).AsSlice())) }
	}
	both := func(f, g func(*dhcpv4.DHCPv4)) func(*dhcpv4.DHCPv4) {
		return func(m *dhcpv4.DHCPv4) { f(m); g(m) }
	}
	// mac(1) has 10.0.0.10, mac(2) has 10.0.0.11, mac(3) nothing.
	own, others, free, foreign := ip("10.0.0.10"), ip("10.0.0.11"), ip("10.0.0.15"), ip("192.168.1.5")
	for _, c := range []struct {
		name         string
		from         int
		change       func(*dhcpv4.DHCPv4)
		want, shared dhcpv4.MessageType
	}{
		{"renewing", 1, having(own), ack, ack},
		{"rebooting", 1, requesting(own), ack, ack},
		{"rebooting, another's", 1, requesting(others), nak, nak},
		{"rebooting, elsewhere", 1, requesting(foreign), nak, nak},
		{"rebooting, moved within the range", 1, requesting(free), ack, none},
		{"renewing, another's", 3, having(others), nak, none},
		{"unknown, rebooting", 3, requesting(free), ack, none},
		{"unknown, rebooting, elsewhere", 3, requesting(foreign), nak, none},
		{"unknown, rebinding", 3, having(free), ack, none},
		{"unknown, the gateway's", 3, having(ip("10.0.0.1")), nak, none},
		{"unknown, a reserved one", 3, requesting(ip("10.0.0.2")), nak, none},
		{"selecting another server", 3, both(server("10.0.0.9"), requesting(free)), none, none},
		{"selecting, after a restart", 3, both(server("10.0.0.1"), requesting(free)), ack, ack},
		{"selecting, another's", 3, both(server("10.0.0.1"), requesting(others)), nak, nak},
		{"nothing", 3, nil, none, none},
	} {
		for _, shared := range []bool{false, true} {
			conf := config()
			conf.Shared = shared
			r := newRig(t, conf, Switch{})
			for i, a := range []netip.Addr{own, others} {
				if _, err := r.core.table.Bind(lease.Client{MAC: mac(i + 1), Unlimited: true}, a, true, r.now); err != nil {
					t.Fatal(err)
				}
			}
			want := c.want
			if shared {
				want = c.shared
			}
			got := r.hear(message(dhcpv4.MessageTypeRequest, mac(c.from), c.change))
			switch {
			case want == none && len(got) != 0:
				t.Errorf("%s, shared %t: got %s, want nothing", c.name, shared, got[0].MessageType())
			case want != none && (len(got) != 1 || got[0].MessageType() != want):
				t.Errorf("%s, shared %t: got %d answers, want %s", c.name, shared, len(got), want)
			case want == nak && (got[0].to != broadcastAddr || got[0].toMAC != frame.Broadcast || !got[0].YourIPAddr.IsUnspecified()):
				t.Errorf("%s: a NAK to %s with %s", c.name, got[0].to, got[0].YourIPAddr)
			}
		}
	}
}

func TestAnswersGoWhereTheClientHears(t *testing.T) {
	r := newRig(t, config(), Switch{})
	discover := message(dhcpv4.MessageTypeDiscover, mac(1), nil)
	if a := r.one(dhcpv4.MessageTypeOffer, discover); a.toMAC != mac(1) || a.to != addrOf(a.YourIPAddr) {
		t.Errorf("unicast: to %s, %s", a.toMAC, a.to)
	}
	discover.SetBroadcast()
	if a := r.one(dhcpv4.MessageTypeOffer, discover); a.toMAC != frame.Broadcast || a.to != broadcastAddr {
		t.Errorf("broadcast: to %s, %s", a.toMAC, a.to)
	}
	had := addrOf(r.lease(mac(1)).YourIPAddr)
	renew := message(dhcpv4.MessageTypeRequest, mac(1), having(had))
	renew.SetBroadcast()
	if a := r.one(dhcpv4.MessageTypeAck, renew); a.toMAC != mac(1) || a.to != had {
		t.Errorf("renewal: to %s, %s", a.toMAC, a.to)
	}
}

func TestInformTellsWithoutALease(t *testing.T) {
	r := newRig(t, config(), Switch{})
	a := r.one(dhcpv4.MessageTypeAck, message(dhcpv4.MessageTypeInform, mac(1), having(ip("10.0.0.77"))))
	if !a.YourIPAddr.IsUnspecified() || a.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || a.DomainName() != "xen" || a.to != ip("10.0.0.77") {
		t.Error(a.Summary())
	}
	r.one(dhcpv4.MessageTypeNone, message(dhcpv4.MessageTypeInform, mac(1), having(ip("192.168.1.1"))))
	if l := r.core.table.List(r.now); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

func TestAnAddressInUseIsNotOffered(t *testing.T) {
	r := newRig(t, config(), Switch{})
	// Two stations sit on addresses of the range without a lease.
	busy := map[netip.Addr]bool{}
	r.core.receive(pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), nil), mac(1), netip.IPv4Unspecified()), r.now)
	for len(busy) < 2 {
		probe := r.sent[len(r.sent)-1]
		a := netip.AddrFrom4([4]byte(probe[etherLen+24 : etherLen+28]))
		busy[a] = true
		r.core.answered(arpReply(mac(50), a), r.now)
	}
	offers := r.settle()
	if len(offers) != 1 || busy[addrOf(offers[0].YourIPAddr)] {
		t.Fatalf("%d offers", len(offers))
	}
	if took := r.now.Sub(epoch); took > 500*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

func TestTheClientsOwnAnswerIsNoConflict(t *testing.T) {
	for _, by := range []frame.MAC{mac(1), serverMAC} {
		r := newRig(t, config(), Switch{})
		r.core.receive(pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), nil), mac(1), netip.IPv4Unspecified()), r.now)
		for a := range r.core.probes {
			r.core.answered(arpReply(by, a), r.now)
		}
		if offers := r.settle(); len(offers) != 1 {
			t.Errorf("answered by %s: %d offers", by, len(offers))
		}
	}
}

func TestRepliesInAnothersNameAreNoConflict(t *testing.T) {
	r := newRig(t, config(), Switch{})
	r.core.receive(pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), nil), mac(1), netip.IPv4Unspecified()), r.now)
	for a := range r.core.probes {
		forged := arpReply(mac(50), a)
		copy(forged[6:], []byte{2, 0, 0, 0, 0, 51})
		r.core.answered(forged, r.now)
	}
	if len(r.core.probes) != 1 {
		t.Error("the probe has ended")
	}
	if offers := r.settle(); len(offers) != 1 {
		t.Errorf("%d offers", len(offers))
	}
}

func TestAnImpatientClientGetsOneOffer(t *testing.T) {
	r := newRig(t, config(), Switch{})
	m := message(dhcpv4.MessageTypeDiscover, mac(1), nil)
	for range 3 {
		r.core.receive(pack(t, m, mac(1), netip.IPv4Unspecified()), r.now)
	}
	if offers := r.settle(); len(offers) != 1 {
		t.Errorf("%d offers", len(offers))
	}
}

func arpReply(by frame.MAC, a netip.Addr) []byte {
	b := buildProbe(by, a)
	p := b[etherLen:]
	p[7] = 2
	four := a.As4()
	copy(p[14:], four[:])
	return b
}

func TestProbesSayNoAddress(t *testing.T) {
	p := gopacket.NewPacket(buildProbe(serverMAC, ip("10.0.0.10")), layers.LayerTypeEthernet, gopacket.Default)
	arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP)
	if !ok || arp.Operation != layers.ARPRequest || !net.IP(arp.SourceProtAddress).IsUnspecified() ||
		addrOf(arp.DstProtAddress) != ip("10.0.0.10") || frame.MAC(arp.SourceHwAddress) != serverMAC {
		t.Error(p)
	}
}

func TestADeclinedAddressRests(t *testing.T) {
	r := newRig(t, config(), Switch{})
	first := r.lease(mac(1))
	r.one(dhcpv4.MessageTypeNone, message(dhcpv4.MessageTypeDecline, mac(1), selecting(first)))
	if second := r.lease(mac(1)); second.YourIPAddr.Equal(first.YourIPAddr) {
		t.Errorf("%s again", second.YourIPAddr)
	}
}

func TestNobodySpeaksForAnother(t *testing.T) {
	r := newRig(t, config(), Switch{})
	victim := r.lease(mac(1))
	addr := addrOf(victim.YourIPAddr)
	for name, f := range map[string][]byte{
		"release":                pack(t, message(dhcpv4.MessageTypeRelease, mac(1), having(addr)), mac(9), addr),
		"decline":                pack(t, message(dhcpv4.MessageTypeDecline, mac(1), selecting(victim)), mac(9), addr),
		"release from elsewhere": pack(t, message(dhcpv4.MessageTypeRelease, mac(1), having(addr)), mac(1), ip("10.0.0.99")),
		"relayed": pack(t, message(dhcpv4.MessageTypeRelease, mac(1), func(m *dhcpv4.DHCPv4) {
			m.ClientIPAddr, m.GatewayIPAddr = addr.AsSlice(), net.IP{10, 0, 0, 50}
		}), mac(1), addr),
		"to another server": pack(t, message(dhcpv4.MessageTypeRelease, mac(1), func(m *dhcpv4.DHCPv4) {
			m.ClientIPAddr = addr.AsSlice()
			m.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{10, 0, 0, 9}))
		}), mac(1), addr),
	} {
		r.core.receive(f, r.now)
		if l := r.core.table.List(r.now); len(l) != 1 || l[0].MAC != mac(1) {
			t.Errorf("%s: %+v", name, l)
		}
	}
	r.hear(message(dhcpv4.MessageTypeRelease, mac(1), having(addr)))
	if l := r.core.table.List(r.now); len(l) != 0 {
		t.Errorf("its own release: %+v", l)
	}
}

func TestAPortsAddressIsWhatItGets(t *testing.T) {
	for _, c := range []struct{ addr, mask string }{
		{"10.0.0.200", "ffffff00"},
		{"203.0.113.9", "ffffffff"},
	} {
		r := newRig(t, config(), Switch{
			PortOf:   func(frame.MAC) Port { return Port{Name: "p1", Addr: ip(c.addr)} },
			PinnedTo: func(a netip.Addr) string { return map[netip.Addr]string{ip(c.addr): "p1"}[a] },
		})
		a := r.lease(mac(1))
		if addrOf(a.YourIPAddr) != ip(c.addr) || a.SubnetMask().String() != c.mask {
			t.Error(a.Summary())
		}
		routes := a.ClasslessStaticRoute()
		if c.mask == "ffffff00" {
			if len(routes) != 0 {
				t.Error(routes)
			}
			continue
		}
		// The gateway is on the link, all else behind it.
		if len(routes) != 2 || routes[0].Dest.String() != "10.0.0.1/32" || !routes[0].Router.IsUnspecified() ||
			routes[1].Dest.String() != "0.0.0.0/0" || !routes[1].Router.Equal(net.IP{10, 0, 0, 1}) {
			t.Error(routes)
		}
	}
}

func TestRoutesAreTold(t *testing.T) {
	c := config()
	c.Routes = []Route{{netip.MustParsePrefix("172.16.5.0/25"), ip("10.0.0.7")}}
	a := newRig(t, c, Switch{}).lease(mac(1))
	routes := a.ClasslessStaticRoute()
	if len(routes) != 2 || routes[0].String() != "route to 172.16.5.0/25 via 10.0.0.7" || routes[1].String() != "route to 0.0.0.0/0 via 10.0.0.1" {
		t.Error(routes)
	}
}

func TestOneGuestStarvesOnlyItself(t *testing.T) {
	r := newRig(t, config(), Switch{PortOf: func(m frame.MAC) Port {
		if m == mac(1) {
			return Port{Name: "good"}
		}
		return Port{Name: "bad"}
	}})
	conf := config()
	conf.Leases.PerPort = 4
	if err := r.core.configure(conf); err != nil {
		t.Fatal(err)
	}
	offers := 0
	for i := range 5000 {
		offers += len(r.hear(message(dhcpv4.MessageTypeDiscover, mac(1000+i), nil)))
		r.now = r.now.Add(time.Millisecond)
	}
	// An offer that is not taken makes room after half a minute.
	if most := 4 * (1 + int(r.now.Sub(epoch)/(30*time.Second))); offers > most || offers < 4 {
		t.Errorf("%d offers within %s, want at most %d", offers, r.now.Sub(epoch), most)
	}
	r.lease(mac(1))
}

func TestAFloodIsNotAnswered(t *testing.T) {
	r := newRig(t, config(), Switch{PortOf: func(frame.MAC) Port { return Port{Name: "p1"} }})
	a := r.lease(mac(1))
	answers := 0
	for range 10000 {
		answers += len(r.hear(message(dhcpv4.MessageTypeRequest, mac(1), having(addrOf(a.YourIPAddr)))))
		r.now = r.now.Add(time.Millisecond / 10)
	}
	if answers < messageBurst/2 || answers > messageBurst+messagesPerSecond {
		t.Errorf("%d answers to 10000 requests within a second", answers)
	}
}

func TestHostNamesAreRead(t *testing.T) {
	for _, c := range []struct {
		code  dhcpv4.OptionCode
		value string
		want  string
	}{
		{dhcpv4.OptionHostName, "mail", "mail"},
		{dhcpv4.OptionHostName, "Mail.example.org\x00", "mail"},
		{dhcpv4.OptionFQDN, "\x01\x00\x00mail.example.org", "mail"},
		{dhcpv4.OptionFQDN, "\x05\x00\x00\x04mail\x03xen\x00", "mail"},
		{dhcpv4.OptionFQDN, "\x05\x00\x00\x20mail", ""},
		{dhcpv4.OptionFQDN, "\x05\x00\x00", ""},
		{dhcpv4.OptionHostName, "gateway", ""},
		{dhcpv4.OptionHostName, "web1", ""},
	} {
		r := newRig(t, config(), Switch{})
		offer := r.one(dhcpv4.MessageTypeOffer, message(dhcpv4.MessageTypeDiscover, mac(1), nil))
		r.one(dhcpv4.MessageTypeAck, message(dhcpv4.MessageTypeRequest, mac(1), func(m *dhcpv4.DHCPv4) {
			selecting(offer)(m)
			m.Options[c.code.Code()] = []byte(c.value)
		}))
		if got := r.core.table.List(r.now)[0].Hostname; got != c.want {
			t.Errorf("%s %q: %q, want %q", c.code, c.value, got, c.want)
		}
	}
}

func TestFramesThatAreNotForTheServerAreLeft(t *testing.T) {
	m := message(dhcpv4.MessageTypeDiscover, mac(1), nil)
	good := pack(t, m, mac(1), netip.IPv4Unspecified())
	edit := func(f func([]byte) []byte) []byte { return f(slices.Clone(good)) }
	partial := edit(func(b []byte) []byte {
		u := b[etherLen+ipLen:]
		binary.BigEndian.PutUint16(u[6:], fold(sum(protoUDP+uint32(len(u)), b[etherLen+12:etherLen+20])))
		return b
	})
	for _, c := range []struct {
		name string
		b    []byte
		want int
	}{
		{"good", good, 1},
		{"checksum not yet computed", partial, 1},
		{"no checksum", edit(func(b []byte) []byte { b[etherLen+ipLen+6], b[etherLen+ipLen+7] = 0, 0; return b }), 1},
		{"wrong checksum", edit(func(b []byte) []byte { b[etherLen+ipLen+6] ^= 1; return b }), 0},
		{"wrong header checksum", edit(func(b []byte) []byte { b[etherLen+10] ^= 1; return b }), 0},
		{"cut", good[:len(good)-1], 0},
		{"padded", append(slices.Clone(good), 0, 0, 0, 0), 1},
		{"to another station", edit(func(b []byte) []byte { copy(b, []byte{2, 0, 0, 0, 0, 7}); return b }), 0},
		{"empty", nil, 0},
		{"chaddr of another", pack(t, m, mac(2), netip.IPv4Unspecified()), 0},
		{"multicast source", pack(t, message(dhcpv4.MessageTypeDiscover, frame.MAC{3}, nil), frame.MAC{3}, netip.IPv4Unspecified()), 0},
		{"relayed", pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), func(m *dhcpv4.DHCPv4) { m.GatewayIPAddr = net.IP{10, 0, 0, 9} }), mac(1), netip.IPv4Unspecified()), 0},
		{"a reply", pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply }), mac(1), netip.IPv4Unspecified()), 0},
		{"an offer", pack(t, message(dhcpv4.MessageTypeOffer, mac(1), nil), mac(1), netip.IPv4Unspecified()), 0},
		{"token ring", pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), func(m *dhcpv4.DHCPv4) { m.HWType = 6 }), mac(1), netip.IPv4Unspecified()), 0},
	} {
		r := newRig(t, config(), Switch{})
		r.core.receive(c.b, r.now)
		if got := len(r.settle()); got != c.want {
			t.Errorf("%s: %d answers, want %d", c.name, got, c.want)
		}
	}
}

func TestConfigurationsThatCantBeServedAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no address":  func(c *Config) { c.Server = netip.Addr{} },
		"IPv6 router": func(c *Config) { c.Router = ip("fd00::1") },
		"small MTU":   func(c *Config) { c.MTU = 500 },
		"IPv6 route":  func(c *Config) { c.Routes = []Route{{netip.MustParsePrefix("fd00::/8"), ip("fd00::1")}} },
		"bad range":   func(c *Config) { c.Leases.Last = ip("10.0.1.1") },
	} {
		c := config()
		change(&c)
		if _, err := newCore(c, Switch{}, quiet, serverMAC, func([]byte) {}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, kind := range []dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeDecline,
		dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform,
	} {
		m := message(kind, mac(1), func(m *dhcpv4.DHCPv4) {
			m.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IP{10, 0, 0, 10}))
			m.UpdateOption(dhcpv4.OptServerIdentifier(net.IP{10, 0, 0, 1}))
			m.UpdateOption(dhcpv4.OptHostName("mail.xen"))
			m.UpdateOption(dhcpv4.OptClientIdentifier([]byte{1, 2, 3}))
			m.UpdateOption(dhcpv4.OptMaxMessageSize(1500))
			m.Options[81] = []byte("\x05\x00\x00\x04mail\x03xen\x00")
			m.UpdateOption(dhcpv4.OptParameterRequestList(dhcpv4.OptionRouter, dhcpv4.OptionClasslessStaticRoute))
		})
		f.Add(m.ToBytes(), true)
		f.Add(pack(f, m, mac(1), netip.IPv4Unspecified()), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, wrap bool) {
		r := newRig(t, config(), Switch{})
		if wrap {
			if len(b) > 1400 {
				return
			}
			// What the fuzzer can't guess, so that it gets further.
			d := datagram{dstMAC: frame.Broadcast, dst: broadcastAddr, src: netip.IPv4Unspecified(), payload: b}
			if len(b) >= 34 {
				d.srcMAC = frame.MAC(b[28:34])
			}
			b = buildUDP(d)
			binary.BigEndian.PutUint16(b[etherLen+ipLen+2:], serverPort)
			binary.BigEndian.PutUint16(b[etherLen+ipLen+6:], 0)
		}
		r.core.receive(b, r.now)
		r.core.answered(b, r.now)
		for _, a := range r.settle() {
			if a.MessageType() == dhcpv4.MessageTypeAck && a.YourIPAddr.IsUnspecified() {
				continue // INFORM
			}
			if a.MessageType() != dhcpv4.MessageTypeNak && !r.core.table.Contains(addrOf(a.YourIPAddr)) {
				t.Errorf("gave %s", a.YourIPAddr)
			}
		}
	})
}

package dhcpd

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/frame"
)

func TestAnAddressInUseIsNotOffered(t *testing.T) {
	r := newRig(t, config(), Switch{})
	// Two stations sit on addresses of the range without a lease.
	busy := map[netip.Addr]bool{}
	r.discover()
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
		r.discover()
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
	r.discover()
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

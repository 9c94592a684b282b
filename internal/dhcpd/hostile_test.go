package dhcpd

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/frame"
)

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

func TestFramesThatAreNotForTheServerAreLeft(t *testing.T) {
	discover := func(change func(*dhcpv4.DHCPv4)) []byte {
		return pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), change), mac(1), netip.IPv4Unspecified())
	}
	good := discover(nil)
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
		{"chaddr of another", pack(t, message(dhcpv4.MessageTypeDiscover, mac(1), nil), mac(2), netip.IPv4Unspecified()), 0},
		{"multicast source", pack(t, message(dhcpv4.MessageTypeDiscover, frame.MAC{3}, nil), frame.MAC{3}, netip.IPv4Unspecified()), 0},
		{"relayed", discover(func(m *dhcpv4.DHCPv4) { m.GatewayIPAddr = net.IP{10, 0, 0, 9} }), 0},
		{"a reply", discover(func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply }), 0},
		{"an offer", pack(t, message(dhcpv4.MessageTypeOffer, mac(1), nil), mac(1), netip.IPv4Unspecified()), 0},
		{"token ring", discover(func(m *dhcpv4.DHCPv4) { m.HWType = 6 }), 0},
	} {
		r := newRig(t, config(), Switch{})
		r.core.receive(c.b, r.now)
		if got := len(r.settle()); got != c.want {
			t.Errorf("%s: %d answers, want %d", c.name, got, c.want)
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

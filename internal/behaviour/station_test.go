package behaviour

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
)

// station is a DHCP client on a packet socket, for any number of MAC addresses.
type station struct {
	t    *testing.T
	conn *packet.Conn
}

func newStation(t *testing.T, ns *testnet.NS, ifname string) *station {
	t.Helper()
	s := &station{t: t}
	err := ns.Do(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		if s.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_IP, nil); err != nil {
			return err
		}
		sys, err := s.conn.SyscallConn()
		if err != nil {
			return err
		}
		ctl := sys.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		})
		return errors.Join(ctl, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	return s
}

// say sends a message of the client; change may be nil.
func (s *station) say(kind dhcpv4.MessageType, from frame.MAC, change func(*dhcpv4.DHCPv4)) {
	s.t.Helper()
	m, err := dhcpv4.New(dhcpv4.WithMessageType(kind), dhcpv4.WithHwAddr(from[:]))
	if err != nil {
		s.t.Fatal(err)
	}
	if change != nil {
		change(m)
	}
	src := m.ClientIPAddr.To4()
	b := forge(s.t, eth(frame.Broadcast, from, layers.EthernetTypeIPv4),
		&layers.IPv4{Protocol: layers.IPProtocolUDP, SrcIP: src, DstIP: net.IPv4bcast.To4()},
		&layers.UDP{SrcPort: 68, DstPort: 67}, gopacket.Payload(m.ToBytes()))
	if _, err := s.conn.WriteTo(b, &packet.Addr{HardwareAddr: b[:6]}); err != nil {
		s.t.Fatal(err)
	}
}

// dhcpAnswer is what a server said, its checksums complete.
type dhcpAnswer struct {
	*dhcpv4.DHCPv4
	mac  frame.MAC
	addr netip.Addr // yours
}

// next is the next answer; false after the deadline.
func (s *station) next(deadline time.Time) (dhcpAnswer, bool) {
	s.t.Helper()
	b := make([]byte, 2048)
	for {
		if err := s.conn.SetReadDeadline(deadline); err != nil {
			s.t.Fatal(err)
		}
		n, _, err := s.conn.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return dhcpAnswer{}, false
		}
		if err != nil {
			s.t.Fatal(err)
		}
		p := gopacket.NewPacket(b[:n], layers.LayerTypeEthernet, gopacket.Default)
		udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok || udp.SrcPort != 67 || udp.DstPort != 68 {
			continue
		}
		if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			s.t.Fatal(err)
		}
		if err, wrong := p.VerifyChecksums(); err != nil || len(wrong) > 0 || udp.Checksum == 0 {
			s.t.Errorf("an answer without complete checksums: %v, %v\n%x", err, wrong, b[:n])
		}
		m, err := dhcpv4.FromBytes(udp.Payload)
		if err != nil {
			s.t.Fatal(err)
		}
		addr, _ := netip.AddrFromSlice(m.YourIPAddr.To4())
		return dhcpAnswer{m, frame.MAC(m.ClientHWAddr), addr}, true
	}
}

// selecting asks for what was offered, rebooting for what was had, and having
// says what the client has (RFC 2131, 4.3.2).
func selecting(offer dhcpAnswer) func(*dhcpv4.DHCPv4) {
	return func(m *dhcpv4.DHCPv4) {
		m.TransactionID = offer.TransactionID
		m.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))
		m.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
	}
}

func rebooting(a netip.Addr) func(*dhcpv4.DHCPv4) {
	return func(m *dhcpv4.DHCPv4) { m.UpdateOption(dhcpv4.OptRequestedIPAddress(a.AsSlice())) }
}

func having(a netip.Addr) func(*dhcpv4.DHCPv4) {
	return func(m *dhcpv4.DHCPv4) { m.ClientIPAddr = a.AsSlice() }
}

// ask sends a message and returns the answer to it, within 3 s.
func (s *station) ask(kind dhcpv4.MessageType, from frame.MAC, change func(*dhcpv4.DHCPv4)) dhcpAnswer {
	s.t.Helper()
	s.say(kind, from, change)
	for {
		a, ok := s.next(time.Now().Add(3 * time.Second))
		if !ok {
			s.t.Fatalf("%s of %s: no answer", kind, from)
		}
		if a.mac == from {
			return a
		}
	}
}

// lease gets the client an address.
func (s *station) lease(from frame.MAC) netip.Addr {
	s.t.Helper()
	a := s.ask(dhcpv4.MessageTypeDiscover, from, nil)
	if a = s.ask(dhcpv4.MessageTypeRequest, from, selecting(a)); a.MessageType() != dhcpv4.MessageTypeAck {
		s.t.Fatalf("%s: %s", from, a.MessageType())
	}
	return a.addr
}

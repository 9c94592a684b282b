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

package dhcpd

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
)

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

func TestADeclinedAddressRests(t *testing.T) {
	r := newRig(t, config(), Switch{})
	first := r.lease(mac(1))
	r.one(dhcpv4.MessageTypeNone, message(dhcpv4.MessageTypeDecline, mac(1), selecting(first)))
	if second := r.lease(mac(1)); second.YourIPAddr.Equal(first.YourIPAddr) {
		t.Errorf("%s again", second.YourIPAddr)
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

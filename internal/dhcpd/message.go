package dhcpd

import (
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"gxswitch/internal/frame"
)

// request is a client's message, as far as it matters.
type request struct {
	kind      dhcpv4.MessageType
	xid       dhcpv4.TransactionID
	flags     uint16
	mac       frame.MAC
	src       netip.Addr // of the packet
	ciaddr    netip.Addr // what the client says it has; the zero Addr for 0.0.0.0
	requested netip.Addr // likewise
	server    netip.Addr // likewise
	hostname  string
	time      time.Duration
	maxSize   int    // of an answer, with IP and UDP headers
	id        []byte // to be given back (RFC 6842)
	wants     []byte // options; nil if it did not say
}

// parseRequest reads a message that came in a datagram. Whatever is not one of a
// client on this link, about itself, is none.
func parseRequest(d datagram) (request, bool) {
	m, err := dhcpv4.FromBytes(d.payload)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || m.HWType != iana.HWTypeEthernet || len(m.ClientHWAddr) != 6 {
		return request{}, false
	}
	r := request{
		kind:      m.MessageType(),
		xid:       m.TransactionID,
		flags:     m.Flags,
		mac:       frame.MAC(m.ClientHWAddr),
		src:       d.src,
		ciaddr:    specified(m.ClientIPAddr),
		requested: specified(m.Options.Get(dhcpv4.OptionRequestedIPAddress)),
		server:    specified(m.Options.Get(dhcpv4.OptionServerIdentifier)),
		hostname:  hostname(m.Options),
		maxSize:   minMTU,
		id:        m.Options.Get(dhcpv4.OptionClientIdentifier),
		wants:     m.Options.Get(dhcpv4.OptionParameterRequestList),
	}
	if r.mac != d.srcMAC || r.mac.IsZero() || r.mac.IsMulticast() || specified(m.GatewayIPAddr).IsValid() {
		return request{}, false
	}
	if v := m.Options.Get(dhcpv4.OptionIPAddressLeaseTime); len(v) == 4 {
		r.time = time.Duration(uint32(v[0])<<24|uint32(v[1])<<16|uint32(v[2])<<8|uint32(v[3])) * time.Second
	}
	if v := m.Options.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(v) == 2 {
		r.maxSize = max(r.maxSize, int(v[0])<<8|int(v[1]))
	}
	return r, true
}

// specified is an address that is there and says something.
func specified(b []byte) netip.Addr {
	a, ok := netip.AddrFromSlice(b)
	if !ok || !a.Is4() || a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

// hostname is option 12, else what option 81 has (RFC 4702): flags, two bytes
// without a meaning, and a name, in DNS's encoding if the flag E is set.
func hostname(o dhcpv4.Options) string {
	if v := o.Get(dhcpv4.OptionHostName); len(v) > 0 {
		return string(v)
	}
	v := o.Get(dhcpv4.OptionFQDN)
	if len(v) < 4 {
		return ""
	}
	const encoded = 4
	name := v[3:]
	if v[0]&encoded == 0 {
		return string(name)
	}
	if n := int(name[0]); n < len(name) {
		return string(name[1 : 1+n])
	}
	return ""
}

func (r *request) want(code dhcpv4.OptionCode) bool {
	return r.wants == nil || slices.Contains(r.wants, code.Code())
}

// broadcast reports whether the client can't receive unicast yet.
func (r *request) broadcast() bool { return r.flags&0x8000 != 0 }

package dhcpd

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
)

// reply sends an answer. The lease's Expires is how long it is, from the zero
// Time. An ACK for a lease waits for the file.
func (k *core) reply(r request, kind dhcpv4.MessageType, l lease.Lease) {
	m := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        iana.HWTypeEthernet,
		TransactionID: r.xid,
		Flags:         r.flags,
		ClientHWAddr:  r.mac[:],
		Options:       dhcpv4.Options{},
	}
	set := func(c dhcpv4.OptionCode, v []byte) { m.Options[c.Code()] = v }
	set(dhcpv4.OptionDHCPMessageType, []byte{byte(kind)})
	set(dhcpv4.OptionServerIdentifier, k.cfg.Server.AsSlice())
	if len(r.id) > 0 {
		set(dhcpv4.OptionClientIdentifier, r.id)
	}
	if kind == dhcpv4.MessageTypeNak {
		set(dhcpv4.OptionMessage, []byte("this address is not for you"))
		k.send(k.address(r, m, kind))
		return
	}
	if kind == dhcpv4.MessageTypeAck && r.ciaddr.IsValid() {
		m.ClientIPAddr = net.IP(r.ciaddr.AsSlice())
	}
	if l.Addr.IsValid() {
		m.YourIPAddr = net.IP(l.Addr.AsSlice())
		d := l.Expires.Sub(time.Time{})
		set(dhcpv4.OptionIPAddressLeaseTime, seconds(d))
		set(dhcpv4.OptionRenewTimeValue, seconds(d/2))
		set(dhcpv4.OptionRebindingTimeValue, seconds(d/8*7))
	}
	limit := min(r.maxSize, k.mtu()) - ipLen - udpLen
	for _, o := range k.settings(r, l) {
		set(o.code, o.value)
		if len(m.ToBytes()) > limit {
			m.Options.Del(o.code)
		}
	}
	b := k.address(r, m, kind)
	if kind == dhcpv4.MessageTypeAck && l.Addr.IsValid() {
		k.acks = append(k.acks, b)
		return
	}
	k.send(b)
}

func (k *core) mtu() int {
	if k.cfg.MTU == 0 {
		return 1500
	}
	return k.cfg.MTU
}

type option struct {
	code  dhcpv4.OptionCode
	value []byte
}

// settings are the options that tell a client of its network, those first that
// it can least do without: a long client identifier may leave no room for all.
func (k *core) settings(r request, l lease.Lease) []option {
	var all []option
	add := func(c dhcpv4.OptionCode, v []byte) {
		if len(v) > 0 {
			all = append(all, option{c, v})
		}
	}
	c := &k.cfg
	own := l.Addr
	if !own.IsValid() {
		own = r.ciaddr
	}
	// A port's address may lie outside the subnet: then nothing but the gateway
	// is on the link, and the gateway itself must be said to be.
	subnet, routes := c.Leases.Subnet.Masked(), c.Routes
	outside := !subnet.Contains(own)
	if outside {
		subnet = netip.PrefixFrom(own, 32)
		routes = append([]Route{{netip.PrefixFrom(c.Server, 32), netip.IPv4Unspecified()}}, routes...)
		if c.Router.IsValid() && c.Router != c.Server {
			routes = append(routes, Route{netip.PrefixFrom(c.Router, 32), netip.IPv4Unspecified()})
		}
	}
	mask := net.CIDRMask(subnet.Bits(), 32)
	add(dhcpv4.OptionSubnetMask, mask)
	if c.Router.IsValid() && r.want(dhcpv4.OptionRouter) {
		add(dhcpv4.OptionRouter, c.Router.AsSlice())
	}
	if len(routes) > 0 && (outside || r.want(dhcpv4.OptionClasslessStaticRoute)) {
		// A client that takes these does not look at the router (RFC 3442).
		if c.Router.IsValid() {
			routes = append(routes[:len(routes):len(routes)], Route{netip.PrefixFrom(netip.IPv4Unspecified(), 0), c.Router})
		}
		add(dhcpv4.OptionClasslessStaticRoute, encodeRoutes(routes))
	}
	if r.want(dhcpv4.OptionDomainNameServer) {
		var v []byte
		for _, a := range c.DNS {
			if a.Is4() {
				v = append(v, a.AsSlice()...)
			}
		}
		add(dhcpv4.OptionDomainNameServer, v)
	}
	// Few clients ask for it, and all but the usual one has to be known.
	if c.MTU != 0 && (c.MTU != 1500 || r.want(dhcpv4.OptionInterfaceMTU)) {
		add(dhcpv4.OptionInterfaceMTU, binary.BigEndian.AppendUint16(nil, uint16(c.MTU)))
	}
	if r.want(dhcpv4.OptionDomainName) {
		add(dhcpv4.OptionDomainName, []byte(c.Domain))
	}
	if !outside && subnet.Bits() < 31 && r.want(dhcpv4.OptionBroadcastAddress) {
		b := subnet.Addr().As4()
		for i := range b {
			b[i] |= ^mask[i]
		}
		add(dhcpv4.OptionBroadcastAddress, b[:])
	}
	if r.want(dhcpv4.OptionHostName) {
		add(dhcpv4.OptionHostName, []byte(l.Hostname))
	}
	return all
}

func encodeRoutes(routes []Route) []byte {
	var b []byte
	for _, r := range routes {
		to := r.To.Masked().Addr().As4()
		b = append(b, byte(r.To.Bits()))
		b = append(b, to[:(r.To.Bits()+7)/8]...)
		b = append(b, r.Via.AsSlice()...)
	}
	return b
}

func seconds(d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(max(d/time.Second, 1)))
}

// address makes the frame and says to whom it goes (RFC 2131, 4.1).
func (k *core) address(r request, m *dhcpv4.DHCPv4, kind dhcpv4.MessageType) []byte {
	d := datagram{srcMAC: k.mac, dstMAC: r.mac, src: k.cfg.Server, payload: m.ToBytes()}
	switch {
	case kind == dhcpv4.MessageTypeNak:
		d.dstMAC, d.dst = frame.Broadcast, broadcastAddr
	case r.ciaddr.IsValid():
		d.dst = r.ciaddr
	case r.broadcast():
		d.dstMAC, d.dst = frame.Broadcast, broadcastAddr
	default:
		d.dst, _ = netip.AddrFromSlice(m.YourIPAddr.To4())
	}
	return buildUDP(d)
}

var broadcastAddr = netip.AddrFrom4([4]byte{255, 255, 255, 255})

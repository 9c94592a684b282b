package gateway

import (
	"gxswitch/internal/frame"
	"gxswitch/nat"
)

// Route decides about a frame that came from a side to the gateway's MAC address
// there, and rewrites it where it goes to a side. raw begins with the virtio-net
// header, Frame.Parse has passed it, and there is no tag in it. from is the NAT's
// number of the port that the frame came from, if it came from inside. now is in
// seconds, as the NAT has them.
//
// The packet keeps its length and its virtio-net header.
func (g *Gateway) Route(from Side, raw []byte, port nat.Guest, now int64) Verdict {
	if !isIPv4(raw) {
		if len(raw) < l3 {
			return drop(frame.Malformed)
		}
		return Verdict{To: Host}
	}
	var p packet
	if !p.parse(raw) {
		return drop(frame.Malformed)
	}
	if from == Inside {
		return g.fromInside(raw, &p, port, now)
	}
	return g.fromOutside(raw, &p, false, now)
}

// RouteBeside is Route for a packet of a guest of another gateway by the same
// uplink, which that one has not sent anywhere: its verdict was Host or Beside. The
// packet is taken as if it came from outside, but may have the host's address, that
// NAT gave it.
func (g *Gateway) RouteBeside(raw []byte, now int64) Verdict {
	var p packet
	switch {
	case !isIPv4(raw):
		return Verdict{To: Host}
	case !p.parse(raw):
		return drop(frame.Malformed)
	}
	return g.fromOutside(raw, &p, true, now)
}

func (g *Gateway) fromInside(raw []byte, p *packet, port nat.Guest, now int64) Verdict {
	if g.isNATs(p.dst) {
		return g.toNAT(Inside, raw, p, port, now)
	}
	src, dst := g.classes.lookup(p.src), g.classes.lookup(p.dst)
	switch {
	case dst == host || isGroup(dst):
		return Verdict{To: Host}
	case dst == unroutable || !isStation(src):
		return drop(frame.NoRoute)
	case src != guest:
		return drop(frame.SpoofIP)
	case dst == guest:
		return g.forward(raw, p, Inside, p.dst)
	case dst == beside:
		return g.toBeside(raw, port, now)
	}
	next := g.routes.next(p.dst)
	if next == noRoute {
		return Verdict{Reason: frame.NoRoute, Error: ICMPError{Type: Unreachable, Code: NetUnreachable}}
	}
	if g.nat == nil {
		return g.forward(raw, p, Outside, next)
	}
	v := g.admit(p, Outside)
	if v.Reason != frame.Pass {
		return v
	}
	switch n := g.nat.Outbound(raw, port, now); n.To {
	case nat.Dropped:
		return g.declined(n)
	case nat.Host:
		return Verdict{To: Host}
	default:
		v.Session = n.Session
	}
	return g.send(raw, v, Outside, next)
}

// toBeside leaves a packet to another gateway, which takes the hop off.
func (g *Gateway) toBeside(raw []byte, port nat.Guest, now int64) Verdict {
	if g.nat == nil {
		return Verdict{To: Beside}
	}
	switch n := g.nat.Outbound(raw, port, now); n.To {
	case nat.Dropped:
		return g.declined(n)
	case nat.Host:
		return Verdict{To: Host}
	}
	return Verdict{To: Beside}
}

// isNATs is true of the addresses where a guest's packet may be for a forward.
func (g *Gateway) isNATs(a uint32) bool {
	return g.nat != nil && a != 0 && (a == g.natGateway || a == addressFrom(g.nat.External()))
}

func (g *Gateway) fromOutside(raw []byte, p *packet, byOther bool, now int64) Verdict {
	src, dst := g.classes.lookup(p.src), g.classes.lookup(p.dst)
	switch {
	case src == guest || src == guestBroadcast || src == host && !byOther:
		return drop(frame.SpoofIP)
	case dst == guestBroadcast:
		return drop(frame.NoRoute)
	case dst == guest:
		if g.nat != nil || !isStation(src) {
			return drop(frame.NoRoute)
		}
		return g.forward(raw, p, Inside, p.dst)
	case g.nat != nil && isStation(src):
		return g.toNAT(Outside, raw, p, 0, now)
	}
	return Verdict{To: Host}
}

// rewritten is how much of a packet the NAT changes at most: IP and ICMP header
// of an error, and the IP and TCP header in it.
const rewritten = 60 + 8 + 60 + 20

// toNAT is for packets of which the NAT alone knows whether they are the host's.
// One that is not, and that will be refused, gets its bytes back.
func (g *Gateway) toNAT(from Side, raw []byte, p *packet, port nat.Guest, now int64) Verdict {
	v := g.admit(p, Inside)
	var was [rewritten]byte
	if v.Reason != frame.Pass {
		copy(was[:], p.d)
	}
	var n nat.Verdict
	if from == Inside {
		n = g.nat.Outbound(raw, port, now)
	} else {
		n = g.nat.Inbound(raw, now)
	}
	switch {
	case n.To == nat.Host:
		return Verdict{To: Host}
	case n.To == nat.Dropped:
		return drop(n.Reason)
	case v.Reason != frame.Pass:
		copy(p.d, was[:])
		return v
	}
	v.Session = n.Session
	return g.send(raw, v, Inside, addressFrom(n.Dst))
}

// declined is what becomes of a packet that the NAT has dropped on its way to the
// uplink.
func (g *Gateway) declined(n nat.Verdict) Verdict {
	v := drop(n.Reason)
	if n.Reason == frame.NoRoute {
		v.Error = ICMPError{Type: Unreachable, Code: NetUnreachable}
	}
	return v
}

// forward sends a packet on as it is.
func (g *Gateway) forward(raw []byte, p *packet, to Side, next uint32) Verdict {
	v := g.admit(p, to)
	if v.Reason != frame.Pass {
		return v
	}
	return g.send(raw, v, to, next)
}

// admit says whether a packet may go to a side, and whether it has to be cut for it
// (RFC 1812, 5.2.1.2 and 5.3.1; ip_forward in net/ipv4/ip_forward.c).
func (g *Gateway) admit(p *packet, to Side) Verdict {
	if p.hlen > ipLen {
		if reason := p.options(); reason != frame.Pass {
			return drop(reason)
		}
	}
	if p.d[8] <= 1 {
		return Verdict{Reason: frame.TTL, Error: ICMPError{Type: TimeExceeded}}
	}
	if mtu := g.link[to].MTU; p.longest > mtu {
		if p.fragmentWord()&dontFragment != 0 {
			return Verdict{Reason: frame.MTU, Error: ICMPError{Unreachable, FragmentationNeeded, uint16(mtu)}}
		}
		return Verdict{Fragment: true}
	}
	return Verdict{}
}

// send completes the verdict on a packet that goes to a side.
func (g *Gateway) send(raw []byte, v Verdict, to Side, next uint32) Verdict {
	decrementTTL(raw[l3:])
	v.To, v.NextHop = placeOf(to), addr4(next)
	if mac, ok := g.neighbours[to].macs[next]; ok {
		g.Address(raw, to, mac)
		v.Resolved = true
	}
	return v
}

// Address writes the MAC addresses of a frame to a side whose next hop has become
// known. raw begins with the virtio-net header.
func (g *Gateway) Address(raw []byte, to Side, dst frame.MAC) {
	d := raw[frame.VNetLen:]
	copy(d, dst[:])
	copy(d[6:], g.link[to].MAC[:])
}

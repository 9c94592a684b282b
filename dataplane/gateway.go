package dataplane

import (
	"fmt"
	"net/netip"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
	"gxswitch/nat"
)

// A network with a gateway (NetworkConfig.Gateway) has two ports that other
// networks don't have: its leg bears the gateway's MAC, and its uplink, the
// *gate*, gives it no frames but those that the gateway takes. Frames to that MAC
// are routed in *decide*, and go on to *deliver*; all others are switched as in any
// network. Several gates may share a NIC with each other and a bridged network.

// Gateway is what a network's gateway goes by: one immutable picture of routes and
// neighbours, and the sessions, which outlive it.
type Gateway struct {
	Rules      *gateway.Gateway
	NAT        *nat.Table // nil: addresses are kept
	Neighbours [2]*gateway.Neighbours
}

// way is a network's gateway in a view: shared by its members.
type route struct {
	leg, gate *member
	lan       *member // the bridged network's port of the gate's NIC, if the host is a station of that network
}

// gated reports whether a gateway may want the frame that came by its uplink: it
// is for the host's MAC, or asks for somebody's.
func (e *entry) gated(f *frame.Frame) bool {
	d := f.Data()
	if f.Tagged || f.Truncated || len(d) < frame.HeaderLen {
		return false
	}
	if d[0]&1 != 0 || [6]byte(d[:6]) != e.gates[0].cfg.Local {
		return [6]byte(d[:6]) == frame.Broadcast && isARP(d)
	}
	return isARP(d) || d[12] == 0x08 && d[13] == 0x00
}

func isARP(d []byte) bool { return d[12] == 0x08 && d[13] == 0x06 }

// gate gives a frame of the wire to the gateway that takes it; false: none does.
func (w *worker) gate(v *view, e *entry, f *frame.Frame) bool {
	if f.Parse() != frame.Pass {
		return false // counted by whoever has the rest
	}
	n, bytes := uint64(f.Segments), uint64(f.WireBytes(false))
	if isARP(f.Data()) {
		gate := w.proxy(e.gates, e.gates[0], f)
		if gate == nil {
			return false
		}
		gate.port.counters.received(n, bytes)
		gate.port.counters.consumed.Add(n)
		return true
	}
	gate, gw, verdict := w.taken(e.gates, f)
	if gate == nil {
		return false
	}
	c := &gate.port.counters
	c.received(n, bytes)
	if gate.from != nil && verdict.To == gateway.ToInside && verdict.Resolved && !w.pace(gate.from, gate, f, gate.way.leg.pvid, false) {
		return true
	}
	if reason := w.carry(v, gate, gate, gateway.Outside, gw, f, verdict); reason != frame.Pass {
		c.rxDrops[reason].Add(n)
	} else {
		c.forwarded.Add(n)
	}
	return true
}

// taken asks gateways of one NIC for the one that takes a frame from outside, and
// what becomes of it; nil: it is the host's. NATs that share an address share its
// ports: what is of no session here may be of one there.
func (w *worker) taken(gates []*member, f *frame.Frame) (gate *member, gw *Gateway, verdict gateway.Verdict) {
	for _, g := range gates {
		is := g.net.gateway.Load()
		if is == nil || g.way == nil {
			continue
		}
		switch v := is.Rules.Route(gateway.Outside, f.Raw, 0, w.now); {
		case v.To == gateway.Host:
		case v.Reason != frame.NATNoSession:
			return g, is, v
		case gate == nil:
			gate, gw, verdict = g, is, v
		}
	}
	return gate, gw, verdict
}

func (c *counters) received(packets, bytes uint64) {
	c.rxPackets.Add(packets)
	c.rxBytes.Add(bytes)
}

// decline counts frames of a NIC that no network of it wants: the host has its
// own from the NIC, and the rest is noise of the LAN.
func (m *member) decline(frames []frame.Frame) {
	c := &m.port.counters
	for i := range frames {
		f := &frames[i]
		reason := f.Parse()
		n := uint64(f.Segments)
		c.received(n, uint64(f.WireBytes(f.Tagged)))
		switch d := f.Data(); {
		case reason != frame.Pass:
			c.rxDrops[reason].Add(n)
		case d[0]&1 != 0 || [6]byte(d[:6]) == m.cfg.Local:
			c.consumed.Add(n)
		default:
			c.rxDrops[frame.NoDestination].Add(n)
		}
	}
}

// toGateway takes a frame to the host's MAC: of a guest to its gateway, or of a
// station of the LAN to those whose uplink that is. taken is false for what is the
// host's own.
func (w *worker) toGateway(v *view, in, leg *member, f *frame.Frame) (reason frame.DropReason, taken bool) {
	if leg.way != nil {
		gw := leg.net.gateway.Load()
		if gw == nil {
			return frame.Pass, false
		}
		verdict := gw.Rules.Route(gateway.Inside, f.Raw, nat.Guest(in.id), w.now)
		switch verdict.To {
		case gateway.Host:
			if gw.NAT != nil { // a NAT answers by its own address, which here is the host's
				return frame.Pass, false
			}
			return w.beside(v, in, leg, gw, f)
		case gateway.Beside:
			if reason, taken := w.beside(v, in, leg, gw, f); taken {
				return reason, true
			}
			return frame.NoRoute, true
		}
		return w.carry(v, in, leg, gateway.Inside, gw, f, verdict), true
	}
	gate, gw, verdict := w.taken(leg.gates, f)
	if gate == nil {
		return frame.Pass, false
	}
	return w.carry(v, in, gate, gateway.Outside, gw, f, verdict), true
}

// beside gives a guest's packet to another gateway by the same NIC: to a guest of
// that, or by its NAT's address. An error is the guest's own gateway's to send.
func (w *worker) beside(v *view, in, leg *member, gw *Gateway, f *frame.Frame) (reason frame.DropReason, taken bool) {
	for _, gate := range v.entries[leg.way.gate.port.wire.id].gates {
		other := gate.net.gateway.Load()
		if gate.net == leg.net || other == nil || gate.way == nil {
			continue
		}
		verdict := other.Rules.RouteBeside(f.Raw, w.now)
		if verdict.To == gateway.Host || verdict.Reason == frame.NATNoSession || verdict.Reason == frame.SpoofIP {
			reason = max(reason, verdict.Reason)
			continue
		}
		if verdict.Error != (gateway.ICMPError{}) {
			if gw.NAT != nil {
				gw.NAT.Undo(f.Raw, w.now)
			}
			w.complain(in, leg.way, gateway.Inside, gw, f, verdict.Error)
			verdict.Error = gateway.ICMPError{}
		}
		return w.carry(v, in, gate, gateway.Outside, other, f, verdict), true
	}
	return reason, reason != frame.Pass
}

// carry does what a gateway said about a frame that came from a side by the port
// in; of is a port of the gateway's network.
func (w *worker) carry(v *view, in, of *member, from gateway.Side, gw *Gateway, f *frame.Frame, verdict gateway.Verdict) frame.DropReason {
	way := of.way
	if verdict.Error != (gateway.ICMPError{}) {
		w.complain(in, way, from, gw, f, verdict.Error)
	}
	var to gateway.Side
	switch verdict.To {
	case gateway.ToInside:
		to = gateway.Inside
	case gateway.ToOutside:
		to = gateway.Outside
	default:
		return verdict.Reason
	}
	if !verdict.Resolved {
		return w.await(in, of.net, gw, from, to, verdict, f)
	}
	if verdict.Fragment {
		return w.fragment(v, in, way, to, gw, f)
	}
	out, reason := w.leave(v, in, way, to, f)
	if reason == frame.Pass {
		w.offer(v, in, out, of.net, to, gw, f, &verdict)
	}
	return reason
}

// depart is leave for a packet that may be too long for its way.
func (w *worker) depart(v *view, in *member, way *route, to gateway.Side, gw *Gateway, f *frame.Frame, tooLong bool) frame.DropReason {
	if tooLong {
		return w.fragment(v, in, way, to, gw, f)
	}
	_, reason := w.leave(v, in, way, to, f)
	return reason
}

// leave gives a routed frame to the port that its next hop is behind, and returns
// which that is; nil: several.
func (w *worker) leave(v *view, in *member, way *route, to gateway.Side, f *frame.Frame) (*member, frame.DropReason) {
	if to == gateway.Inside {
		return w.inward(v, in, way, f)
	}
	out, vid := way.gate, way.gate.pvid
	if lan := way.lan; lan != nil { // the next hop may be a guest of the bridged network
		id, known := lan.net.table.Lookup(fdb.KeyFromBytes(lan.pvid, f.Data()))
		if m := v.member(id); known && m != nil && m != lan && m.net == lan.net && m.carries(lan.pvid) {
			out, vid = m, lan.pvid
		}
	}
	if !out.cfg.Up {
		return nil, frame.NoRoute
	}
	w.deliver(way.leg, out, f, vid)
	return out, frame.Pass
}

// inward gives a routed frame to a guest; one whose port is not known is flooded,
// as a switch does.
func (w *worker) inward(v *view, in *member, way *route, f *frame.Frame) (*member, frame.DropReason) {
	leg := way.leg
	if id, known := leg.net.table.Lookup(fdb.KeyFromBytes(leg.pvid, f.Data())); known {
		out := v.member(id)
		switch {
		case out == nil || !out.cfg.Up || out.net != leg.net:
			return nil, frame.NoDestination
		case in.cfg.Isolated && out.cfg.Isolated && in.net == out.net:
			return nil, frame.Isolated
		case !out.carries(leg.pvid):
			return nil, frame.VLANDenied
		}
		w.deliver(leg, out, f, leg.pvid)
		return out, frame.Pass
	}
	reason := frame.NoDestination
	for _, out := range leg.up {
		if out == leg || !out.carries(leg.pvid) || in.cfg.Isolated && out.cfg.Isolated && in.net == out.net {
			continue
		}
		w.deliver(leg, out, f, leg.pvid)
		reason = frame.Pass
	}
	return nil, reason
}

func (v *view) member(id fdb.PortID) *member {
	if int(id) < len(v.ports) {
		return v.ports[id]
	}
	return nil
}

// complain sends an ICMP error to where the frame came from.
func (w *worker) complain(in *member, way *route, from gateway.Side, gw *Gateway, f *frame.Frame, e gateway.ICMPError) {
	raw, ok := gw.Rules.AppendError(w.spare(), from, f.Raw, e, w.nanos)
	if ok {
		w.answer(in, way.leg, raw)
	}
}

// answer sends a frame of the switch's own out of the port that asked.
func (w *worker) answer(in, from *member, raw []byte) {
	f := w.made(raw)
	if f.Parse() == frame.Pass && in.cfg.Up {
		w.deliver(from, in, f, in.pvid)
	}
}

// proxy answers an ARP request for an address that is behind one of the gateways,
// by the port in, and returns which.
func (w *worker) proxy(gates []*member, in *member, f *frame.Frame) *member {
	for _, gate := range gates {
		gw := gate.net.gateway.Load()
		if gw == nil || gate.way == nil {
			continue
		}
		if raw, ok := gw.Rules.ARP(w.spare(), gateway.Outside, f.Data()); ok {
			w.answer(in, gate.way.leg, raw)
			return gate
		}
	}
	return nil
}

// stands reports whether the gateway answered a guest's ARP request in place of
// who is meant.
func (w *worker) stands(in *member, f *frame.Frame) bool {
	if in.gates != nil {
		return w.proxy(in.gates, in, f) != nil
	}
	gw := in.net.gateway.Load()
	if gw == nil || in.way == nil || in == in.way.leg {
		return false
	}
	raw, ok := gw.Rules.ARP(w.spare(), gateway.Inside, f.Data())
	if ok {
		w.answer(in, in.way.leg, raw)
	}
	return ok
}

// fragment cuts a packet that is too long for its way; of a super-frame each of the
// packets that it stands for.
func (w *worker) fragment(v *view, in *member, way *route, to gateway.Side, gw *Gateway, f *frame.Frame) frame.DropReason {
	reason := frame.Pass
	room := &w.spares.cut
	atLeast(room, gw.Rules.FragmentLen(to))
	leave := func(raw []byte) {
		cut := w.made(append(w.spare(), raw...))
		if cut.Parse() != frame.Pass {
			return
		}
		if _, r := w.leave(v, in, way, to, cut); r != frame.Pass {
			reason = r
		}
	}
	if !f.IsGSO() {
		gw.Rules.Fragment(*room, f.Raw, to, leave)
		return reason
	}
	segment := &w.spares.segment
	atLeast(segment, frame.VNetLen+frame.TagLen+f.Len)
	if !f.Segment(false, 0, *segment, func(raw []byte) { gw.Rules.Fragment(*room, raw, to, leave) }) {
		return frame.UnsupportedGSO
	}
	return reason
}

// atLeast makes b long enough; what was in it is gone.
func atLeast(b *[]byte, n int) {
	if len(*b) < n {
		*b = make([]byte, n)
	}
}

// Frames that the switch makes itself live until the vectors are written.
const (
	spares   = 64
	spareLen = 2048 // an ICMP error, an ARP reply; longer fragments are allocated
)

type spareFrames struct {
	frames [spares]frame.Frame
	mem    []byte
	used   int

	cut, segment []byte // of fragment; as long as was ever needed
}

// spare is room for one frame that the switch makes, empty; made takes it.
func (w *worker) spare() []byte {
	s := &w.spares
	if s.mem == nil {
		s.mem = make([]byte, spares*spareLen)
	}
	if s.used == spares {
		w.flush()
	}
	at := s.used * spareLen
	return s.mem[at : at : at+spareLen]
}

// made is the frame that was written to the spare room.
func (w *worker) made(raw []byte) *frame.Frame {
	f := &w.spares.frames[w.spares.used]
	w.spares.used++
	f.Reset(raw)
	return f
}

// SetGateway gives a network its gateway, or another one. Packets that wait for a
// neighbour which this one knows go on.
func (s *Switch) SetGateway(name string, gw *Gateway) error {
	s.mu.Lock()
	net := s.networks[name]
	s.mu.Unlock()
	if net == nil {
		return fmt.Errorf("network %s: %w", name, ErrNoNetwork)
	}
	was := net.gateway.Swap(gw)
	s.bypass(was, gw)
	if s.changes(net, was, gw) {
		s.nextEra()
	}
	if gw != nil && net.waiting.any() {
		w := s.workers[0]
		w.post(func() { w.resume(net, gw) })
	}
	return nil
}

// changes reports whether a network's gateway may decide otherwise about packets
// that the one before has sent on.
func (s *Switch) changes(net *network, was, is *Gateway) bool {
	var version uint64
	if is != nil && is.NAT != nil {
		version = is.NAT.Version()
	}
	same := net.natVersion.Swap(version) == version
	if was == nil || is == nil {
		return was != is
	}
	return !same || !is.Rules.Extends(was.Rules)
}

// Announce tells the LAN by a gratuitous ARP that a guest's address is behind the
// network's gate now.
func (s *Switch) Announce(name string, addr netip.Addr) {
	s.mu.Lock()
	net := s.networks[name]
	s.mu.Unlock()
	if net == nil {
		return
	}
	w := s.workers[0]
	w.post(func() {
		gw := net.gateway.Load()
		if gw == nil {
			return
		}
		for _, m := range s.view.Load().ports {
			if m != nil && m.net == net && m.gate() && m.way != nil {
				w.answer(m, m.way.leg, gw.Rules.AppendAnnouncement(w.spare(), addr))
			}
		}
		w.flush()
	})
}

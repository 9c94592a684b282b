package dataplane

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
)

// Packets whose next hop's MAC is not known wait, while the kernel asks for it:
// somebody reads Unresolved, makes the kernel ask, and tells the answer by
// SetGateway or Unreachable.
const (
	hopPackets     = 64  // that wait for one next hop (Linux: unres_qlen_bytes, of that order)
	senderPackets  = 128 // that came by one port: who asks for everybody leaves room to others
	networkPackets = 512 // of a network
	hopSeconds     = 3   // after which a next hop that does not answer is given up
)

// Hop is a next hop that the gateway of a network wants to know the MAC of.
type Hop struct {
	Network string
	To      gateway.Side
	Addr    netip.Addr
}

// waiting is a network's packets that wait.
type waiting struct {
	count   atomic.Int32
	mu      sync.Mutex
	packets []*unresolved
}

type unresolved struct {
	*held
	hop   Hop
	from  fdb.PortID
	side  gateway.Side // that it came from
	since int64        // seconds of the switch's clock

	fragment bool // it is too long for its way
}

func (q *waiting) any() bool { return q.count.Load() > 0 }

// await lets a copy of the packet wait, which gw could not send on. A picture that came
// while gw was looked at has found nothing that waits, perhaps, and the kernel tells
// nothing twice: so we look again.
func (w *worker) await(in *member, net *network, gw *Gateway, from, to gateway.Side, verdict gateway.Verdict, f *frame.Frame) frame.DropReason {
	reason := w.enlist(in, net, from, to, verdict, f)
	if now := net.gateway.Load(); now != gw && now != nil && reason == frame.Pass {
		w.post(func() { w.resume(net, now) })
	}
	return reason
}

func (w *worker) enlist(in *member, net *network, from, to gateway.Side, verdict gateway.Verdict, f *frame.Frame) frame.DropReason {
	hop := Hop{Network: net.cfg.Name, To: to, Addr: verdict.NextHop}
	q := &net.waiting
	q.mu.Lock()
	defer q.mu.Unlock()
	same, sent := 0, 0
	for _, u := range q.packets {
		if u.hop == hop {
			same++
		}
		if u.from == in.id {
			sent++
		}
	}
	if same == 0 {
		w.sw.ask(hop)
	}
	if same >= hopPackets || sent >= senderPackets || len(q.packets) >= networkPackets {
		return frame.NoRoute
	}
	q.packets = append(q.packets, &unresolved{held: hold(f.Raw, f), hop: hop, from: in.id, side: from, fragment: verdict.Fragment, since: w.now})
	q.count.Store(int32(len(q.packets)))
	return frame.Pass
}

// ask tells the reader of Unresolved. One that is behind is told again later.
func (s *Switch) ask(hop Hop) {
	select {
	case s.unresolved <- hop:
	default:
	}
}

// Unresolved tells which next hops packets wait for. One goroutine should read it.
func (s *Switch) Unresolved() <-chan Hop { return s.unresolved }

// Unreachable gives up a next hop, which does not answer.
func (s *Switch) Unreachable(hop Hop) {
	s.mu.Lock()
	net := s.networks[hop.Network]
	s.mu.Unlock()
	if net != nil && net.waiting.any() {
		w := s.workers[0]
		w.post(func() { w.giveUp(net, func(u *unresolved) bool { return u.hop == hop }) })
	}
}

// remind asks again for the next hops of packets that wait, and gives up those
// that have waited for too long.
func (s *Switch) remind(net *network, now int64) {
	if !net.waiting.any() {
		return
	}
	asked := map[Hop]bool{}
	net.waiting.mu.Lock()
	for _, u := range net.waiting.packets {
		if !asked[u.hop] {
			asked[u.hop] = true
			s.ask(u.hop)
		}
	}
	net.waiting.mu.Unlock()
	w := s.workers[0]
	w.post(func() { w.giveUp(net, func(u *unresolved) bool { return now-u.since > hopSeconds }) })
}

// take removes the packets that f chooses.
func (q *waiting) take(f func(*unresolved) bool) (taken []*unresolved) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.packets = slices.DeleteFunc(q.packets, func(u *unresolved) bool {
		if f(u) {
			taken = append(taken, u)
			return true
		}
		return false
	})
	q.count.Store(int32(len(q.packets)))
	return taken
}

// resume sends on what waited for neighbours that are known now.
func (w *worker) resume(net *network, gw *Gateway) {
	macs := map[*unresolved]frame.MAC{}
	taken := net.waiting.take(func(u *unresolved) bool {
		mac, ok := gw.Neighbours[u.hop.To].Lookup(u.hop.Addr)
		if ok {
			macs[u] = mac
		}
		return ok
	})
	v := w.sw.view.Load()
	for _, u := range taken {
		gw.Rules.Address(u.f.Raw, u.hop.To, macs[u])
		in := v.member(u.from)
		if way := v.wayOf(net); way != nil && in != nil {
			if reason := w.depart(v, in, way, u.hop.To, gw, &u.f, u.fragment); reason != frame.Pass {
				way.lose(&u.f, u.hop.To, reason)
			}
		}
	}
	w.flush()
	for _, u := range taken {
		u.free()
	}
}

// giveUp drops packets that wait, and tells who sent them.
func (w *worker) giveUp(net *network, which func(*unresolved) bool) {
	v, gw := w.sw.view.Load(), net.gateway.Load()
	taken := net.waiting.take(which)
	for _, u := range taken {
		in, way := v.member(u.from), v.wayOf(net)
		if way == nil {
			continue
		}
		way.lose(&u.f, u.hop.To, frame.NoRoute)
		if gw != nil && in != nil {
			if gw.NAT != nil {
				gw.NAT.Undo(u.f.Raw, w.now)
			}
			w.complain(in, way, u.side, gw, &u.f, gateway.ICMPError{Type: gateway.Unreachable, Code: gateway.HostUnreachable})
		}
	}
	w.flush()
	for _, u := range taken {
		u.free()
	}
}

// lose counts a packet that was taken and can't leave.
func (y *route) lose(f *frame.Frame, to gateway.Side, why frame.DropReason) {
	out := y.leg
	if to == gateway.Outside {
		out = y.gate
	}
	out.port.counters.txDrops[why].Add(uint64(f.Segments))
}

// wayOf is the network's gateway in this view, nil if its ports are not there.
func (v *view) wayOf(net *network) *route {
	for _, m := range v.ports {
		if m != nil && m.net == net {
			return m.way
		}
	}
	return nil
}

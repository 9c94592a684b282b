package fastpath

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Inherited is a flow that a predecessor left, of a session that had not ended.
type Inherited struct {
	Flow
	Network         string // whose gateway it passes
	InLink, OutLink int    // indexes of the interfaces of In and Out
	AgeSeconds      int64  // since the last packet of the session
}

// Inherit hands such flows to f. It comes before ports are attached, and before
// ClearFlows. The predecessor had the era that it had: what has ended the era may
// have left the session alone.
func (e *Engine) Inherit(f func(*Inherited)) error {
	names := map[uint32]string{}
	e.mu.Lock()
	for name, n := range e.networks {
		names[n] = name
	}
	e.mu.Unlock()
	links := map[uint16]int{} // by number
	link := func(number uint16) int {
		if _, known := links[number]; !known {
			var p objectPort
			if number < maxPorts && e.obj.GxPorts.Lookup(uint32(number), &p) == nil {
				links[number] = int(p.Ifindex)
			}
		}
		return links[number]
	}
	now := stampNow()
	return e.eachFlow(func(k *objectFlowKey, v *objectFlow) {
		in := Inherited{
			Flow: Flow{
				FlowKey: FlowKey{
					Src: addrPort(k.Src, k.Sport), Dst: addrPort(k.Dst, k.Dport), Proto: k.Proto, Network: uint32(k.Scope),
				},
				NewSrc: addrPort(v.Src, v.Sport), NewDst: addrPort(v.Dst, v.Dport),
				In: v.In, Out: v.Out, MaxLen: int(v.MaxLen), Gateway: uint32(v.Network), VLAN: v.Vlan,
				Era: v.Era, Session: Session{v.Session, v.Life}, End: int(v.End),
			},
			Network: names[uint32(v.Network)], InLink: link(v.In), OutLink: link(v.Out),
		}
		copy(in.DstMAC[:], v.Macs[:6])
		copy(in.SrcMAC[:], v.Macs[6:])
		if !in.plausible() {
			return
		}
		s := &e.flows.all[v.Session]
		if atomic.LoadUint32(&s.life) != v.Life {
			return
		}
		in.AgeSeconds = max(age(now, atomic.LoadUint32(&s.stamp)), 0)
		f(&in)
	})
}

// plausible tells a flow that PutFlow can have been told of.
func (f *Inherited) plausible() bool {
	return f.Session.ID > 0 && f.Session.ID < maxSessions && f.End&^1 == 0 &&
		(f.Proto == unix.IPPROTO_TCP || f.Proto == unix.IPPROTO_UDP) &&
		f.FlowKey.Network == 0 != (f.FlowKey.Network == f.Gateway) &&
		f.Network != "" && f.InLink != 0 && f.OutLink != 0
}

// addrPort is word and htons, backwards.
func addrPort(addr uint32, port uint16) netip.AddrPort {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], addr)
	return netip.AddrPortFrom(netip.AddrFrom4(b), htons(port))
}

package dataplane

import (
	"encoding/binary"
	"net/netip"

	"gxswitch/internal/fastpath"
	"gxswitch/internal/frame"
)

// Where a gateway does not translate, there are no sessions either: a worker
// remembers what it has sent lately, and whoever tells the Kernel of a flow ends
// it when it has been silent.
const (
	routedPackets = 16    // of a flow, before it is worth while
	routedSilent  = 60    // seconds
	routedAtMost  = 32768 // flows: NAT has the other half of the Kernel's sessions
	routedLately  = 1024  // flows that a worker remembers, a power of two
)

// lately is a flow that a worker has sent packets of: addresses, ports and
// protocol, and the way that it was offered by; below 2^32 that is a count.
type lately struct {
	addrs, ends uint64
	way         uint64
}

// isNews is nat.Table.News for a packet of no session: false for one that is not
// plain, or may begin or end a connection. d is the packet, with addresses and
// ports as they came.
func (w *worker) isNews(d []byte, way uint64) bool {
	const l3, l4 = frame.HeaderLen, frame.HeaderLen + 20
	if len(d) < l4+8 || d[l3] != 0x45 || d[l3+6]&0x3f|d[l3+7] != 0 {
		return false
	}
	switch proto := d[l3+9]; {
	case proto == protoUDP:
	case proto == protoTCP && len(d) >= l4+20 && d[l4+13]&7 == 0:
	default:
		return false
	}
	addrs := binary.BigEndian.Uint64(d[l3+12:])
	ends := uint64(binary.BigEndian.Uint32(d[l4:]))<<8 | uint64(d[l3+9])
	if w.lately == nil {
		w.lately = make([]lately, routedLately)
	}
	l := &w.lately[(addrs^ends<<17)*0x9e3779b97f4a7c15>>54&(routedLately-1)]
	switch {
	case l.addrs != addrs || l.ends != ends:
		*l = lately{addrs, ends, 1}
		return false
	case l.way == way:
		return false
	case l.way < routedPackets:
		l.way++
		return false
	}
	l.way = way
	return true
}

const protoTCP, protoUDP = 6, 17

// flowOf names the flow of a packet that isNews has found to be of one.
func flowOf(d []byte) fastpath.FlowKey {
	const l3, l4 = frame.HeaderLen, frame.HeaderLen + 20
	end := func(ip, port int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(d[ip:ip+4])), binary.BigEndian.Uint16(d[port:]))
	}
	return fastpath.FlowKey{Src: end(l3+12, l4), Dst: end(l3+16, l4+2), Proto: d[l3+9]}
}

// bindRouted makes the Kernel forward a flow of no session.
func (s *Switch) bindRouted(f *fastpath.Flow) {
	if isDHCP(f.Src.Port()) || isDHCP(f.Dst.Port()) {
		return
	}
	routed := s.fast.offers.routed
	session, known := routed[f.FlowKey]
	if !known {
		ok := len(routed) < routedAtMost
		if ok {
			session, ok = s.fast.OpenSession()
		}
		if !ok {
			s.refuse()
			return
		}
		routed[f.FlowKey] = session
	}
	f.NewSrc, f.NewDst, f.Session = f.Src, f.Dst, session
	s.put(f)
}

// ageRouted ends flows of no session that have been silent.
func (s *Switch) ageRouted() {
	for k, session := range s.fast.offers.routed {
		if s.fast.SessionAge(session.ID) <= routedSilent {
			continue
		}
		delete(s.fast.offers.routed, k)
		s.fast.EndSession(session.ID)
		if err := s.fast.DeleteFlow(&k); err != nil {
			s.log.Error("make the kernel forget a flow", "err", err)
		}
		s.fast.FreeSession(session.ID)
	}
}

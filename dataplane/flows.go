package dataplane

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"gxswitch/internal/fastpath"
	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
	"gxswitch/nat"
)

// A gateway's packets take the long way until their session is under way, or, where
// there is no NAT, until some of the same addresses and ports have. Then the
// worker offers them to the Kernel: what they become, and where they leave. That
// holds for an *era*. Whatever a decision rests on, a view, a gateway's picture,
// forwards, is changed first, and then the era is; the worker looks at the era
// first, and then decides. So nothing that was decided by what is no more is of the
// present era. What may change without an era is looked at for each packet: the
// session's life, and behind which port the guest is.

// Flows is what the Kernel does for gateways; see internal/fastpath.
type Flows interface {
	NextEra() uint32
	ClearFlows() error
	PutFlow(*fastpath.Flow) error
	DeleteFlow(*fastpath.FlowKey) error

	OpenSession() (fastpath.Session, bool)
	EndSession(id uint32)
	FreeSession(id uint32)
	SessionAge(id uint32) (seconds int64)
	Acknowledged(id uint32, end int) (ack uint32, window uint16, ok bool)

	// Passage counts what went between a network and its uplink.
	Passage(network uint32) fastpath.Counters
}

// offers are flows on their way to the Kernel.
type offers struct {
	era     atomic.Uint32 // 0: nothing is offered yet
	eraMu   sync.Mutex    // held while the era is changed
	made    chan flowOffer
	refused atomic.Uint64 // for which the Kernel had no room
	bound   map[uint32]*boundSession
	routed  map[fastpath.FlowKey]fastpath.Session // of no session of NAT's

	endedMu sync.Mutex
	ended   []uint32 // sessions whose flows are to be deleted
}

// flowOffer is a flow that waits to be told to the Kernel: flow has all but what
// follows from the session. Without a table it is of none.
type flowOffer struct {
	table   *nat.Table
	session nat.Ref
	flow    fastpath.Flow
}

// boundSession is one that the Kernel has.
type boundSession struct {
	fastpath.Session
	keys [2]fastpath.FlowKey // of its flows, by end; zero: it has none
}

const offersAtMost = 1024 // that wait

// offer gives the Kernel the flow that a packet is of, which the gateway gw has sent
// from the port in to the port out. What changes in the meantime changes the era.
func (w *worker) offer(v *view, in, out *member, net *network, to gateway.Side, gw *Gateway, f *frame.Frame, verdict *gateway.Verdict) {
	s := w.sw
	if s.fast == nil || out == nil || in.brings == 0 || out.takes == 0 || in == out || in.net != net || out.net != net || f.Tagged {
		return
	}
	era := s.fast.offers.era.Load()
	way := uint64(era)<<32 | uint64(in.brings)<<16 | uint64(out.takes)
	if era == 0 {
		return
	}
	d := f.Data()
	switch {
	case gw.NAT == nil && w.isNews(d, way):
	case gw.NAT != nil && !verdict.Session.IsZero() && gw.NAT.News(verdict.Session, way):
	default:
		return
	}
	if s.view.Load() != v || net.gateway.Load() != gw {
		return
	}
	o := flowOffer{table: gw.NAT, session: verdict.Session, flow: fastpath.Flow{
		In: in.brings, Out: out.takes, Gateway: net.number, Era: era,
		MaxLen: min(gw.Rules.MTU(to)+frame.HeaderLen, out.maxLen),
	}}
	o.flow.DstMAC, o.flow.SrcMAC = frame.MAC(d[:6]), frame.MAC(d[6:12])
	if to == gateway.Inside {
		o.flow.VLAN = in.way.leg.pvid
	}
	if o.table == nil {
		o.flow.FlowKey = flowOf(d)
		if in.cfg.Role == Guest {
			o.flow.Network = net.number
		}
	}
	select {
	case s.fast.offers.made <- o:
	default:
		if o.table != nil {
			o.table.Forget(o.session)
		}
	}
}

// flowWays finds between which ports of a gateway the Kernel may bring packets: where
// it can check what the pipeline does.
func (m *member) flowWays(v *view) {
	f := m.port.fastPort()
	if f == nil || m.way == nil || m.net.number == 0 {
		return
	}
	var vid uint16
	switch {
	case m.gate():
		vid = m.pvid
	case m.cfg.Role == Guest && v.entry(m.port.wire).one == m:
		vid = m.way.leg.pvid
	default:
		return
	}
	if m.cfg.RateFrom.IsZero() && m.pvid == vid {
		m.brings = f.Number()
	}
	// With a guest of the bridged network for a next hop it would leave there.
	if m.cfg.Up && m.cfg.RateTo.IsZero() && m.carries(vid) && !m.leavesTagged(vid) && (!m.gate() || m.way.lan == nil) {
		m.takes = f.Number()
	}
}

// gatewayMAC is to whose MAC frames from the port are that may be of a flow.
func (m *member) gatewayMAC() frame.MAC {
	if m.brings == 0 {
		return frame.MAC{}
	}
	if m.gate() {
		return m.cfg.Local
	}
	return m.way.leg.cfg.Local
}

// nextEra ends all flows, after something has changed that decisions rest on.
func (s *Switch) nextEra() {
	if s.fast == nil {
		return
	}
	o := &s.fast.offers
	o.eraMu.Lock()
	defer o.eraMu.Unlock()
	if o.era.Load() != 0 {
		o.era.Store(s.fast.NextEra())
	}
}

// startFlows begins to offer flows, and ends those of a predecessor.
func (s *Switch) startFlows() {
	if err := s.fast.ClearFlows(); err != nil {
		s.log.Error("forget flows of an earlier daemon", "err", err)
	}
	o := &s.fast.offers
	o.eraMu.Lock()
	defer o.eraMu.Unlock()
	o.era.Store(s.fast.NextEra())
}

// followFlows tells the Kernel of flows as they are offered, and of sessions that
// have ended.
func (s *Switch) followFlows() {
	defer close(s.fast.flowsEnded)
	aged := time.NewTicker(10 * time.Second)
	defer aged.Stop()
	for {
		select {
		case <-s.fast.stop:
			return
		case o := <-s.fast.offers.made:
			if o.table == nil {
				s.bindRouted(&o.flow)
			} else {
				s.bind(&o)
			}
		case <-aged.C:
			s.ageRouted()
		case <-s.fast.buried:
			s.bury()
		}
	}
}

// bind makes the Kernel forward what was offered.
func (s *Switch) bind(o *flowOffer) {
	of := &s.fast.offers
	session, id, ok := o.table.Bind(o.session, func() uint32 {
		opened, ok := s.fast.OpenSession()
		if !ok {
			s.refuse()
			return 0
		}
		of.bound[opened.ID] = &boundSession{Session: opened}
		return opened.ID
	})
	b := of.bound[id]
	if !ok || b == nil || isDHCP(session.Src.Port()) || isDHCP(session.Dst.Port()) {
		return
	}
	f := &o.flow
	f.FlowKey = fastpath.FlowKey{Src: session.Src, Dst: session.Dst, Proto: uint8(session.Protocol)}
	if !session.Outside {
		f.Network = f.Gateway
	}
	f.NewSrc, f.NewDst, f.End, f.Session = session.NewSrc, session.NewDst, session.End, b.Session
	if s.put(f) {
		b.keys[f.End] = f.FlowKey
	}
}

// put tells the Kernel of a flow, and reports whether it has it.
func (s *Switch) put(f *fastpath.Flow) bool {
	err := s.fast.PutFlow(f)
	switch {
	case errors.Is(err, fastpath.ErrFlowsFull):
		s.refuse()
	case err != nil:
		s.log.Error("tell the kernel of a flow", "err", err)
	}
	return err == nil
}

// refuse counts a flow that stays in user space.
func (s *Switch) refuse() {
	if s.fast.offers.refused.Add(1) == 1 {
		s.log.Warn("the kernel has no room for more sessions of gateways, others stay in user space")
	}
}

// isDHCP tells the ports whose packets guards look into.
func isDHCP(port uint16) bool { return port == 67 || port == 68 }

// bury deletes the flows of sessions that have ended.
func (s *Switch) bury() {
	of := &s.fast.offers
	of.endedMu.Lock()
	ended := of.ended
	of.ended = nil
	of.endedMu.Unlock()
	for _, id := range ended {
		b := of.bound[id]
		if b == nil {
			continue
		}
		delete(of.bound, id)
		for i := range b.keys {
			if b.keys[i] != (fastpath.FlowKey{}) {
				if err := s.fast.DeleteFlow(&b.keys[i]); err != nil {
					s.log.Error("make the kernel forget a flow", "err", err)
				}
			}
		}
		s.fast.FreeSession(id)
	}
}

// Heard implements nat.Bypass, as the two below.
func (f *fast) Heard(id uint32) int64 { return f.SessionAge(id) }

// End ends a session in the Kernel.
func (f *fast) End(id uint32) {
	f.EndSession(id)
	f.offers.endedMu.Lock()
	f.offers.ended = append(f.offers.ended, id)
	f.offers.endedMu.Unlock()
	select {
	case f.buried <- struct{}{}:
	default:
	}
}

var _ nat.Bypass = (*fast)(nil)

// bypass makes a gateway's NAT ask the Kernel about sessions that are there.
func (s *Switch) bypass(was, is *Gateway) {
	if s.fast == nil {
		return
	}
	if is != nil && is.NAT != nil {
		is.NAT.SetBypass(s.fast)
	}
	if was != nil && was.NAT != nil && (is == nil || is.NAT != was.NAT) {
		was.NAT.SetBypass(nil)
	}
}

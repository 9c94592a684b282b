package dataplane

import (
	"fmt"
	"maps"
	"net/netip"
	"sync/atomic"

	"gxswitch/fdb"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// Kernel is the engine in the kernel: internal/fastpath, or what a test puts in
// its place. It forwards what the switch has decided; the switch tells it what
// that is, and stays the truth.
type Kernel interface {
	Network(name string) (uint32, error)
	DropNetwork(name string) error
	SetHostAddresses([]netip.Addr) error

	// Put and Delete say behind which port an address is; there may be no room for it.
	// Entries tells what it knows, and when it has last seen a frame of each.
	Put(network uint32, k fdb.Key, port uint16, ageSeconds int64) (room bool)
	Delete(network uint32, k fdb.Key)
	Entries(func(fastpath.Entry))

	VLANCounters(network uint32, vlan uint16) (packets, bytes uint64)

	Flows

	// Adopted reports whether it goes on with what a predecessor decided.
	Adopted() bool

	// Settle and WatchSniffers are called each second; see fastpath.Engine.
	Settle()
	WatchSniffers() error
}

// FastPort is a port of the Kernel's. What the Kernel does not decide comes by
// one of the ways to user space (Options.Punts), with Number for a Source.
type FastPort interface {
	ports.Port
	Number() uint16
	Punt() int // which of Options.Punts
	SetRules(fastpath.Rules) error
	SetAddresses([]netip.Addr) error
	Counters() fastpath.Counters
	Disable() error
}

// fast is what the switch has for the Kernel; nil without one.
type fast struct {
	Kernel
	punts   []*wire
	changed chan struct{}                    // something for follow to do
	owners  map[*network]map[frame.MAC]owner // as of the last view; guarded by Switch.mu
	stale   map[*network]bool                // networks to compare with the Kernel's; guarded by Switch.mu
	leased  atomic.Bool                      // guards learned addresses
	heir    atomic.Bool                      // until Adopt the Kernel goes by what it was told before
	offers  offers
	buried  chan struct{} // something for bury to do
	stop    chan struct{} // closed to end follow and followFlows
	ended   chan struct{} // closed when follow has

	flowsEnded chan struct{} // closed when followFlows has
}

// owner is a guest that is held to a MAC, or nobody where two are.
type owner struct{ port, twin *port }

// fastPort is m's, nil without one.
func (p *port) fastPort() FastPort {
	f, _ := p.io.(FastPort)
	return f
}

// startFast opens the ways to user space, one a worker, and follows the tables.
func (s *Switch) startFast(k Kernel, punts []ports.Port) {
	s.fast = &fast{
		Kernel: k, changed: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		owners: map[*network]map[frame.MAC]owner{}, stale: map[*network]bool{},
		offers: offers{made: make(chan flowOffer, offersAtMost), bound: map[uint32]*boundSession{}, routed: map[fastpath.FlowKey]fastpath.Session{}},
		buried: make(chan struct{}, 1), flowsEnded: make(chan struct{}),
	}
	for i, io := range punts {
		on := &wire{id: int32(i), io: io, worker: s.workers[i%len(s.workers)]}
		s.fast.punts = append(s.fast.punts, on)
		s.wires = i + 1
	}
	s.fast.heir.Store(k.Adopted())
	s.view.Store(s.build())
	for _, on := range s.fast.punts {
		on.worker.call(func() { on.worker.add(on) })
	}
	go s.follow()
	go s.followFlows()
}

// puntOf is the way that an interface's frames take; nil: it has its own ring.
func (s *Switch) puntOf(io ports.Port) *wire {
	f, ok := io.(FastPort)
	if !ok || s.fast == nil {
		return nil
	}
	return s.fast.punts[f.Punt()]
}

// number gives the network its number; 0 where the Kernel has none for it.
func (s *Switch) number(n *network) {
	if s.fast == nil {
		return
	}
	var err error
	if n.number, err = s.fast.Network(n.cfg.Name); err != nil {
		s.log.Warn("the kernel does not forward for the network", "network", n.cfg.Name, "err", err)
	}
	n.table.Follow(func(k fdb.Key) {
		if !s.fast.heir.Load() { // Adopt compares all
			s.carry(s.view.Load(), n, k, 0)
		}
	})
}

// enterFast notes where frames of the Kernel's ports come in.
func (v *view) enterFast(s *Switch) {
	if s.fast == nil {
		return
	}
	for _, on := range s.fast.punts {
		v.entries[on.id] = &entry{wire: on, many: true}
	}
	for _, e := range v.entries {
		if e == nil || e.many {
			continue
		}
		if f, ok := e.wire.io.(FastPort); ok {
			for n := int(f.Number()); len(v.fast) <= n; {
				v.fast = append(v.fast, nil)
			}
			v.fast[f.Number()] = e
		}
	}
}

// fastEntry is where the frames of a port of the Kernel's come in; nil if it is
// gone.
func (v *view) fastEntry(number uint16) *entry {
	if int(number) < len(v.fast) {
		return v.fast[number]
	}
	return nil
}

// scatter gives the frames of a way to user space to the ports they came from,
// in stretches that belong together.
func (w *worker) scatter(v *view, frames []frame.Frame) {
	for len(frames) > 0 {
		n := 1
		for n < len(frames) && frames[n].Source == frames[0].Source {
			n++
		}
		if e := v.fastEntry(frames[0].Source); e != nil {
			w.enter(v, e, frames[:n])
		}
		frames = frames[n:]
	}
}

// tell makes the Kernel follow a view that is about to be published, so that what
// the view forbids is forbidden once it is; s.mu is held. While ports and gateways of
// a predecessor's come one by one, a view forbids what is only not there yet.
func (s *Switch) tell(v *view) {
	if s.fast == nil || s.fast.heir.Load() {
		return
	}
	for _, e := range v.fast {
		if e == nil {
			continue
		}
		f := e.wire.io.(FastPort)
		r := fastpath.Rules{}
		if e.one != nil {
			var addrs []netip.Addr
			r, addrs = s.rules(v, e.one)
			if r.Addressed {
				s.failed(e.first, f.SetAddresses(addrs))
			}
		}
		for _, gate := range e.gates {
			if gate.brings != 0 {
				r.Gateway = gate.gatewayMAC()
			}
		}
		if p := e.first.port; !p.told || p.rules != r {
			err := f.SetRules(r)
			s.failed(e.first, err)
			p.rules, p.told = r, err == nil
		}
	}
	now := map[*network]map[frame.MAC]owner{}
	for _, m := range v.ports {
		if m == nil || now[m.net] != nil {
			continue
		}
		now[m.net] = map[frame.MAC]owner{}
		for mac, of := range owners(m.all) {
			o := owner{}
			if of != nil {
				o.port = of.port
				if of.twin != nil {
					o.twin = of.twin.port
				}
			}
			now[m.net][mac] = o
		}
		if !maps.Equal(now[m.net], s.fast.owners[m.net]) {
			s.fast.stale[m.net] = true
			s.fast.kick()
		}
	}
	s.fast.owners = now
}

func (s *Switch) failed(m *member, err error) {
	if err != nil {
		s.log.Error("tell the kernel what the port may", "port", m.cfg.Name, "err", err)
	}
}

// rules are what the Kernel may do with a port's frames: what it can't check as
// the pipeline does, it leaves to the pipeline.
func (s *Switch) rules(v *view, m *member) (r fastpath.Rules, addrs []netip.Addr) {
	r = fastpath.Rules{
		Network: m.net.number, VLANs: m.vlans, MaxLen: m.maxLen, Isolated: m.cfg.Isolated, HostOnly: m.noWay,
		From: m.net.number != 0 && m.cfg.RateFrom.IsZero(),
		To:   m.net.number != 0 && m.cfg.Up && m.cfg.RateTo.IsZero(),

		Gateway: m.gatewayMAC(),
	}
	switch {
	case m.cfg.Role == Uplink:
		r.MAC = m.cfg.Local
	case m.cfg.Role == Host && (m.way != nil || m.gates != nil):
		r.To = false // what is for the host's MAC may be the gateway's
	}
	if m.twin != nil {
		if f := m.twin.port.fastPort(); f != nil {
			r.Twin = f.Number()
		}
	}
	if m.guard == nil {
		return r, nil
	}
	r.Snooped = true // for leases, see deliver
	p := m.guard.Policy()
	r.Guarded = p.Antispoof != filter.Off || p.RAGuard || p.DHCPGuard
	if p.Antispoof != filter.Off {
		r.Held, r.MAC = true, m.guard.MAC()
		r.From = r.From && !r.MAC.IsZero() // the guard learns it from the first frame
	}
	if p.Antispoof == filter.MACIP {
		r.Addressed, addrs = true, m.guard.Addresses(s.clock.Load())
	}
	return r, addrs
}

// tickFast is tick's part for the Kernel, each second before entries are aged.
func (s *Switch) tickFast(now int64) {
	if s.fast == nil {
		return
	}
	s.fast.Settle()
	if err := s.fast.WatchSniffers(); err != nil {
		s.log.Error("look who captures", "err", err)
	}
	s.mu.Lock()
	every := int64(10)
	for _, n := range s.networks {
		every = min(every, refreshEvery(n.cfg.Ageing))
	}
	if now%retrySeconds == 0 {
		s.retry()
	}
	s.tell(s.view.Load()) // leases end, guards learn
	for _, on := range s.fast.punts {
		if on.losing.Swap(false) {
			s.watchRing(on, fmt.Sprintf("way to user space %d", on.id), 1)
		}
	}
	s.mu.Unlock()
	if now%every == 0 {
		s.refresh()
	}
}

// addFast adds what the Kernel counted. On an interface that several networks
// share it decides nothing, and what was lost is of one of them.
func (st *PortStats) addFast(p *port) {
	f := p.fastPort()
	if f == nil {
		return
	}
	c := f.Counters()
	st.RxPackets += c.RxPackets
	st.RxBytes += c.RxBytes
	st.TxPackets += c.TxPackets
	st.TxBytes += c.TxBytes
	st.Forwarded += c.Forwarded
	st.Consumed += c.Consumed
	st.RxDrops[frame.VLANDenied] += c.VLANDenied
	st.RxDrops[frame.SpoofMAC] += c.SpoofMAC
	st.RxDrops[frame.SamePort] += c.SamePort
	st.RxDrops[frame.Isolated] += c.Isolated
	st.RxDrops[frame.RingFull] += c.RingFull
	st.RxDrops[frame.UnsupportedGSO] += c.UnsupportedGSO
}

// addPassage adds what the Kernel has brought by a gateway's uplink since the port
// was attached.
func (st *PortStats) addPassage(c, base fastpath.Counters) {
	st.RxPackets += c.RxPackets - base.RxPackets
	st.RxBytes += c.RxBytes - base.RxBytes
	st.TxPackets += c.TxPackets - base.TxPackets
	st.TxBytes += c.TxBytes - base.TxBytes
	st.Forwarded += c.Forwarded - base.Forwarded
}

// stopFast ends what follows.
func (s *Switch) stopFast() {
	if s.fast != nil {
		close(s.fast.stop)
		<-s.fast.ended
		<-s.fast.flowsEnded
	}
}

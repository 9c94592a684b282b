package fastpath

// Counters are frames and bytes of the wire that the program decided, and those
// that were lost on their way to user space, since the port was attached.
// RxPackets is the sum of Forwarded, Consumed and the drops.
type Counters struct {
	RxPackets, RxBytes  uint64
	TxPackets, TxBytes  uint64
	Forwarded, Consumed uint64

	VLANDenied, SpoofMAC, SamePort, Isolated, RingFull, UnsupportedGSO uint64
}

// Counters reads the port's.
func (p *Port) Counters() Counters {
	now, err := p.e.counters(p.number)
	if err != nil {
		return Counters{}
	}
	b := &p.base
	lost := p.lost.Load()
	return Counters{
		RxPackets: now.RxPackets - b.RxPackets + lost, RxBytes: now.RxBytes - b.RxBytes,
		TxPackets: now.TxPackets - b.TxPackets, TxBytes: now.TxBytes - b.TxBytes,
		Forwarded: now.Forwarded - b.Forwarded, Consumed: now.Consumed - b.Consumed,
		VLANDenied: now.VlanDenied - b.VlanDenied, SpoofMAC: now.SpoofMac - b.SpoofMac,
		SamePort: now.SamePort - b.SamePort, Isolated: now.Isolated - b.Isolated,
		RingFull: now.RingFull - b.RingFull + lost, UnsupportedGSO: now.UnsupportedGso - b.UnsupportedGso,
	}
}

// counters sums what every CPU counted.
func (e *Engine) counters(number uint16) (sum objectCounters, err error) {
	var each []objectCounters
	if err := e.obj.GxCounters.Lookup(uint32(number), &each); err != nil {
		return sum, err
	}
	for i := range each {
		c := &each[i]
		sum.RxPackets += c.RxPackets
		sum.RxBytes += c.RxBytes
		sum.TxPackets += c.TxPackets
		sum.TxBytes += c.TxBytes
		sum.Forwarded += c.Forwarded
		sum.Consumed += c.Consumed
		sum.VlanDenied += c.VlanDenied
		sum.SpoofMac += c.SpoofMac
		sum.SamePort += c.SamePort
		sum.Isolated += c.Isolated
		sum.RingFull += c.RingFull
		sum.UnsupportedGso += c.UnsupportedGso
	}
	return sum, nil
}

// A slot counts one VLAN of one network.
type (
	slotKey struct {
		network uint32
		vlan    uint16
	}
	slot struct {
		slotKey
		index uint32
		base  objectVlanCounters
	}
)

// slot finds the VLAN's counters, or takes free ones; nil if there are none.
// e.mu is held.
func (e *Engine) slot(k slotKey) *slot {
	if s := e.slots[k]; s != nil {
		return s
	}
	for i, s := range e.bySlot {
		if s == nil {
			return e.takeSlot(k, uint32(i))
		}
	}
	return nil
}

func (e *Engine) takeSlot(k slotKey, index uint32) *slot {
	s := &slot{slotKey: k, index: index}
	s.base, _ = e.vlanCounters(index)
	e.slots[k], e.bySlot[index] = s, s
	return s
}

func (e *Engine) vlanCounters(index uint32) (sum objectVlanCounters, err error) {
	var each []objectVlanCounters
	if err := e.obj.GxVcounters.Lookup(index, &each); err != nil {
		return sum, err
	}
	for i := range each {
		sum.Packets += each[i].Packets
		sum.Bytes += each[i].Bytes
	}
	return sum, nil
}

// VLANCounters are the frames that entered a network in a VLAN and were decided
// by the program.
func (e *Engine) VLANCounters(network uint32, vlan uint16) (packets, bytes uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.slots[slotKey{network, vlan}]
	if s == nil {
		return 0, 0
	}
	now, err := e.vlanCounters(s.index)
	if err != nil {
		return 0, 0
	}
	return now.Packets - s.base.Packets, now.Bytes - s.base.Bytes
}

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

// A database is a filtering database: one VLAN of one network, and what is counted
// there.
type (
	vlanKey struct {
		network uint32
		vlan    uint16
	}
	database struct {
		vlanKey
		fid  uint16
		base objectVlanCounters
	}
)

// word names the VLAN among the stations: where is its FID.
func (k vlanKey) word() uint64 { return fidOfVLAN<<48 | uint64(k.network)<<12 | uint64(k.vlan) }

// Of the FIDs that there are, frames may bring VLANs to have taggedFIDs: a guest on a
// trunk, which tags with all there are, leaves the rest to VLANs that ports are in.
const (
	maxFIDs    = 4096 // as MAX_VLANS in maps.bpf.h; 0 is nobody's
	taggedFIDs = 3072
)

// fid is that of a VLAN, which gets one if it has none and fewer than most are taken;
// else 0.
func (e *Engine) fid(k vlanKey, most int) uint16 {
	e.vlanMu.RLock()
	d := e.databases[k]
	e.vlanMu.RUnlock()
	if d != nil {
		return d.fid
	}
	e.vlanMu.Lock()
	defer e.vlanMu.Unlock()
	if d := e.databases[k]; d != nil {
		return d.fid
	}
	for fid := uint16(1); fid < maxFIDs && len(e.databases) < most; fid++ {
		if e.byFID[fid] == nil {
			if !e.stations.put(k.word(), uint32(fid), 0) {
				return 0
			}
			e.takeFID(k, fid)
			return fid
		}
	}
	return 0
}

// takeFID is called with e.vlanMu held.
func (e *Engine) takeFID(k vlanKey, fid uint16) {
	d := &database{vlanKey: k, fid: fid}
	d.base, _ = e.vlanCounters(fid)
	e.databases[k], e.byFID[fid] = d, d
}

func (e *Engine) vlanCounters(fid uint16) (sum objectVlanCounters, err error) {
	var each []objectVlanCounters
	if err := e.obj.GxVcounters.Lookup(uint32(fid), &each); err != nil {
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
	e.vlanMu.RLock()
	d := e.databases[vlanKey{network, vlan}]
	e.vlanMu.RUnlock()
	if d == nil {
		return 0, 0
	}
	now, err := e.vlanCounters(d.fid)
	if err != nil {
		return 0, 0
	}
	return now.Packets - d.base.Packets, now.Bytes - d.base.Bytes
}

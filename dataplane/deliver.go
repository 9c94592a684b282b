package dataplane

import (
	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// deliver puts the frame on the vector of one egress port.
func (w *worker) deliver(in, out *member, f *frame.Frame, vid uint16) {
	if f.Len > out.maxLen {
		out.port.counters.txDrops[frame.MTU].Add(uint64(f.Segments))
		return
	}
	if in.trusted && out.guard != nil && out.guard.Leased(f.Data(), w.now) {
		out.leased(vid, w.now)
		w.sw.leasesMoved()
	}
	if out.to != nil && !w.pace(out.to, in, f, vid, out.leavesTagged(vid)) {
		return
	}
	w.enqueue(out, f, vid)
}

// enqueue puts a frame on a port's vector.
func (w *worker) enqueue(out *member, f *frame.Frame, vid uint16) {
	vec := &out.port.pending[w.index]
	if len(*vec) == 0 {
		w.dirty = append(w.dirty, out.port)
	}
	*vec = append(*vec, ports.Send{Frame: f, TCI: out.tci(f, vid), Tagged: out.leavesTagged(vid)})
}

// unwraps reports whether the frame would leave with an inner tag for its outer
// one: a hop into another VLAN.
func (m *member) unwraps(f *frame.Frame, vid uint16) bool {
	return f.HasInnerTag() && !m.leavesTagged(vid)
}

// leavesTagged reports whether frames of the VLAN leave by the port with a tag.
func (m *member) leavesTagged(vid uint16) bool {
	return m.cfg.UplinkVLAN != 0 || !m.vlans.Untagged(vid)
}

// tci is the tag of a frame that leaves with one. Priority and drop eligibility
// are the frame's own (802.1Q-2018, 6.9.3).
func (m *member) tci(f *frame.Frame, vid uint16) uint16 {
	if m.cfg.UplinkVLAN != 0 {
		vid = m.cfg.UplinkVLAN
	}
	return f.TCI&0xf000 | vid
}

// leased takes addresses that a server gave this guest in a VLAN from those that
// had them before, and gives them to its twin.
func (m *member) leased(vid uint16, now int64) {
	for _, l := range m.guard.Leases(now) {
		for _, other := range m.all {
			switch {
			case other == m || other.guard == nil || !other.vlans.Carries(vid):
			case other == m.twin:
				other.guard.Allow(l.Addr, l.Expires, now)
			default:
				other.guard.Revoke(l.Addr)
			}
		}
	}
}

// flush writes every vector, one call a port.
func (w *worker) flush() {
	for _, p := range w.dirty {
		vec := &p.pending[w.index]
		r := p.io.Write(*vec, w.scratch)
		*vec = (*vec)[:0]
		c := &p.counters
		if r.Packets > 0 {
			c.txPackets.Add(r.Packets)
			c.txBytes.Add(r.Bytes)
		}
		if r.TxFull|r.MTU|r.UnsupportedGSO != 0 {
			c.txDrops[frame.TxFull].Add(r.TxFull)
			c.txDrops[frame.MTU].Add(r.MTU)
			c.txDrops[frame.UnsupportedGSO].Add(r.UnsupportedGSO)
		}
	}
	w.dirty = w.dirty[:0]
	w.spares.used = 0
}

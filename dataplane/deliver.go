package dataplane

import (
	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// deliver puts the frame on the vector of one egress port. Untagged egress is
// the default VLAN's; every other leaves as it came, its TCI whole.
func (w *worker) deliver(out *member, f *frame.Frame, vid uint16) {
	if f.Len > out.maxLen {
		out.port.counters.txDrops[frame.MTU].Add(uint64(f.Segments))
		return
	}
	vec := &out.port.pending[w.index]
	if len(*vec) == 0 {
		w.dirty = append(w.dirty, out.port)
	}
	*vec = append(*vec, ports.Send{Frame: f, TCI: f.TCI, Tagged: vid != defaultVID})
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
}

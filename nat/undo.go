package nat

import "gxswitch/internal/frame"

// Undo gives a packet that Outbound or Inbound has rewritten back the addresses and
// ports that its sender wrote, so that an ICMP error can tell the sender about it.
// raw begins with the virtio-net header, and its bytes are changed. ok is false
// where the packet is of no session, or is not the first fragment. now is in
// seconds.
//
// An identification that fragments got from the table stays.
func (t *Table) Undo(raw []byte, now int64) (ok bool) {
	for _, to := range []side{outside, inside} {
		var p packet
		if p.parse(raw, to) != frame.Pass || p.kind != endpoints {
			return false
		}
		var m match
		// Who would answer it is on the side that it went to.
		if t.find(p.key.reversed(to), &m) && !t.overdue(&m, now) {
			p.rewrite(m.reply)
			return true
		}
	}
	return false
}

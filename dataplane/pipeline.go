package dataplane

import (
	"gxswitch/fdb"
	"gxswitch/internal/frame"
)

// The VLAN of untagged frames, and the one value that is no VLAN
// (802.1Q-2018, table 9-2).
const (
	defaultVID  = 1
	reservedVID = 4095
)

// process takes one port's frames of a batch through the switch, up to the
// vectors that flush writes.
func (w *worker) process(v *view, in *member, frames []frame.Frame) {
	var rxPackets, rxBytes, forwarded, flooded, consumed uint64
	c, table, now := &in.port.counters, in.net.table, w.now
	for i := range frames {
		f := &frames[i]

		// parse
		reason := f.Parse()
		n := uint64(f.Segments)
		rxPackets += n
		rxBytes += uint64(f.WireBytes(f.Tagged))
		if reason != frame.Pass {
			c.rxDrops[reason].Add(n)
			continue
		}

		// admit
		vid := f.VID()
		if vid == 0 {
			vid = defaultVID // untagged or priority-tagged: the PVID's
		} else if vid == reservedVID {
			c.rxDrops[frame.VLANDenied].Add(n)
			continue
		}
		d := f.Data()
		if in.noWay && !v.fromHost(d) {
			c.rxDrops[frame.NoRoute].Add(n)
			continue
		}

		// learn
		table.Learn(fdb.KeyFromBytes(vid, d[6:]), in.id, now)

		// decide
		if d[0]&1 == 0 {
			if in.cfg.Role == Uplink && [6]byte(d[:6]) == in.cfg.Local {
				consumed += n // for the host itself, which has it from the NIC, in any VLAN
				continue
			}
			if id, known := table.Lookup(fdb.KeyFromBytes(vid, d)); known {
				if reason := w.unicast(v, in, id, f, vid); reason != frame.Pass {
					c.rxDrops[reason].Add(n)
				} else {
					forwarded += n
				}
				continue
			}
		}
		if w.flood(v, in, f, vid) {
			flooded += n
		} else {
			c.rxDrops[frame.NoDestination].Add(n)
		}
	}
	c.rxPackets.Add(rxPackets)
	c.rxBytes.Add(rxBytes)
	if forwarded > 0 {
		c.forwarded.Add(forwarded)
	}
	if consumed > 0 {
		c.consumed.Add(consumed)
	}
	if flooded > 0 {
		c.flooded.Add(flooded)
		in.net.flooded.Add(flooded)
	}
}

// unicast gives the frame to the one port its destination is behind.
func (w *worker) unicast(v *view, in *member, id fdb.PortID, f *frame.Frame, vid uint16) frame.DropReason {
	if id == in.id {
		return frame.SamePort
	}
	var out *member
	if int(id) < len(v.ports) {
		out = v.ports[id]
	}
	if out == nil || !out.cfg.Up || out.net != in.net {
		return frame.NoDestination
	}
	if out.noWay && !v.toHost(f.Data()) {
		return frame.NoRoute
	}
	w.deliver(out, f, vid)
	return frame.Pass
}

// flood gives the frame to every other port of the network; false if there is
// none that may have it.
func (w *worker) flood(v *view, in *member, f *frame.Frame, vid uint16) bool {
	any := false
	for _, out := range in.up {
		if out == in || out.noWay && !v.toHost(f.Data()) {
			continue
		}
		w.deliver(out, f, vid)
		any = true
	}
	return any
}

// toHost reports whether a host that must not forward may be given the frame:
// an IP packet only if it is for the host itself. Whatever the host's ip_forward
// says, nothing leaves a host-only network this way; what is sent to a group
// address of layer 2 no host forwards (ip_forward in net/ipv4/ip_forward.c).
func (v *view) toHost(d []byte) bool {
	if d[0]&1 != 0 {
		return true
	}
	_, dst, ok := frame.IPAddresses(d)
	return !ok || v.isHost(dst)
}

// fromHost is the same for what comes from the host: an IP packet only if the
// host itself sent it. The unspecified address is a host without one yet.
func (v *view) fromHost(d []byte) bool {
	src, _, ok := frame.IPAddresses(d)
	return !ok || src.IsUnspecified() || v.isHost(src)
}

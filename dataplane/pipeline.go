package dataplane

import (
	"gxswitch/fdb"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
)

// sort gives each frame of an interface that several networks share to its
// member, in stretches that belong together.
func (w *worker) sort(v *view, e *entry, frames []frame.Frame) {
	for len(frames) > 0 {
		if e.gates != nil && e.gated(&frames[0]) && w.gate(v, e, &frames[0]) {
			frames = frames[1:]
			continue
		}
		in, n := e.take(&frames[0]), 1
		for n < len(frames) && e.take(&frames[n]) == in && (e.gates == nil || !e.gated(&frames[n])) {
			n++
		}
		switch {
		case in != nil:
			w.process(v, in, frames[:n])
		case e.gates != nil:
			e.gates[0].decline(frames[:n])
		default:
			e.first.refuse(frames[:n], frame.VLANDenied)
		}
		frames = frames[n:]
	}
}

// refuse counts frames that nobody takes.
func (m *member) refuse(frames []frame.Frame, why frame.DropReason) {
	c := &m.port.counters
	for i := range frames {
		f := &frames[i]
		reason := f.Parse()
		if reason == frame.Pass {
			reason = why
		}
		c.rxPackets.Add(uint64(f.Segments))
		c.rxBytes.Add(uint64(f.WireBytes(f.Tagged)))
		c.rxDrops[reason].Add(uint64(f.Segments))
	}
}

// tally is what became of some frames of one port, counted together.
type tally struct {
	forwarded, flooded, consumed uint64
}

// count adds the tally to the port's counters.
func (t *tally) count(in *member) {
	c := &in.port.counters
	if t.forwarded > 0 {
		c.forwarded.Add(t.forwarded)
	}
	if t.consumed > 0 {
		c.consumed.Add(t.consumed)
	}
	if t.flooded > 0 {
		c.flooded.Add(t.flooded)
		in.net.flooded.Add(t.flooded)
	}
}

// process takes one port's frames of a batch through the switch, up to the
// vectors that flush writes.
func (w *worker) process(v *view, in *member, frames []frame.Frame) {
	var rxPackets, rxBytes uint64
	var inVLAN struct{ packets, bytes uint64 } // of last
	var last uint16
	var t tally
	c, now := &in.port.counters, w.now
	for i := range frames {
		f := &frames[i]

		// parse
		reason := f.Parse()
		n, bytes := uint64(f.Segments), uint64(f.WireBytes(f.Tagged))
		rxPackets += n
		rxBytes += bytes
		if reason != frame.Pass {
			c.rxDrops[reason].Add(n)
			continue
		}

		// admit
		vid := in.pvid
		if f.Tagged && in.cfg.UplinkVLAN == 0 {
			var ok bool
			if vid, ok = in.vlans.Admit(true, f.VID()); !ok {
				c.rxDrops[frame.VLANDenied].Add(n)
				continue
			}
		}
		d := f.Data()
		if in.owners != nil && in.steals(d) { // before a guard could learn it
			c.rxDrops[frame.SpoofMAC].Add(n)
			continue
		}
		if in.guard != nil {
			if reason := in.guard.Ingress(d, now); reason != frame.Pass {
				c.rxDrops[reason].Add(n)
				continue
			}
		}
		if in.noWay && !v.fromHost(d) {
			c.rxDrops[frame.NoRoute].Add(n)
			continue
		}
		if vid != last {
			if last != 0 {
				in.net.countVLAN(last, inVLAN.packets, inVLAN.bytes)
			}
			last, inVLAN.packets, inVLAN.bytes = vid, 0, 0
		}
		inVLAN.packets += n
		inVLAN.bytes += bytes

		// police
		if in.from != nil && !w.pace(in.from, in, f, vid, f.Tagged) {
			continue
		}
		w.pass(v, in, f, vid, &t)
	}
	c.rxPackets.Add(rxPackets)
	c.rxBytes.Add(rxBytes)
	if last != 0 {
		in.net.countVLAN(last, inVLAN.packets, inVLAN.bytes)
	}
	t.count(in)
}

// pass takes one admitted frame to the vectors of the ports that it leaves by.
func (w *worker) pass(v *view, in *member, f *frame.Frame, vid uint16, t *tally) {
	c, d, n := &in.port.counters, f.Data(), uint64(f.Segments)

	if in.gate() { // was routed before it had to wait
		if _, reason := w.inward(v, in, in.way, f); reason != frame.Pass {
			c.rxDrops[reason].Add(n)
		} else {
			t.forwarded += n
		}
		return
	}

	// learn
	in.net.table.Learn(fdb.KeyFromBytes(vid, d[6:]), in.id, w.now)

	// decide
	class := filter.UnknownUnicast
	if d[0]&1 == 0 {
		if in.cfg.Role == Uplink && [6]byte(d[:6]) == in.cfg.Local && !in.cfg.Local.IsZero() {
			t.consumed += n // for the host itself, which has it from the NIC, in any VLAN
			return
		}
		if id, known := in.net.table.Lookup(fdb.KeyFromBytes(vid, d)); known {
			if reason := w.unicast(v, in, id, f, vid); reason != frame.Pass {
				c.rxDrops[reason].Add(n)
			} else {
				t.forwarded += n
			}
			return
		}
	} else if class = filter.Multicast; [6]byte(d[:6]) == frame.Broadcast {
		class = filter.Broadcast
		if (in.way != nil || in.gates != nil) && isARP(d) && w.stands(in, f) {
			t.consumed += n
			return
		}
	}
	if in.storm != nil && !in.storm.Allow(class, f.Segments, w.nanos) {
		c.rxDrops[frame.Storm].Add(n)
		return
	}
	if reason := w.flood(v, in, f, vid); reason != frame.Pass {
		c.rxDrops[reason].Add(n)
	} else {
		t.flooded += n
	}
}

// steals reports whether the frame's source is the MAC of a guest elsewhere
// that is held to it.
func (m *member) steals(d []byte) bool {
	owner := m.owners[[6]byte(d[6:12])]
	return owner != nil && owner != m && owner != m.twin
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
	if (out.way != nil || out.gates != nil) && out.cfg.Role == Host && vid == out.pvid {
		if reason, taken := w.toGateway(v, in, out, f); taken {
			return reason
		}
	}
	if reason := v.mayLeave(in, out, f, vid); reason != frame.Pass {
		return reason
	}
	w.deliver(in, out, f, vid)
	return frame.Pass
}

// flood gives the frame to every other port of its VLAN that may have it. Where
// there is none, it returns why.
func (w *worker) flood(v *view, in *member, f *frame.Frame, vid uint16) frame.DropReason {
	reason, any := frame.NoDestination, false
	for _, out := range in.up {
		if out == in || !out.carries(vid) {
			continue
		}
		if r := v.mayLeave(in, out, f, vid); r != frame.Pass {
			if r == frame.Isolated || r == frame.VLANDenied {
				reason = r
			}
			continue
		}
		w.deliver(in, out, f, vid)
		any = true
	}
	if any {
		return frame.Pass
	}
	return reason
}

// mayLeave says whether a frame from one port may leave by another.
func (v *view) mayLeave(in, out *member, f *frame.Frame, vid uint16) frame.DropReason {
	switch {
	case !out.carries(vid):
		return frame.VLANDenied
	case in.cfg.Isolated && out.cfg.Isolated:
		return frame.Isolated
	case out == in.twin:
		return frame.SamePort // split horizon: the two are one NIC
	case out.noWay && !v.toHost(f.Data()):
		return frame.NoRoute
	case out.unwraps(f, vid):
		return frame.VLANDenied
	}
	return frame.Pass
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

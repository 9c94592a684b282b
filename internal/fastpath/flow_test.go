package fastpath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
)

const (
	l3  = frame.VNetLen + frame.HeaderLen
	ack = 0x10
)

// routedAs is a packet that NAT has rewritten, one hop on.
func routedAs(raw []byte, dst, src frame.MAC) []byte {
	d := raw[frame.VNetLen:]
	copy(d, dst[:])
	copy(d[6:], src[:])
	raw[l3+8]--
	binary.BigEndian.PutUint16(raw[l3+10:], 0)
	binary.BigEndian.PutUint16(raw[l3+10:], ^frame.Sum(raw[l3:l3+20]))
	return raw
}

// What the program makes of a packet is what NAT makes of it, byte for byte: plain
// ones and super-frames, with complete and with partial checksums, both ways.
func TestFlowIsWhatNATDoes(t *testing.T) {
	l := newFlowLab(t)
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		l.establish(proto, nil)
	}
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		s := shape{
			proto:   rapid.SampledFrom([]uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP}).Draw(t, "protocol"),
			payload: rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, 1460), rapid.Just(1460)).Draw(t, "payload"),
			partial: rapid.Bool().Draw(t, "partial"),
			flags:   ack | rapid.SampledFrom([]byte{0, 8}).Draw(t, "push"),
			ack:     rapid.Uint32().Draw(t, "acknowledgement"),
			ttl:     rapid.Uint8Range(2, 255).Draw(t, "TTL"),
			id:      rapid.Uint16().Draw(t, "id"),
			tos:     rapid.Uint8().Draw(t, "TOS"),
		}
		kind := "TCP"
		if s.proto == unix.IPPROTO_UDP {
			kind = "UDP"
			if s.noSum = rapid.IntRange(0, 3).Draw(t, "no checksum") == 0; s.noSum {
				s.partial = false
				kind += " without checksum"
			}
		} else if s.segment = rapid.SampledFrom([]int{0, 0, 536, 1460}).Draw(t, "segment"); s.segment > 0 {
			s.partial, s.payload = true, rapid.IntRange(s.segment+1, 60000).Draw(t, "bytes")
			kind += " super-frame"
		}
		if s.partial {
			kind += ", partial"
		}
		from, to := l.in, l.out
		var raw, want []byte
		if rapid.Bool().Draw(t, "outbound") {
			raw = l.outbound(s)
			want = bytes.Clone(raw)
			l.table.Outbound(want, 0, 0)
			want = routedAs(want, l.router.mac(), uplinkMAC)
		} else {
			from, to = l.out, l.in
			raw = l.inbound(s)
			want = bytes.Clone(raw)
			l.table.Inbound(want, 0)
			want = routedAs(want, l.guest.mac(), gatewayMAC)
		}
		if _, err := unix.Write(from, raw); err != nil {
			t.Fatal(err)
		}
		got := await(t, to, 5*time.Second)
		if got == nil {
			t.Fatalf("%s: nothing came", kind)
		}
		// The kernel says in a header of its own what it makes of the receiver's.
		if got[0]&unix.VIRTIO_NET_HDR_F_NEEDS_CSUM != want[0] || got[1] != want[1] || !bytes.Equal(got[4:6], want[4:6]) || s.partial && !bytes.Equal(got[6:10], want[6:10]) {
			t.Fatalf("%s: virtio-net header %x, want %x", kind, got[:frame.VNetLen], want[:frame.VNetLen])
		}
		if !bytes.Equal(got[frame.VNetLen:], want[frame.VNetLen:]) {
			t.Fatalf("%s:\n got %.60x\nwant %.60x", kind, got[frame.VNetLen:], want[frame.VNetLen:])
		}
		seen[kind]++
	})
	for _, kind := range []string{"TCP", "TCP, partial", "TCP super-frame, partial", "UDP", "UDP, partial", "UDP without checksum"} {
		if seen[kind] == 0 && !t.Failed() {
			t.Errorf("never seen: %s; only %v", kind, seen)
		}
	}
	l.none()
}

// Where a gateway does not translate, a packet loses one hop and is otherwise as it
// was.
func TestFlowWithoutNAT(t *testing.T) {
	l := newFlowLab(t)
	for _, s := range []shape{
		{proto: unix.IPPROTO_TCP, payload: 100, flags: ack, ttl: 64},
		{proto: unix.IPPROTO_TCP, payload: 9000, segment: 1460, partial: true, flags: ack, ttl: 2},
		{proto: unix.IPPROTO_UDP, payload: 100, ttl: 255, partial: true},
		{proto: unix.IPPROTO_UDP, payload: 1, ttl: 64, noSum: true},
	} {
		raw := l.outbound(s)
		open, _ := l.e.OpenSession()
		key := FlowKey{Src: netip.AddrPortFrom(addr(guestIP), guestPort), Dst: netip.AddrPortFrom(addr(remoteIP), remotePort), Proto: s.proto, Network: l.nw}
		if err := l.e.PutFlow(&Flow{FlowKey: key, NewSrc: key.Src, NewDst: key.Dst, DstMAC: l.router.mac(), SrcMAC: uplinkMAC,
			In: l.guest.port.Number(), Out: l.router.port.Number(), MaxLen: 1514, Gateway: l.nw, Era: l.era, Session: open}); err != nil {
			t.Fatal(err)
		}
		want := routedAs(bytes.Clone(raw), l.router.mac(), uplinkMAC)
		if _, err := unix.Write(l.in, raw); err != nil {
			t.Fatal(err)
		}
		if got := await(t, l.out, 5*time.Second); got == nil || !bytes.Equal(got[frame.VNetLen:], want[frame.VNetLen:]) {
			t.Errorf("%+v:\n got %.70x\nwant %.70x", s, got, want)
		}
	}
	l.none()
}

// What may begin, end or upset a connection, or would have to be answered, is for
// user space, unchanged, and so is what a flow does not say.
func TestFlowPuntsTheRest(t *testing.T) {
	const tcp, udp = unix.IPPROTO_TCP, unix.IPPROTO_UDP
	l := newFlowLab(t)
	l.establish(tcp, nil)
	l.establish(udp, nil)
	segment := shape{proto: tcp, payload: 100, flags: ack, ttl: 64}
	datagram := shape{proto: udp, payload: 100, ttl: 64}
	with := func(s shape, f func(*shape)) shape { f(&s); return s }
	flags := func(is byte) shape { return with(segment, func(s *shape) { s.flags = is }) }
	edit := func(s shape, at int, is ...byte) []byte {
		b := l.outbound(s)
		copy(b[frame.VNetLen+at:], is)
		return b
	}
	resum := func(b []byte) []byte {
		binary.BigEndian.PutUint16(b[l3+10:], 0)
		binary.BigEndian.PutUint16(b[l3+10:], ^frame.Sum(b[l3:l3+20]))
		return b
	}
	tests := []struct {
		name string
		raw  []byte
	}{
		{"SYN", l.outbound(flags(0x02))},
		{"SYN and ACK", l.outbound(flags(0x12))},
		{"FIN", l.outbound(flags(0x11))},
		{"RST", l.outbound(flags(0x04))},
		{"TTL 1", l.outbound(with(segment, func(s *shape) { s.ttl = 1 }))},
		{"TTL 0", l.outbound(with(segment, func(s *shape) { s.ttl = 0 }))},
		{"options", resum(edit(datagram, 14, 0x46))},
		{"more fragments", resum(edit(datagram, 20, 0x20))},
		{"a later fragment", resum(edit(datagram, 21, 1))},
		{"wrong sum", edit(datagram, 24, 1, 2)},
		{"longer than the frame", resum(edit(datagram, 16, 0, 130))},
		{"shorter than its headers", resum(edit(segment, 16, 0, 39))},
		{"no length", resum(edit(segment, 16, 0, 0))},
		{"ICMP", resum(edit(datagram, 23, 1))},
		{"another port", edit(datagram, 34, 1, 2)},
		{"another source", resum(edit(datagram, 26, 10, 20, 0, 6))},
		{"another destination", resum(edit(datagram, 30, 8, 8, 8, 8))},
		{"to another MAC", edit(datagram, 0, 2, 0, 0, 0, 0, 2)},
		{"too long", l.outbound(with(datagram, func(s *shape) { s.payload = 1473 }))},
		{"segments too long", l.outbound(with(segment, func(s *shape) { s.partial, s.segment, s.payload = true, 1461, 9000 }))},
	}
	if err := setMTU(l, 2000); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if _, err := unix.Write(l.in, tt.raw); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if f := l.punted(); !bytes.Equal(f.Data(), tt.raw[frame.VNetLen:]) {
			t.Errorf("%s: punted %.60x, want %.60x", tt.name, f.Data(), tt.raw[frame.VNetLen:])
		}
		if got := await(t, l.out, 0); got != nil {
			t.Errorf("%s: left as %.60x", tt.name, got)
		}
	}
	tagged := l.guest.to(gatewayMAC, 0x6000)[:16]
	l.guest.send(append(tagged, l.outbound(datagram)[frame.VNetLen+12:]...))
	if f := l.punted(); !f.Tagged {
		t.Errorf("with a tag: %+v", f)
	}
	l.none()
}

// A flow holds as long as all that it was made of.
func TestFlowEnds(t *testing.T) {
	l := newFlowLab(t)
	packet := shape{proto: unix.IPPROTO_UDP, payload: 100, ttl: 64}
	third := l.lab.guest(nil)
	var last Flow
	put := func(f func(*Flow)) {
		l.era = l.e.NextEra()
		l.establish(packet.proto, func(is *Flow) {
			if f != nil {
				f(is)
			}
			if is.VLAN != 0 {
				last = *is
			}
		})
	}
	rules := func(f func(*Rules)) func() {
		return func() { l.guest.rules(func(r *Rules) { r.Gateway = gatewayMAC; f(r) }) }
	}
	key := fdb.MakeKey(1, l.guest.mac())
	tests := []struct {
		name    string
		inbound bool
		put     func(*Flow)
		upset   func()
	}{
		{"another era", false, nil, func() { l.e.NextEra() }},
		{"another era", true, nil, func() { l.e.NextEra() }},
		{"the session ends", false, nil, func() { l.table.Flush() }},
		{"the session ends", true, nil, func() { l.table.Flush() }},
		{"deleted", true, nil, func() {
			if err := l.e.DeleteFlow(&last.FlowKey); err != nil {
				t.Error(err)
			}
		}},
		{"the guest is not known", false, nil, func() { l.e.Delete(l.nw, key) }},
		{"the guest is not known", true, nil, func() { l.e.Delete(l.nw, key) }},
		{"the guest has moved", false, nil, func() { l.e.Put(l.nw, key, third.port.Number(), 0) }},
		{"the guest has moved", true, nil, func() { l.e.Put(l.nw, key, third.port.Number(), 0) }},
		{"it came by another port", false, func(f *Flow) { f.In = third.port.Number() }, nil},
		{"it came by another port", true, func(f *Flow) { f.In = third.port.Number() }, nil},
		{"a guest of another network", false, func(f *Flow) { f.FlowKey.Network++ }, nil},
		{"a limit of what comes", false, nil, rules(func(r *Rules) { r.From = false })},
		{"a limit of what goes", true, nil, rules(func(r *Rules) { r.To = false })},
		{"in another network", true, nil, rules(func(r *Rules) { r.Network++ })},
		{"another gateway", false, nil, rules(func(r *Rules) { r.Gateway = uplinkMAC })},
		{"an uplink without gateways", true, nil, func() { _ = l.router.port.SetRules(Rules{}) }},
	}
	for _, tt := range tests {
		rules(func(*Rules) {})()
		l.uplink()
		l.guest.known(1)
		put(tt.put)
		from, to, raw := l.in, l.out, l.outbound(packet)
		if tt.inbound {
			from, to, raw = l.out, l.in, l.inbound(packet)
		}
		send := func() []byte {
			if _, err := unix.Write(from, raw); err != nil {
				t.Fatal(err)
			}
			if f, ok := l.pollPunts(100 * time.Millisecond); ok {
				return f.Data()
			}
			return nil
		}
		if tt.upset != nil {
			if got := send(); got != nil || await(t, to, 0) == nil {
				t.Errorf("%s, inbound %v: did not pass before", tt.name, tt.inbound)
			}
			tt.upset()
		}
		if got := send(); !bytes.Equal(got, raw[frame.VNetLen:]) {
			t.Errorf("%s, inbound %v: user space got %.60x, want %.60x", tt.name, tt.inbound, got, raw[frame.VNetLen:])
		}
		if got := await(t, to, 0); got != nil {
			t.Errorf("%s, inbound %v: passed as %.60x", tt.name, tt.inbound, got)
		}
	}
}

// Packets of flows count as what the wire carries, at the guest's port, and at the
// network's passage for the uplink.
func TestFlowsAreCounted(t *testing.T) {
	l := newFlowLab(t)
	l.establish(unix.IPPROTO_TCP, nil)
	small := shape{proto: unix.IPPROTO_TCP, flags: ack, ttl: 64}         // 60 bytes, with padding
	large := small                                                       // three frames of
	large.payload, large.segment, large.partial = 2*1460+100, 1460, true // 1514, 1514 and 154 bytes
	send := func(fd, to int, raw []byte) {
		if _, err := unix.Write(fd, raw); err != nil {
			t.Fatal(err)
		}
		if await(t, to, 5*time.Second) == nil {
			t.Fatal("nothing came")
		}
	}
	send(l.in, l.out, l.outbound(small))
	send(l.in, l.out, l.outbound(large))
	send(l.out, l.in, l.inbound(large))
	if got, want := l.guest.port.Counters(), (Counters{RxPackets: 4, RxBytes: 60 + 3182, Forwarded: 4, TxPackets: 3, TxBytes: 3182}); got != want {
		t.Errorf("the guest's port: %+v, want %+v", got, want)
	}
	if got, want := l.e.Passage(l.nw), (Counters{RxPackets: 3, RxBytes: 3182, Forwarded: 3, TxPackets: 4, TxBytes: 60 + 3182}); got != want {
		t.Errorf("by the uplink: %+v, want %+v", got, want)
	}
	if got := l.router.port.Counters(); got != (Counters{}) {
		t.Errorf("the uplink, which is of several networks: %+v", got)
	}
	if p, n := l.e.VLANCounters(l.nw, 1); p != 4 || n != 60+3182 {
		t.Errorf("VLAN 1: %d frames and %d bytes, want 4 and %d", p, n, 60+3182)
	}
	l.none()
}

// What a session's ends have acknowledged is known, to 32 KiB: a FIN that fits
// counts, and another does not.
func TestFlowsTellWhatWasAcknowledged(t *testing.T) {
	const seq = 77 // of all segments
	l := newFlowLab(t)
	for _, tt := range []struct {
		name  string
		ack   uint32 // the remote's last
		state string
	}{
		{"what the remote expects", seq, "half-closed by guest"},
		{"long gone", seq + 1<<30, "established"},
	} {
		l.table.Flush()
		l.establish(unix.IPPROTO_TCP, nil)
		for i := range uint32(3) { // the first is kept, and one that is far from it
			if _, err := unix.Write(l.out, l.inbound(shape{proto: unix.IPPROTO_TCP, flags: ack, ttl: 64, ack: tt.ack - (2-i)<<20})); err != nil {
				t.Fatal(err)
			}
			if await(t, l.in, 5*time.Second) == nil {
				t.Fatal("nothing came")
			}
		}
		l.table.Outbound(l.outbound(shape{proto: unix.IPPROTO_TCP, flags: ack | 1, ttl: 64}), 0, 0)
		if s := l.table.Sessions(0); len(s) != 1 || s[0].State != tt.state {
			t.Errorf("%s: %+v, want it %s", tt.name, s, tt.state)
		}
	}
}

// Flows go on without the process, and with the next one until it begins its own.
func TestFlowsOutliveTheProcess(t *testing.T) {
	l := newFlowLab(t)
	l.establish(unix.IPPROTO_UDP, nil)
	raw := l.outbound(shape{proto: unix.IPPROTO_UDP, payload: 100, ttl: 64})
	passes := func(when string) {
		t.Helper()
		if _, err := unix.Write(l.in, raw); err != nil {
			t.Fatal(err)
		}
		if await(t, l.out, 5*time.Second) == nil {
			t.Fatalf("%s: nothing came", when)
		}
	}
	passes("before")
	l.crash()
	passes("without a process")
	l.open(Options{})
	passes("with the next one")
	l.guest.attach(PortOptions{})
	l.guest.rules(func(r *Rules) { r.Gateway = gatewayMAC })
	l.router.attach(PortOptions{Uplink: true})
	l.uplink()
	passes("attached again")
	if err := l.e.ClearFlows(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(l.in, raw); err != nil {
		t.Fatal(err)
	}
	if f := l.punted(); !bytes.Equal(f.Data(), raw[frame.VNetLen:]) {
		t.Errorf("cleared: punted %.60x", f.Data())
	}
	var k objectFlowKey
	var v objectFlow
	if l.e.obj.GxFlows.Iterate().Next(&k, &v) {
		t.Errorf("a flow is left: %+v", v)
	}
}

// A full engine says so, and takes more when sessions have ended.
func TestSessionsAreBounded(t *testing.T) {
	l := newFlowLab(t)
	var last Session
	n := 0
	for s, ok := l.e.OpenSession(); ok; s, ok = l.e.OpenSession() {
		last = s
		n++
	}
	if n != maxSessions-1 {
		t.Errorf("%d sessions, want %d", n, maxSessions-1)
	}
	l.e.EndSession(last.ID)
	l.e.FreeSession(last.ID)
	if s, ok := l.e.OpenSession(); !ok || s.ID != last.ID || s.Life == last.Life {
		t.Errorf("after one has ended: %+v, %v; it was %+v", s, ok, last)
	}
}

package fastpath

import (
	"bytes"
	"net/netip"
	"testing"

	"gxswitch/fdb"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
)

// What is decided goes from guest to guest; user space sees none of it, and the
// counters say what went.
func TestKnownUnicastStaysInTheKernel(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	for range 3 {
		sent := a.to(b.mac())
		a.send(sent)
		if got := b.receive(); !bytes.Equal(got, sent) {
			t.Errorf("sent %x, got %x", sent, got)
		}
	}
	l.none()
	if got, want := a.port.Counters(), (Counters{RxPackets: 3, RxBytes: 180, Forwarded: 3}); got != want {
		t.Errorf("ingress port: %+v, want %+v", got, want)
	}
	if got, want := b.port.Counters(), (Counters{TxPackets: 3, TxBytes: 180}); got != want {
		t.Errorf("egress port: %+v, want %+v", got, want)
	}
	if p, n := l.e.VLANCounters(l.nw, 1); p != 3 || n != 180 {
		t.Errorf("VLAN 1: %d frames and %d bytes, want 3 and 180", p, n)
	}
}

// What a processor remembers of a pair of addresses ends with what it rests on:
// the very next frame goes by the new place.
func TestChangedAddressesAreForgottenAtOnce(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b, c := l.guest(nil), l.guest(nil), l.guest(nil)
	put := func(who, at *guest) { l.e.Put(l.nw, fdb.MakeKey(1, who.mac()), at.port.Number(), 0) }
	forget := func(who *guest) { l.e.Delete(l.nw, fdb.MakeKey(1, who.mac())) }
	tests := []struct {
		name   string
		change func()
		to     *guest // nil: user space
	}{
		{"both known", func() { put(a, a); put(b, b) }, b},
		{"destination moves", func() { put(b, c) }, c},
		{"and back", func() { put(b, b) }, b},
		{"destination deleted", func() { forget(b) }, nil},
		{"known again", func() { put(b, b) }, b},
		{"source moves", func() { put(a, c) }, nil},
		{"and back", func() { put(a, a) }, b},
		{"source deleted", func() { forget(a) }, nil},
	}
	for _, tt := range tests {
		tt.change()
		for range 3 { // the second and third may be remembered
			sent := a.to(b.mac())
			a.send(sent)
			var got []byte
			if tt.to != nil {
				got = tt.to.receive()
			} else {
				f := l.punted()
				got = f.Data()
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("%s: sent %x, got %x", tt.name, sent, got)
			}
		}
		l.none()
	}
}

// Everything that the program has no decision for goes to user space whole, with
// its port's number and its own tag.
func TestUndecidedIsPunted(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	b.known(1)
	stranger := frame.MAC{2, 0, 0, 0, 0, 99}
	tests := []struct {
		name  string
		known bool // a's address
		send  []byte
		tag   int // -1: none
	}{
		{"source unknown", false, a.to(b.mac()), -1},
		{"source unknown, tagged", false, a.to(b.mac(), 0x6005), 0x6005},
		{"destination unknown", true, a.to(stranger), -1},
		{"broadcast", true, a.to(frame.Broadcast), -1},
		{"multicast, tagged", true, a.to(frame.MAC{1, 0, 0x5e, 0, 0, 1}, 7), 7},
		{"two tags", true, a.to(b.mac(), 7, 8), 7},
		{"reserved", true, a.to(frame.MAC{1, 0x80, 0xc2, 0, 0, 0}), -1},
	}
	for _, tt := range tests {
		if tt.known {
			a.known(1, 7)
		}
		a.send(tt.send)
		f := l.punted()
		want := tt.send
		if tt.tag >= 0 {
			want = append(append([]byte{}, want[:12]...), want[16:]...)
		}
		if f.Source != a.port.Number() || f.Tagged != (tt.tag >= 0) || f.Tagged && int(f.TCI) != tt.tag || !bytes.Equal(f.Data(), want) {
			t.Errorf("%s: port %d, tagged %v %#x, %x; want port %d, tag %#x, %x",
				tt.name, f.Source, f.Tagged, f.TCI, f.Data(), a.port.Number(), tt.tag, want)
		}
		l.quiet(b)
	}
	if got := (a.port.Counters()); got != (Counters{}) {
		t.Errorf("user space counts what it got, the program counted %+v", got)
	}
}

// Tags at ingress and egress, as VLANs of the two ports want them.
func TestTagsFollowTheEgressPort(t *testing.T) {
	set := func(s string) vlan.Set {
		v, err := vlan.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const none = -1
	tests := []struct {
		in, out   string
		tag, want int // TCI, or none
	}{
		{"1p/2-4094", "1p/2-4094", none, none},
		{"1p/2-4094", "1p/2-4094", 0x2007, 0x2007},
		{"1p/2-4094", "1p/2-4094", 0x6000, none}, // a priority alone: the PVID, which leaves untagged
		{"10", "10", none, none},
		{"10", "1p/2-4094", none, 10},
		{"10", "1p/2-4094", 0x600a, 0x600a}, // a tag that names the PVID
		{"10", "1p/2-4094", 0x6000, 0x600a},
		{"1p/2-4094", "10", 0x600a, none},
		{"1p/2-4094", "5p/10u", 0x600a, none},
	}
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1, 7, 10)
	b.known(1, 7, 10)
	for _, tt := range tests {
		a.rules(func(r *Rules) { r.VLANs = set(tt.in) })
		b.rules(func(r *Rules) { r.VLANs = set(tt.out) })
		sent, want := a.to(b.mac()), a.to(b.mac())
		if tt.tag != none {
			sent = a.to(b.mac(), uint16(tt.tag))
		}
		if tt.want != none {
			want = a.to(b.mac(), uint16(tt.want))
		}
		ra, rb := a.port.Counters(), b.port.Counters()
		a.send(sent)
		if got := b.receive(); !bytes.Equal(got, want) {
			t.Errorf("%s to %s: sent %x, got %x, want %x", tt.in, tt.out, sent, got, want)
		}
		if rx, tx := a.port.Counters().RxBytes-ra.RxBytes, b.port.Counters().TxBytes-rb.TxBytes; rx != uint64(len(sent)) || tx != uint64(len(want)) {
			t.Errorf("%s to %s: counted %d bytes in and %d out, want %d and %d", tt.in, tt.out, rx, tx, len(sent), len(want))
		}
	}
	l.none()
}

// What the policy refuses never arrives. What is easy to see is dropped and
// counted in the kernel, the rest is left to user space.
func TestRefusedFramesDoNotPass(t *testing.T) {
	const dropped, punted = true, false
	access := func(vid uint16) func(*Rules) { return func(r *Rules) { r.VLANs = vlan.Access(vid) } }
	isolated := func(r *Rules) { r.Isolated = true }
	held := func(r *Rules) { r.Held, r.MAC = true, frame.MAC{2, 0, 0, 0, 0, 1} }
	guarded := func(r *Rules) { held(r); r.Guarded = true }
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1, 10)
	b.known(1, 10)
	other, err := l.e.Network("other")
	if err != nil {
		t.Fatal(err)
	}
	spoofed := a.to(b.mac())
	spoofed[11] = 77
	plain := a.to(b.mac())
	tests := []struct {
		name  string
		a, b  func(*Rules)
		frame []byte
		drop  bool
		count Counters
	}{
		{"VLAN not at ingress", access(10), nil, a.to(b.mac(), 7), dropped, Counters{VLANDenied: 1}},
		{"VLAN not at egress", nil, access(10), plain, dropped, Counters{VLANDenied: 1}},
		{"VLAN 4095", nil, nil, a.to(b.mac(), 4095), dropped, Counters{VLANDenied: 1}},
		{"two isolated", isolated, isolated, plain, dropped, Counters{Isolated: 1}},
		{"spoofed source", held, nil, spoofed, dropped, Counters{SpoofMAC: 1}},
		{"to the same port", nil, nil, a.to(a.mac()), dropped, Counters{SamePort: 1}},
		{"twins", nil, func(r *Rules) { r.Twin = a.port.Number() }, plain, punted, Counters{}},
		{"guarded, unknown protocol", guarded, nil, plain, punted, Counters{}},
		{"not from here", func(r *Rules) { r.From = false }, nil, plain, punted, Counters{}},
		{"not to there", nil, func(r *Rules) { r.To = false }, plain, punted, Counters{}},
		{"another network", nil, func(r *Rules) { r.Network = other }, plain, punted, Counters{}},
		{"too long", nil, func(r *Rules) { r.MaxLen = 59 }, plain, punted, Counters{}},
		{"snooped", nil, func(r *Rules) { r.Snooped = true }, plain, punted, Counters{}},
		{"host only", nil, func(r *Rules) { r.HostOnly = true }, plain, punted, Counters{}},
	}
	for _, tt := range tests {
		a.rules(tt.a)
		b.rules(tt.b)
		if tt.name == "twins" {
			a.rules(func(r *Rules) { r.Twin = b.port.Number() })
			tt.drop, tt.count.SamePort = dropped, 1
		}
		before := a.port.Counters()
		a.send(tt.frame)
		if !tt.drop {
			if f := l.punted(); f.Source != a.port.Number() {
				t.Errorf("%s: punted as port %d's", tt.name, f.Source)
			}
		}
		l.quiet(b)
		got := a.port.Counters()
		got.VLANDenied -= before.VLANDenied
		got.SpoofMAC -= before.SpoofMAC
		got.SamePort -= before.SamePort
		got.Isolated -= before.Isolated
		rx := got.RxPackets - before.RxPackets
		got.RxPackets, got.RxBytes = 0, 0
		if got != tt.count || tt.drop != (rx == 1) {
			t.Errorf("%s: received %d and %+v, want %+v", tt.name, rx, got, tt.count)
		}
	}
	l.none()
	a.rules(isolated) // and one isolated port may
	b.rules(nil)
	a.send(plain)
	b.receive()
}

// ip is an IP packet of UDP from a to b.
func (g *guest) ip(dst frame.MAC, from, to string, sport, dport uint16) []byte {
	b := g.to(dst)[:12]
	s, d := addr(from), addr(to)
	if s.Is4() {
		b = append(b, 8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0)
	} else {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, 17, 64)
	}
	b = append(append(b, s.AsSlice()...), d.AsSlice()...)
	return append(b, byte(sport>>8), byte(sport), byte(dport>>8), byte(dport), 0, 8, 0, 0)
}

// A port that is held to addresses: plain packets from them pass, all else is
// for the guard in user space.
func TestGuardedPortsPassPlainPacketsOnly(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a := l.guest(nil)
	b := l.guest(func(r *Rules) { r.Snooped = true })
	a.rules(func(r *Rules) { r.Held, r.MAC, r.Guarded, r.Addressed = true, a.mac(), true, true })
	if err := a.port.SetAddresses([]netip.Addr{addr("10.0.0.1"), addr("fe80::1")}); err != nil {
		t.Fatal(err)
	}
	a.known(1)
	b.known(1)
	edit := func(b []byte, at int, v byte) []byte { b[at] = v; return b }
	tests := []struct {
		name  string
		frame []byte
		pass  bool
	}{
		{"IPv4", a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), true},
		{"IPv6", a.ip(b.mac(), "fe80::1", "fe80::2", 1000, 2000), true},
		{"IPv4 of another", a.ip(b.mac(), "10.0.0.3", "10.0.0.2", 1000, 2000), false},
		{"IPv6 of another", a.ip(b.mac(), "fe80::3", "fe80::2", 1000, 2000), false},
		{"to a DHCP server", a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 68, 67), false},
		{"to a DHCP client", a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 68), false},
		{"DHCPv6", a.ip(b.mac(), "fe80::1", "fe80::2", 546, 547), false},
		{"more fragments", edit(a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), 14+6, 0x20), false},
		{"a later fragment", edit(a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), 14+7, 1), false},
		{"IP options", edit(a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), 14, 0x46), false},
		{"version", edit(a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), 14, 0x55), false},
		{"extension header", edit(a.ip(b.mac(), "fe80::1", "fe80::2", 1000, 2000), 14+6, 60), false},
		{"ICMPv6", edit(a.ip(b.mac(), "fe80::1", "fe80::2", 1000, 2000), 14+6, 58), false},
		{"cut", a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000)[:30], false},
		{"UDP cut behind its ports", a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000)[:14+20+4], false},
		{"UDP cut in IPv6", a.ip(b.mac(), "fe80::1", "fe80::2", 1000, 2000)[:14+40+7], false},
		{"IPv6 payload ends in the ports", edit(a.ip(b.mac(), "fe80::1", "fe80::2", 1000, 2000), 14+5, 4), false},
		{"IPv6 without payload length", edit(a.ip(b.mac(), "fe80::1", "fe80::2", 1000, 2000), 14+5, 0), true},
		{"SNAP", edit(a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), 12, 0), false},
		{"ARP", edit(a.ip(b.mac(), "10.0.0.1", "10.0.0.2", 1000, 2000), 13, 6), false},
	}
	for _, tt := range tests {
		a.send(tt.frame)
		if tt.pass {
			if got := b.receive(); !bytes.Equal(got, tt.frame) {
				t.Errorf("%s: got %x, want %x", tt.name, got, tt.frame)
			}
			l.none()
			continue
		}
		if f := l.punted(); !bytes.Equal(f.Data(), tt.frame) {
			t.Errorf("%s: punted %x, want %x", tt.name, f.Data(), tt.frame)
		}
		l.quiet(b)
	}
	if err := a.port.SetAddresses(nil); err != nil {
		t.Fatal(err)
	}
	a.send(tests[0].frame)
	l.punted()
}

package gateway

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"gxswitch/internal/frame"
	"gxswitch/nat"
)

// model decides as doc.go says, with netip, lists and a NAT of its own.
type model struct {
	link   [2]Link
	hosts  []netip.Addr
	guests []netip.Prefix
	routes []Route
	known  [2]map[netip.Addr]frame.MAC
	nat    *nat.Table
	inner  netip.Addr
}

func (m *model) isHost(a netip.Addr) bool {
	return slices.Contains(m.hosts, a) && !never(a) && !a.IsMulticast() && a != addr4(0xffffffff)
}

func (m *model) isGuest(a netip.Addr) bool {
	return !m.isHost(a) && slices.ContainsFunc(m.guests, func(p netip.Prefix) bool { return p.Contains(a) })
}

// isBroadcast is true where the longest network of guests that has a has it last.
func (m *model) isBroadcast(a netip.Addr) bool {
	longest := netip.PrefixFrom(a, 0)
	for _, p := range m.guests {
		if p.Contains(a) && p.Bits() > longest.Bits() {
			longest = p
		}
	}
	return !m.isHost(a) && longest.Bits() > 0 && longest.Bits() <= 30 && addr4(lastOf(longest)) == a
}

func never(a netip.Addr) bool {
	return a.As4()[0] == 0 || a.IsLoopback()
}

func (m *model) isUnroutable(a netip.Addr) bool {
	return never(a) || !m.isHost(a) && (a.IsLinkLocalUnicast() || a.As4()[0] >= 240 && a != addr4(0xffffffff))
}

func (m *model) isForAll(a netip.Addr) bool {
	return !m.isHost(a) && (a.IsMulticast() || a == addr4(0xffffffff) || m.isBroadcast(a))
}

func (m *model) isStation(a netip.Addr) bool { return !m.isUnroutable(a) && !m.isForAll(a) }

func (m *model) next(a netip.Addr) (next netip.Addr, ok bool) {
	bits := -1
	for _, r := range m.routes {
		if !r.To.Contains(a) || r.To.Bits() <= bits {
			continue
		}
		bits, next, ok = r.To.Bits(), r.Via, !r.Unreachable
		if !next.IsValid() && ok {
			next, ok = a, bits > 30 || a != addr4(lastOf(r.To))
		}
	}
	return next, ok
}

// route returns the verdict, and the frame as it is then.
func (m *model) route(from Side, was []byte, port nat.Guest) (Verdict, []byte) {
	raw := bytes.Clone(was)
	src, dst, _ := frame.IPAddresses(was[frame.VNetLen:])
	if from == Inside {
		switch {
		case m.nat != nil && (dst == m.inner || dst == m.nat.External()):
			return m.translate(m.nat.Outbound(raw, port, now), was, raw, netip.Addr{})
		case m.isHost(dst) || m.isForAll(dst):
			return toHost, was
		case m.isUnroutable(dst) || !m.isStation(src):
			return refused, was
		case !m.isGuest(src):
			return spoofed, was
		case m.isGuest(dst):
			return m.send(was, raw, Inside, dst)
		}
		next, ok := m.next(dst)
		if !ok {
			return noNet, was
		}
		if v, _ := m.send(was, bytes.Clone(raw), Outside, next); m.nat == nil || v.To == Dropped {
			return m.send(was, raw, Outside, next)
		}
		return m.translate(m.nat.Outbound(raw, port, now), was, raw, next)
	}
	switch {
	case m.isGuest(src) || m.isHost(src) || m.isBroadcast(src):
		return spoofed, was
	case m.isBroadcast(dst):
		return refused, was
	case m.isGuest(dst) && (m.nat != nil || !m.isStation(src)):
		return refused, was
	case m.isGuest(dst):
		return m.send(was, raw, Inside, dst)
	case m.nat != nil && m.isStation(src):
		return m.translate(m.nat.Inbound(raw, now), was, raw, netip.Addr{})
	}
	return toHost, was
}

func (m *model) translate(n nat.Verdict, was, raw []byte, next netip.Addr) (Verdict, []byte) {
	switch n.To {
	case nat.Host:
		return toHost, was
	case nat.Dropped:
		v := drop(n.Reason)
		if n.Reason == frame.NoRoute {
			v.Error = noNet.Error
		}
		return v, was
	case nat.Inside:
		return m.send(was, raw, Inside, n.Dst)
	}
	return m.send(was, raw, Outside, next)
}

func (m *model) send(was, raw []byte, to Side, next netip.Addr) (Verdict, []byte) {
	var l layers.IPv4
	if err := l.DecodeFromBytes(was[l3:], discard{}); err != nil {
		return malformed, was
	}
	for _, o := range l.Options {
		if o.OptionType == 131 || o.OptionType == 137 {
			return refused, was
		}
	}
	if l.TTL < 2 {
		return expired, was
	}
	longest, mtu := int(l.Length), m.link[to].MTU
	if was[1] != 0 { // TCP with a header of 20 bytes
		longest = min(longest, int(l.IHL)*4+20+int(binary.LittleEndian.Uint16(was[4:])))
	}
	if longest > mtu && l.Flags&layers.IPv4DontFragment != 0 {
		return tooBig(uint16(mtu)), was
	}
	raw[l3+8]--
	hlen := int(l.IHL) * 4
	raw[l3+10], raw[l3+11] = 0, 0
	binary.BigEndian.PutUint16(raw[l3+10:], ^frame.Sum(raw[l3:l3+hlen]))
	mac, ok := m.known[to][next]
	if ok {
		copy(raw[frame.VNetLen:], append(mac[:], m.link[to].MAC[:]...))
	}
	return Verdict{To: ToInside + Place(to), NextHop: next, Resolved: ok, Fragment: longest > mtu}, raw
}

type discard struct{}

func (discard) SetTruncated() {}

var somewhere = []string{
	guestA, guestB, inner, outer, onLAN, silent, router, remote, nowhere, "10.20.0.255", "10.20.0.127", "10.20.1.1", "192.0.2.255",
	"192.168.1.20", "192.168.1.21", "0.0.0.0", "0.0.0.1", "127.0.0.1", "169.254.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "8.8.8.8",
}

func drawModel(t *rapid.T) (*model, *Gateway) {
	address := rapid.Map(rapid.SampledFrom(somewhere), ip)
	m := &model{link: routed().Link, inner: ip(inner)}
	m.link[Inside].MTU = rapid.SampledFrom([]int{600, 1500, 65535}).Draw(t, "MTU inside")
	m.link[Outside].MTU = rapid.SampledFrom([]int{600, 1500, 65535}).Draw(t, "MTU outside")
	m.hosts = append(rapid.SliceOfN(address, 0, 3).Draw(t, "hosts"), ip(inner), ip(outer))[rapid.IntRange(0, 2).Draw(t, "others"):]
	m.guests = rapid.SliceOfN(rapid.SampledFrom([]netip.Prefix{
		prefix("10.20.0.0/24"), prefix("10.20.0.0/25"), prefix("10.20.0.5/32"), prefix("192.168.1.21/32"), prefix("10.20.0.4/30"), prefix("10.20.0.126/31"),
	}), 1, 4).Draw(t, "guests")
	m.routes = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Route {
		r := Route{To: netip.PrefixFrom(address.Draw(t, "to"), rapid.SampledFrom([]int{0, 8, 16, 24, 25, 31, 32}).Draw(t, "bits"))}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			r.Unreachable = true
		case 1:
			r.Via = ip(router)
		}
		return r
	}), 0, 6).Draw(t, "routes")
	if rapid.Bool().Draw(t, "default route") {
		m.routes = append(m.routes, via("0.0.0.0/0", router))
	}
	for side := range m.known {
		m.known[side] = map[netip.Addr]frame.MAC{}
		for _, a := range rapid.SliceOfN(address, 0, 12).Draw(t, "neighbours") {
			m.known[side][a] = frame.MAC{2, 9, a.As4()[0], a.As4()[1], a.As4()[2], a.As4()[3]}
		}
	}
	c := Config{
		Link: m.link, Hosts: map[netip.Addr]struct{}{}, Guests: m.guests, Routes: NewRoutes(m.routes),
		Neighbours: [2]*Neighbours{NewNeighbours(m.known[0]), NewNeighbours(m.known[1])},
	}
	for _, a := range m.hosts {
		c.Hosts[a] = struct{}{}
	}
	if rapid.Bool().Draw(t, "NAT") {
		m.nat, c.NAT = drawNAT(t), drawNAT(t)
		if rapid.Bool().Draw(t, "external address") {
			for _, n := range []*nat.Table{m.nat, c.NAT} {
				if err := n.SetExternal(ip(outer)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m, g
}

// drawNAT is the same table each time.
func drawNAT(t *rapid.T) *nat.Table {
	n, err := nat.New(nat.Config{Gateway: prefix(inner + "/24"), Limit: 64, Secret: [2]uint64{1, 2}})
	if err != nil {
		t.Fatal(err)
	}
	f := nat.Forward{Listen: nat.Listen{Protocol: nat.UDP, First: 8080, Last: 8080}, To: netip.AddrPortFrom(ip(guestA), 80)}
	if err := n.AddForward(f); err != nil {
		t.Fatal(err)
	}
	return n
}

func drawPacket(t *rapid.T, side Side) []byte {
	src, dst := rapid.SampledFrom(somewhere).Draw(t, "src"), rapid.SampledFrom(somewhere).Draw(t, "dst")
	if rapid.IntRange(0, 3).Draw(t, "usual") > 0 {
		src, dst = guestA, rapid.SampledFrom([]string{remote, outer, guestB, onLAN}).Draw(t, "to")
		if side == Outside {
			src, dst = remote, rapid.SampledFrom([]string{outer, guestA}).Draw(t, "to")
		}
	}
	df := rapid.Bool().Draw(t, "DF")
	hops := rapid.SampledFrom([]uint8{64, 0, 1, 2, 255, 64, 3}).Draw(t, "TTL")
	if rapid.IntRange(0, 3).Draw(t, "super") == 0 {
		raw := superFrame(side, src, dst, 5000, rapid.SampledFrom([]int{560, 561, 1460, 1461, 4000}).Draw(t, "size"), df)
		raw[l3+8] = hops
		return resum(raw)
	}
	change := []func(*layers.IPv4, *layers.UDP){ttl(hops), dport(rapid.SampledFrom([]uint16{53, 8080, 62000}).Draw(t, "port"))}
	switch rapid.IntRange(0, 5).Draw(t, "options") {
	case 0:
		change = append(change, option(rapid.SampledFrom([]byte{131, 137, 148, 7}).Draw(t, "option"), 4, 0))
	case 1: // one that is longer than the header
		raw := packetTo(side, src, dst, append(change, option(148, 0, 0))...)
		raw[l3+21] = 9
		return resum(raw)
	}
	return sized(side, src, dst, rapid.SampledFrom([]int{100, 600, 601, 1500, 1501}).Draw(t, "length"), df, change...)
}

func TestRouteIsTheModel(t *testing.T) {
	seen := map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		m, g := drawModel(t)
		for range rapid.IntRange(1, 12).Draw(t, "packets") {
			side := Side(rapid.IntRange(0, 1).Draw(t, "side"))
			raw := drawPacket(t, side)
			was := bytes.Clone(raw)
			want, wire := m.route(side, was, 0)
			got := besides(g.Route(side, raw, 0, now))
			if got != want {
				src, dst, _ := frame.IPAddresses(was[frame.VNetLen:])
				t.Fatalf("%v %v → %v:\n got %+v\nwant %+v", side, src, dst, got, want)
			}
			if got.To == ToInside || got.To == ToOutside {
				// Of 0 and ffff, two ways to write one sum, the difference makes one and the sum the other.
				if raw[l3+10]|raw[l3+11] == 0 || raw[l3+10]&raw[l3+11] == 0xff {
					copy(raw[l3+10:], wire[l3+10:l3+12])
				}
			}
			if got.To != Dropped && got.To != Host && m.nat != nil {
				// Two tables choose two ports.
				l4 := l3 + int(raw[l3]&15)*4
				copy(raw[l4:l4+20], wire[l4:])
			}
			if !bytes.Equal(raw, wire) {
				t.Fatalf("%v:\n got %.100x\nwant %.100x", got.To, raw, wire)
			}
			seen[got.To.String()+" "+got.Reason.String()]++
		}
	})
	for _, what := range []string{"host pass", "to inside pass", "to outside pass", "dropped no_route", "dropped spoof_ip", "dropped ttl", "dropped mtu"} {
		if seen[what] == 0 && !t.Failed() {
			t.Errorf("never seen: %s; only %v", what, seen)
		}
	}
	t.Log(seen)
}

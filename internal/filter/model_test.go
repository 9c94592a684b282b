package filter

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// model is the guard as its documentation puts it: it collects everything that
// is wrong with a frame, and the worst counts. gopacket reads the headers.
type model struct {
	Policy
	mine  []netip.Addr
	wrong map[frame.DropReason]bool
}

// order is that of the package's documentation; what a DHCP request says of its
// MAC comes behind what it is.
var order = []frame.DropReason{frame.BPDUGuard, frame.VLANDenied, frame.Malformed, frame.RAGuard, frame.DHCPGuard,
	frame.SpoofARP, frame.SpoofMAC, frame.SpoofIP}

func (m *model) judge(d []byte) frame.DropReason {
	m.wrong = map[frame.DropReason]bool{}
	dst := hex.EncodeToString(d[:6])
	switch {
	case m.BPDUGuard && (dst == "0180c2000000" || dst == "01000ccccccd"):
		return frame.BPDUGuard
	case m.Antispoof >= MAC && !bytes.Equal(d[6:12], m.MAC[:]):
		return frame.SpoofMAC
	case m.Antispoof == Off && !m.RAGuard && !m.DHCPGuard:
		return frame.Pass
	}
	m.ethernet(layers.EthernetType(uint16(d[12])<<8|uint16(d[13])), d[14:], 0)
	for _, r := range order {
		if m.wrong[r] {
			return r
		}
	}
	return frame.Pass
}

func (m *model) says(r frame.DropReason, on bool) {
	if on {
		m.wrong[r] = true
	}
}

func (m *model) mac(b []byte) bool { return bytes.Equal(b, m.MAC[:]) }

func (m *model) ip(b []byte) bool {
	a, _ := netip.AddrFromSlice(b)
	return slices.Contains(m.mine, a) // an IPv4-mapped address equals no other
}

func (m *model) ethernet(kind layers.EthernetType, p []byte, depth int) {
	if depth > 4 {
		m.says(frame.VLANDenied, true)
		return
	}
	switch {
	case kind == layers.EthernetTypeDot1Q || kind == layers.EthernetTypeQinQ || kind == 0x9100:
		var tag layers.Dot1Q
		if tag.DecodeFromBytes(p, gopacket.NilDecodeFeedback) != nil {
			m.says(frame.Malformed, true)
			return
		}
		m.ethernet(tag.Type, tag.Payload, depth+1)
	case kind < 0x600:
		var llc layers.LLC
		var snap layers.SNAP
		if llc.DecodeFromBytes(p, gopacket.NilDecodeFeedback) == nil && llc.DSAP == 0xaa && llc.SSAP == 0xaa && llc.Control == 3 &&
			snap.DecodeFromBytes(llc.Payload, gopacket.NilDecodeFeedback) == nil && bytes.Equal(snap.OrganizationalCode, []byte{0, 0, 0}) {
			m.ethernet(snap.Type, snap.Payload, depth+1)
		}
	case kind == layers.EthernetTypeARP || kind == 0x8035:
		m.arp(p)
	case kind == layers.EthernetTypeIPv4:
		m.ipv4(p)
	case kind == layers.EthernetTypeIPv6:
		m.ipv6(p)
	}
}

func (m *model) arp(p []byte) {
	var a layers.ARP
	if err := a.DecodeFromBytes(p, gopacket.NilDecodeFeedback); err != nil || a.HwAddressSize != 6 || a.ProtAddressSize != 4 {
		m.says(frame.SpoofARP, m.Antispoof >= MAC)
		return
	}
	m.says(frame.SpoofARP, m.Antispoof >= MAC && !m.mac(a.SourceHwAddress))
	request := a.Operation == 1 || a.Operation == 3
	probe := request && bytes.Equal(a.SourceProtAddress, make([]byte, 4))
	m.says(frame.SpoofARP, m.Antispoof >= MACIP && !probe && !m.ip(a.SourceProtAddress))
}

func (m *model) ipv4(p []byte) {
	var ip layers.IPv4
	if m.Antispoof == Off && !m.DHCPGuard {
		return
	}
	if ip.DecodeFromBytes(p, gopacket.NilDecodeFeedback) != nil || ip.Version != 4 {
		m.says(frame.Malformed, true)
		return
	}
	anonymous := false
	if ip.Protocol == layers.IPProtocolUDP {
		fragmented := ip.Flags&layers.IPv4MoreFragments != 0
		switch {
		case ip.FragOffset > 0:
			m.says(frame.DHCPGuard, m.DHCPGuard && ip.FragOffset == 1)
		case len(ip.Payload) < 8:
			m.says(frame.DHCPGuard, m.DHCPGuard)
		case ip.Payload[2] == 0 && ip.Payload[3] == 68:
			m.says(frame.DHCPGuard, m.DHCPGuard)
		case ip.Payload[2] == 0 && ip.Payload[3] == 67:
			var dhcp layers.DHCPv4
			message := append(bytes.Clone(ip.Payload[8:]), make([]byte, 240)...)[:240] // gopacket wants all of it
			copy(message[236:], []byte{0x63, 0x82, 0x53, 0x63})
			readable := !fragmented && len(ip.Payload) >= 8+34 && dhcp.DecodeFromBytes(message, gopacket.NilDecodeFeedback) == nil
			reply := len(ip.Payload) > 8 && ip.Payload[8] == 2
			m.says(frame.DHCPGuard, m.DHCPGuard && (reply || len(ip.Payload) == 8))
			relayed := readable && !dhcp.RelayAgentIP.IsUnspecified()
			m.says(frame.SpoofMAC, m.Antispoof >= MAC && !reply && !relayed && !(readable && m.mac(dhcp.ClientHWAddr)))
			anonymous = readable && !reply && ip.Payload[0] == 0 && ip.Payload[1] == 68
		}
	}
	m.says(frame.SpoofIP, m.Antispoof >= MACIP && !m.ip(ip.SrcIP.To4()) && !(anonymous && ip.SrcIP.IsUnspecified()))
}

func (m *model) ipv6(p []byte) {
	if len(p) < 40 || p[0]>>4 != 6 {
		m.says(frame.Malformed, true)
		return
	}
	src := p[8:24]
	fromNobody := bytes.Equal(src, make([]byte, 16))
	nameless := false
	chain, whole := []layers.IPProtocol{}, true
	next, u := layers.IPProtocol(p[6]), p[40:]
	more, laterPart, lost := false, false, false
	for !laterPart && !lost {
		var n int
		switch next {
		case 0, 43, 60, 135, 139, 140:
			var ext layers.IPv6ExtensionSkipper
			lost = ext.DecodeFromBytes(u, gopacket.NilDecodeFeedback) != nil || more
			n = len(ext.Contents)
		case 51:
			lost = len(u) < 12 || len(u) < (int(u[1])+2)*4
			if !lost {
				n = (int(u[1]) + 2) * 4
			}
		case 44:
			var f layers.IPv6Fragment
			lost = f.DecodeFromBytes(u, gopacket.NilDecodeFeedback) != nil || !whole
			laterPart, more, whole, n = !lost && f.FragmentOffset > 0, f.MoreFragments, false, 8
		default:
			lost = len(u) == 0 && next != 59
		}
		if lost || n == 0 || laterPart {
			break
		}
		chain = append(chain, next)
		next, u = layers.IPProtocol(u[0]), u[n:]
	}
	lost = lost || len(chain) > 8
	switch {
	case lost && next != layers.IPProtocolTCP || lost && len(chain) > 0:
		m.says(frame.RAGuard, m.RAGuard)
		m.says(frame.DHCPGuard, !m.RAGuard && m.DHCPGuard)
		m.says(frame.SpoofARP, !m.RAGuard && !m.DHCPGuard)
	case laterPart:
	case next == layers.IPProtocolICMPv6:
		nameless = m.icmp(u, src, fromNobody, whole)
	case next == layers.IPProtocolUDP && m.DHCPGuard:
		bad := len(u) < 8
		if !bad {
			switch port := int(u[2])<<8 | int(u[3]); port {
			case 546:
				bad = true
			case 547:
				servers := []layers.DHCPv6MsgType{layers.DHCPv6MsgTypeAdvertise, layers.DHCPv6MsgTypeReply,
					layers.DHCPv6MsgTypeReconfigure, layers.DHCPv6MsgTypeRelayReply}
				bad = len(u) == 8 || slices.Contains(servers, layers.DHCPv6MsgType(u[8]))
			}
		}
		m.says(frame.DHCPGuard, bad)
	}
	m.says(frame.SpoofIP, m.Antispoof >= MACIP && !m.ip(src) && !(nameless && fromNobody))
}

func (m *model) icmp(u, src []byte, fromNobody, whole bool) (nameless bool) {
	var nd interface {
		DecodeFromBytes([]byte, gopacket.DecodeFeedback) error
	}
	var target func() []byte
	var options func() layers.ICMPv6Options
	ra := false
	switch u[0] {
	case 131, 132, 143:
		return whole
	case 133:
		l := &layers.ICMPv6RouterSolicitation{}
		nd, options = l, func() layers.ICMPv6Options { return l.Options }
		nameless = true
	case 134:
		l := &layers.ICMPv6RouterAdvertisement{}
		nd, options, ra = l, func() layers.ICMPv6Options { return l.Options }, true
	case 135:
		l := &layers.ICMPv6NeighborSolicitation{}
		nd, options = l, func() layers.ICMPv6Options { return l.Options }
		if fromNobody {
			target, nameless = func() []byte { return l.TargetAddress }, true
		}
	case 136:
		l := &layers.ICMPv6NeighborAdvertisement{}
		nd, options, target = l, func() layers.ICMPv6Options { return l.Options }, func() []byte { return l.TargetAddress }
	case 137:
		l := &layers.ICMPv6Redirect{}
		nd, options, ra = l, func() layers.ICMPv6Options { return l.Options }, true
	default:
		return false
	}
	m.says(frame.RAGuard, ra && m.RAGuard)
	if m.Antispoof == Off {
		return nameless
	}
	bad := !whole || len(u) < 4 || nd.DecodeFromBytes(u[4:], gopacket.NilDecodeFeedback) != nil
	if !bad {
		for _, o := range options() {
			if o.Type == layers.ICMPv6OptSourceAddress || o.Type == layers.ICMPv6OptTargetAddress {
				bad = bad || !m.mac(o.Data)
			}
		}
	}
	if m.Antispoof >= MACIP && !bad {
		bad = !m.ip(src) && !(fromNobody && nameless) || target != nil && !m.ip(target())
	}
	m.says(frame.SpoofARP, bad)
	return nameless
}

// aFrame is a frame that a guest, hostile or not, might make up.
func aFrame(t *rapid.T) string {
	pick := func(what string, from ...string) string { return rapid.SampledFrom(from).Draw(t, what) }
	rarely := func(what string) bool { return rapid.IntRange(0, 9).Draw(t, what) == 0 }
	mac := func(what string) string {
		if rarely(what) {
			return neighbour
		}
		return guest
	}
	v4 := func(what string) string { return pick(what, guest4, guest4, neighbour4, nobody4) }
	v6 := func(what string) string {
		return pick(what, guest6, guest6, guestLL, neighbour6, routerLL, nobody6, "00000000000000000000ffff"+guest4)
	}
	ports := []int{53, 67, 68, 546, 547}
	port := func(what string) int { return rapid.SampledFrom(ports).Draw(t, what) }
	ndOptions := func() (s string) {
		for range rapid.IntRange(0, 2).Draw(t, "options") {
			s += pick("option", "0101"+mac("lla"), "0201"+mac("lla"), "0e01 010203040506", "0e02 0102030405061112131415161718", "0e00 0102030405 06", "0e0301020304")
		}
		return s
	}

	var kind, p string
	switch pick("protocol", "arp", "ip4", "ip6", "ip6") {
	case "arp":
		kind, p = pick("type", "0806", "0806", "8035"), arp(rapid.IntRange(1, 4).Draw(t, "operation"), mac("sender"), v4("sender"))
	case "ip4":
		kind = "0800"
		proto, body := 6, tcp
		if !rarely("TCP") {
			proto = 17
			m := bootp(rapid.IntRange(1, 2).Draw(t, "op"), nobody4, pick("giaddr", nobody4, nobody4, guest4), mac("chaddr"), discover)
			body = udp(port("from"), port("to"), pick("message", m, m, m, "", "02", "0102"))
			if rarely("short") {
				body = begin(6, body)
			}
		}
		p = ip4(v4("source"), everybody4, proto, rapid.SampledFrom([]int{0, 0, 0, 0x4000, 0x2000, 1, 2, 0x2001}).Draw(t, "fragment"), body)
	case "ip6":
		kind = "86dd"
		next, body := 58, ""
		switch pick("upper layer", "nd", "nd", "udp", "tcp", "other") {
		case "nd":
			body = pick("nd", "85 00 0000 00000000", ra, ns(v6("target")), na(v6("target")), "89 00 0000 00000000"+routerLL+neighbour6) + ndOptions()
			if rarely("short") {
				body = begin(rapid.IntRange(0, 8).Draw(t, "length"), body)
			}
		case "udp":
			next, body = 17, udp(port("from"), port("to"), fmtByte(rapid.IntRange(1, 13).Draw(t, "message"))+"000001"+strings.Repeat("00", 30))
			if rarely("short") {
				body = begin(rapid.IntRange(0, 9).Draw(t, "length"), body)
			}
		case "tcp":
			next, body = 6, tcp
		default:
			next, body = rapid.SampledFrom([]int{58, 50, 59, 253}).Draw(t, "kind"), pick("body", echo6, "8f"+skip(1, echo6), "82"+skip(1, echo6), "")
		}
		for range rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 3), rapid.IntRange(0, 10)).Draw(t, "headers") {
			switch pick("header", "options", "options", "fragment", "ah", "cut") {
			case "options":
				body, next = options(next)+body, rapid.SampledFrom([]int{0, 43, 60, 135}).Draw(t, "kind")
			case "fragment":
				offset := 0
				if rarely("later") {
					offset = 100
				}
				body, next = fragment(next, offset, rapid.IntRange(0, 1).Draw(t, "more"))+body, 44
			case "ah":
				body, next = fmtByte(next)+"01 0000 00000001 00000001"+body, 51
			case "cut":
				if rarely("cut") {
					body, next = fmtByte(next)+"7f 0104 00000000"+body, 60
				}
			}
		}
		p = ip6(v6("source"), all6, next, body)
	}
	if rarely("cut") {
		p = begin(rapid.IntRange(0, octets(p)).Draw(t, "length"), p)
	}
	for range rapid.OneOf(rapid.Just(0), rapid.IntRange(0, 6)).Draw(t, "wraps") {
		switch w := pick("wrap", "8100", "88a8", "9100", "snap"); w {
		case "snap":
			kind, p = "0100", "aaaa03 000000"+kind+p
		default:
			kind, p = w, "0005"+kind+p
		}
	}
	return pick("destination", neighbour, everybody, allNodes, "0180c2000000", "01000ccccccd") + mac("source") + kind + p
}

func fmtByte(b int) string { return hex.EncodeToString([]byte{byte(b)}) }

func TestGuardEqualsModel(t *testing.T) {
	seen := map[frame.DropReason]bool{}
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]Policy{strict, unlisted, macOnly, trusting, {MAC: strict.MAC},
			{MAC: strict.MAC, RAGuard: true}, {MAC: strict.MAC, DHCPGuard: true}, {MAC: strict.MAC, Antispoof: MAC}}).Draw(t, "policy")
		m := &model{Policy: p, mine: p.IP}
		g := NewGuard(p)
		if p.IP == nil {
			m.mine = []netip.Addr{strict.IP[0], strict.IP[2]}
			g.Allow(strict.IP[0], at, at)
		}
		for range 40 {
			s := strings.ReplaceAll(aFrame(t), " ", "")
			d, err := hex.DecodeString(s)
			if err != nil {
				t.Fatal(s, err)
			}
			got := g.Ingress(d, at)
			seen[got] = true
			if want := m.judge(d); got != want {
				t.Fatalf("%s\nunder %+v: %v, want %v", s, p, got, want)
			}
		}
	})
	for _, r := range append(order, frame.Pass) {
		if !seen[r] {
			t.Errorf("no frame gave %v", r)
		}
	}
}

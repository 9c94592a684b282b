package dataplane

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gxswitch/internal/frame"
)

// model is the switch as a reader would put it: maps, one frame at a time, frames
// always with their tags in place. It shares no code with the switch.
type model struct {
	ports map[string]*modelPort
	order []string // as they were attached
	wires map[string]*modelWire
	fdb   map[modelKey]modelEntry
	hosts []string // addresses of the host, as their bytes
	net   map[string]uint64
}

// modelWire is an interface, under the name of its first port.
type modelWire struct {
	members []*modelPort
	out     []string // frames that left
}

type modelPort struct {
	cfg      PortConfig // but for its VLANs
	vlans    modelSet
	wire     *modelWire
	hostOnly bool
	stats    PortStats
}

type modelKey struct {
	net, mac string
	vid      int
}

type modelEntry struct {
	port   string
	pinned bool
}

// modelSet is the VLANs of a port: those it carries, and which of them leave it
// untagged. The zero set is that of a port that was told none.
type modelSet struct {
	pvid     int
	untagged map[int]bool
}

// someVLANs is a set of a PVID and of others, each tagged or not.
func someVLANs(pvid int, tagged []int, untagged ...int) modelSet {
	s := modelSet{pvid, map[int]bool{pvid: true}}
	for _, v := range tagged {
		s.untagged[v] = false
	}
	for _, v := range untagged {
		s.untagged[v] = true
	}
	return s
}

func (s modelSet) forUntagged() int {
	if s.untagged == nil {
		return 1
	}
	return s.pvid
}

func (s modelSet) carries(vid int) bool {
	if s.untagged == nil {
		return vid >= 1 && vid <= 4094
	}
	_, ok := s.untagged[vid]
	return ok
}

func (s modelSet) leavesUntagged(vid int) bool {
	if s.untagged == nil {
		return vid == 1
	}
	return s.untagged[vid]
}

func (s modelSet) equal(other modelSet) bool {
	return s.pvid == other.pvid && maps.Equal(s.untagged, other.untagged)
}

// String is the set as an administrator writes it.
func (s modelSet) String() string {
	if s.untagged == nil {
		return "1p/2-4094"
	}
	terms := []string{fmt.Sprintf("%dp", s.pvid)}
	for _, v := range slices.Sorted(maps.Keys(s.untagged)) {
		switch {
		case v == s.pvid:
		case s.untagged[v]:
			terms = append(terms, fmt.Sprintf("%du", v))
		default:
			terms = append(terms, fmt.Sprint(v))
		}
	}
	return strings.Join(terms, "/")
}

// modelFrame is what a frame is on the wire.
type modelFrame struct {
	data      []byte // without outer tag
	tag       int    // TCI, -1 for none
	vnet      []byte
	reason    frame.DropReason
	n         int // frames of the wire
	longest   int
	bytes     int // without tags
	vid       int // in the network
	forwarded bool
	consumed  bool
	left      map[int]string // as it leaves, by its tag then
}

func parseModel(vnet, data []byte) modelFrame {
	f := modelFrame{data: data, tag: -1, vnet: vnet, n: 1}
	if len(data) >= 18 && data[12] == 0x81 && data[13] == 0 {
		f.tag = int(data[14])<<8 | int(data[15])
		f.data = slices.Concat(data[:12], data[16:])
	}
	d := f.data
	f.longest, f.bytes = len(d), len(d)
	switch {
	case len(d) < 14, string(d[6:12]) == "\x00\x00\x00\x00\x00\x00", d[6]%2 == 1:
		f.reason = frame.Malformed
		return f
	case string(d[:5]) == "\x01\x80\xc2\x00\x00" && d[5] > 0 && d[5] < 16:
		f.reason = frame.Reserved
		return f
	}
	if vnet != nil && vnet[1] != 0 {
		f.reason = f.parseGSO()
	}
	return f
}

// parseGSO knows the super-frames that the test makes: IPv4 and TCP, checksum
// left to the receiver.
func (f *modelFrame) parseGSO() frame.DropReason {
	if f.vnet[1] != 1 {
		return frame.UnsupportedGSO
	}
	size := int(f.vnet[4]) + int(f.vnet[5])<<8
	l4 := int(f.vnet[6]) + int(f.vnet[7])<<8
	if f.tag >= 0 {
		l4 -= 4
	}
	if size == 0 || l4+20 > len(f.data) || f.data[l4+12]>>4 < 5 {
		return frame.Malformed
	}
	header := l4 + int(f.data[l4+12]>>4)*4
	left := len(f.data) - header
	if left <= 0 {
		return frame.Malformed
	}
	f.n, f.bytes, f.longest = 0, 0, 0
	for ; left > 0; left -= size {
		segment := header + min(left, size)
		f.n++
		f.bytes += segment
		f.longest = max(f.longest, segment)
	}
	return frame.Pass
}

// frame takes one frame that came in at an interface through the switch.
func (m *model) frame(wire string, vnet, data []byte) {
	f := parseModel(vnet, data)
	in := m.wires[wire].taker(&f)
	if in == nil {
		in = m.wires[wire].members[0]
		if f.reason == frame.Pass {
			f.reason = frame.VLANDenied
		}
	}
	n := uint64(f.n)
	in.stats.RxPackets += n
	in.stats.RxBytes += uint64(f.bytes)
	if f.tag >= 0 {
		in.stats.RxBytes += 4 * n
	}
	if f.reason == frame.Pass {
		f.reason = m.decide(in, &f)
	}
	switch {
	case f.reason != frame.Pass:
		in.stats.RxDrops[f.reason] += n
	case f.consumed:
		in.stats.Consumed += n
	case f.forwarded:
		in.stats.Forwarded += n
	default:
		in.stats.Flooded += n
		m.net[in.cfg.Network] += n
	}
}

// taker is the port, of those that an interface is, that takes a frame.
func (w *modelWire) taker(f *modelFrame) *modelPort {
	var rest *modelPort
	for _, p := range w.members {
		if p.cfg.UplinkVLAN == 0 {
			rest = p
		} else if f.tag >= 0 && f.tag%4096 == int(p.cfg.UplinkVLAN) {
			return p
		}
	}
	return rest
}

func (m *model) decide(in *modelPort, f *modelFrame) frame.DropReason {
	f.vid = in.vlans.forUntagged()
	if f.tag >= 0 && f.tag%4096 != 0 && in.cfg.UplinkVLAN == 0 {
		f.vid = f.tag % 4096
	}
	if !in.vlans.carries(f.vid) {
		return frame.VLANDenied
	}
	src, dst, ip := modelAddresses(f.data)
	if in.hostOnly && ip && !slices.Contains(m.hosts, src) && src != "\x00\x00\x00\x00" {
		return frame.NoRoute
	}
	from := modelKey{in.cfg.Network, string(f.data[6:12]), f.vid}
	if !m.fdb[from].pinned {
		m.fdb[from] = modelEntry{port: in.cfg.Name}
	}
	forHost := !ip || slices.Contains(m.hosts, dst) || f.data[0]&1 != 0
	to := string(f.data[:6])
	if to[0]%2 == 0 {
		if in.cfg.Role == Uplink && to == string(in.cfg.Local[:]) {
			f.consumed = true
			return frame.Pass
		}
		if e, known := m.fdb[modelKey{in.cfg.Network, to, f.vid}]; known {
			out := m.ports[e.port]
			if out == in {
				return frame.SamePort
			} else if !out.cfg.Up {
				return frame.NoDestination
			} else if r := refuses(in, out, f, forHost); r != frame.Pass {
				return r
			}
			f.forwarded = true
			out.send(f)
			return frame.Pass
		}
	}
	why, any := frame.NoDestination, false
	for _, name := range m.order {
		out := m.ports[name]
		if out == in || !out.cfg.Up || out.cfg.Network != in.cfg.Network || !out.takes(f.vid) {
			continue
		}
		switch r := refuses(in, out, f, forHost); r {
		case frame.Pass:
			out.send(f)
			any = true
		case frame.Isolated, frame.VLANDenied:
			why = r
		}
	}
	if any {
		return frame.Pass
	}
	return why
}

// takes reports whether frames of a VLAN may leave by the port: also, on a NIC of
// several networks, whether the tag would be another's.
func (p *modelPort) takes(vid int) bool {
	if p.cfg.UplinkVLAN == 0 && !p.vlans.leavesUntagged(vid) {
		for _, other := range p.wire.members {
			if int(other.cfg.UplinkVLAN) == vid {
				return false
			}
		}
	}
	return p.vlans.carries(vid)
}

// refuses says why a frame may not go from one port to another.
func refuses(in, out *modelPort, f *modelFrame, forHost bool) frame.DropReason {
	if !out.takes(f.vid) {
		return frame.VLANDenied
	}
	if in.cfg.Isolated && out.cfg.Isolated {
		return frame.Isolated
	}
	if in.cfg.Twin == out.cfg.Name {
		return frame.SamePort
	}
	if out.hostOnly && !forHost {
		return frame.NoRoute
	}
	if out.tagOf(f) < 0 && string(f.data[12:14]) == "\x81\x00" {
		return frame.VLANDenied
	}
	return frame.Pass
}

func modelAddresses(d []byte) (src, dst string, ok bool) {
	if len(d) >= 34 && d[12] == 8 && d[13] == 0 {
		return string(d[26:30]), string(d[30:34]), true
	}
	return "", "", false
}

// tagOf is the tag that a frame has when it leaves by the port, -1 for none.
func (p *modelPort) tagOf(f *modelFrame) int {
	vid := f.vid
	if p.cfg.UplinkVLAN != 0 {
		vid = int(p.cfg.UplinkVLAN)
	} else if p.vlans.leavesUntagged(vid) {
		return -1
	}
	if f.tag >= 0 {
		return f.tag/4096*4096 + vid
	}
	return vid
}

func (p *modelPort) send(f *modelFrame) {
	n := uint64(f.n)
	if f.longest > p.cfg.MTU+14 {
		p.stats.TxDrops[frame.MTU] += n
		return
	}
	p.stats.TxPackets += n
	p.stats.TxBytes += uint64(f.bytes)
	tag := p.tagOf(f)
	if tag >= 0 {
		p.stats.TxBytes += 4 * n
	}
	if f.left == nil {
		f.left = map[int]string{}
	}
	if f.left[tag] == "" {
		f.left[tag] = sent(f.vnet, f.data, f.tag, tag)
	}
	p.wire.out = append(p.wire.out, f.left[tag])
}

// sent is the frame as a port sends it, with the tag that it has. The offset of
// the checksum in vnet is counted with the tag that the frame had.
func sent(vnet, data []byte, had, has int) string {
	h := make([]byte, 10)
	copy(h, vnet)
	if h[0] == 1 {
		start := binary.LittleEndian.Uint16(h[6:])
		if had >= 0 {
			start -= 4
		}
		if has >= 0 {
			start += 4
		}
		binary.LittleEndian.PutUint16(h[6:], start)
	}
	if has >= 0 {
		data = slices.Concat(data[:12], []byte{0x81, 0, byte(has >> 8), byte(has)}, data[12:])
	}
	return unmended(append(h, data...))
}

// unmended leaves out hdr_len, which is the switch's to mend.
func unmended(raw []byte) string { return string(raw[:2]) + string(raw[4:]) }

// forget removes what was learned at a port.
func (m *model) forget(port string) (n int) {
	for k, e := range m.fdb {
		if e.port == port && !e.pinned {
			delete(m.fdb, k)
			n++
		}
	}
	return n
}

// pin enters the host's own address behind a port.
func (m *model) pin(p *modelPort) {
	if !p.cfg.Local.IsZero() {
		m.fdb[modelKey{p.cfg.Network, string(p.cfg.Local[:]), p.vlans.forUntagged()}] = modelEntry{p.cfg.Name, true}
	}
}

// setVLANs changes a port's VLANs.
func (m *model) setVLANs(p *modelPort, s modelSet) {
	if s.equal(p.vlans) {
		return
	}
	delete(m.fdb, modelKey{p.cfg.Network, string(p.cfg.Local[:]), p.vlans.forUntagged()})
	p.vlans = s
	m.pin(p)
	m.forget(p.cfg.Name)
}

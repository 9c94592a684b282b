package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// model is the switch as a reader would put it: maps, one frame at a time, frames
// always with their tags in place. It shares no code with the switch.
type model struct {
	ports map[string]*modelPort
	order []string
	fdb   map[modelKey]modelEntry
	hosts []string // addresses of the host, as their bytes
	net   map[string]uint64
}

type modelPort struct {
	cfg      PortConfig
	hostOnly bool
	stats    PortStats
	out      []string // frames that left
}

type modelKey struct {
	net, mac string
	vid      int
}

type modelEntry struct {
	port   string
	pinned bool
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
	vid       int
	forwarded bool
	consumed  bool
}

func parseModel(vnet, data []byte) modelFrame {
	f := modelFrame{data: data, tag: -1, vnet: vnet, n: 1, vid: 1}
	if len(data) >= 18 && data[12] == 0x81 && data[13] == 0 {
		f.tag = int(data[14])<<8 | int(data[15])
		f.data = slices.Concat(data[:12], data[16:])
		if v := f.tag % 4096; v != 0 {
			f.vid = v
		}
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
	if f.reason == frame.Pass && f.vid == 4095 {
		f.reason = frame.VLANDenied
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

// frame takes one frame through the network.
func (m *model) frame(from string, vnet, data []byte) {
	in := m.ports[from]
	f := parseModel(vnet, data)
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

func (m *model) decide(in *modelPort, f *modelFrame) frame.DropReason {
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
			switch {
			case out == in:
				return frame.SamePort
			case !out.cfg.Up:
				return frame.NoDestination
			case out.hostOnly && !forHost:
				return frame.NoRoute
			}
			f.forwarded = true
			out.send(f)
			return frame.Pass
		}
	}
	reason := frame.NoDestination
	for _, name := range m.order {
		out := m.ports[name]
		if out != in && out.cfg.Up && out.cfg.Network == in.cfg.Network && (!out.hostOnly || forHost) {
			out.send(f)
			reason = frame.Pass
		}
	}
	return reason
}

func modelAddresses(d []byte) (src, dst string, ok bool) {
	if len(d) >= 34 && d[12] == 8 && d[13] == 0 {
		return string(d[26:30]), string(d[30:34]), true
	}
	return "", "", false
}

func (p *modelPort) send(f *modelFrame) {
	n := uint64(f.n)
	if f.longest > p.cfg.MTU+14 {
		p.stats.TxDrops[frame.MTU] += n
		return
	}
	p.stats.TxPackets += n
	p.stats.TxBytes += uint64(f.bytes)
	tag := -1
	if f.vid != 1 {
		tag = f.tag
		p.stats.TxBytes += 4 * n
	}
	p.out = append(p.out, sent(f.vnet, f.data, f.tag, tag))
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

// The ports of the test. Two networks, so that nothing may leak across.
var modelPorts = []PortConfig{
	{Name: "a", Network: "n", MTU: 1500, Up: true},
	{Name: "b", Network: "n", MTU: 1500, Up: true},
	{Name: "jumbo", Network: "n", MTU: 9000, Up: true},
	{Name: "small", Network: "n", MTU: 576, Up: true},
	{Name: "up", Network: "n", Role: Uplink, MTU: 1500, Up: true, Local: frame.MAC{2, 0, 0, 0, 0, 9}},
	{Name: "x", Network: "ho", MTU: 1500, Up: true},
	{Name: "y", Network: "ho", MTU: 1500, Up: true},
	{Name: "h", Network: "ho", Role: Host, MTU: 1500, Up: true, Local: frame.MAC{2, 0, 0, 0, 0, 8}},
}

func newModel() *model {
	m := &model{ports: map[string]*modelPort{}, fdb: map[modelKey]modelEntry{}, hosts: []string{"\x0a\x00\x00\x01"}, net: map[string]uint64{}}
	for _, c := range modelPorts {
		m.ports[c.Name] = &modelPort{cfg: c, hostOnly: c.Role == Host, stats: PortStats{Name: c.Name, Network: c.Network}}
		m.order = append(m.order, c.Name)
		if !c.Local.IsZero() {
			m.fdb[modelKey{c.Network, string(c.Local[:]), 1}] = modelEntry{c.Name, true}
		}
	}
	return m
}

// makeFrame turns a number into a frame, most of them sensible: few stations,
// VLANs and addresses, so that they meet.
func makeFrame(seed uint64) (vnet, data []byte) {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	station := func() string { return "\x02\x00\x00\x00\x00" + string(rune(1+r.IntN(9))) }
	src := station()
	dst := station()
	switch r.IntN(16) {
	case 0:
		dst = "\xff\xff\xff\xff\xff\xff"
	case 1:
		dst = "\x01\x80\xc2\x00\x00" + string(rune(r.IntN(32)))
	case 2:
		dst = "\x02\x00\x00\x00\x01" + string(rune(r.IntN(100)))
	case 3:
		src = pick("\x00\x00\x00\x00\x00\x00", "\x01\x00\x00\x00\x00\x01", "\xff\xff\xff\xff\xff\xff")
	}
	tag := ""
	if r.IntN(2) == 0 {
		tag = "\x81\x00" + pick("\x00\x00", "\xe0\x00", "\x00\x01", "\x50\x0a", "\x00\x0a", "\x00\x14", "\x0f\xfe", "\x0f\xff")
	}
	ip := pick("\x0a\x00\x00\x01", "\x0a\x00\x00\x02", "\x00\x00\x00\x00", "\x08\x08\x08\x08") +
		pick("\x0a\x00\x00\x01", "\x0a\x00\x00\x02", "\x08\x08\x08\x08", "\xff\xff\xff\xff", "\xe0\x00\x00\x01")
	const ipHead = "\x08\x00\x45\x00\x00\x00\x00\x01\x40\x00\x40\x06\x00\x00"
	head := dst + src + tag
	if r.IntN(10) == 0 { // a super-frame
		vnet = []byte{1, 1, byte(r.IntN(256)), 0, 0, byte(1 + r.IntN(30)), byte(len(head) + 2 + 20), 0, 16, 0}
		doff := byte(0x50)
		switch r.IntN(12) {
		case 0:
			vnet[5] = 0
		case 1:
			vnet[7] = 0xf0
		case 2:
			vnet[1] = pick("\x03", "\x02", "\x07")[0]
		case 3:
			doff = 0x40
		case 4:
			vnet[5] = 120
		}
		tcp := "\x80\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x00" + string([]byte{doff, 0x10}) + "\xff\xff\x00\x00\x00\x00"
		return vnet, append([]byte(head+ipHead+ip+tcp), make([]byte, r.IntN(20000))...)
	}
	switch r.IntN(12) {
	case 0: // cut anywhere
		whole := head + ipHead + ip
		return nil, []byte(whole[:r.IntN(len(whole))])
	case 1: // about the MTUs
		return nil, append([]byte(head+"\x88\xb5"), make([]byte, pickInt(r, 575, 576, 577, 1499, 1500, 1501, 9000, 9001))...)
	case 2: // another tag inside
		return nil, []byte(head + pick("\x81\x00\x00\x0a", "\x88\xa8\x00\x0a", "\x81\x00") + ipHead + ip)
	case 3: // garbage
		b := make([]byte, r.IntN(80))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return nil, b
	case 4: // checksum left to the receiver
		return []byte{1, 0, 0, 0, 0, 0, byte(len(head) + 2 + 20), 0, 6, 0}, append([]byte(head+ipHead+ip), make([]byte, 30)...)
	}
	return nil, append([]byte(head+ipHead+ip), make([]byte, r.IntN(100))...)
}

func pickInt(r *rand.Rand, s ...int) int { return s[r.IntN(len(s))] }

// The switch does with any frames what the model does: the same bytes at the
// same ports in the same order, and every counter the same. 100 checks are more
// than 100,000 frames.
func TestSwitchAgainstModel(t *testing.T) {
	frames := 0
	rapid.Check(t, func(rt *rapid.T) {
		l := newModelLab(t)
		defer l.close(rt)
		for range rapid.IntRange(5, 100).Draw(rt, "steps") {
			l.step(rt)
		}
		l.compareCounters(rt)
		frames += l.frames
	})
	t.Logf("%d frames", frames)
}

type modelLab struct {
	*lab
	model  *model
	frames int
}

func newModelLab(t *testing.T) *modelLab {
	l := &modelLab{lab: newLab(nop{t}), model: newModel()}
	l.network(NetworkConfig{Name: "ho", HostOnly: true})
	l.sw.SetHostAddresses([]netip.Addr{netip.MustParseAddr("10.0.0.1")})
	for _, c := range modelPorts {
		l.attach(c)
	}
	return l
}

// nop is a test whose cleanup is done by hand, once a check.
type nop struct{ *testing.T }

func (nop) Cleanup(func()) {}

func (l *modelLab) close(t *rapid.T) {
	if err := l.sw.Close(); err != nil {
		t.Error(err)
	}
}

// step is a burst of frames at one port, or an operator.
func (l *modelLab) step(t *rapid.T) {
	port := rapid.SampledFrom(l.model.order).Draw(t, "port")
	p := l.model.ports[port]
	op := rapid.IntRange(0, 19).Draw(t, "operation")
	station := frame.MAC{2, 0, 0, 0, 0, byte(rapid.IntRange(1, 7).Draw(t, "station"))}
	vid := rapid.SampledFrom([]int{1, 10}).Draw(t, "VLAN")
	key := modelKey{p.cfg.Network, string(station[:]), vid}
	switch op {
	case 0:
		up := !p.cfg.Up
		l.update(port, func(c *PortConfig) { c.Up = up })
		if p.cfg.Up = up; !up {
			l.forget(port)
		}
	case 1:
		err := l.sw.AddFDB(port, uint16(vid), station)
		e := l.model.fdb[key]
		if refused := e.pinned && e.port != port; refused != (err != nil) {
			t.Fatalf("AddFDB(%s, %d, %v) where there is %+v: %v", port, vid, station, e, err)
		}
		if err == nil {
			l.model.fdb[key] = modelEntry{port, true}
		}
	case 2:
		_, known := l.model.fdb[key]
		if ok, err := l.sw.DelFDB(p.cfg.Network, uint16(vid), station); ok != known || err != nil {
			t.Fatalf("DelFDB(%d, %v): %v, %v; want %v", vid, station, ok, err, known)
		}
		delete(l.model.fdb, key)
	case 3:
		want := l.forget(port)
		if n, err := l.sw.FlushFDB("", port); n != want || err != nil {
			t.Fatalf("FlushFDB(%s): %d, %v; want %d", port, n, err, want)
		}
	case 4:
		mtu := rapid.SampledFrom([]int{576, 1500, 9000}).Draw(t, "MTU")
		l.update(port, func(c *PortConfig) { c.MTU = mtu })
		p.cfg.MTU = mtu
	default:
		for _, seed := range rapid.SliceOfN(rapid.Uint64(), 50, 200).Draw(t, "frames") {
			vnet, data := makeFrame(seed)
			l.model.frame(port, vnet, data)
			l.inject(port, vnet, data, parseModel(vnet, data).n)
			l.frames++
		}
		l.settle()
	}
	for name, m := range l.ports {
		var got []string
		for _, raw := range m.Sent() {
			got = append(got, unmended(raw))
		}
		p := l.model.ports[name]
		if !slices.Equal(got, p.out) {
			t.Fatalf("from %s, at %s (-want +got):\n%s", port, name, cmp.Diff(inHex(p.out), inHex(got)))
		}
		p.out = nil
	}
}

func inHex(frames []string) (text []string) {
	for _, f := range frames {
		text = append(text, fmt.Sprintf("%x", f))
	}
	return text
}

// forget removes what was learned at a port.
func (l *modelLab) forget(port string) (n int) {
	for k, e := range l.model.fdb {
		if e.port == port && !e.pinned {
			delete(l.model.fdb, k)
			n++
		}
	}
	return n
}

func (l *modelLab) compareCounters(t *rapid.T) {
	for _, got := range l.sw.PortStats() {
		if d := cmp.Diff(l.model.ports[got.Name].stats, got); d != "" {
			t.Errorf("counters of %s (-want +got):\n%s", got.Name, d)
		}
	}
	for _, got := range l.sw.NetworkStats() {
		if got.Flooded != l.model.net[got.Name] {
			t.Errorf("network %s flooded %d, want %d", got.Name, got.Flooded, l.model.net[got.Name])
		}
	}
	l.checkSums()
}

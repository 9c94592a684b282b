package dataplane

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// soakTime is how long the soak takes where nobody says how many frames.
const soakTime = 5 * time.Second

// No frame crosses VLANs, networks of one NIC, isolation or twins, whatever the
// ports' settings become. SOAK_FRAMES says how many frames at least (10 million
// take some 20 s), SOAK_SEED repeats a run.
func TestSoakNoFrameCrosses(t *testing.T) {
	number := func(name string, otherwise uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s=%s: want a number", name, text)
		}
		return n
	}
	want, seed := number("SOAK_FRAMES", 0), number("SOAK_SEED", rand.Uint64())
	s := newSoak(t, seed)
	defer s.close(t)
	start := time.Now()
	for s.frames < want || want == 0 && time.Since(start) < soakTime {
		if s.r.IntN(4) == 0 {
			s.change()
		}
		s.send(t)
		if t.Failed() {
			t.Fatalf("SOAK_SEED=%d repeats it, after %d frames", seed, s.frames)
		}
	}
	s.compareCounters(t)
	var drops [frame.NumReasons]uint64
	for _, p := range s.model.ports {
		for r, n := range p.stats.RxDrops {
			drops[r] += n
		}
	}
	for _, r := range []frame.DropReason{frame.VLANDenied, frame.Isolated, frame.SamePort, frame.NoDestination, frame.NoRoute, frame.Reserved} {
		if drops[r] == 0 {
			t.Errorf("no frame was dropped for %v: the test tests less than it says", r)
		}
	}
	t.Logf("%d frames, %d left, dropped %v", s.frames, s.left, reasons(drops))
}

// soak is a switch whose frames come and go without a thread being woken.
type soak struct {
	*modelLab
	r      *rand.Rand
	reels  map[string]*reel
	frames uint64
	left   uint64
	burst  []arrival // under way, by serial number
}

// arrival is a frame as it came in.
type arrival struct {
	in  *modelPort // nil: nobody takes it
	tag int        // TCI, -1 for none
}

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{r: rand.New(rand.NewPCG(seed, 0)), reels: map[string]*reel{}}
	s.modelLab = newModelLab(t, func(l *lab, cfg PortConfig) {
		m, err := ports.NewMemory()
		if err != nil {
			t.Fatal(err)
		}
		r := &reel{Port: m}
		if err := l.sw.Attach(cfg, r); err != nil {
			t.Fatal(err)
		}
		a, _ := l.sw.find(cfg.Name)
		r.wire = a.port.wire
		s.reels[cfg.Name] = r
	})
	return s
}

// reel is a port that has the frames it was given, and keeps what is written to
// it in one piece.
type reel struct {
	ports.Port // a memory port, for the rest of the contract
	wire       *wire
	memory     []byte   // of frames
	frames     [][]byte // to be read, virtio-net header first
	out        []byte   // what left, without hdr_len
	ends       []int    // in out, of each frame
}

func (r *reel) Read(batch []frame.Frame, _ *ports.Buffers) int {
	n := min(len(batch), len(r.frames))
	for i := range n {
		batch[i].Reset(r.frames[i])
		batch[i].Untag()
	}
	r.frames = r.frames[n:]
	return n
}

func (r *reel) Release() {}

func (r *reel) Write(frames []ports.Send, _ *ports.Scratch) (res ports.Result) {
	for i := range frames {
		s := &frames[i]
		head, rest := s.Frame.Raw[:frame.VNetLen+12], s.Frame.Raw[frame.VNetLen+12:]
		if s.Tagged {
			head = s.Frame.Tagging(s.TCI)
		}
		r.out = append(append(append(r.out, head[:2]...), head[4:]...), rest...)
		r.ends = append(r.ends, len(r.out))
		res.Packets += uint64(s.Frame.Segments)
		res.Bytes += uint64(s.Frame.WireBytes(s.Tagged))
	}
	return res
}

// add makes a frame arrive.
func (r *reel) add(data []byte) {
	at := len(r.memory)
	r.memory = append(append(r.memory, make([]byte, frame.VNetLen)...), data...)
	r.frames = append(r.frames, r.memory[at:])
}

// change is an operator's.
func (s *soak) change() {
	p := s.model.ports[s.model.order[s.r.IntN(len(s.model.order))]]
	station, vid := frame.MAC{2, 0, 0, 0, 0, byte(1 + s.r.IntN(7))}, modelVIDs[s.r.IntN(len(modelVIDs))]
	switch s.r.IntN(10) {
	case 0:
		s.toggleUp(p)
	case 1, 2:
		s.toggleIsolated(p)
	case 3:
		s.flush(s.t, p.cfg.Name)
	case 4:
		s.addFDB(s.t, p, vid, station)
	case 5:
		for _, n := range modelNetworks { // so that few are pinned at a time
			s.delFDB(s.t, n.Name, vid, station)
		}
	default:
		if p.cfg.UplinkVLAN == 0 {
			s.setVLANs(p, randomVLANs(s.r.IntN))
		}
	}
	if !p.cfg.Up && s.r.IntN(2) == 0 {
		s.toggleUp(p)
	}
}

// send is some frames that come in at one interface.
func (s *soak) send(t *testing.T) {
	port := s.r.IntN(len(s.model.order))
	name := s.model.wireOf(s.model.order[port])
	in, wire := s.reels[name], s.model.wires[name]
	in.memory, s.burst = in.memory[:0], s.burst[:0]
	in.memory = slices.Grow(in.memory, 64<<10) // frames are cut from it: it must not move
	for range 1 + s.r.IntN(512) {
		data := s.frame(byte(1+port%9), uint32(len(s.burst)))
		s.model.frame(name, nil, data)
		f := modelFrame{tag: -1}
		if data[12] == 0x81 && data[13] == 0 {
			f.tag = int(binary.BigEndian.Uint16(data[14:]))
		}
		s.burst = append(s.burst, arrival{wire.taker(&f), f.tag})
		in.add(data)
	}
	s.frames += uint64(len(s.burst))
	s.sw.mu.Lock() // it stays that worker's
	w := in.wire.worker
	w.call(func() { w.drain(in.wire) })
	s.sw.mu.Unlock()
	for at, r := range s.reels {
		s.compare(t, name, at, r)
	}
}

// compare wants an interface to have sent what the model did, and nothing that
// crosses a border.
func (s *soak) compare(t *testing.T, from, at string, r *reel) {
	w := s.model.wires[at]
	same, start := len(r.ends) == len(w.out), 0
	for i, end := range r.ends {
		got := r.out[start:end]
		start = end
		same = same && string(got) == w.out[i]
		if why := s.crosses(got[frame.VNetLen-2:], w); why != "" {
			t.Errorf("from %s, at %s: %s: %x", from, at, why, got)
		}
	}
	if !same {
		var got []string
		start := 0
		for _, end := range r.ends {
			got = append(got, string(r.out[start:end]))
			start = end
		}
		t.Errorf("from %s, at %s (-want +got):\n%s", from, at, cmp.Diff(inHex(w.out), inHex(got)))
	}
	s.left += uint64(len(r.ends))
	r.out, r.ends, w.out = r.out[:0], r.ends[:0], w.out[:0]
}

// crosses says which border a frame crossed that left by an interface; "" for
// none. It looks at settings alone, not at what the model did.
func (s *soak) crosses(data []byte, w *modelWire) string {
	a := s.burst[binary.BigEndian.Uint32(data[len(data)-4:])]
	if a.in == nil {
		return "nobody takes what came"
	}
	vid := a.in.vlans.forUntagged()
	if a.in.cfg.UplinkVLAN == 0 && a.tag > 0 && a.tag%4096 != 0 {
		vid = a.tag % 4096
	}
	i := slices.IndexFunc(w.members, func(p *modelPort) bool { return p.cfg.Network == a.in.cfg.Network })
	switch {
	case w == a.in.wire:
		return "back to where it came from"
	case i < 0:
		return "into another network"
	}
	out := w.members[i]
	tag := -1
	if data[12] == 0x81 && data[13] == 0 {
		tag = int(binary.BigEndian.Uint16(data[14:])) % 4096
	}
	switch {
	case !a.in.vlans.carries(vid):
		return fmt.Sprintf("VLAN %d may not come in", vid)
	case !out.vlans.carries(vid):
		return fmt.Sprintf("VLAN %d may not go out", vid)
	case out.cfg.UplinkVLAN != 0 && tag != int(out.cfg.UplinkVLAN):
		return fmt.Sprintf("left with tag %d, not the uplink's", tag)
	case out.cfg.UplinkVLAN == 0 && out.vlans.leavesUntagged(vid) && tag != -1:
		return fmt.Sprintf("VLAN %d hopped to %d", vid, tag)
	case out.cfg.UplinkVLAN == 0 && !out.vlans.leavesUntagged(vid) && tag != vid:
		return fmt.Sprintf("VLAN %d left with tag %d", vid, tag)
	case out.cfg.UplinkVLAN == 0 && tag > 0 && slices.ContainsFunc(w.members, func(p *modelPort) bool { return int(p.cfg.UplinkVLAN) == tag }):
		return fmt.Sprintf("left with tag %d, another network's", tag)
	case out.cfg.Isolated && a.in.cfg.Isolated:
		return "between isolated ports"
	case out.cfg.Twin == a.in.cfg.Name:
		return "between twins"
	}
	return ""
}

// frame is of few stations and VLANs, most often from the one that is at home
// there, and ends in its serial number.
func (s *soak) frame(home byte, serial uint32) []byte {
	bits := s.r.Uint64()
	take := func(n uint64) uint64 {
		v := bits % n
		bits /= n
		return v
	}
	d := make([]byte, 0, 64)
	switch take(16) {
	case 0, 1:
		d = append(d, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	case 2:
		d = append(d, 0x01, 0x80, 0xc2, 0, 0, byte(take(3)))
	case 3:
		d = append(d, 0x33, 0x33, 0, 0, 0, 1)
	case 4:
		d = append(d, 2, 0, 0, 0, 1, byte(take(4)))
	default:
		d = append(d, 2, 0, 0, 0, 0, byte(1+take(9)))
	}
	if take(32) == 0 {
		home = byte(1 + take(9))
	}
	d = append(d, 2, 0, 0, 0, 0, home)
	tags := [...]uint16{0, 0xe000, 1, 10, 0x500a, 20, 30, 0x701e, 4093, 4094, 0x3ffe, 4095}
	if take(3) != 0 {
		d = binary.BigEndian.AppendUint16(append(d, 0x81, 0), tags[take(12)])
		switch take(6) {
		case 0:
			d = binary.BigEndian.AppendUint16(append(d, 0x81, 0), tags[take(12)])
		case 1:
			d = binary.BigEndian.AppendUint16(append(d, 0x88, 0xa8), tags[take(12)])
		}
	}
	if take(4) == 0 {
		hosts := [...]string{"\x0a\x00\x00\x01", "\x0a\x00\x00\x02", "\x08\x08\x08\x08"}
		d = append(d, "\x08\x00\x45\x00\x00\x18\x00\x01\x40\x00\x40\xfd\x00\x00"...)
		d = append(append(d, hosts[take(3)]...), hosts[take(3)]...)
	} else {
		d = append(d, 0x88, 0xb5)
	}
	return binary.BigEndian.AppendUint32(d, serial)
}

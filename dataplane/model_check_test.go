package dataplane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// The switch does with any frames what the model does: the same bytes at the
// same ports in the same order, and every counter the same, while ports' VLANs,
// isolation, links and MTUs change. 100 checks are more than 100,000 frames.
func TestSwitchAgainstModel(t *testing.T) {
	frames := 0
	rapid.Check(t, func(rt *rapid.T) {
		l := newModelLab(t, memory)
		defer l.close(rt)
		for range rapid.IntRange(5, 100).Draw(rt, "steps") {
			frames += l.step(rt)
		}
		l.compareCounters(rt)
	})
	t.Logf("%d frames", frames)
}

// step is a burst of frames at one port, or an operator. It returns how many
// frames came in.
func (l *modelLab) step(t *rapid.T) (frames int) {
	port := rapid.SampledFrom(l.model.order).Draw(t, "port")
	p := l.model.ports[port]
	op := rapid.IntRange(0, 19).Draw(t, "operation")
	station := frame.MAC{2, 0, 0, 0, 0, byte(rapid.IntRange(1, 7).Draw(t, "station"))}
	vid := rapid.SampledFrom(modelVIDs).Draw(t, "VLAN")
	switch op {
	case 0:
		l.toggleUp(p)
	case 1:
		l.addFDB(t, p, vid, station)
	case 2:
		l.delFDB(t, p.cfg.Network, vid, station)
	case 3:
		l.flush(t, port)
	case 4:
		mtu := rapid.SampledFrom([]int{576, 1500, 9000}).Draw(t, "MTU")
		l.update(port, func(c *PortConfig) { c.MTU = mtu })
		p.cfg.MTU = mtu
	case 5, 6:
		if p.cfg.UplinkVLAN == 0 {
			l.setVLANs(p, randomVLANs(func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "VLANs") }))
		}
	case 7:
		l.toggleIsolated(p)
	default:
		wire := l.model.wireOf(port)
		for _, seed := range rapid.SliceOfN(rapid.Uint64(), 50, 200).Draw(t, "frames") {
			vnet, data := makeFrame(seed)
			l.model.frame(wire, vnet, data)
			l.inject(wire, vnet, data, parseModel(vnet, data).n)
			frames++
		}
		l.settle()
	}
	for name, m := range l.ports {
		var got []string
		for _, raw := range m.Sent() {
			got = append(got, unmended(raw))
		}
		w := l.model.wires[name]
		if !slices.Equal(got, w.out) {
			t.Fatalf("from %s, at %s (-want +got):\n%s", port, name, cmp.Diff(inHex(w.out), inHex(got)))
		}
		w.out = nil
	}
	return frames
}

func inHex(frames []string) (text []string) {
	for _, f := range frames {
		text = append(text, fmt.Sprintf("%x", f))
	}
	return text
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
	vlans := []string{"\x00\x00", "\xe0\x00", "\x00\x01", "\x50\x0a", "\x00\x0a", "\x00\x14", "\x20\x1e", "\x0f\xfd", "\x7f\xfe", "\x0f\xfe", "\x0f\xff"}
	tag := ""
	if r.IntN(2) == 0 {
		tag = "\x81\x00" + pick(vlans...)
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
	case 2, 3: // another tag inside
		return nil, []byte(head + pick("\x81\x00"+pick(vlans...), "\x88\xa8\x00\x0a", "\x81\x00") + ipHead + ip)
	case 4: // garbage
		b := make([]byte, r.IntN(80))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return nil, b
	case 5: // checksum left to the receiver
		return []byte{1, 0, 0, 0, 0, 0, byte(len(head) + 2 + 20), 0, 6, 0}, append([]byte(head+ipHead+ip), make([]byte, 30)...)
	}
	return nil, append([]byte(head+ipHead+ip), make([]byte, r.IntN(100))...)
}

func pickInt(r *rand.Rand, s ...int) int { return s[r.IntN(len(s))] }

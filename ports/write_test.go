package ports

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gxswitch/internal/frame"
)

// kernel stands in for sendmmsg(2): verdict says what becomes of each message,
// and a call ends at the first that fails, whose errno only the next call tells.
type kernel struct {
	verdict func(raw []byte) unix.Errno
	sent    [][]byte
	calls   int
}

func (k *kernel) port() *Packet { return &Packet{Sender: &Sender{sendmmsg: k.sendmmsg}} }

func (k *kernel) sendmmsg(_ int, msgs []mmsghdr) (int, unix.Errno) {
	k.calls++
	for i := range msgs {
		var raw []byte
		for _, v := range unsafe.Slice(msgs[i].hdr.Iov, msgs[i].hdr.Iovlen) {
			raw = append(raw, unsafe.Slice(v.Base, v.Len)...)
		}
		if errno := k.verdict(raw); errno != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, errno
		}
		k.sent = append(k.sent, raw)
	}
	return len(msgs), 0
}

// refuseGSO is a kernel that takes no super-frames.
func refuseGSO(raw []byte) unix.Errno {
	if raw[1] != 0 {
		return unix.EINVAL
	}
	return 0
}

func sending(t testing.TB, vnet, data []byte) Send {
	t.Helper()
	f := &frame.Frame{}
	f.Reset(append(bytes.Clone(vnet), data...))
	if reason := f.Parse(); reason != frame.Pass {
		t.Fatalf("the test's own frame: %v", reason)
	}
	return Send{Frame: f}
}

var noVNet = make([]byte, frame.VNetLen)

// plain is a frame of 60 bytes that tells its number.
func plain(n int) []byte {
	b := make([]byte, 60)
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, byte(n >> 8), byte(n)})
	return b
}

const udp4 = "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01\x08\x00" +
	"\x45\x00\x00\x00\x00\x07\x40\x00\x40\x11\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x80\x00\x00\x09\x00\x00\x00\x00"

// A UDP super-frame of 2500 bytes payload, gso_size 1000.
func superUDP() (vnet, data []byte) {
	data = append([]byte(udp4), make([]byte, 2500)...)
	for i := range 2500 {
		data[42+i] = byte(i)
	}
	return []byte{1, 5, 42, 0, 0xe8, 0x03, 34, 0, 6, 0}, data
}

func TestWriteSegmentsWhatTheKernelRefuses(t *testing.T) {
	vnet, data := superUDP()
	for _, tagged := range []bool{false, true} {
		k := &kernel{verdict: refuseGSO}
		super := sending(t, vnet, data)
		super.Tagged, super.TCI = tagged, 0x2064
		got := k.port().Write([]Send{sending(t, noVNet, plain(1)), super, sending(t, noVNet, plain(2))}, NewScratch())
		tag := uint64(0)
		if tagged {
			tag = 4
		}
		if want := (Result{Packets: 5, Bytes: 60 + 60 + 3*(42+tag) + 2500}); got != want {
			t.Errorf("tagged %v: %+v, want %+v", tagged, got, want)
		}
		if len(k.sent) != 5 || !bytes.Equal(k.sent[0][10:], plain(1)) || !bytes.Equal(k.sent[4][10:], plain(2)) {
			t.Fatalf("tagged %v: %d frames went, or not in order", tagged, len(k.sent))
		}
		var payload []byte
		for i, raw := range k.sent[1:4] {
			d := raw[frame.VNetLen:]
			if tagged {
				if binary.BigEndian.Uint32(d[12:]) != 0x81002064 {
					t.Errorf("segment %d has tag %x", i, d[12:16])
				}
				d = append(d[:12:12], d[16:]...)
			}
			if id := binary.BigEndian.Uint16(d[18:]); id != uint16(7+i) {
				t.Errorf("segment %d has IP ID %d", i, id)
			}
			payload = append(payload, d[42:]...)
		}
		if !bytes.Equal(payload, data[42:]) {
			t.Errorf("tagged %v: the segments carry something else", tagged)
		}
	}
}

func TestWriteSegmentsAndErrors(t *testing.T) {
	vnet, data := superUDP()
	for _, c := range []struct {
		name  string
		errno unix.Errno // of the second segment
		want  Result
		calls int
	}{
		// One call refuses the super-frame, one a segment.
		{"no buffers", unix.ENOBUFS, Result{Packets: 2, Bytes: 1042 + 542, TxFull: 1}, 4},
		{"too long", unix.EMSGSIZE, Result{Packets: 2, Bytes: 1042 + 542, MTU: 1}, 4},
		{"full: the rest is not tried", unix.EAGAIN, Result{Packets: 1, Bytes: 1042, TxFull: 2}, 3},
	} {
		n := 0
		k := &kernel{verdict: func(raw []byte) unix.Errno {
			if raw[1] != 0 {
				return unix.EINVAL
			}
			if n++; n == 2 {
				return c.errno
			}
			return 0
		}}
		if got := k.port().Write([]Send{sending(t, vnet, data)}, NewScratch()); got != c.want || k.calls != c.calls {
			t.Errorf("%s: %+v in %d calls, want %+v in %d", c.name, got, k.calls, c.want, c.calls)
		}
	}
}

func TestWriteUnsupportedGSO(t *testing.T) {
	k := &kernel{verdict: refuseGSO}
	// Inside a tunnel: the switch does not know what lies around it.
	data := append([]byte(udp4+"\x08\x00\x00\x00\x00\x00\x01\x00"+udp4), make([]byte, 2500)...)
	super := sending(t, []byte{1, 5, 92, 0, 0xe8, 0x03, 84, 0, 6, 0}, data)
	got := k.port().Write([]Send{super, sending(t, noVNet, plain(1))}, NewScratch())
	if want := (Result{Packets: 1, Bytes: 60, UnsupportedGSO: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Each letter is what the kernel says to one frame.
var errnos = map[rune]unix.Errno{
	'.': 0, 'a': unix.EAGAIN, 'b': unix.ENOBUFS, 'm': unix.EMSGSIZE, 'v': unix.EINVAL, 'd': unix.ENETDOWN, 'x': unix.ENXIO,
}

// deal writes a frame a letter and returns the result and who went out.
func deal(t testing.TB, letters string) (Result, string) {
	t.Helper()
	k := &kernel{verdict: func(raw []byte) unix.Errno {
		return errnos[rune(letters[binary.BigEndian.Uint16(raw[frame.VNetLen+14:])])]
	}}
	var frames []Send
	for i := range letters {
		frames = append(frames, sending(t, noVNet, plain(i)))
	}
	r := k.port().Write(frames, NewScratch())
	out := []byte(strings.Repeat("-", len(letters)))
	last := -1
	for _, raw := range k.sent {
		n := int(binary.BigEndian.Uint16(raw[frame.VNetLen+14:]))
		if n <= last {
			t.Fatalf("%s: frame %d after frame %d", letters, n, last)
		}
		last, out[n] = n, '+'
	}
	return r, string(out)
}

func TestWriteErrors(t *testing.T) {
	for _, c := range []struct {
		kernel, out string
		want        Result
	}{
		{"", "", Result{}},
		{"...", "+++", Result{Packets: 3}},
		{"b..", "-++", Result{Packets: 2, TxFull: 1}},
		{"..b", "++-", Result{Packets: 2, TxFull: 1}},
		{".bb.", "+--+", Result{Packets: 2, TxFull: 2}},
		{".m.v.", "+-+-+", Result{Packets: 3, MTU: 1, TxFull: 1}},
		{".a..", "+---", Result{Packets: 1, TxFull: 3}}, // nothing fits: the batch ends here
		{"a", "-", Result{TxFull: 1}},
		{"mbm", "---", Result{MTU: 2, TxFull: 1}},
		{"ddd", "---", Result{TxFull: 3}},
		{".x.", "+-+", Result{Packets: 2, TxFull: 1}},
		{strings.Repeat(".", 64) + "m" + strings.Repeat(".", 64), strings.Repeat("+", 64) + "-" + strings.Repeat("+", 64),
			Result{Packets: 128, MTU: 1}},
		{strings.Repeat(".", 63) + "a.", strings.Repeat("+", 63) + "-+", Result{Packets: 64, TxFull: 1}}, // the next batch is tried
	} {
		c.want.Bytes = 60 * c.want.Packets
		if got, out := deal(t, c.kernel); got != c.want || out != c.out {
			t.Errorf("%s: %s %+v\n want %s %+v", c.kernel, out, got, c.out, c.want)
		}
	}
}

// A super-frame that does not go is as many drops as it is frames of the wire.
func TestWriteErrorsOfSuperFrames(t *testing.T) {
	vnet, data := superUDP()
	for _, c := range []struct {
		errno unix.Errno
		want  Result
	}{
		{unix.EMSGSIZE, Result{Packets: 1, Bytes: 60, MTU: 3}},
		{unix.ENOBUFS, Result{Packets: 1, Bytes: 60, TxFull: 3}},
		{unix.EAGAIN, Result{TxFull: 4}}, // and the frame behind it
	} {
		k := &kernel{verdict: func(raw []byte) unix.Errno {
			if raw[1] != 0 {
				return c.errno
			}
			return 0
		}}
		if got := k.port().Write([]Send{sending(t, vnet, data), sending(t, noVNet, plain(1))}, NewScratch()); got != c.want {
			t.Errorf("%v: %+v, want %+v", c.errno, got, c.want)
		}
	}
}

func TestWriteInterrupted(t *testing.T) {
	interrupted := false
	k := &kernel{verdict: func([]byte) unix.Errno {
		if interrupted = !interrupted; interrupted {
			return unix.EINTR
		}
		return 0
	}}
	got := k.port().Write([]Send{sending(t, noVNet, plain(1)), sending(t, noVNet, plain(2))}, NewScratch())
	if want := (Result{Packets: 2, Bytes: 120}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Every frame is sent or in one drop counter, whatever the kernel says.
func TestWriteAccountsForEveryFrame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		letters := rapid.StringOfN(rapid.RuneFrom([]rune("......abmvdx")), 0, 200, -1).Draw(rt, "kernel")
		var want Result
		out := []byte(letters)
		full := false
		for i, l := range letters {
			full = full && i%BatchSize != 0
			full = full || l == 'a'
			out[i] = '-'
			switch {
			case full:
				want.TxFull++
			case l == '.':
				want.Packets++
				out[i] = '+'
			case l == 'm':
				want.MTU++
			default:
				want.TxFull++
			}
		}
		want.Bytes = 60 * want.Packets
		if got, went := deal(t, letters); got != want || went != string(out) {
			rt.Errorf("%s\n%s %+v\n%s %+v wanted", letters, went, got, out, want)
		}
	})
}

func TestWriteDoesNotAllocate(t *testing.T) {
	p := &Sender{sendmmsg: func(_ int, msgs []mmsghdr) (int, unix.Errno) { return len(msgs), 0 }}
	var frames []Send
	for i := range BatchSize {
		s := sending(t, noVNet, plain(i))
		s.Tagged, s.TCI = i%2 == 1, uint16(i)
		frames = append(frames, s)
	}
	scratch := NewScratch()
	if n := testing.AllocsPerRun(100, func() { p.Write(frames, scratch) }); n != 0 {
		t.Errorf("a batch allocates %v times", n)
	}
}

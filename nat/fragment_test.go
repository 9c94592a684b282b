package nat

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"gxswitch/internal/frame"
)

const testL3 = frame.VNetLen + frame.HeaderLen

// fragmentOf cuts length bytes at offset out of what an IP header without options
// carries.
func fragmentOf(raw []byte, offset, length int, more bool) []byte {
	f := slices.Concat(raw[:testL3+ipLen], raw[testL3+ipLen+offset:testL3+ipLen+offset+length])
	d := f[testL3:]
	word := uint16(offset / 8)
	if more {
		word |= moreFragments
	}
	binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
	binary.BigEndian.PutUint16(d[6:], word)
	d[10], d[11] = 0, 0
	binary.BigEndian.PutUint16(d[10:], ^frame.Sum(d[:ipLen]))
	return f
}

// reassemble puts fragments together, in order, as a receiver does.
func reassemble(t *testing.T, fs ...[]byte) []byte {
	t.Helper()
	raw := slices.Clone(fs[0][:testL3+ipLen])
	for _, f := range fs {
		if frame.Sum(f[testL3:testL3+ipLen]) != 0xffff {
			t.Errorf("IP checksum of % x", f[testL3:testL3+ipLen])
		}
		if !bytes.Equal(f[testL3+4:testL3+6], fs[0][testL3+4:testL3+6]) || !bytes.Equal(f[testL3+12:testL3+20], fs[0][testL3+12:testL3+20]) {
			t.Errorf("not of one packet: % x", f[testL3:testL3+ipLen])
		}
		raw = append(raw, f[testL3+ipLen:]...)
	}
	d := raw[testL3:]
	binary.BigEndian.PutUint16(d[2:], uint16(len(d)))
	copy(d[4:], []byte{0, 7, 0, 0}) // as build makes it
	d[10], d[11] = 0, 0
	binary.BigEndian.PutUint16(d[10:], ^frame.Sum(d[:ipLen]))
	return raw
}

func TestFragmentsFollowTheFirst(t *testing.T) {
	for name, b := range map[string]build{"UDP": udp(300), "UDP, without checksum": with(udp(300), func(raw []byte) []byte { raw[50], raw[51] = 0, 0; return raw })} {
		n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 53}
		whole := b(g, r)
		fs := [][]byte{fragmentOf(whole, 0, 104, true), fragmentOf(whole, 104, 104, true), fragmentOf(whole, 208, 100, false)}
		var e end
		for i, f := range fs {
			v := n.Outbound(f, numberA, at+int64(i))
			if v.To != Outside {
				t.Fatalf("%s: fragment %d: %v, %v", name, i, v.To, v.Reason)
			}
			if i == 0 {
				e, _ = packetOf(t, f)
			}
		}
		if got, want := reassemble(t, fs...), b(e, r); !bytes.Equal(got, want) {
			t.Errorf("%s, out:\n got % x\nwant % x", name, head(got), head(want))
		}

		whole = b(r, e)
		fs = [][]byte{fragmentOf(whole, 0, 200, true), fragmentOf(whole, 200, 108, false)}
		for i, f := range fs {
			if v := n.Inbound(f, at); v.To != Inside {
				t.Fatalf("%s: fragment %d: %v, %v", name, i, v.To, v.Reason)
			}
		}
		if got, want := reassemble(t, fs...), b(r, g); !bytes.Equal(got, want) {
			t.Errorf("%s, in:\n got % x\nwant % x", name, head(got), head(want))
		}
	}
}

func TestFragmentsOfTwoGuestsStayApart(t *testing.T) {
	n, r := newTable(t, nil), end{remote, 53}
	a, b := udp(100)(end{guestA, 1}, r), udp(100)(end{guestB, 1}, r) // of one identification
	fa, fb := fragmentOf(a, 0, 16, true), fragmentOf(b, 0, 16, true)
	outbound(t, n, numberA, fa, Outside, at)
	outbound(t, n, numberB, fb, Outside, at)
	la, lb := fragmentOf(a, 16, 92, false), fragmentOf(b, 16, 92, false)
	n.Outbound(la, numberA, at)
	n.Outbound(lb, numberB, at)
	id := func(raw []byte) uint16 { return binary.BigEndian.Uint16(raw[testL3+4:]) }
	if id(fa) != id(la) || id(fb) != id(lb) || id(fa) == id(fb) {
		t.Errorf("A is %d, %d; B is %d, %d", id(fa), id(la), id(fb), id(lb))
	}
}

func TestFragmentsThatHideOrComeLateAreDropped(t *testing.T) {
	n, g, r := newTable(t, nil), end{guestA, 40000}, end{remote, 53}
	out := func(now int64) func([]byte) Verdict {
		return func(raw []byte) Verdict { return n.Outbound(raw, numberA, now) }
	}
	whole := udp(300)(g, r)
	outbound(t, n, numberA, fragmentOf(whole, 0, 104, true), Outside, at)
	dropped(t, "over the first", out(at), fragmentOf(whole, 96, 104, true), frame.Malformed)
	dropped(t, "over the ports", out(at), fragmentOf(whole, 8, 104, true), frame.Malformed)
	dropped(t, "late", out(at+fragmentSeconds+1), fragmentOf(whole, 104, 104, true), frame.NATNoSession)
}

func TestFloodOfFirstFragmentsLeavesOthersThrough(t *testing.T) {
	n, r := newTable(t, nil), end{remote, 53}
	a, b := udp(100)(end{guestA, 1}, r), udp(100)(end{guestB, 1}, r)
	flood := func(from, to int) {
		for id := from; id < to; id++ {
			f := fragmentOf(a, 0, 16, true)
			binary.BigEndian.PutUint16(f[testL3+4:], uint16(id))
			outbound(t, n, numberA, f, Outside, at)
		}
	}
	flood(0, 10000)
	outbound(t, n, numberB, fragmentOf(b, 0, 16, true), Outside, at)
	flood(10000, 30000)
	if v := n.Outbound(fragmentOf(b, 16, 92, false), numberB, at); v.To != Outside {
		t.Errorf("%v, %v", v.To, v.Reason)
	}
}

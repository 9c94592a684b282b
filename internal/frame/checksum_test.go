package frame

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// packetWithSum is an even number of bytes whose first two are the checksum of
// the rest, finished by finish.
func packetWithSum(b []byte, finish func(sum uint16) uint16) []byte {
	b = bytes.Clone(b)
	b[0], b[1] = 0, 0
	binary.BigEndian.PutUint16(b, finish(Sum(b)))
	return b
}

func complete(s uint16) uint16 { return ^s }
func partial(s uint16) uint16  { return s }
func udpSum(s uint16) uint16 {
	if s == 0xffff {
		return 0xffff
	}
	return ^s
}

func TestPatchedChecksumIsTheFullOne(t *testing.T) {
	for name, c := range map[string]struct {
		finish func(uint16) uint16
		patch  func(ChecksumDelta, []byte)
	}{
		"complete": {complete, ChecksumDelta.Patch},
		"UDP":      {udpSum, ChecksumDelta.PatchUDP},
		"partial":  {partial, ChecksumDelta.PatchPartial},
	} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			// Words of few values, so that sums of zero come up.
			words := rapid.SliceOfN(rapid.SampledFrom([]uint16{0, 1, 0x8000, 0xfffe, 0xffff, 0x1234}), 8, 20).Draw(t, "words")
			words[7] = 1 // a packet is never all zero, and no change makes it so
			was := make([]byte, 0, 40)
			for _, w := range words {
				was = binary.BigEndian.AppendUint16(was, w)
			}
			was = packetWithSum(was, c.finish)

			is := bytes.Clone(was)
			a, p := rapid.Uint32().Draw(t, "address"), rapid.SampledFrom([]uint16{0, 0xffff, 80}).Draw(t, "port")
			binary.BigEndian.PutUint32(is[4:], a)
			binary.BigEndian.PutUint16(is[8:], p)
			want := packetWithSum(is, c.finish)

			delta := ChecksumDelta(0).
				Replace32(binary.BigEndian.Uint32(was[4:]), a).
				Replace16(binary.BigEndian.Uint16(was[8:]), p)
			c.patch(delta, is)
			if !bytes.Equal(is, want) {
				t.Fatalf("patched % x, in full % x", is[:2], want[:2])
			}
		}))
	}
}

func TestUDPWithoutChecksumStaysWithout(t *testing.T) {
	field := []byte{0, 0}
	ChecksumDelta(0).Replace32(1, 2).PatchUDP(field)
	if field[0]|field[1] != 0 {
		t.Errorf("% x", field)
	}
}

func TestWrongChecksumStaysWrong(t *testing.T) {
	b := packetWithSum([]byte{0, 0, 1, 2, 3, 4}, complete)
	b[1] ^= 4
	binary.BigEndian.PutUint16(b[2:], 0x0a0b)
	ChecksumDelta(0).Replace16(0x0102, 0x0a0b).Patch(b)
	if Sum(b) == 0xffff {
		t.Error("a damaged packet was made good")
	}
}

func TestPartialChecksum(t *testing.T) {
	raw := make([]byte, VNetLen)
	if _, ok := PartialChecksum(raw); ok {
		t.Error("complete, and called partial")
	}
	raw[0], raw[6] = 1, 34
	if at, ok := PartialChecksum(raw); !ok || at != 34 {
		t.Errorf("begins at %d, %v; want 34", at, ok)
	}
}

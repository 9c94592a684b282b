package porttest

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/ports"
)

// numbered is a frame of that length, header included, that tells its number.
func numbered(n uint32, length int) []byte {
	b := make([]byte, length)
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}) // local experimental EtherType
	for i := 14; i < length; i++ {
		b[i] = byte(n) + byte(i)
	}
	if length >= 18 {
		binary.BigEndian.PutUint32(b[14:], n)
	}
	return b
}

func number(data []byte) uint32 { return binary.BigEndian.Uint32(data[14:]) }

// out makes a frame to write, as a worker has it after Parse.
func out(t *testing.T, vnet, data []byte) ports.Send {
	t.Helper()
	raw := make([]byte, frame.VNetLen+len(data))
	copy(raw, vnet)
	copy(raw[frame.VNetLen:], data)
	f := &frame.Frame{}
	f.Reset(raw)
	if reason := f.Parse(); reason != frame.Pass {
		t.Fatalf("the test's own frame: %v", reason)
	}
	return ports.Send{Frame: f}
}

func tagged(s ports.Send, tci uint16) ports.Send {
	s.Tagged, s.TCI = true, tci
	return s
}

// sameVNet compares what virtio-net headers ask for. Fields without their flag
// mean nothing, and DATA_VALID is a receiver's own knowledge.
func sameVNet(a, b []byte) bool { return slices.Equal(meaning(a), meaning(b)) }

func meaning(h []byte) []byte {
	m := make([]byte, frame.VNetLen)
	if len(h) < frame.VNetLen {
		return m
	}
	if h[0]&1 != 0 { // NEEDS_CSUM
		m[0] = 1
		copy(m[6:], h[6:])
	}
	if h[1] != 0 {
		copy(m[1:2], h[1:])
		copy(m[4:6], h[4:])
	}
	return m
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// insert puts a tag behind the MACs.
func insert(data []byte, tag string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(tag, " ", ""))
	if err != nil {
		panic(err)
	}
	return append(append(data[:12:12], b...), data[12:]...)
}

// brief shows a frame as far as a reader wants it.
func brief(d []byte) string {
	if len(d) > 64 {
		return fmt.Sprintf("%x… (%d bytes)", d[:64], len(d))
	}
	return fmt.Sprintf("%x (%d bytes)", d, len(d))
}

package traffic

import (
	"encoding/binary"
	"fmt"

	"gxswitch/bench/rig"
	"gxswitch/internal/frame"
)

// A test frame is UDP over IPv4, without a UDP checksum, as long as asked:
//
//	 0 dst MAC  6 src MAC  12 0x0800
//	14 IPv4 header
//	34 UDP header, to the discard port
//	42 magic (2)  44 flow (2)  46 sequence number (4)  50 time sent (8)
//	58 pattern
//
// The shortest frame, 60 bytes and 64 with FCS, holds all but the pattern.
const (
	offSource  = 26 // address
	offPorts   = 34
	offMagic   = 42
	offFlow    = 44
	offSeq     = 46
	offTime    = 50
	offPattern = 58

	magic       = 0x6778
	discardPort = 9
	sourcePort  = 0x6778

	// MinLen and MaxLen are a test frame's, without FCS.
	MinLen = 60
	MaxLen = 1514

	// FCS is what the wire adds: frame sizes are named with it (RFC 2544, 9).
	FCS = 4
)

// IMIX is the lengths of the simple Internet mix: of twelve frames seven have 64
// bytes with FCS, four 594, and one 1518.
func IMIX() []int { return []int{60, 590, 60, 60, 590, 60, 1514, 60, 590, 60, 60, 590} }

// Stream is what a generator sends.
type Stream struct {
	Lane rig.Lane
	Flow uint16
	Len  []int // lengths without FCS, one frame each, over and over

	// Where not empty, frames take their addresses from here in turn, instead
	// of the lane's.
	SrcMACs, DstMACs []frame.MAC

	// Sessions gives every frame a source port, and with it a session, of its own.
	Sessions bool
}

// A remote port is asked sessionsEach times before the next one is: NAT may have
// few ports of its own for each (gxswitch has 4536). Source ports begin behind the
// well-known ones; they come again after the remote port has changed.
const (
	sessionsEach  = 4096
	firstSource   = 1024
	sourcePorts   = 15 * sessionsEach
	firstSessions = 10000
)

// sessionPorts are those of a frame.
func sessionPorts(seq uint32) (src, dst uint16) {
	return uint16(firstSource + seq%sourcePorts), uint16(firstSessions + seq/sessionsEach)
}

func (s Stream) check() error {
	if len(s.Len) == 0 || len(s.Len) > batch {
		return fmt.Errorf("stream of %d different lengths: want 1 to %d", len(s.Len), batch)
	}
	for _, n := range s.Len {
		if n < MinLen || n > MaxLen {
			return fmt.Errorf("frame of %d bytes: want %d to %d", n, MinLen, MaxLen)
		}
	}
	return nil
}

// build makes a frame of n bytes with sequence number 0.
func (s Stream) build(n int) []byte {
	f := make([]byte, n)
	copy(f[0:], s.Lane.To.MAC[:])
	copy(f[6:], s.Lane.From.MAC[:])
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[14:34]
	ip[0] = 0x45
	binary.BigEndian.PutUint16(ip[2:], uint16(n-14))
	binary.BigEndian.PutUint16(ip[6:], 0x4000) // don't fragment
	ip[8], ip[9] = 64, 17
	src, dst := s.Lane.From.Addr.As4(), s.Lane.To.Addr.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], ^sum(ip))
	binary.BigEndian.PutUint16(f[offPorts:], sourcePort)
	binary.BigEndian.PutUint16(f[offPorts+2:], discardPort)
	binary.BigEndian.PutUint16(f[offPorts+4:], uint16(n-34))
	mark(f[offMagic:], s.Flow)
	for i := offPattern; i < n; i++ {
		f[i] = byte(i)
	}
	return f
}

// mark makes payload one that receivers know.
func mark(payload []byte, flow uint16) {
	binary.BigEndian.PutUint16(payload[0:], magic)
	binary.BigEndian.PutUint16(payload[offFlow-offMagic:], flow)
}

// sum is the Internet checksum's sum (RFC 1071), not complemented.
func sum(b []byte) uint16 {
	var s uint32
	for i := 0; i < len(b); i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

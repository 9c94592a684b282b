// Package frame is the switch's view of an Ethernet frame: its bytes, its
// 802.1Q tag, and what the kernel says about unfinished checksums and
// segmentation (virtio-net header).
//
// A Frame is one slot of a batch that is used again and again. Its bytes are
// borrowed from the port that received it and are not written to, but for the
// virtio-net header's hdr_len: a tag is put on by a second header beside the
// frame (Tagged), so that one frame can leave tagged at one port and untagged
// at another without a copy.
//
// The package does no I/O and is not safe for concurrent use of one Frame.
package frame

import "encoding/binary"

// Lengths in bytes.
const (
	HeaderLen = 14                         // destination, source, EtherType
	TagLen    = 4                          // 802.1Q tag
	MaxLen    = 65535 + HeaderLen + TagLen // the longest frame an interface can hand over
)

// EtherTypes the switch looks at.
const (
	EtherTypeIPv4 = 0x0800
	EtherTypeARP  = 0x0806
	EtherTypeVLAN = 0x8100 // C-TAG, 802.1Q-2018, table 9-1
	EtherTypeIPv6 = 0x86dd
	EtherTypeQinQ = 0x88a8 // S-TAG: payload to this switch
)

// Frame is one received frame, or one GSO super-frame that stands for several
// frames of the wire.
type Frame struct {
	// Raw is the virtio-net header (VNetLen bytes) and the frame without its
	// outer 802.1Q tag, in one piece, as a socket with PACKET_VNET_HDR sends it.
	Raw []byte
	// TCI is the outer 802.1Q tag's PCP, DEI and VID; 0 if there was none.
	TCI uint16
	// Tagged tells a frame that came with an 802.1Q tag, be its VID 0.
	Tagged bool
	// Source is the number of the port it came from, on a wire that carries the
	// frames of many.
	Source uint16
	// Truncated tells that the port could not take all of it; only the first
	// bytes are in Raw, and the frame can't be sent on.
	Truncated bool

	// Set by Parse:

	Segments int // frames this is on the wire, 1 without GSO
	Len      int // length of the longest of them, without the outer tag
	Bytes    int // length of all of them, without outer tags

	tagged    [VNetLen + 12 + TagLen]byte // see Tagging
	hasTagged bool
}

// Reset prepares the slot for the next frame.
func (f *Frame) Reset(raw []byte) {
	f.Raw, f.TCI, f.Tagged, f.Source, f.Truncated, f.hasTagged = raw, 0, false, 0, false, false
}

// Data is the frame from its destination MAC on, without outer 802.1Q tag.
func (f *Frame) Data() []byte { return f.Raw[VNetLen:] }

// VID is the VLAN identifier that the outer tag carries, 0 without one.
func (f *Frame) VID() uint16 { return f.TCI & 0x0fff }

// HasInnerTag reports whether an 802.1Q tag is left in the frame's bytes, behind
// the outer one that is not.
func (f *Frame) HasInnerTag() bool { return f.Raw[VNetLen+12] == 0x81 && f.Raw[VNetLen+13] == 0 }

// Parse checks the frame and works out what it is on the wire. It returns Pass
// or the reason to drop it; also a dropped frame has Segments and Bytes.
func (f *Frame) Parse() DropReason {
	d := f.Raw[VNetLen:]
	f.Segments, f.Len, f.Bytes = 1, len(d), len(d)
	if f.Truncated {
		return RingFull
	}
	if len(d) < HeaderLen {
		return Malformed
	}
	if d[6]&1 != 0 || binary.LittleEndian.Uint32(d[6:])|uint32(binary.LittleEndian.Uint16(d[10:])) == 0 {
		return Malformed
	}
	if binary.LittleEndian.Uint32(d) == 0x00c28001 && d[4] == 0 && d[5] >= 1 && d[5] <= 0x0f {
		return Reserved
	}
	if f.Raw[1] != gsoNone {
		return f.parseGSO(d)
	}
	return Pass
}

// WireBytes is what the frame costs on the wire, without FCS: every segment
// with its own headers, and its tag where it is tagged.
func (f *Frame) WireBytes(tagged bool) int {
	if tagged {
		return f.Bytes + TagLen*f.Segments
	}
	return f.Bytes
}

// Tagging returns the frame's first bytes with its outer 802.1Q tag put in:
// virtio-net header, both MACs, tag. Sent before Raw[VNetLen+12:], it makes the
// tagged frame. The bytes belong to f and last until its next Reset.
func (f *Frame) Tagging(tci uint16) []byte {
	if f.hasTagged && binary.BigEndian.Uint16(f.tagged[VNetLen+14:]) == tci {
		return f.tagged[:]
	}
	copy(f.tagged[:VNetLen+12], f.Raw)
	shiftVNet(f.tagged[:VNetLen], TagLen)
	binary.BigEndian.PutUint16(f.tagged[VNetLen+12:], EtherTypeVLAN)
	binary.BigEndian.PutUint16(f.tagged[VNetLen+14:], tci)
	f.hasTagged = true
	return f.tagged[:]
}

// Untag takes an 802.1Q tag out of bytes that carry one right after the MACs,
// for ports whose kernel does not do it. room is what precedes the frame in
// memory: the virtio-net header and the MACs move 4 bytes towards the end, and
// the frame's new Raw is returned in f.
func (f *Frame) Untag() {
	d := f.Raw[VNetLen:]
	if len(d) < HeaderLen+TagLen || binary.BigEndian.Uint16(d[12:]) != EtherTypeVLAN {
		return
	}
	f.TCI, f.Tagged = binary.BigEndian.Uint16(d[14:]), true
	shiftVNet(f.Raw[:VNetLen], -TagLen)
	copy(f.Raw[TagLen:], f.Raw[:VNetLen+12])
	f.Raw = f.Raw[TagLen:]
}

// Retag puts back a tag of another kind (802.1ad) that the kernel took out:
// to this switch it is payload. mem[off:] is the virtio-net header and frame,
// mem[off-TagLen:off] is free. The new Raw begins at off-TagLen.
func Retag(mem []byte, off int, tpid, tci uint16) []byte {
	raw := mem[off-TagLen:]
	copy(raw, raw[TagLen:TagLen+VNetLen+12])
	shiftVNet(raw[:VNetLen], TagLen)
	binary.BigEndian.PutUint16(raw[VNetLen+12:], tpid)
	binary.BigEndian.PutUint16(raw[VNetLen+14:], tci)
	return raw
}

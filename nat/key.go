package nat

import "math/bits"

// side is where a packet comes from.
type side uint8

const (
	inside side = iota
	outside
)

// key names the packets of one direction of a session, in two words so that a
// comparison is two instructions:
//
//	addrs  63 source 32 | 31 destination 0
//	ends   63 source port 48 | 47 destination port 32 | 15 protocol 8 | 0 side
//
// An echo request has its identifier as source port, and a reply as destination
// port; the other is 0.
type key struct{ addrs, ends uint64 }

func makeKey(from side, proto uint8, src, dst uint32, sport, dport uint16) key {
	return key{uint64(src)<<32 | uint64(dst), uint64(sport)<<48 | uint64(dport)<<32 | uint64(proto)<<8 | uint64(from)}
}

func (k key) src() uint32   { return uint32(k.addrs >> 32) }
func (k key) dst() uint32   { return uint32(k.addrs) }
func (k key) sport() uint16 { return uint16(k.ends >> 48) }
func (k key) dport() uint16 { return uint16(k.ends >> 32) }
func (k key) proto() uint8  { return uint8(k.ends >> 8) }
func (k key) from() side    { return side(k.ends & 1) }

// reversed is the key of what answers k, coming from that side.
func (k key) reversed(from side) key {
	return makeKey(from, k.proto(), k.dst(), k.src(), k.dport(), k.sport())
}

func (k key) withDport(port uint16) key {
	k.ends = k.ends&^(0xffff<<32) | uint64(port)<<32
	return k
}

// seed makes a hash that nobody can foresee who does not know it.
type seed [3]uint64

// hash is two rounds of multiplication to 128 bits, each folded to 64, as wyhash
// does it.
func (s *seed) hash(k key) uint64 {
	hi, lo := bits.Mul64(k.addrs^s[0], k.ends^s[1])
	hi, lo = bits.Mul64(hi^lo^s[2], s[1]|1)
	return hi ^ lo
}

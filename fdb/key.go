package fdb

import (
	"encoding/binary"

	"gxswitch/internal/frame"
)

// Key names a station: VLAN<<48 | MAC, one word so that a comparison is one
// instruction. Keys order by VLAN, then by address. The zero Key names no
// station: no VLAN is 0 and no source address is null.
type Key uint64

// MakeKey is the key of mac on vlan.
func MakeKey(vlan uint16, mac frame.MAC) Key { return KeyFromBytes(vlan, mac[:]) }

// KeyFromBytes is the key of the address in the first six bytes of b, which
// may be a frame at its destination or source address. It panics where b is
// shorter.
func KeyFromBytes(vlan uint16, b []byte) Key {
	_ = b[5]
	return Key(vlan)<<48 | Key(binary.BigEndian.Uint32(b))<<16 | Key(binary.BigEndian.Uint16(b[4:]))
}

// VLAN is the VLAN the station was heard on.
func (k Key) VLAN() uint16 { return uint16(k >> 48) }

// MAC is the station's address.
func (k Key) MAC() frame.MAC {
	return frame.MAC{byte(k >> 40), byte(k >> 32), byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}
}

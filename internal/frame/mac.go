package frame

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// MAC is a 48-bit Ethernet address (IEEE 802-2014, 8.2). It is comparable and
// its zero value is the null address, which no station may use as a source.
type MAC [6]byte

// Broadcast is the address every station listens to.
var Broadcast = MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

var errMAC = errors.New("want six hexadecimal octets, as in 00:16:3e:11:22:33")

// ParseMAC reads six octets of two hexadecimal digits each, separated by
// colons or by hyphens.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 {
		return MAC{}, fmt.Errorf("MAC address %q: %w", s, errMAC)
	}
	sep := s[2]
	for i := range m {
		if _, err := hex.Decode(m[i:i+1], []byte(s[3*i:3*i+2])); err != nil {
			return MAC{}, fmt.Errorf("MAC address %q: %w", s, errMAC)
		}
		if i < 5 && (s[3*i+2] != sep || sep != ':' && sep != '-') {
			return MAC{}, fmt.Errorf("MAC address %q: %w", s, errMAC)
		}
	}
	return m, nil
}

// String is the address in lower case with colons.
func (m MAC) String() string {
	const digits = "0123456789abcdef"
	var b [17]byte
	for i, o := range m {
		if i > 0 {
			b[3*i-1] = ':'
		}
		b[3*i], b[3*i+1] = digits[o>>4], digits[o&15]
	}
	return string(b[:])
}

// IsZero reports whether m is the null address.
func (m MAC) IsZero() bool { return m == MAC{} }

// IsMulticast reports whether the group bit is set; broadcast is multicast.
func (m MAC) IsMulticast() bool { return m[0]&1 != 0 }

// IsReserved reports whether m is one of 01:80:c2:00:00:01 to 0f, which a
// bridge must not forward (802.1Q-2018, table 8-1). The first of the block,
// …:00, carries BPDUs and is for the spanning tree to decide on.
func (m MAC) IsReserved() bool {
	return m[0] == 0x01 && m[1] == 0x80 && m[2] == 0xc2 && m[3] == 0 && m[4] == 0 && m[5] >= 1 && m[5] <= 0x0f
}

// MarshalText implements encoding.TextMarshaler. The null address is "".
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. "" is the null address.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	p, err := ParseMAC(string(b))
	if err == nil {
		*m = p
	}
	return err
}

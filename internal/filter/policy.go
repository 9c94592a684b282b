package filter

import (
	"net/netip"
	"slices"

	"gxswitch/internal/frame"
)

// Antispoof is how far a guest must be who it says it is.
type Antispoof uint8

// The modes. Each includes the one before it.
const (
	Off   Antispoof = iota
	MAC             // its MAC: Ethernet source, ARP and ND, DHCP requests
	MACIP           // also its IP addresses
)

var antispoofWords = [...]string{Off: "off", MAC: "mac", MACIP: "mac+ip"}

// ParseAntispoof reads "off", "mac" or "mac+ip". The error is an *Error.
func ParseAntispoof(s string) (Antispoof, error) {
	at := 0
	for i, w := range antispoofWords {
		if s == w {
			return Antispoof(i), nil
		}
		n := 0
		for n < len(s) && n < len(w) && s[n] == w[n] {
			n++
		}
		at = max(at, n)
	}
	return Off, &Error{What: "antispoof", Text: s, Pos: at + 1, Msg: "no such mode", Hint: "want off, mac or mac+ip"}
}

// String is the word that users see.
func (a Antispoof) String() string { return antispoofWords[a] }

// MarshalText implements encoding.TextMarshaler.
func (a Antispoof) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Antispoof) UnmarshalText(b []byte) error {
	v, err := ParseAntispoof(string(b))
	if err == nil {
		*a = v
	}
	return err
}

// Policy is what one port is held to. The zero Policy refuses nothing.
type Policy struct {
	Antispoof Antispoof
	MAC       frame.MAC    // the guest's; zero: the source of its first frame
	IP        []netip.Addr // these and no others, in either family; empty: what DHCP gives it

	RAGuard   bool
	DHCPGuard bool
	BPDUGuard bool
}

// Equal reports whether the two say the same. The order of addresses counts.
func (p Policy) Equal(q Policy) bool {
	return p.Antispoof == q.Antispoof && p.MAC == q.MAC && slices.Equal(p.IP, q.IP) &&
		p.RAGuard == q.RAGuard && p.DHCPGuard == q.DHCPGuard && p.BPDUGuard == q.BPDUGuard
}

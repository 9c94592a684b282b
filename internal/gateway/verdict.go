package gateway

import (
	"net/netip"

	"gxswitch/internal/frame"
	"gxswitch/nat"
)

// Verdict is what becomes of a packet.
type Verdict struct {
	To Place
	// Reason is why the packet is dropped, frame.Pass if it is not.
	Reason frame.DropReason
	// Resolved tells that the next hop's MAC address was known, and that both of the
	// frame's have been written.
	Resolved bool
	// Fragment tells a packet that is longer than the link's MTU and may be cut, see
	// Gateway.Fragment.
	Fragment bool
	// Error is what to tell the sender of a packet that is dropped; zero: nothing.
	Error ICMPError
	// NextHop is whose MAC address the frame needs, of a packet to a side.
	NextHop netip.Addr
	// Session is of which session of the NAT's a packet to a side is, where a Bypass
	// could have rewritten it.
	Session nat.Ref
}

// Place is where a packet goes.
type Place uint8

// The places. A packet to a side has been rewritten, and one to another gateway by
// NAT; one that is dropped or the Host's has not.
const (
	Dropped Place = iota
	Host          // to the host's own stack
	ToInside
	ToOutside
	Beside // to the gateway whose guest it is for: see RouteBeside
)

func (p Place) String() string {
	return [...]string{"dropped", "host", "to inside", "to outside", "beside"}[p]
}

func drop(r frame.DropReason) Verdict { return Verdict{Reason: r} }

func placeOf(s Side) Place { return ToInside + Place(s) }

package nat

import (
	"net/netip"

	"gxswitch/internal/frame"
)

// Verdict is what becomes of a packet.
type Verdict struct {
	To Place
	// Reason is why the packet is dropped, frame.Pass if it is not.
	Reason frame.DropReason
	// Dst is the packet's destination address, as it is now, of a packet to Inside
	// or Outside.
	Dst netip.Addr
	// Session is of which session it is, where a Bypass could have rewritten it.
	Session Ref
}

// Place is where a packet goes.
type Place uint8

// The places. A packet to Inside or Outside has been rewritten, one that is
// dropped or the Host's has not.
const (
	Dropped Place = iota
	Inside        // to a guest
	Outside       // by the uplink
	Host          // to the host's own stack
)

func (p Place) String() string {
	return [...]string{"dropped", "inside", "outside", "host"}[p]
}

func drop(r frame.DropReason) Verdict { return Verdict{Reason: r} }

// placeOf is where packets go to that answer those of a side.
func placeOf(s side) Place { return Inside + Place(s) }

func deliver(to Place, dst uint32) Verdict {
	return Verdict{To: to, Dst: addr4(dst)}
}

package host

import (
	"context"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// NeighbourState is the kernel's NUD_* state of a neighbour.
type NeighbourState uint16

// The states that are told of. All but NeighbourFailed come with a MAC.
const (
	NeighbourReachable NeighbourState = unix.NUD_REACHABLE
	NeighbourStale     NeighbourState = unix.NUD_STALE
	NeighbourDelay     NeighbourState = unix.NUD_DELAY
	NeighbourProbe     NeighbourState = unix.NUD_PROBE
	NeighbourFailed    NeighbourState = unix.NUD_FAILED
	NeighbourNoARP     NeighbourState = unix.NUD_NOARP
	NeighbourPermanent NeighbourState = unix.NUD_PERMANENT
)

// Neighbour is what the kernel knows of an IPv4 address on a link. It is
// comparable.
type Neighbour struct {
	Link  int
	Addr  netip.Addr
	MAC   frame.MAC // null if State is NeighbourFailed
	State NeighbourState
}

// NeighbourEvent is a neighbour that came or changed, or one of which the kernel
// no longer knows a MAC nor that there is none (Gone; only Link and Addr count).
type NeighbourEvent struct {
	Neighbour
	Gone bool
}

// WatchNeighbours tells of the IPv4 neighbours.
func WatchNeighbours(_ context.Context) (<-chan []NeighbourEvent, error) {
	return nil, errors.ErrUnsupported
}

// Resolve makes the kernel find out the MAC of an IPv4 address on a link.
func Resolve(_ int, _ netip.Addr) error { return errors.ErrUnsupported }

package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
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

const withMAC = NeighbourReachable | NeighbourStale | NeighbourDelay | NeighbourProbe | NeighbourNoARP | NeighbourPermanent

// Neighbour is what the kernel knows of an IPv4 address on a link. It is
// comparable.
type Neighbour struct {
	Link  int
	Addr  netip.Addr
	MAC   frame.MAC // null if State is NeighbourFailed
	State NeighbourState
}

// NeighbourEvent is a neighbour that came or changed. Gone says that the kernel
// knows neither its MAC nor that it has none; then only Link and Addr count.
type NeighbourEvent struct {
	Neighbour
	Gone bool
}

// WatchNeighbours tells of every IPv4 neighbour there is, then of each one that
// comes, changes or goes, until ctx ends; then it closes the channel. A channel
// that closes earlier has lost its socket.
//
// Each value is what has changed since the last, one event for each neighbour at
// the most, so what waits for a busy reader is bounded by the number of
// neighbours. Gone may be told of one that was never told of.
func WatchNeighbours(ctx context.Context) (<-chan []NeighbourEvent, error) {
	w, err := newNeighbourWatch(defaultReceiveBuffer)
	if err != nil {
		return nil, err
	}
	return w.start(ctx), nil
}

// parseNeighbour reads a message of the kernel.
func parseNeighbour(m []byte) (Neighbour, bool) {
	const ndmsgLen = 12 // struct ndmsg, linux/neighbour.h
	if len(m) < ndmsgLen {
		return Neighbour{}, false
	}
	n, err := netlink.NeighDeserialize(m)
	if err != nil {
		return Neighbour{}, false
	}
	return newNeighbour(n)
}

func newNeighbour(from *netlink.Neigh) (Neighbour, bool) {
	// The group also tells of bridges' tables and of proxied addresses.
	if from.Family != unix.AF_INET || from.Flags&unix.NTF_PROXY != 0 {
		return Neighbour{}, false
	}
	n := Neighbour{Link: from.LinkIndex, Addr: addrOf(from.IP), State: NeighbourState(from.State)}
	if len(from.HardwareAddr) == len(n.MAC) && n.State&withMAC != 0 {
		n.MAC = frame.MAC(from.HardwareAddr)
	}
	return n, n.Addr.IsValid()
}

// Neighbours lists the IPv4 neighbours on a link that WatchNeighbours tells of, for who
// can't wait for it.
func Neighbours(link int) ([]Neighbour, error) {
	list, err := listNeighbours(&netlink.Handle{}, link)
	return slices.DeleteFunc(list, Neighbour.untold), err
}

func listNeighbours(h *netlink.Handle, link int) ([]Neighbour, error) {
	list, err := dump(func() ([]netlink.Neigh, error) { return h.NeighList(link, unix.AF_INET) })
	if err != nil {
		return nil, fmt.Errorf("list neighbours: %w", err)
	}
	neighbours := make([]Neighbour, 0, len(list))
	for i := range list {
		if n, ok := newNeighbour(&list[i]); ok {
			neighbours = append(neighbours, n)
		}
	}
	return neighbours, nil
}

type neighbourKey struct {
	link int
	addr netip.Addr
}

// neighbourWatch is two goroutines, as watch is.
type neighbourWatch struct {
	sub   *subscription
	known map[neighbourKey]Neighbour // as the kernel last told; the first goroutine's
	ready neighbourChanges           // to be handed to the second
	again bool                       // messages were lost: ask for everything
}

func newNeighbourWatch(receiveBuffer int) (*neighbourWatch, error) {
	sub, err := subscribe(unix.RTMGRP_NEIGH, receiveBuffer)
	if err != nil {
		return nil, fmt.Errorf("watch neighbours: %w", err)
	}
	w := &neighbourWatch{sub: sub, known: make(map[neighbourKey]Neighbour)}
	if err := w.resync(); err != nil {
		sub.close()
		return nil, fmt.Errorf("watch neighbours: %w", err)
	}
	return w, nil
}

func (w *neighbourWatch) start(ctx context.Context) <-chan []NeighbourEvent {
	out, in := make(chan []NeighbourEvent), make(chan []NeighbourEvent)
	go func() {
		defer close(in)
		w.read(ctx, in)
	}()
	go func() {
		defer close(out)
		deliverNeighbours(ctx, in, out)
		w.sub.interrupt()
		for range in { // wait for the other to end
		}
		w.sub.close()
	}()
	return out
}

func (w *neighbourWatch) read(ctx context.Context, in chan<- []NeighbourEvent) {
	for {
		if len(w.ready.events) > 0 {
			select {
			case in <- w.ready.events:
				w.ready = neighbourChanges{}
			case <-ctx.Done():
				return
			}
		}
		lost, err := w.sub.next(w.take)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if w.again = w.again || lost; w.again {
			w.again = w.resync() != nil
			w.sub.retryLater(w.again)
		}
	}
}

// take is one message of the kernel.
func (w *neighbourWatch) take(m syscall.NetlinkMessage) {
	switch m.Header.Type {
	case unix.RTM_NEWNEIGH:
		if n, ok := parseNeighbour(m.Data); ok {
			w.is(n)
		}
	case unix.RTM_DELNEIGH:
		if n, ok := parseNeighbour(m.Data); ok {
			w.gone(n.key())
		}
	}
}

func (n Neighbour) key() neighbourKey { return neighbourKey{n.Link, n.Addr} }

// untold is true where the kernel is still asking, or has no MAC to tell.
func (n Neighbour) untold() bool { return n.State != NeighbourFailed && n.MAC.IsZero() }

// is ends what was known where there is nothing to tell any more.
func (w *neighbourWatch) is(n Neighbour) {
	old, known := w.known[n.key()]
	switch {
	case n.untold():
		w.gone(n.key())
	case !known || n != old:
		w.known[n.key()] = n
		w.ready.add(NeighbourEvent{Neighbour: n})
	}
}

func (w *neighbourWatch) gone(k neighbourKey) {
	if n, ok := w.known[k]; ok {
		delete(w.known, k)
		w.ready.add(NeighbourEvent{Neighbour: n, Gone: true})
	}
}

// resync asks for all neighbours and tells of what has changed.
func (w *neighbourWatch) resync() error {
	list, err := listNeighbours(w.sub.ask, 0)
	if err != nil {
		return err
	}
	present := make(map[neighbourKey]bool, len(list))
	for _, n := range list {
		present[n.key()] = true
		w.is(n)
	}
	for k := range w.known {
		if !present[k] {
			w.gone(k)
		}
	}
	return nil
}

func deliverNeighbours(ctx context.Context, in <-chan []NeighbourEvent, out chan<- []NeighbourEvent) {
	var waiting neighbourChanges
	for in != nil || len(waiting.events) > 0 {
		var ready chan<- []NeighbourEvent
		if len(waiting.events) > 0 {
			ready = out
		}
		select {
		case events, ok := <-in:
			if !ok {
				in = nil
			}
			for _, e := range events {
				waiting.add(e)
			}
		case ready <- waiting.events:
			waiting = neighbourChanges{} // the reader's now
		case <-ctx.Done():
			return
		}
	}
}

// neighbourChanges has the latest event of each neighbour.
type neighbourChanges struct {
	events []NeighbourEvent
	at     map[neighbourKey]int
}

func (c *neighbourChanges) add(e NeighbourEvent) {
	if i, ok := c.at[e.key()]; ok {
		c.events[i] = e
		return
	}
	if c.at == nil {
		c.at = make(map[neighbourKey]int)
	}
	c.at[e.key()] = len(c.events)
	c.events = append(c.events, e)
}

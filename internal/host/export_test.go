package host

import (
	"context"

	"github.com/cilium/ebpf"
)

// Backlog is what waits for a slow reader of Watch.
type Backlog struct{ b backlog }

func NewBacklog() *Backlog { return &Backlog{backlog{told: make(map[int]bool)}} }

func (b *Backlog) Add(e Event) { b.b.add(e) }

func (b *Backlog) Len() int { return len(b.b.events) }

func (b *Backlog) Pop() Event {
	e := b.b.events[0]
	b.b.pop()
	return e
}

// WatchLater is Watch with a small buffer; what happens before start is called
// is not read, and overruns it.
func WatchLater(receiveBuffer int) (start func(context.Context) <-chan Event, err error) {
	w, err := newWatch(receiveBuffer)
	if err != nil {
		return nil, err
	}
	return w.start, nil
}

// InnerName is the name of a leg's inner end.
var InnerName = innerName

// OnStep has a takeover tell f of each step that is done.
func (t *Takeover) OnStep(f func(string)) { t.step = f }

// Managers is what TakeoverWarnings says of other managers, whose files are in run.
var Managers = managers

// Program loads the guard's program, to be run without a link.
func (g UplinkGuard) Program() (*ebpf.Program, error) { return g.program() }

// WatchNeighboursLater is WatchLater for WatchNeighbours.
func WatchNeighboursLater(receiveBuffer int) (start func(context.Context) <-chan []NeighbourEvent, err error) {
	w, err := newNeighbourWatch(receiveBuffer)
	if err != nil {
		return nil, err
	}
	return w.start, nil
}

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Event is a link that came or changed, or one that is gone, as it last was.
type Event struct {
	Link Link
	Gone bool
}

// Watch tells of every link there is, then of each one that appears, changes
// (flags, carrier, name, MTU, MAC, master, alias) or goes, until ctx ends; then
// it closes the channel. A channel that closes earlier has lost its socket. An
// alias that changes while the link is down is told with the next change, as the
// kernel does not speak of it (netdev_state_change).
//
// No link that was told of goes untold, and in the order of the events two links
// never bear one name. While the reader is busy, changes of a link are merged
// into one, and a link that came and went unseen is left out, so what waits is
// bounded by the number of links. Renames are not merged.
func Watch(ctx context.Context) (<-chan Event, error) {
	w, err := newWatch(defaultReceiveBuffer)
	if err != nil {
		return nil, err
	}
	return w.start(ctx), nil
}

// watch is two goroutines: one empties the socket as fast as it can, so that
// the kernel need not drop; the other waits for the reader.
type watch struct {
	sub   *subscription
	known map[int]Link // as the kernel last told; the first goroutine's
	ready []Event      // to be handed to the second
	again bool         // messages were lost: ask for everything
}

func newWatch(receiveBuffer int) (*watch, error) {
	// Subscribed before the dump, so that nothing falls between the two.
	sub, err := subscribe(unix.RTMGRP_LINK, receiveBuffer)
	if err != nil {
		return nil, fmt.Errorf("watch links: %w", err)
	}
	w := &watch{sub: sub, known: make(map[int]Link)}
	if err := w.resync(); err != nil {
		sub.close()
		return nil, fmt.Errorf("watch links: %w", err)
	}
	return w, nil
}

func (w *watch) start(ctx context.Context) <-chan Event {
	out, in := make(chan Event), make(chan []Event)
	go func() {
		defer close(in)
		w.read(ctx, in)
	}()
	go func() {
		defer close(out)
		deliver(ctx, in, out)
		w.sub.interrupt()
		for range in { // wait for the other to end
		}
		w.sub.close()
	}()
	return out
}

// read hands batches of events on until the socket is closed.
func (w *watch) read(ctx context.Context, in chan<- []Event) {
	for {
		if len(w.ready) > 0 {
			select {
			case in <- w.ready:
				w.ready = nil
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
func (w *watch) take(m syscall.NetlinkMessage) {
	if m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK {
		return
	}
	// A bridge tells of its ports in the same group with the same types: there
	// DELLINK means that the port has left the bridge (br_ifinfo_notify).
	if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
		return
	}
	l, err := netlink.LinkDeserialize(nil, m.Data)
	if err != nil {
		w.again = true
		return
	}
	if m.Header.Type == unix.RTM_DELLINK {
		w.gone(l.Attrs().Index)
		return
	}
	w.is(newLink(l))
}

func (w *watch) is(l Link) {
	if old, ok := w.known[l.Index]; !ok || old != l {
		w.known[l.Index] = l
		w.ready = append(w.ready, Event{Link: l})
	}
}

func (w *watch) gone(index int) {
	if l, ok := w.known[index]; ok {
		delete(w.known, index)
		w.ready = append(w.ready, Event{Link: l, Gone: true})
	}
}

// resync asks for all links and tells of what has changed, first of those that
// are gone.
func (w *watch) resync() error {
	links, err := listLinks(w.sub.ask)
	if err != nil {
		return err
	}
	present := make(map[int]bool, len(links))
	for _, l := range links {
		present[l.Index] = true
	}
	for index := range w.known {
		if !present[index] {
			w.gone(index)
		}
	}
	for _, l := range links {
		w.is(l)
	}
	return nil
}

// deliver sends what comes in, and takes more in while the reader is busy.
func deliver(ctx context.Context, in <-chan []Event, out chan<- Event) {
	b := backlog{told: make(map[int]bool)}
	for in != nil || len(b.events) > 0 {
		var ready chan<- Event
		var head Event
		if len(b.events) > 0 {
			ready, head = out, b.events[0]
		}
		select {
		case batch, ok := <-in:
			if !ok {
				in = nil
			}
			for _, e := range batch {
				b.add(e)
			}
		case ready <- head:
			b.pop()
		case <-ctx.Done():
			return
		}
	}
}

// backlog is what the reader has not yet taken, oldest first.
type backlog struct {
	events []Event
	told   map[int]bool // links that the reader knows to exist
}

func (b *backlog) add(e Event) {
	last := -1
	for i := len(b.events) - 1; i >= 0 && last < 0; i-- {
		if b.events[i].Link.Index == e.Link.Index {
			last = i
		}
	}
	switch {
	case last < 0 || b.events[last].Gone:
		b.events = append(b.events, e)
	case e.Gone && !b.exists(e.Link.Index):
		b.forget(e.Link.Index)
	case !e.Gone && b.events[last].Link.Name == e.Link.Name:
		b.events[last] = e
	default:
		b.events = append(b.events, e)
	}
}

// exists reports whether the link, in its present life, is one that the reader
// knows: it was told of, and no end of it waits.
func (b *backlog) exists(index int) bool {
	return b.told[index] && !slices.ContainsFunc(b.events, func(e Event) bool {
		return e.Gone && e.Link.Index == index
	})
}

// forget takes out what waits of the link's present life.
func (b *backlog) forget(index int) {
	from := 0
	for i, e := range b.events {
		if e.Gone && e.Link.Index == index {
			from = i + 1
		}
	}
	tail := slices.DeleteFunc(b.events[from:], func(e Event) bool { return e.Link.Index == index })
	b.events = b.events[:from+len(tail)]
}

func (b *backlog) pop() {
	e := b.events[0]
	b.events = b.events[1:]
	if e.Gone {
		delete(b.told, e.Link.Index)
	} else {
		b.told[e.Link.Index] = true
	}
}

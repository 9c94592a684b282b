package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// setWatch tells a whole set whenever it has changed. What the kernel's messages
// say does not matter to it, only that there are some: after each burst it asks
// for the set.
type setWatch[T comparable] struct {
	what   string // for errors
	groups uint32 // RTMGRP_*, in which the kernel tells of changes
	list   func(*netlink.Handle) ([]T, error)

	// settle asks once more a while after the last message: for sets of which
	// the kernel speaks before it changes them.
	settle bool
}

const (
	// setReceiveBuffer may overrun: messages are not read, but counted as one.
	setReceiveBuffer = 64 << 10

	// A big set, such as a full table of routes, takes long to list, and longer to
	// load. So after each listing it is left alone for a multiple of the time that
	// the listing took, but no longer than a user would wait.
	listingRest = 10
	maxRest     = 5 * time.Second
)

// start sends the set at once and after each change, the latest only to a reader
// who is busy, until ctx ends; then it closes the channel.
func (w setWatch[T]) start(ctx context.Context) (<-chan []T, error) {
	sub, err := subscribe(w.groups, setReceiveBuffer)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", w.what, err)
	}
	first, err := w.list(sub.ask)
	if err != nil {
		sub.close()
		return nil, fmt.Errorf("watch %s: %w", w.what, err)
	}
	out, in := make(chan []T), make(chan []T)
	go func() {
		defer close(in)
		w.read(ctx, sub, first, in)
	}()
	go func() {
		defer close(out)
		deliverLatest(ctx, in, out)
		sub.interrupt()
		for range in { // wait for the other to end
		}
		sub.close()
	}()
	return out, nil
}

func (w setWatch[T]) read(ctx context.Context, sub *subscription, set []T, in chan<- []T) {
	var notBefore time.Time
	for changed := true; ; {
		if changed {
			select {
			case in <- set:
			case <-ctx.Done():
				return
			}
		}
		_, err := sub.next(func(syscall.NetlinkMessage) {})
		again := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !again {
			return
		}
		if !pause(ctx, time.Until(notBefore)) {
			return
		}
		begun := time.Now()
		now, err := w.list(sub.ask)
		ended := time.Now()
		notBefore = ended.Add(min(listingRest*ended.Sub(begun), maxRest))
		sub.retryLater(err != nil || w.settle && !again)
		if changed = err == nil && !slices.Equal(now, set); changed {
			set = now
		}
	}
}

// pause is false where ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func deliverLatest[T any](ctx context.Context, in <-chan T, out chan<- T) {
	var ready chan<- T
	var latest T
	for in != nil || ready != nil {
		select {
		case set, ok := <-in:
			if !ok {
				in = nil
				continue
			}
			ready, latest = out, set
		case ready <- latest:
			ready = nil
		case <-ctx.Done():
			return
		}
	}
}

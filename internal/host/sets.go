package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// Set is a whole set of what the kernel has, followed as it changes. What the
// kernel's messages say does not matter to it, only that there are some: after each
// burst it asks for the set.
type Set[T comparable] struct {
	// Changed has a value whenever Latest has become another since the last one was
	// taken. It is closed when the set is followed no more.
	Changed <-chan struct{}

	changed chan struct{}
	watch   setWatch[T]
	sub     *subscription
	asking  sync.Mutex // so that what was asked for first is not told last
	ended   bool       // guarded by asking
	latest  atomic.Pointer[[]T]
}

// setWatch says what a Set is of.
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

// start follows the set until ctx ends.
func (w setWatch[T]) start(ctx context.Context) (*Set[T], error) {
	sub, err := subscribe(w.groups, setReceiveBuffer)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", w.what, err)
	}
	changed := make(chan struct{}, 1)
	s := &Set[T]{Changed: changed, changed: changed, watch: w, sub: sub}
	if err := s.Refresh(); err != nil {
		sub.close()
		return nil, fmt.Errorf("watch %s: %w", w.what, err)
	}
	stop := context.AfterFunc(ctx, sub.interrupt)
	go func() {
		s.follow(ctx)
		stop()
		s.asking.Lock()
		defer s.asking.Unlock()
		s.ended = true
		sub.close()
		close(changed)
	}()
	return s, nil
}

// Latest is the set as it was last asked for. It is not to be changed.
func (s *Set[T]) Latest() []T { return *s.latest.Load() }

// Refresh asks for the set, for who has just changed it, and would hear of that
// later: Latest is not from before the call any more.
func (s *Set[T]) Refresh() error {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.ended {
		return fmt.Errorf("watch %s: %w", s.watch.what, os.ErrClosed)
	}
	now, err := s.watch.list(s.sub.ask)
	if err != nil {
		return err
	}
	if was := s.latest.Load(); was != nil && slices.Equal(now, *was) {
		return nil
	}
	s.latest.Store(&now)
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return nil
}

func (s *Set[T]) follow(ctx context.Context) {
	var notBefore time.Time
	for {
		_, err := s.sub.next(func(syscall.NetlinkMessage) {})
		again := errors.Is(err, os.ErrDeadlineExceeded)
		if err != nil && !again {
			return
		}
		if !pause(ctx, time.Until(notBefore)) {
			return
		}
		begun := time.Now()
		err = s.Refresh()
		ended := time.Now()
		notBefore = ended.Add(min(listingRest*ended.Sub(begun), maxRest))
		s.sub.retryLater(err != nil || s.watch.settle && !again)
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

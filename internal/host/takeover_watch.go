package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// WatchAdded tells the indexes of links that an address was added to or changed
// on, until ctx ends; then it closes the channel. What comes while the reader is
// busy is told once.
func WatchAdded(ctx context.Context) (<-chan int, error) {
	sub, err := subscribe(unix.RTMGRP_IPV4_IFADDR|unix.RTMGRP_IPV6_IFADDR, defaultReceiveBuffer)
	if err != nil {
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	out, in := make(chan int), make(chan []int)
	go func() {
		defer close(in)
		readAdded(ctx, sub, in)
	}()
	go func() {
		defer close(out)
		deliverAdded(ctx, in, out)
		sub.interrupt()
		for range in { // wait for the other to end
		}
		sub.close()
	}()
	return out, nil
}

func readAdded(ctx context.Context, sub *subscription, in chan<- []int) {
	for {
		var added []int
		_, err := sub.next(func(m syscall.NetlinkMessage) {
			if m.Header.Type == unix.RTM_NEWADDR && len(m.Data) >= addrHeader {
				added = append(added, int(binary.NativeEndian.Uint32(m.Data[4:])))
			}
		})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		select {
		case in <- added:
		case <-ctx.Done():
			return
		}
	}
}

func deliverAdded(ctx context.Context, in <-chan []int, out chan<- int) {
	var waiting []int
	known := map[int]bool{}
	for in != nil || len(waiting) > 0 {
		var ready chan<- int
		var head int
		if len(waiting) > 0 {
			ready, head = out, waiting[0]
		}
		select {
		case batch, ok := <-in:
			if !ok {
				in = nil
			}
			for _, index := range batch {
				if !known[index] {
					known[index], waiting = true, append(waiting, index)
				}
			}
		case ready <- head:
			waiting = waiting[1:]
			delete(known, head)
		case <-ctx.Done():
			return
		}
	}
}

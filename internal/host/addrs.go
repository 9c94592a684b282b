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
)

// WatchAddrs tells the set of the machine's own addresses, at once and then
// whenever it changes, until ctx ends; then it closes the channel. Each value is
// the whole set, sorted, of all interfaces, loopback and link-local included
// (without zones). A reader who is busy gets the latest set only.
func WatchAddrs(ctx context.Context) (<-chan []netip.Addr, error) {
	sub, err := subscribe(unix.RTMGRP_IPV4_IFADDR|unix.RTMGRP_IPV6_IFADDR, defaultReceiveBuffer)
	if err != nil {
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	first, err := ownAddrs(sub.ask)
	if err != nil {
		sub.close()
		return nil, fmt.Errorf("watch addresses: %w", err)
	}
	out, in := make(chan []netip.Addr), make(chan []netip.Addr)
	go func() {
		defer close(in)
		readAddrs(ctx, sub, first, in)
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

// readAddrs asks for the set after each burst of messages, which it need not
// read for that, and hands it on if it differs.
func readAddrs(ctx context.Context, sub *subscription, set []netip.Addr, in chan<- []netip.Addr) {
	for changed := true; ; {
		if changed {
			select {
			case in <- set:
			case <-ctx.Done():
				return
			}
		}
		_, err := sub.next(func(syscall.NetlinkMessage) {})
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		now, err := ownAddrs(sub.ask)
		sub.retryLater(err != nil)
		if changed = err == nil && !slices.Equal(now, set); changed {
			set = now
		}
	}
}

func deliverLatest(ctx context.Context, in <-chan []netip.Addr, out chan<- []netip.Addr) {
	var ready chan<- []netip.Addr
	var latest []netip.Addr
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

func ownAddrs(h *netlink.Handle) ([]netip.Addr, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var set []netip.Addr
	for _, a := range list {
		if a.IPNet == nil {
			continue // another family's
		}
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			set = append(set, addr.Unmap())
		}
	}
	slices.SortFunc(set, netip.Addr.Compare)
	return slices.Compact(set), nil
}

// SourceAddress is the IPv4 address that the host speaks from on a link: its first
// of global scope that is no secondary one. The zero Addr if there is none.
func SourceAddress(index int) (netip.Addr, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(ref(index), netlink.FAMILY_V4) })
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list addresses: %w", asNoLinkIf(err, index))
	}
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && a.Scope == unix.RT_SCOPE_UNIVERSE && a.Flags&unix.IFA_F_SECONDARY == 0 {
			return addr.Unmap(), nil
		}
	}
	return netip.Addr{}, nil
}

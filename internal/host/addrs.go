package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// WatchAddrs follows the machine's own addresses until ctx ends. The set is sorted,
// of all interfaces, loopback and link-local included (without zones). One that two
// interfaces have is there twice, so that it is heard when one of them loses it.
func WatchAddrs(ctx context.Context) (*Set[netip.Addr], error) {
	return setWatch[netip.Addr]{
		what:   "addresses",
		groups: unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR,
		list:   ownAddrs,
	}.start(ctx)
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
	return set, nil
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

package host

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Resolve makes the kernel find out the MAC of an IPv4 address on a link, and
// tells that it is in use: one that is not known is asked for, one that is stale
// is confirmed after some seconds (neigh(7), delay_first_probe_time), and what is
// known stays known. WatchNeighbours tells the outcome. A caller that goes on
// using a neighbour resolves it again whenever it has become stale.
//
// It costs some system calls: not for each frame, and not for each address that
// a guest makes up, as the kernel's table is bounded (gc_thresh3).
func Resolve(link int, addr netip.Addr) error {
	if !addr.Is4() {
		return fmt.Errorf("resolve %s on %s: want an IPv4 address", addr, nameOf(link))
	}
	if err := resolve(link, addr); err != nil {
		return fmt.Errorf("resolve %s on %s: %w", addr, nameOf(link), asNoLinkIf(err, link))
	}
	return nil
}

// Unresolve makes the kernel forget the MAC of an IPv4 address on a link, because
// whoever had it is gone. What somebody has set stays; what it does not know is no
// error.
func Unresolve(link int, addr netip.Addr) error {
	const fixed = unix.NUD_PERMANENT | unix.NUD_NOARP
	if n, err := neighbour(link, addr); err != nil || n.State&fixed != 0 {
		return nil
	}
	err := netlink.NeighDel(&netlink.Neigh{LinkIndex: link, Family: unix.AF_INET, IP: addr.AsSlice()})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("forget %s on %s: %w", addr, nameOf(link), asNoLinkIf(err, link))
	}
	return nil
}

func resolve(link int, addr netip.Addr) error {
	// To use a permanent entry through netlink makes it a common one
	// (__neigh_update with NEIGH_UPDATE_F_USE).
	const fixed = unix.NUD_PERMANENT | unix.NUD_NOARP
	if n, err := neighbour(link, addr); err == nil && n.State&fixed != 0 {
		return nil
	}
	return netlink.NeighAppend(&netlink.Neigh{
		LinkIndex: link,
		Family:    unix.AF_INET,
		Flags:     unix.NTF_USE,
		IP:        addr.AsSlice(),
	})
}

// neighbour asks for one entry, which the library can't. Linux before 5.0 can't
// answer.
func neighbour(link int, addr netip.Addr) (Neighbour, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
	req.AddData(&netlink.Ndmsg{Family: unix.AF_INET, Index: uint32(link)})
	req.AddData(nl.NewRtAttr(unix.NDA_DST, addr.AsSlice()))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
	if err != nil {
		return Neighbour{}, err
	}
	for _, m := range msgs {
		if n, ok := parseNeighbour(m); ok {
			return n, nil
		}
	}
	return Neighbour{}, unix.ENOENT
}

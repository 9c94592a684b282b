package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeProtocol marks our routes, "proto 103" to ip-route(8). The kernel keeps
// the values above RTPROT_STATIC for others to choose from (rtnetlink(7)); this
// one, 'g', is in neither linux/rtnetlink.h nor iproute2's rt_protos.
const routeProtocol = 103

// AddHostRoute leads the host's own packets for a guest's IPv4 address to a link:
// ADDR/32 of link scope, in the table main. It may be there already, also to
// another link, which loses it. A route to just this address that somebody else
// has made is an error.
//
// The kernel takes it away when the link goes down, and says nothing.
func AddHostRoute(link int, addr netip.Addr) error {
	err := addHostRoute(link, addr)
	if err != nil {
		return fmt.Errorf("add route to %s on %s: %w", addr, nameOf(link), asNoLinkIf(err, link))
	}
	return nil
}

func addHostRoute(link int, addr netip.Addr) error {
	if !addr.Is4() {
		return errors.New("want an IPv4 address")
	}
	r := hostRoute(link, addr)
	err := netlink.RouteAdd(r)
	if !errors.Is(err, unix.EEXIST) {
		return err
	}
	same, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, r, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, s := range same {
		if s.Priority == 0 && s.Tos == 0 && s.Protocol != routeProtocol {
			return fmt.Errorf("there is one that is not gxswitch's; give the guest another address, or remove the route (ip route del %s)", addr)
		}
	}
	return netlink.RouteReplace(r)
}

// DelHostRoute removes a route that AddHostRoute made. One that is not there, or
// went with its link, is no error.
func DelHostRoute(link int, addr netip.Addr) error {
	if !addr.Is4() {
		return fmt.Errorf("remove route to %s: want an IPv4 address", addr)
	}
	err := netlink.RouteDel(hostRoute(link, addr))
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(asNoLinkIf(err, link), ErrNoLink) {
		return fmt.Errorf("remove route to %s on %s: %w", addr, nameOf(link), err)
	}
	return nil
}

// GuestRoutes lists the addresses that AddHostRoute leads to a link, sorted, also
// those of a daemon that was killed.
func GuestRoutes(link int) ([]netip.Addr, error) {
	list, err := dump(func() ([]netlink.Route, error) {
		ours := &netlink.Route{LinkIndex: link, Protocol: routeProtocol}
		return netlink.RouteListFiltered(netlink.FAMILY_V4, ours, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes on %s: %w", nameOf(link), asNoLinkIf(err, link))
	}
	var addrs []netip.Addr
	for _, r := range list {
		if p, ok := prefixOf(r.Dst); ok && p.IsSingleIP() {
			addrs = append(addrs, p.Addr())
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return addrs, nil
}

func hostRoute(link int, addr netip.Addr) *netlink.Route {
	return &netlink.Route{
		LinkIndex: link,
		Dst:       &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)},
		Scope:     netlink.SCOPE_LINK,
		Protocol:  routeProtocol,
		Table:     unix.RT_TABLE_MAIN,
		Type:      unix.RTN_UNICAST,
	}
}

package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

const routeHeader = unix.SizeofRtMsg

func dumpRoutes(family byte) ([][]byte, error) {
	all, err := list(unix.RTM_GETROUTE, unix.RTM_NEWROUTE, header(routeHeader, family))
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return slices.DeleteFunc(all, func(r []byte) bool { return len(r) < routeHeader || r[0] != family }), nil
}

// readRoutes leaves out what comes and goes with the addresses: the kernel's own
// local, broadcast, anycast and multicast routes.
func (h *Holdings) readRoutes() error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		all, err := dumpRoutes(family)
		if err != nil {
			return err
		}
		for _, r := range all {
			if r4or6(r).through(h.Index) && !r4or6(r).companion() {
				h.Routes = append(h.Routes, r)
			}
		}
		if family == unix.AF_INET {
			h.Behind = h.behind(all)
		}
	}
	return nil
}

// r4or6 is a route as the kernel dumps it.
type r4or6 []byte

// The fields of struct rtmsg.
func (r r4or6) family() byte { return r[0] }
func (r r4or6) proto() byte  { return r[5] }
func (r r4or6) kind() byte   { return r[7] }

func (r r4or6) flags() uint32 { return binary.NativeEndian.Uint32(r[8:]) }

func (r r4or6) companion() bool {
	cloned := r.flags()&unix.RTM_F_CLONED != 0
	return cloned || r.proto() == unix.RTPROT_KERNEL && r.kind() != unix.RTN_UNICAST
}

// hop is one way of a multipath route.
type hop struct {
	header []byte // struct rtnexthop
	attrs  []byte
}

func (h hop) index() int { return int(binary.NativeEndian.Uint32(h.header[4:])) }

func hops(multipath []byte) []hop {
	var all []hop
	for b := multipath; len(b) >= unix.SizeofRtNexthop; {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.SizeofRtNexthop || n > len(b) {
			break
		}
		all = append(all, hop{b[:unix.SizeofRtNexthop], b[unix.SizeofRtNexthop:n]})
		b = b[min(len(b), (n+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1)):]
	}
	return all
}

// through reports whether the route leads through the link, or one of its ways.
func (r r4or6) through(index int) bool {
	some, _ := r.ways(index)
	return some
}

// ways reports whether some, and whether all ways of the route are through the link.
func (r r4or6) ways(index int) (some, all bool) {
	_, attrs, _ := split(r, routeHeader)
	if oif, ok := find(attrs, unix.RTA_OIF); ok {
		some = oif.u32() == index
		return some, some
	}
	m, _ := find(attrs, unix.RTA_MULTIPATH)
	all = true
	for _, h := range hops(m.value) {
		some, all = some || h.index() == index, all && h.index() == index
	}
	return some, some && all
}

func (r r4or6) byNexthop() bool {
	_, attrs, _ := split(r, routeHeader)
	_, ok := find(attrs, rtaNHID)
	return ok
}

// removable reports whether the route is to be removed once its copy is there. One
// by a nexthop object has no copy: the object has moved. An IPv6 route that has
// other ways too was exchanged in place, and its ways would be removed one by one.
func (r r4or6) removable(index int) bool {
	_, all := r.ways(index)
	return !r.byNexthop() && (all || r.family() == unix.AF_INET)
}

// rtaNHID is RTA_NH_ID of linux/rtnetlink.h.
const rtaNHID = 30

// routeOn is a route of one link as one of another.
func routeOn(r []byte, from, to int) []byte {
	h, attrs, err := split(r, routeHeader)
	if err != nil {
		return r // the kernel will say so
	}
	// Of the flags only this is a setting; the others tell how things are.
	binary.NativeEndian.PutUint32(h[8:], binary.NativeEndian.Uint32(h[8:])&unix.RTNH_F_ONLINK)
	nexthop := r4or6(r).byNexthop()
	var kept []attr
	for _, a := range attrs {
		switch a.id() {
		case unix.RTA_CACHEINFO:
			if s := expiresSeconds(a); s > 0 && h[0] == unix.AF_INET6 {
				kept = append(kept, u32Attr(unix.RTA_EXPIRES, s))
			}
			continue
		case unix.RTA_OIF, unix.RTA_GATEWAY, unix.RTA_VIA, unix.RTA_MULTIPATH, unix.RTA_ENCAP, unix.RTA_ENCAP_TYPE:
			if nexthop { // these say what the object is; "mutually exclusive" to the kernel
				continue
			}
			if a.id() == unix.RTA_OIF && a.u32() == from {
				a = u32Attr(unix.RTA_OIF, uint32(to))
			}
			if a.id() == unix.RTA_MULTIPATH {
				a.value = multipathOn(a.value, from, to)
			}
		}
		kept = append(kept, a)
	}
	return join(h, kept)
}

// expiresSeconds is rta_expires of struct rta_cacheinfo, which counts in hundredths
// (USER_HZ); 0 is never.
func expiresSeconds(a attr) uint32 {
	const offset, userHZ = 8, 100
	if len(a.value) < offset+4 {
		return 0
	}
	e := int32(binary.NativeEndian.Uint32(a.value[offset:]))
	return uint32(max(e, 0)+userHZ-1) / userHZ
}

func multipathOn(multipath []byte, from, to int) []byte {
	var b []byte
	for _, h := range hops(multipath) {
		head := slices.Clone(h.header)
		head[2] &= unix.RTNH_F_ONLINK // rtnh_flags
		if h.index() == from {
			binary.NativeEndian.PutUint32(head[4:], uint32(to))
		}
		b = append(append(b, head...), h.attrs...)
		for len(b)%unix.RTA_ALIGNTO != 0 {
			b = append(b, 0)
		}
	}
	return b
}

// addRoutes adds routes and nexthop objects to a link. A gateway must be reachable
// before a route by it is taken, so what is refused is tried again after the others.
func (h Holdings) addRoutes(to Link) error {
	var waiting []func() error
	for _, n := range h.Nexthops {
		waiting = append(waiting, func() error { return h.addNexthop(n, to) })
	}
	// Those that go before all others of their destination, the last of them first;
	// then those that go behind.
	for i, r := range slices.Backward(h.Routes) {
		if !slices.Contains(h.Behind, i) {
			waiting = append(waiting, func() error { return h.addRoute(r, to, true) })
		}
	}
	for _, i := range h.Behind {
		waiting = append(waiting, func() error { return h.addRoute(h.Routes[i], to, false) })
	}
	for len(waiting) > 0 {
		var refused []func() error
		var why error
		for _, add := range waiting {
			if err := add(); err != nil {
				refused, why = append(refused, add), err
			}
		}
		if len(refused) == len(waiting) {
			return why
		}
		waiting = refused
	}
	return nil
}

func (h Holdings) addNexthop(n []byte, to Link) error {
	err := send(unix.RTM_NEWNEXTHOP, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, nexthopOn(n, to.Index))
	if err != nil {
		return fmt.Errorf("set nexthop %s to %s: %w", nexthopText(n), to.Name, asNoLink(err))
	}
	return nil
}

func (h Holdings) addRoute(r []byte, to Link, first bool) error {
	on := routeOn(r, h.Index, to.Index)
	flags := unix.NLM_F_CREATE
	_, all := r4or6(r).ways(h.Index)
	switch {
	case r4or6(r).byNexthop():
		flags |= unix.NLM_F_EXCL
	case r4or6(r).family() == unix.AF_INET6 && !all:
		flags |= unix.NLM_F_REPLACE // the other ways are there already
	case r4or6(r).family() == unix.AF_INET && !first:
		flags |= unix.NLM_F_APPEND
	}
	err := send(unix.RTM_NEWROUTE, flags, on)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add route %s to %s: %w", routeText(r), to.Name, asNoLink(err))
	}
	// The kernel made it with its address, behind all others. The link that had it
	// before still has it, so taking it out for a moment costs nothing.
	if err != nil && first && r4or6(r).family() == unix.AF_INET && !r4or6(r).byNexthop() {
		_ = send(unix.RTM_DELROUTE, 0, on)
		if err := send(unix.RTM_NEWROUTE, flags, on); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add route %s to %s: %w", routeText(r), to.Name, asNoLink(err))
		}
	}
	return nil
}

// behind are the routes that one of another link goes before: of those to the same
// destination IPv4 takes the one that stands first. (fib_table_insert puts a new one
// there, or, with NLM_F_APPEND, behind.) They are told by their place in Routes.
func (h Holdings) behind(all [][]byte) []int {
	head := map[string][]byte{} // by destination: the first route
	for _, r := range all {
		if k := routeKey(r); head[k] == nil {
			head[k] = r
		}
	}
	var places []int
	for i, r := range h.Routes {
		if r4or6(r).family() == unix.AF_INET && !r4or6(head[routeKey(r)]).through(h.Index) {
			places = append(places, i)
		}
	}
	return places
}

// routeKey is what the kernel calls the same destination: table, prefix, TOS and
// priority.
func routeKey(r []byte) string {
	_, attrs, _ := split(r, routeHeader)
	table := attr{}
	dst, _ := find(attrs, unix.RTA_DST)
	prio, _ := find(attrs, unix.RTA_PRIORITY)
	if t, ok := find(attrs, unix.RTA_TABLE); ok {
		table = t
	}
	return fmt.Sprintf("%d %x/%d %d %x %x", r[0], dst.value, r[1], r[3], table.value, prio.value)
}

// unicastRoutes are the link's routes as text that compares.
func unicastRoutes(l Link) (map[string]bool, error) {
	now := Holdings{Name: l.Name, Index: l.Index}
	if err := now.readRoutes(); err != nil {
		return nil, err
	}
	set := map[string]bool{}
	for _, r := range now.Routes {
		set[routeID(r, l.Index)] = true
	}
	return set, nil
}

func routeID(r []byte, index int) string {
	h, attrs, _ := split(routeOn(r, index, 0), routeHeader)
	return string(join(h, slices.DeleteFunc(attrs, func(a attr) bool { return a.id() == unix.RTA_EXPIRES })))
}

// dropStrays removes routes of the kernel that are neither the holdings' nor to stay.
func (h Holdings) dropStrays(to Link, stay map[string]bool) error {
	now := Holdings{Name: to.Name, Index: to.Index}
	if err := now.readRoutes(); err != nil {
		return err
	}
	mine := map[string]bool{}
	for _, r := range h.Routes {
		mine[routeID(r, h.Index)] = true
	}
	for _, r := range now.Routes {
		c := routeID(r, to.Index)
		if r4or6(r).proto() != unix.RTPROT_KERNEL || mine[c] || stay[c] {
			continue
		}
		if err := send(unix.RTM_DELROUTE, 0, routeOn(r, to.Index, to.Index)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route %s from %s: %w", routeText(r), to.Name, asNoLink(err))
		}
	}
	return nil
}

func routeText(r []byte) string {
	_, attrs, _ := split(r, routeHeader)
	dst, _ := find(attrs, unix.RTA_DST)
	text := prefixText(r[0], dst, int(r[1]))
	if t, ok := find(attrs, unix.RTA_TABLE); ok && t.u32() != unix.RT_TABLE_MAIN {
		text += fmt.Sprintf(" of table %d", t.u32())
	}
	return text
}

package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Holdings are what IP keeps by interface: what a takeover moves from a network
// card to a host leg and back.
type Holdings struct {
	Name       string   `json:"name"` // of the link they are of
	Index      int      `json:"index"`
	Addrs      [][]byte `json:"addrs"`
	Routes     [][]byte `json:"routes"`
	Behind     []int    `json:"behind"` // see behind
	Nexthops   [][]byte `json:"nexthops"`
	Neighbours [][]byte `json:"neighbours"` // the permanent ones
}

func readHoldings(l Link) (Holdings, error) {
	h := Holdings{Name: l.Name, Index: l.Index}
	err := errors.Join(h.readAddrs(), h.readRoutes(), h.readNexthops(), h.readNeighbours())
	if err != nil {
		return Holdings{}, fmt.Errorf("read what %s has: %w", l.Name, err)
	}
	return h, nil
}

// addTo gives a link all of the holdings; another that has them keeps them. What
// the link has besides stays, but for routes that came with addresses, as the kernel
// thinks they must, though somebody had removed or changed them. After a crash those
// may be there already: then none of the kernel's stay but the holdings' (alone).
func (h Holdings) addTo(to Link, alone bool, step func(string)) error {
	stay := map[string]bool{}
	if !alone {
		var err error
		if stay, err = unicastRoutes(to); err != nil {
			return err
		}
	}
	if err := h.addAddrs(to); err != nil {
		return err
	}
	step("addresses added")
	h.introduce(to)
	if err := h.addRoutes(to); err != nil {
		return err
	}
	step("routes added")
	if err := h.dropStrays(to, stay); err != nil {
		return err
	}
	for _, n := range h.Neighbours {
		if err := send(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, neighbourOn(n, to.Index)); err != nil {
			return fmt.Errorf("add neighbour %s to %s: %w", neighbourText(n), to.Name, asNoLink(err))
		}
	}
	return h.missing(to)
}

// missing is an error if the link lacks an address: somebody took it away again.
// Nobody else may have it by now.
func (h Holdings) missing(on Link) error {
	now := Holdings{Name: on.Name, Index: on.Index}
	if err := now.readAddrs(); err != nil {
		return err
	}
	there := map[string]bool{}
	for _, a := range now.Addrs {
		there[addrText(a)] = true
	}
	for _, a := range h.Addrs {
		if !there[addrText(a)] {
			return fmt.Errorf("address %s did not stay on %s", addrText(a), on.Name)
		}
	}
	return nil
}

// removeFrom takes the holdings off a link that has them, whoever else does.
func (h Holdings) removeFrom(from Link, step func(string)) error {
	for _, r := range h.Routes {
		if !r4or6(r).removable(h.Index) {
			continue
		}
		err := send(unix.RTM_DELROUTE, 0, routeOn(r, h.Index, from.Index))
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route %s from %s: %w", routeText(r), from.Name, asNoLink(err))
		}
	}
	step("routes removed")
	for _, n := range h.Neighbours {
		err := send(unix.RTM_DELNEIGH, 0, neighbourOn(n, from.Index))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove neighbour %s from %s: %w", neighbourText(n), from.Name, asNoLink(err))
		}
	}
	// The last one first: a primary address would take its secondaries with it, or
	// promote one (promote_secondaries), and either spoils the order in which a
	// crash leaves them.
	for i, a := range slices.Backward(h.Addrs) {
		err := send(unix.RTM_DELADDR, 0, addrOn(a, h.Name, from, 0))
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s from %s: %w", addrText(a), from.Name, asNoLink(err))
		}
		if i == len(h.Addrs)-1 {
			step("first address removed")
		}
	}
	return nil
}

const addrHeader = unix.SizeofIfAddrmsg

func (h *Holdings) readAddrs() error {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		all, err := list(unix.RTM_GETADDR, unix.RTM_NEWADDR, header(addrHeader, family))
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		for _, a := range all {
			if len(a) >= addrHeader && a[0] == family && int(binary.NativeEndian.Uint32(a[4:])) == h.Index {
				h.Addrs = append(h.Addrs, a)
			}
		}
	}
	return nil
}

// header is a header of a family that says nothing else.
func header(length int, family byte) []byte {
	b := make([]byte, length)
	b[0] = family
	return b
}

// addAddrs adds addresses in the order in which the kernel will list them: IPv4's
// comes behind those there are (inet_insert_ifa), IPv6's before those of its scope
// (ipv6_link_dev_addr).
//
// IPv6 addresses come in two steps: first without duplicate address detection,
// which would silence them for a second, and then with the flags that they had.
func (h Holdings) addAddrs(to Link) error {
	add := func(a []byte, flags uint32) error {
		err := send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, addrOn(a, h.Name, to, flags))
		if err != nil {
			return fmt.Errorf("add address %s to %s: %w", addrText(a), to.Name, asNoLink(err))
		}
		return nil
	}
	for _, a := range h.Addrs {
		if a[0] == unix.AF_INET {
			if err := add(a, 0); err != nil {
				return err
			}
		}
	}
	for _, a := range slices.Backward(h.Addrs) {
		if a[0] != unix.AF_INET6 {
			continue
		}
		if unchecked := addrFlags(a)&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0; unchecked {
			if err := add(a, 0); err != nil {
				return err
			}
			continue
		}
		if err := errors.Join(add(a, unix.IFA_F_NODAD), add(a, 0)); err != nil {
			return err
		}
	}
	return nil
}

// removeOther takes link-local addresses off a link that are not of the holdings:
// those that the kernel made when the link came up.
func (h Holdings) removeOther(from Link) error {
	now := Holdings{Name: from.Name, Index: from.Index}
	if err := now.readAddrs(); err != nil {
		return err
	}
	for _, a := range now.Addrs {
		linkLocal := a[0] == unix.AF_INET6 && a[3] == unix.RT_SCOPE_LINK
		if !linkLocal || slices.ContainsFunc(h.Addrs, func(b []byte) bool { return addrText(a) == addrText(b) }) {
			continue
		}
		err := send(unix.RTM_DELADDR, 0, addrOn(a, from.Name, from, 0))
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s from %s: %w", addrText(a), from.Name, asNoLink(err))
		}
	}
	return nil
}

// dropIPv6 forgets what a link without IPv6 can't have.
func (h *Holdings) dropIPv6() {
	// IPv4's routes come first, so Behind stays true.
	for _, objects := range []*[][]byte{&h.Addrs, &h.Routes, &h.Nexthops, &h.Neighbours} {
		*objects = slices.DeleteFunc(*objects, func(o []byte) bool { return o[0] == unix.AF_INET6 })
	}
}

// addrOn is an address of the link called from as one of another link.
func addrOn(a []byte, from string, to Link, more uint32) []byte {
	h, attrs, err := split(a, addrHeader)
	if err != nil {
		return a // the kernel will say so
	}
	h[2] = 0 // the flags are in an attribute
	binary.NativeEndian.PutUint32(h[4:], uint32(to.Index))
	// What the kernel sets itself is not given to it (IPv4 takes any flag).
	const settable = unix.IFA_F_NODAD | unix.IFA_F_OPTIMISTIC | unix.IFA_F_HOMEADDRESS |
		unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN
	kept := []attr{u32Attr(unix.IFA_FLAGS, addrFlags(a)&settable|more)}
	for _, at := range attrs {
		switch at.id() {
		case unix.IFA_FLAGS:
			continue
		case unix.IFA_LABEL:
			at.value = relabel(at.value, from, to.Name)
		}
		kept = append(kept, at)
	}
	return join(h, kept)
}

// relabel lets an IPv4 address' label begin with its interface's name, which
// ifconfig(8) relies on. What would be too long stays as it is.
func relabel(label []byte, from, to string) []byte {
	rest, ok := strings.CutPrefix(cString(label), from)
	if !ok || rest != "" && rest[0] != ':' || len(to)+len(rest) >= unix.IFNAMSIZ {
		return label
	}
	return append([]byte(to+rest), 0)
}

func addrFlags(a []byte) uint32 {
	_, attrs, _ := split(a, addrHeader)
	if f, ok := find(attrs, unix.IFA_FLAGS); ok {
		return uint32(f.u32())
	}
	return uint32(a[2])
}

func addrText(a []byte) string {
	_, attrs, _ := split(a, addrHeader)
	at, ok := find(attrs, unix.IFA_LOCAL)
	if !ok {
		at, _ = find(attrs, unix.IFA_ADDRESS)
	}
	return prefixText(a[0], at, int(a[1]))
}

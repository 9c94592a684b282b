// Package host does everything gxswitch does through rtnetlink and procfs:
// links and their changes, the machine's own addresses, routes and neighbours,
// the guards that keep a port's frames, and what of an uplink's is the switch's,
// from the machine's own stack, and a network's host leg.
//
// It moves no frame and keeps no policy; what is a port and when is the
// daemon's to say.
//
// Every call acts in the network namespace of the calling thread. A caller who
// has entered another namespace keeps its goroutine locked to that thread for
// the length of the call; the watches stay in the namespace they were started
// in, whichever thread they run on later.
//
// All functions may be called from several goroutines. Two that change the same
// link at once are for the caller to keep apart.
//
// An error says what was being done to which object. A link that does not
// exist, or ceases to exist half-way, is ErrNoLink.
package host

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// ErrNoLink says that there is no such interface, or no longer.
var ErrNoLink = errors.New("no such interface")

// Link is what the kernel says of an interface at one moment. It is comparable;
// an interface is the same as long as its Index is, whatever its name.
type Link struct {
	Name      string
	Index     int
	MAC       frame.MAC // null if the address is not an Ethernet one
	MTU       int
	AdminUp   bool
	Running   bool   // up, with a carrier, and not dormant: it can carry frames
	Kind      string // "veth", "tun" (taps too), "bridge", …; "" is hardware or the loopback
	Master    int    // index of the bridge or bond that it is enslaved to; 0 is none
	PeerIndex int    // the other end of a veth or netkit pair; 0 is none, or in another namespace
	Alias     string
	Loopback  bool
}

// LinkByName finds a link by its name, or by one of its alternative names.
func LinkByName(name string) (Link, error) {
	// The kernel calls such names an invalid argument; nothing bears them.
	if name == "" || len(name) >= altNameSize {
		return Link{}, fmt.Errorf("link %q: %w", name, ErrNoLink)
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		return Link{}, fmt.Errorf("link %s: %w", name, asNoLink(err))
	}
	return newLink(l), nil
}

// altNameSize is ALTIFNAMSIZ of linux/if.h.
const altNameSize = 128

// LinkByIndex finds a link by its index.
func LinkByIndex(index int) (Link, error) {
	// The kernel answers index 0 with "invalid argument".
	if index <= 0 {
		return Link{}, fmt.Errorf("link %d: %w", index, ErrNoLink)
	}
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return Link{}, fmt.Errorf("link %d: %w", index, asNoLink(err))
	}
	return newLink(l), nil
}

// TxDropped is how many frames the link's device dropped of those that it was to
// send.
func TxDropped(index int) (uint64, error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return 0, fmt.Errorf("link %d: %w", index, asNoLink(err))
	}
	if st := l.Attrs().Statistics; st != nil {
		return st.TxDropped, nil
	}
	return 0, nil
}

// Links lists all links, in the order of their indexes.
func Links() ([]Link, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	defer h.Close()
	return listLinks(h)
}

func listLinks(h *netlink.Handle) ([]Link, error) {
	list, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	links := make([]Link, len(list))
	for i, l := range list {
		links[i] = newLink(l)
	}
	slices.SortFunc(links, func(a, b Link) int { return a.Index - b.Index })
	return links, nil
}

// dump repeats a dump that a concurrent change has interrupted: its answer may
// lack objects that were there all the time (NLM_F_DUMP_INTR).
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 100
	for range tries - 1 {
		if l, err := list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return l, err
		}
	}
	return list()
}

// SetUp sets a link administratively up or down.
func SetUp(index int, up bool) error {
	set, word := netlink.LinkSetDown, "down"
	if up {
		set, word = netlink.LinkSetUp, "up"
	}
	if err := set(ref(index)); err != nil {
		return fmt.Errorf("set %s %s: %w", nameOf(index), word, asNoLink(err))
	}
	return nil
}

// SetMTU sets a link's MTU. A sealed link stays without IPv6.
func SetMTU(index, mtu int) error {
	before, err := LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("set mtu to %d: %w", mtu, err)
	}
	if err := netlink.LinkSetMTU(ref(index), mtu); err != nil {
		return fmt.Errorf("set mtu of %s to %d: %w", before.Name, mtu, asNoLink(err))
	}
	// Below 1280 a link loses its IPv6 state, disable_ipv6 with it; above, it
	// gets a new one with the defaults (addrconf_notify, NETDEV_CHANGEMTU).
	if before.MTU >= ipv6MinMTU || mtu < ipv6MinMTU {
		return nil
	}
	if sealed, err := hasGuard(index); err != nil || !sealed {
		return err
	}
	return setIPv6(index, "disable_ipv6", "1")
}

// ipv6MinMTU is the smallest MTU that IPv6 runs over (RFC 8200, 5).
const ipv6MinMTU = 1280

func newLink(l netlink.Link) Link {
	a := l.Attrs()
	link := Link{
		Name:     a.Name,
		Index:    a.Index,
		MTU:      a.MTU,
		AdminUp:  a.RawFlags&unix.IFF_UP != 0,
		Running:  running(a.RawFlags),
		Kind:     l.Type(),
		Master:   a.MasterIndex,
		Alias:    a.Alias,
		Loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
	}
	if len(a.HardwareAddr) == len(link.MAC) {
		link.MAC = frame.MAC(a.HardwareAddr)
	}
	// The library's names for "no kind" and for the kernel's "tun".
	switch link.Kind {
	case "device":
		link.Kind = ""
	case "tuntap":
		link.Kind = "tun"
	}
	// For other kinds IFLA_LINK is the device underneath; with a namespace id it
	// is an index of that other namespace.
	if (link.Kind == "veth" || link.Kind == "netkit") && a.NetNsID < 0 {
		link.PeerIndex = a.ParentIndex
	}
	return link
}

// running looks at the carrier itself (LOWER_UP). RUNNING follows the
// operational state, which the kernel brings up to date once a second at the
// most (net/core/link_watch.c): a port that comes up would be mute until then.
func running(flags uint32) bool {
	const want = unix.IFF_UP | unix.IFF_LOWER_UP
	return flags&(want|unix.IFF_DORMANT) == want
}

// ref is a link as the netlink library wants it, known by index alone.
func ref(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

// nameOf is for error messages: a link's name, or its index once it is gone.
func nameOf(index int) string {
	if l, err := LinkByIndex(index); err == nil {
		return l.Name
	}
	return fmt.Sprintf("link %d", index)
}

// asNoLink turns what the kernel and the library say of a missing link into
// ErrNoLink.
func asNoLink(err error) error {
	var notFound netlink.LinkNotFoundError
	if errors.Is(err, unix.ENODEV) || errors.As(err, &notFound) {
		return ErrNoLink
	}
	return err
}

// asNoLinkIf is asNoLink where the kernel's answer is also used for other
// missing things: it asks whether the link is still there.
func asNoLinkIf(err error, index int) error {
	if err == nil {
		return nil
	}
	if _, gone := LinkByIndex(index); errors.Is(gone, ErrNoLink) {
		return ErrNoLink
	}
	return err
}

package host

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Leg is the machine's own connection to a network: a veth pair whose host end
// bears the network's name and its address, and whose inner end is a port of
// the switch. A frame sent on a port with AF_PACKET never reaches the machine's
// own stack; one sent on the inner end arrives at the host end.
type Leg struct{ Host, Inner Link }

// legMark and the network's name are the alias of both ends: whose they are.
const legMark = "gxswitch:"

// EnsureLeg makes a network's leg, or takes over the one that a predecessor
// left, and brings it to the state wanted: the MTU on both ends, addr on the
// host end and no other address, the inner end sealed, both up.
//
// Without an addr (the zero Prefix) the host end's addresses are left alone. A leg
// that was there keeps its MAC.
//
// An interface of somebody else that bears the name is an error.
func EnsureLeg(network string, mtu int, addr netip.Prefix) (Leg, error) {
	leg, err := ensureLeg(network, legSettings{mtu: mtu, addr: addr})
	if err != nil {
		return Leg{}, fmt.Errorf("host interface of network %s: %w", network, err)
	}
	return leg, nil
}

// legSettings are what a leg is brought to.
type legSettings struct {
	mtu      int
	addr     netip.Prefix
	takeover bool // of an uplink: addresses and IPv6 settings are the uplink's
}

func ensureLeg(network string, want legSettings) (Leg, error) {
	ends, err := findLeg(network)
	if err != nil {
		return Leg{}, err
	}
	if err := ends.refuseForeign(); err != nil {
		return Leg{}, err
	}
	made := !ends.paired()
	if made {
		// Half of a pair whose other end was moved or renamed is of no use.
		if err := ends.remove(); err != nil {
			return Leg{}, err
		}
		if ends, err = makeLeg(network, want.mtu); err != nil {
			return Leg{}, err
		}
	}
	if err := ends.configure(want, made); err != nil {
		if made {
			err = errors.Join(err, ends.remove())
		}
		return Leg{}, err
	}
	host, err := LinkByIndex(ends.host.Index)
	if err != nil {
		return Leg{}, err
	}
	inner, err := LinkByIndex(ends.inner.Index)
	if err != nil {
		return Leg{}, err
	}
	return Leg{Host: host, Inner: inner}, nil
}

// DelLeg removes a network's leg. What is not ours is left alone, and a leg that
// is not there is no error.
func DelLeg(network string) error {
	ends, err := findLeg(network)
	if err == nil {
		err = ends.remove()
	}
	if err != nil {
		return fmt.Errorf("remove host interface of network %s: %w", network, err)
	}
	return nil
}

// LegHost is the host end of a network's leg; the zero Link if there is none of ours.
func LegHost(network string) (Link, error) {
	ends, err := findLeg(network)
	if err != nil || ends.host.Index == 0 || !ends.own(ends.host) {
		return Link{}, err
	}
	return ends.host, nil
}

// LeftoverLegs lists the networks of which a leg exists.
func LeftoverLegs() ([]string, error) {
	links, err := Links()
	if err != nil {
		return nil, err
	}
	byName := make(map[string]Link, len(links))
	for _, l := range links {
		byName[l.Name] = l
	}
	var networks []string
	for _, l := range links {
		network, marked := strings.CutPrefix(l.Alias, legMark)
		if !marked {
			network = l.Name // a host end that was not yet marked, perhaps
		}
		ends := legEnds{network: network, host: byName[network], inner: byName[innerName(network)]}
		if (l == ends.host || l == ends.inner) && ends.own(l) {
			networks = append(networks, network)
		}
	}
	slices.Sort(networks)
	return slices.Compact(networks), nil
}

// legEnds is what bears the names of a network's leg, ours or not; index 0 is
// nothing.
type legEnds struct {
	network     string
	host, inner Link
}

// innerName is the same for a network each time, and short enough for a link.
func innerName(network string) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(network))
	return fmt.Sprintf("gxh-%08x", h.Sum32())
}

func findLeg(network string) (legEnds, error) {
	if len(network) == 0 || len(network) >= unix.IFNAMSIZ {
		return legEnds{}, fmt.Errorf("an interface's name has 1 to %d characters", unix.IFNAMSIZ-1)
	}
	host, err := LinkByName(network)
	if err != nil && !errors.Is(err, ErrNoLink) {
		return legEnds{}, err
	}
	inner, err := LinkByName(innerName(network))
	if err != nil && !errors.Is(err, ErrNoLink) {
		return legEnds{}, err
	}
	return legEnds{network: network, host: host, inner: inner}, nil
}

// own reports whether an end bears our mark. A pair without any mark is ours if
// both names are: a daemon that is killed between making and marking leaves it.
func (e legEnds) own(l Link) bool {
	return l.Kind == "veth" && (l.Alias == legMark+e.network || l.Alias == "" && e.joined())
}

// joined reports whether the two ends are each other's peers.
func (e legEnds) joined() bool {
	return e.host.Index != 0 && e.inner.Index != 0 &&
		e.host.PeerIndex == e.inner.Index && e.inner.PeerIndex == e.host.Index
}

func (e legEnds) paired() bool { return e.joined() && e.own(e.host) && e.own(e.inner) }

func (e legEnds) refuseForeign() error {
	for _, l := range []Link{e.host, e.inner} {
		if l.Index == 0 || e.own(l) {
			continue
		}
		if other, ok := strings.CutPrefix(l.Alias, legMark); ok && l.Kind == "veth" {
			return fmt.Errorf("interface %s is that of network %s; give one of the two networks another name", l.Name, other)
		}
		kind, mend := l.Kind+" interface", fmt.Sprintf(", or remove it (ip link del %s)", l.Name)
		if l.Kind == "" {
			kind, mend = "network card", ""
		}
		return fmt.Errorf("there is a %s %s that is not gxswitch's; give the network or the interface another name%s", kind, l.Name, mend)
	}
	return nil
}

// remove deletes the pair. Either end takes the other with it.
func (e legEnds) remove() error {
	for _, l := range []Link{e.host, e.inner} {
		if l.Index == 0 || !e.own(l) {
			continue
		}
		if err := asNoLink(netlink.LinkDel(ref(l.Index))); err != nil && !errors.Is(err, ErrNoLink) {
			return fmt.Errorf("delete %s: %w", l.Name, err)
		}
	}
	return nil
}

// makeLeg makes a pair, marked and still down. Its addresses are the same each
// time, so that what guests remember of the host stays true.
func makeLeg(network string, mtu int) (legEnds, error) {
	const queue = 1000
	a := netlink.NewLinkAttrs()
	a.Name, a.MTU, a.TxQLen = network, mtu, queue
	hostMAC, innerMAC := stableMAC(network, "host"), stableMAC(network, "inner")
	a.HardwareAddr = hostMAC[:]
	err := netlink.LinkAdd(&netlink.Veth{
		LinkAttrs:        a,
		PeerName:         innerName(network),
		PeerHardwareAddr: innerMAC[:],
		PeerTxQLen:       queue,
		PeerMTU:          uint32(mtu),
	})
	if err != nil {
		return legEnds{}, fmt.Errorf("make veth pair %s and %s: %w", network, innerName(network), err)
	}
	return findLeg(network)
}

func (e legEnds) configure(want legSettings, made bool) error {
	for _, l := range []Link{e.host, e.inner} {
		if l.Alias == "" {
			if err := netlink.LinkSetAlias(ref(l.Index), legMark+e.network); err != nil {
				return fmt.Errorf("set alias of %s: %w", l.Name, asNoLink(err))
			}
		}
		if l.MTU != want.mtu {
			if err := SetMTU(l.Index, want.mtu); err != nil {
				return err
			}
		}
	}
	// Before it is up: no guest's router advertisement configures the host.
	if made || !want.takeover {
		for _, key := range []string{"accept_ra", "autoconf"} {
			if err := setIPv6(e.host.Index, key, "0"); err != nil {
				return err
			}
		}
	}
	if want.addr.IsValid() {
		if err := setAddr(e.host, want.addr); err != nil {
			return err
		}
	}
	if err := Seal(e.inner); err != nil || want.takeover {
		return err
	}
	return SetUp(e.host.Index, true)
}

// DelAddr takes an address from a link. One that it does not have is no error.
func DelAddr(l Link, addr netip.Prefix) error {
	err := netlink.AddrDel(ref(l.Index), &netlink.Addr{IPNet: &net.IPNet{
		IP:   addr.Addr().AsSlice(),
		Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen()),
	}})
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %s from %s: %w", addr, l.Name, asNoLink(err))
	}
	return nil
}

// setAddr makes addr the link's only address, link-local ones aside. The others
// go first: the kernel would delete addr with them if it had become their
// secondary.
func setAddr(l Link, addr netip.Prefix) error {
	old, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(ref(l.Index), netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", l.Name, asNoLink(err))
	}
	for _, a := range old {
		if a.IPNet == nil || a.Scope == unix.RT_SCOPE_LINK && a.IP.To4() == nil || a.IPNet.String() == addr.String() {
			continue
		}
		err := netlink.AddrDel(ref(l.Index), &a)
		// Gone already with its primary: fine.
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s from %s: %w", a.IPNet, l.Name, asNoLink(err))
		}
	}
	a := netlink.Addr{IPNet: &net.IPNet{
		IP:   addr.Addr().AsSlice(),
		Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen()),
	}}
	if addr.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrReplace(ref(l.Index), &a); err != nil {
		return fmt.Errorf("set address %s on %s: %w", addr, l.Name, asNoLink(err))
	}
	return nil
}

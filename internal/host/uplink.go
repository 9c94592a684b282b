package host

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ErrBypassed says that a filter of somebody else runs before an uplink's guard.
// The guard is set all the same, for what that filter leaves to it.
var ErrBypassed = errors.New("a tc filter of somebody else goes first, and what it lets pass reaches the host")

// UplinkGuard is what of an uplink's IPv4 packets is the switch's and not the
// host's. The zero value takes nothing.
//
// Of a prefix it takes every packet, and ARP's questions for the addresses in
// it. So the host forwards none of them, whatever ip_forward says, and answers
// none of the questions, whatever proxy_arp says.
//
// Of an address that NAT shares with the host it takes TCP and UDP to the ports
// of NAT, and the ICMP errors about packets from these ports, so that the host
// answers with no RST and no "port unreachable". A fragment behind the first
// follows that for some seconds, as in package nat. All else stays the host's,
// also ICMP echo: its own pings choose identifiers as they like, and it answers
// no echo reply that it has not asked for.
//
// Frames with an 802.1Q tag are left alone, but for tag 0, which is none.
type UplinkGuard struct {
	Prefixes []netip.Prefix // of guests, and addresses that NAT has and the host has not
	Host     []netip.Addr   // within Prefixes, but the host's own: a gateway's address
	NAT      []NATGuard
}

// NATGuard is what NAT takes of an address that the host has as well. It goes
// before Prefixes and Host.
type NATGuard struct {
	External netip.Addr
	Ports    []PortRange // NAT's own range, and those of forwards
}

// PortRange is ports First to Last, which both belong to it.
type PortRange struct {
	Proto       uint8 // 6 is TCP, 17 is UDP, 0 is both
	First, Last uint16
}

// SetUplinkGuard keeps from the host's stack what the switch takes: a filter at
// the link's ingress, behind the taps, like that of Seal. It outlives the daemon.
// One that is there already is replaced, without a moment between the two; a
// guard that takes nothing is removed.
//
// Filters and qdiscs of others stay. The guard goes before them where it can; else
// the error is ErrBypassed, and that filter decides for the packets it matches. A
// tcx program or XDP goes first in any case. A qdisc whose filter block other
// links share is an error.
func SetUplinkGuard(link Link, g UplinkGuard) error {
	if len(g.Prefixes) == 0 && len(g.NAT) == 0 {
		return DropUplinkGuard(link)
	}
	if err := setUplinkGuard(link.Index, g); err != nil {
		return fmt.Errorf("guard uplink %s: %w", link.Name, err)
	}
	return nil
}

// DropUplinkGuard removes the guard, and the clsact qdisc if that came with it
// and nobody else uses it by now. A link that is gone, or has none, is none the
// worse for it.
func DropUplinkGuard(link Link) error {
	err := dropUplinkGuard(link.Index)
	if err != nil && !errors.Is(err, ErrNoLink) {
		return fmt.Errorf("remove guard of uplink %s: %w", link.Name, err)
	}
	return nil
}

// UplinkGuards lists the links that have one, also of a daemon that was killed.
func UplinkGuards() ([]Link, error) {
	all, err := Links()
	if err != nil {
		return nil, err
	}
	var guarded []Link
	for _, l := range all {
		g, err := readGuard(l.Index, uplinkGuardName)
		if err != nil && !errors.Is(err, ErrNoLink) {
			return nil, fmt.Errorf("look for uplink guards: %s: %w", l.Name, err)
		}
		if len(g.ours) > 0 {
			guarded = append(guarded, l)
		}
	}
	return guarded, nil
}

const uplinkGuardName = "gxswitch-uplink"

func setUplinkGuard(index int, g UplinkGuard) error {
	// Before the program, which takes longer to make.
	state, err := readGuard(index, uplinkGuardName)
	if err != nil {
		return err
	}
	prog, err := g.program()
	if err != nil {
		return err
	}
	defer prog.Close() // the filter holds it
	had, err := hadClsact(index)
	if err != nil {
		return err
	}
	was := Sealed{HadClsact: had}
	if err := state.attach(index, uplinkGuardName, was.handle(), earlyPriority(state.foreign), prog); err != nil {
		return err
	}
	return bypassed(index)
}

// earlyPriority is the guard's own, or the one that is left for a fast path if
// somebody has the guard's, or else one behind.
func earlyPriority(foreign []filter) uint16 {
	var taken [guardPriority + 1]bool
	for _, f := range foreign {
		if int(f.priority) < len(taken) {
			taken[f.priority] = true
		}
	}
	if taken[guardPriority] && !taken[1] {
		return 1
	}
	return freePriority(foreign)
}

// bypassed looks for filters that run before the guard. Those of gxswitch may.
func bypassed(index int) error {
	g, err := readGuard(index, uplinkGuardName)
	if err != nil || len(g.ours) == 0 {
		return err
	}
	for _, f := range g.foreign {
		if f.handle != 0 && f.priority < g.ours[0].priority && !strings.HasPrefix(f.name, "gxswitch-") {
			name := nameOf(index)
			return fmt.Errorf("%w; give it a priority of %d or more (tc filter show dev %s ingress)", ErrBypassed, guardPriority+1, name)
		}
	}
	return nil
}

func dropUplinkGuard(index int) error {
	state, err := readGuard(index, uplinkGuardName)
	if err != nil || len(state.ours) == 0 {
		return err
	}
	return dropGuard(index, uplinkGuardName, sealedFromHandle(state.ours[0].handle).HadClsact)
}

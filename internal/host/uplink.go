package host

import (
	"errors"
	"fmt"
	"net/netip"
)

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
// Filters and qdiscs of others stay. A filter of somebody else with priority 1, a
// tcx program or XDP runs before the guard, and what it lets pass or leads
// elsewhere is its own. A qdisc whose filter block other links share is an error.
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
	was := Sealed{HadClsact: state.qdisc != ""}
	return state.attach(index, uplinkGuardName, was.handle(), prog)
}

func dropUplinkGuard(index int) error {
	state, err := readGuard(index, uplinkGuardName)
	if err != nil || len(state.ours) == 0 {
		return err
	}
	return dropGuard(index, uplinkGuardName, sealedFromHandle(state.ours[0].handle).HadClsact)
}

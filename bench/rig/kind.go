package rig

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

// Kind is what an arm does with the frames besides switching them. NAT and VLANs
// have links of their own, made when first asked for.
//
//	natg eth0 ──── n0 ┐ the arm, ┌ u0 ──── eth0 nato     NAT: the lane is natg → nato,
//	                  └ gateway  ┘                       and u0 has the address outside
//
//	va eth0 ──── v0 ┐ the  ┌ v2 ──── eth0 vt             VLANs: v0 and v1 are access ports,
//	vb eth0 ──── v1 ┘ arm  ┘                             v2 carries their VLAN with its tag;
//	                                                     the lanes are va → vt and va → vb
type Kind int

// The kinds.
const (
	Switching Kind = iota
	NAT            // one lane, through a gateway that hides the guest's address
	VLANs          // two lanes, of ports that carry VLANs
	Policed        // the usual lanes; every port is held to its addresses, with guards and a storm limit
	Taps           // the usual senders; the receivers are taps
)

// ErrLacks says that the arm does nothing of the setup's kind, here.
var ErrLacks = errors.New("it has no such thing")

// Arrival is what a frame has at the receiver of lane 0 that it had not at the
// sender: only such frames count as delivered.
type Arrival struct {
	Source netip.Addr // invalid: the sender's own
	VID    uint16     // of its tag; 0: untagged
}

// VID is the VLAN of the VLAN links.
const VID = 10

// natLinks are those of the kind NAT.
type natLinks struct {
	guest, outside Endpoint
	gateway        netip.Addr // of the guest
	uplink         Endpoint   // in the switch's namespace; its address is what guests have outside
}

const (
	natPort    = "n0"
	natUplink  = "u0"
	vlanAccess = "v0"
	vlanOther  = "v1"
	vlanTrunk  = "v2"
)

// makeLinks makes sure of a kind's links.
func (r *Rig) makeLinks(k Kind) (err error) {
	switch {
	case k == NAT && r.nat == nil:
		r.nat, err = r.makeNAT()
	case k == VLANs && r.vlan == nil:
		r.vlan, err = r.makeVLANs()
	case k == Taps && r.taps == nil:
		err = r.makeTaps()
	}
	return err
}

func (r *Rig) makeNAT() (*natLinks, error) {
	in, err := r.namespace("natg")
	if err != nil {
		return nil, err
	}
	out, err := r.namespace("nato")
	if err != nil {
		return nil, err
	}
	l := &natLinks{
		guest:   Endpoint{NS: in, Name: "eth0", MAC: mac(6, 0), Addr: addr(79, 1, 0)},
		outside: Endpoint{NS: out, Name: "eth0", MAC: mac(6, 1), Addr: addr(80, 2, 0)},
		gateway: addr(79, 2, 0),
		uplink:  Endpoint{NS: r.Switch, Name: natUplink, MAC: mac(6, 2), Addr: addr(80, 1, 0)},
	}
	if err := plug(r.Switch, natPort, frame.MAC{}, &l.guest); err != nil {
		return nil, err
	}
	if err := plug(r.Switch, natUplink, l.uplink.MAC, &l.outside); err != nil {
		return nil, err
	}
	if l.uplink.Index, err = indexOf(r.Switch, natUplink); err != nil {
		return nil, err
	}
	if err := errors.Join(introduce(l.uplink, l.outside), introduce(l.outside, l.uplink), address(l.guest)); err != nil {
		return nil, err
	}
	err = in.Do(func() error {
		to := subnet(l.outside.Addr)
		to.IP = to.IP.Mask(to.Mask)
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: l.guest.Index, Dst: to, Gw: l.gateway.AsSlice()}); err != nil {
			return fmt.Errorf("route of the guest: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// makeVLANs makes the ends a, b and t.
func (r *Rig) makeVLANs() ([]Endpoint, error) {
	var ends []Endpoint
	for i, p := range []struct{ ns, port string }{{"va", vlanAccess}, {"vb", vlanOther}, {"vt", vlanTrunk}} {
		ns, err := r.namespace(p.ns)
		if err != nil {
			return nil, err
		}
		e := Endpoint{NS: ns, Name: "eth0", MAC: mac(7, i), Addr: addr(81, 1, i)}
		if err := plug(r.Switch, p.port, frame.MAC{}, &e); err != nil {
			return nil, err
		}
		ends = append(ends, e)
	}
	if err := errors.Join(introduce(ends[0], ends[1]), introduce(ends[1], ends[0]), address(ends[2])); err != nil {
		return nil, err
	}
	return ends, nil
}

// ofKind gives the session the lanes of its kind.
func (s *Session) ofKind(r *Rig, k Kind) {
	switch k {
	case NAT:
		s.Lanes = []Lane{{r.nat.guest, r.nat.outside}}
		s.Arrival.Source = r.nat.uplink.Addr
	case VLANs:
		s.Lanes = []Lane{{r.vlan[0], r.vlan[2]}, {r.vlan[0], r.vlan[1]}}
		s.Arrival.VID = VID
	case Taps:
		s.Taps = r.taps
	}
}

// meet tells the guest the MAC of its gateway, which is an interface of the
// switch's namespace.
func (s *Session) meet(r *Rig, gateway string) error {
	var l host.Link
	err := r.Switch.Do(func() (err error) {
		l, err = host.LinkByName(gateway)
		return err
	})
	if err != nil {
		return err
	}
	s.Gateway = l.MAC
	return neighbour(r.nat.guest.NS, r.nat.guest.Index, r.nat.gateway, l.MAC)
}

// neighbour makes a permanent entry.
func neighbour(ns *testnet.NS, index int, a netip.Addr, m frame.MAC) error {
	return ns.Do(func() error {
		err := netlink.NeighSet(&netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: m[:]})
		if err != nil {
			return fmt.Errorf("add neighbour %s: %w", a, err)
		}
		return nil
	})
}

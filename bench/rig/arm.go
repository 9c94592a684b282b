package rig

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

// Arm is one way to join the lanes. An arm is up at most once at a time.
type Arm interface {
	Name() string

	// Up gives the arm its ports and returns once it forwards. The error is
	// ErrNotInstalled or ErrNotInBuild where the arm can't be had here.
	Up(context.Context, *Rig, Setup) (*Session, error)
}

// Why an arm is left out.
var (
	ErrNotInstalled = errors.New("not installed")
	ErrNotInBuild   = errors.New("not in this build")
)

// Setup is what a measure wants beyond the lanes.
type Setup struct {
	Crowd    int // further ports
	FDBLimit int // addresses the switch must be willing to learn; 0: its default
	Kind     Kind
}

// Session is an arm that has the links, until Down.
type Session struct {
	Arm    string
	Lanes  []Lane
	Crowd  []Endpoint
	Taps   []Tap // of the kind Taps: that of each lane's sender
	PIDs   []int // of the arm's processes
	Switch bool  // false: there is none in the way, nothing learns and nothing floods

	Arrival Arrival   // what frames have at the receiver of lane 0
	Gateway frame.MAC // of the sender of lane 0, who is not on the receiver's network; null: none

	// Limiter does what Limit does; nil: the arm has no limits.
	Limiter func(context.Context, Endpoint, Limit) error

	down []func() error // run last to first
}

// NewSession is one of an arm outside this package, which has the lanes only.
func NewSession(a Arm, lanes []Lane, down func() error) *Session {
	return &Session{Arm: a.Name(), Lanes: lanes, Switch: true, down: []func() error{down}}
}

func (s *Session) undo(f func() error) { s.down = append(s.down, f) }

// Down takes the links back.
func (s *Session) Down() error {
	var errs []error
	for _, f := range slices.Backward(s.down) {
		errs = append(errs, f())
	}
	s.down = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("take %s down: %w", s.Arm, err)
	}
	return nil
}

// Up makes sure of the links of the setup and gives the arm what it asks for.
// The error is ErrLacks, or ErrNotInstalled, where the arm can't be of that kind.
func (r *Rig) Up(ctx context.Context, a Arm, setup Setup) (*Session, error) {
	if _, err := r.Crowd(setup.Crowd); err != nil {
		return nil, err
	}
	if err := r.makeLinks(setup.Kind); err != nil {
		return nil, err
	}
	s, err := a.Up(ctx, r, setup)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name(), err)
	}
	return s, nil
}

// session is one of an arm that switches.
func (r *Rig) session(a Arm, setup Setup) *Session {
	s := &Session{Arm: a.Name(), Lanes: r.Lanes, Crowd: r.crowd.endpoints[:setup.Crowd], Switch: true}
	s.ofKind(r, setup.Kind)
	return s
}

// ports are the interfaces of guests that an arm takes.
func (r *Rig) ports(setup Setup) []string {
	switch setup.Kind {
	case NAT:
		return []string{natPort}
	case VLANs:
		return []string{vlanAccess, vlanOther, vlanTrunk}
	}
	names := slices.Clone(r.Ports)
	if setup.Kind == Taps {
		for _, t := range r.taps {
			names = append(names, t.Name)
		}
	}
	for i := range setup.Crowd {
		names = append(names, CrowdPort(i))
	}
	return names
}

// Direct is no switch: a veth pair from each sender to a receiver. What it
// carries is the limit of the links and of the generator.
type Direct struct{}

// Name implements Arm.
func (Direct) Name() string { return "direct" }

// Up implements Arm.
func (d Direct) Up(_ context.Context, r *Rig, _ Setup) (*Session, error) {
	return &Session{Arm: d.Name(), Lanes: r.Direct}, nil
}

// Bridge is the kernel's bridge, with nothing switched on that gxswitch does not
// do as well: no netfilter (Rig sees to that), no snooping, no STP, and VLANs only
// where they are asked for.
type Bridge struct{}

// Name implements Arm.
func (Bridge) Name() string { return "bridge" }

// Up implements Arm.
func (b Bridge) Up(ctx context.Context, r *Rig, setup Setup) (_ *Session, err error) {
	if err := b.can(setup.Kind); err != nil {
		return nil, err
	}
	s := r.session(b, setup)
	s.Limiter = func(_ context.Context, e Endpoint, l Limit) error { return s.limitEgress(r, e, l) }
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Down())
		}
	}()
	off, vlans := false, setup.Kind == VLANs
	br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &off}
	br.Name, br.MTU = "br0", mtu
	if vlans {
		br.VlanFiltering = &vlans
	}
	err = r.Switch.Do(func() error {
		if err := netlink.LinkAdd(br); err != nil {
			if vlans && errors.Is(err, unix.EOPNOTSUPP) { // CONFIG_BRIDGE_VLAN_FILTERING
				return fmt.Errorf("%w: no vlan_filtering in this kernel", ErrLacks)
			}
			return fmt.Errorf("make bridge: %w", err)
		}
		s.undo(func() error { return removeBridge(r.Switch, br.Index) })
		for _, p := range r.ports(setup) {
			l, err := host.LinkByName(p)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetMasterByIndex(link(l.Index), br.Index); err != nil {
				return fmt.Errorf("enslave %s: %w", p, err)
			}
		}
		if vlans {
			if err := carryVLANs(); err != nil {
				return err
			}
		}
		return host.SetUp(br.Index, true)
	})
	if err == nil && setup.Kind == NAT {
		err = s.masquerade(ctx, r, br.Index)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// removeBridge releases the ports too.
func removeBridge(ns *testnet.NS, index int) error {
	return ns.Do(func() error {
		if err := netlink.LinkDel(link(index)); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("remove bridge: %w", err)
		}
		return nil
	})
}

func link(index int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}
}

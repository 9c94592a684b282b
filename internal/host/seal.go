package host

import (
	"errors"
	"fmt"
)

// Sealed is what a link was like before Seal, for Unseal to restore.
type Sealed struct {
	IPv6WasDisabled bool `json:"ipv6_was_disabled"`
	WasUp           bool `json:"was_up"`
	HadClsact       bool `json:"had_clsact"` // or the older ingress qdisc
}

// Inspect reads what Unseal will need and changes nothing. Of a link that is
// sealed already, by a daemon that was killed, it tells what the link was like
// before that: the guard bears it in its handle.
func Inspect(link Link) (Sealed, error) {
	was, err := inspect(link.Index)
	if err != nil {
		return Sealed{}, fmt.Errorf("inspect %s: %w", link.Name, err)
	}
	return was, nil
}

func inspect(index int) (Sealed, error) {
	l, err := LinkByIndex(index)
	if err != nil {
		return Sealed{}, err
	}
	g, err := readGuard(index, guardName)
	if err != nil {
		return Sealed{}, err
	}
	if len(g.ours) > 0 {
		return sealedFromHandle(g.ours[0].handle), nil
	}
	disabled, err := ipv6Disabled(index)
	if err != nil {
		return Sealed{}, err
	}
	had, err := hadClsact(index)
	return Sealed{IPv6WasDisabled: disabled, WasUp: l.AdminUp, HadClsact: had}, err
}

// Seal keeps a port's frames from the machine's own stack, which would answer
// ARP, take router advertisements and forward packets that are the switch's: a
// guard drops all ingress behind the taps, IPv6 is off, and only then is the
// link set up. All of it outlives the daemon, and a sealed link stays as it is.
//
// IPv6 addresses that the link had are lost, as the kernel drops them; IPv4
// addresses stay, unreachable from this side. A tc filter of somebody else with
// priority 1 runs before the guard and must not let frames pass; tcx programs
// and XDP run before it in any case.
func Seal(link Link) error {
	was, err := inspect(link.Index)
	if err == nil {
		err = setGuard(link.Index, was)
	}
	if err == nil {
		err = setIPv6(link.Index, "disable_ipv6", "1")
	}
	if err == nil {
		err = SetUp(link.Index, true)
	}
	if err != nil {
		return fmt.Errorf("seal %s: %w", link.Name, err)
	}
	return nil
}

// Unseal undoes Seal, the guard last. It removes no filter but ours, and the
// clsact qdisc only if Seal brought it and nobody else uses it by now. A link
// that is gone, or was never sealed, is none the worse for it.
func Unseal(link Link, was Sealed) error {
	err := unseal(link.Index, was)
	if err != nil && !errors.Is(err, ErrNoLink) {
		return fmt.Errorf("unseal %s: %w", link.Name, err)
	}
	return nil
}

func unseal(index int, was Sealed) error {
	if !was.WasUp {
		if err := SetUp(index, false); err != nil {
			return err
		}
	}
	if !was.IPv6WasDisabled {
		if err := setIPv6(index, "disable_ipv6", "0"); err != nil {
			return err
		}
	}
	return dropGuard(index, guardName, was.HadClsact)
}

// The guard's handle: its upper half marks it as ours, the lower keeps the state
// before Seal.
const (
	guardHandle     = 0x67780000 // "gx"
	guardHandleMask = 0xffff0000
)

const (
	handleIPv6Disabled = 1 << iota
	handleUp
	handleClsact
)

func (s Sealed) handle() uint32 {
	h := uint32(guardHandle)
	if s.IPv6WasDisabled {
		h |= handleIPv6Disabled
	}
	if s.WasUp {
		h |= handleUp
	}
	if s.HadClsact {
		h |= handleClsact
	}
	return h
}

func sealedFromHandle(h uint32) Sealed {
	return Sealed{
		IPv6WasDisabled: h&handleIPv6Disabled != 0,
		WasUp:           h&handleUp != 0,
		HadClsact:       h&handleClsact != 0,
	}
}

package host

import (
	"errors"
	"net/netip"
)

// UplinkGuard is what of an uplink's IPv4 packets is the switch's and not the
// host's. The zero value takes nothing.
type UplinkGuard struct {
	NAT      []NATGuard     // one for each address
	Prefixes []netip.Prefix // of guests, and addresses that NAT has and the host has not
}

// NATGuard is what NAT takes of an address that the host has as well.
type NATGuard struct {
	External netip.Addr
	Ports    []PortRange // NAT's own range, and those of forwards
}

// PortRange is ports First to Last, which both belong to it.
type PortRange struct {
	Proto       uint8 // 6 is TCP, 17 is UDP, 0 is both
	First, Last uint16
}

// SetUplinkGuard keeps from the host's stack what the switch takes.
func SetUplinkGuard(_ Link, _ UplinkGuard) error { return errors.ErrUnsupported }

// DropUplinkGuard removes it.
func DropUplinkGuard(_ Link) error { return errors.ErrUnsupported }

// UplinkGuards lists the links that have one.
func UplinkGuards() ([]Link, error) { return nil, errors.ErrUnsupported }

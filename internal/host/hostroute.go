package host

import (
	"errors"
	"net/netip"
)

// AddHostRoute leads packets of the host for an IPv4 address to a link.
func AddHostRoute(_ int, _ netip.Addr) error { return errors.ErrUnsupported }

// DelHostRoute removes such a route.
func DelHostRoute(_ int, _ netip.Addr) error { return errors.ErrUnsupported }

// HostRoutes lists the addresses that AddHostRoute leads to a link.
func HostRoutes(_ int) ([]netip.Addr, error) { return nil, errors.ErrUnsupported }

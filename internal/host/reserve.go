package host

import "errors"

// UnreservedPorts tells what ReservePorts would add, for a journal.
func UnreservedPorts(_, _ uint16) (string, error) { return "", errors.ErrUnsupported }

// ReservePorts keeps the host's own connections out of a range of ports.
func ReservePorts(_, _ uint16) (added string, err error) { return "", errors.ErrUnsupported }

// RestorePorts takes out what ReservePorts has added.
func RestorePorts(_ string) error { return errors.ErrUnsupported }

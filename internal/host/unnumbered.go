package host

import "errors"

// SetUnnumbered lets the kernel answer ARP on a link for addresses of other
// links.
func SetUnnumbered(_ Link) error { return errors.ErrUnsupported }

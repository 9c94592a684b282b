package host

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"gxswitch/internal/frame"
)

// Rename gives a link another name. It takes the link down for that, as kernels
// before 6.2 want it (dev_change_name), and leaves it so.
func Rename(index int, name string) error {
	l, err := LinkByIndex(index)
	if err != nil {
		return fmt.Errorf("rename to %s: %w", name, err)
	}
	if l.AdminUp {
		err = SetUp(index, false)
	}
	if err == nil {
		err = asNoLink(netlink.LinkSetName(ref(index), name))
	}
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", l.Name, name, err)
	}
	return nil
}

// SetMAC gives a link another address.
func SetMAC(l Link, mac frame.MAC) error {
	if l.MAC == mac {
		return nil
	}
	if err := asNoLink(netlink.LinkSetHardwareAddr(ref(l.Index), mac[:])); err != nil {
		return fmt.Errorf("set MAC address of %s to %s: %w", l.Name, mac, err)
	}
	return nil
}

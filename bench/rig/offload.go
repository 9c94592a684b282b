package rig

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Commands of SIOCETHTOOL (linux/ethtool.h) that switch an offload.
var offloads = []struct {
	name string
	cmd  uint32
}{
	{"tso", 0x1f}, // first: it needs the checksum
	{"gso", 0x24},
	{"tx", 0x17},
}

// SetOffloads switches segmentation and transmit checksums of an endpoint on or
// off, as "ethtool -K eth0 tso off gso off tx off" does.
func SetOffloads(e Endpoint, on bool) error {
	return e.NS.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		order := offloads
		for i := range order {
			o := order[i]
			if on {
				o = order[len(order)-1-i]
			}
			if err := setFeature(fd, e.Name, o.cmd, on); err != nil {
				return fmt.Errorf("ethtool -K %s %s: %w", e.Name, o.name, err)
			}
		}
		return nil
	})
}

// setFeature is SIOCETHTOOL with struct ethtool_value.
func setFeature(fd int, name string, cmd uint32, on bool) error {
	value := struct{ cmd, data uint32 }{cmd: cmd}
	if on {
		value.data = 1
	}
	var ifr struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(ifr.name[:unix.IFNAMSIZ-1], name)
	ifr.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
	if errno != 0 {
		return errno
	}
	return nil
}

package host

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offloads is what an interface does for the switch, or to it.
type Offloads struct {
	Checksum      bool // computes checksums of what it sends
	ScatterGather bool
	TSO           bool // cuts TCP super-frames
	LRO           bool // merges what it receives, past recognition
}

// Reading takes no privilege (linux/ethtool.h).
const (
	ethtoolGetChecksum = 0x16 // ETHTOOL_GTXCSUM
	ethtoolGetSG       = 0x18 // ETHTOOL_GSG
	ethtoolGetTSO      = 0x1e // ETHTOOL_GTSO
	ethtoolGetFlags    = 0x25 // ETHTOOL_GFLAGS
	ethtoolFlagLRO     = 1 << 15
)

// ReadOffloads asks the driver. What it has no word for is off.
func ReadOffloads(name string) (Offloads, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Offloads{}, fmt.Errorf("offloads of %s: %w", name, err)
	}
	defer unix.Close(fd)
	var values [4]uint32
	for i, cmd := range []uint32{ethtoolGetChecksum, ethtoolGetSG, ethtoolGetTSO, ethtoolGetFlags} {
		values[i], err = ethtoolValue(fd, name, cmd)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return Offloads{}, fmt.Errorf("offloads of %s: %w", name, asNoLink(err))
		}
	}
	return Offloads{
		Checksum:      values[0] != 0,
		ScatterGather: values[1] != 0,
		TSO:           values[2] != 0,
		LRO:           values[3]&ethtoolFlagLRO != 0,
	}, nil
}

// ethtoolValue is SIOCETHTOOL with a struct ethtool_value behind a struct ifreq
// (netdevice(7)).
func ethtoolValue(fd int, name string, cmd uint32) (uint32, error) {
	if len(name) >= unix.IFNAMSIZ {
		return 0, ErrNoLink
	}
	value := struct{ cmd, data uint32 }{cmd: cmd}
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], name)
	request.data = unsafe.Pointer(&value)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return 0, errno
	}
	return value.data, nil
}

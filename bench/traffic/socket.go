package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
	"gxswitch/internal/frame"
)

// socket opens a socket in the endpoint's namespace, bound to its address.
func socket(e rig.Endpoint, kind int, port uint16) (fd int, err error) {
	err = e.NS.Do(func() error {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		if err := unix.Bind(fd, sockaddr(e.Addr, port)); err != nil {
			unix.Close(fd)
			return err
		}
		return nil
	})
	if err != nil {
		return -1, fmt.Errorf("socket at %s port %d of %s: %w", e.Addr, port, e.NS.Name, err)
	}
	return fd, nil
}

func sockaddr(a netip.Addr, port uint16) unix.Sockaddr {
	return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
}

// timeouts bounds how long a call on the socket blocks.
func timeouts(fd int, d time.Duration) error {
	tv := unix.NsecToTimeval(d.Nanoseconds())
	return errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv))
}

// read and write are the plain calls, which may block the thread. A timeout is
// unix.EAGAIN.
func read(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func write(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

// AnnounceTagged is Announce within a VLAN.
func AnnounceTagged(e rig.Endpoint, vid uint16) error {
	fd, err := packetSocket(e, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	f := make([]byte, MinLen)
	copy(f[0:], frame.Broadcast[:])
	copy(f[6:], e.MAC[:])
	binary.BigEndian.PutUint16(f[12:], unix.ETH_P_8021Q)
	binary.BigEndian.PutUint16(f[14:], vid)
	binary.BigEndian.PutUint16(f[16:], localExperimental)
	if _, errno := write(fd, f); errno != 0 {
		return fmt.Errorf("announce %s of %s in VLAN %d: %w", e.Name, e.NS.Name, vid, errno)
	}
	return nil
}

// localExperimental is an EtherType that no stack takes up (IEEE 802, 9.2.4).
const localExperimental = 0x88b5

// Announce sends one broadcast from each endpoint, so that a switch knows where
// it is and floods nothing that is sent to it. (By UDP: to close a packet socket
// takes the kernel tens of milliseconds.)
func Announce(endpoints ...rig.Endpoint) error {
	for _, e := range endpoints {
		fd, err := socket(e, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
			unix.Sendto(fd, []byte("here"), 0, sockaddr(e.Broadcast(), discardPort)))
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("announce %s of %s: %w", e.Name, e.NS.Name, err)
		}
	}
	return nil
}

package control

import (
	"fmt"
	"net"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is who is at the other end of a connection. The kernel took it down
// when the peer connected (unix(7), SO_PEERCRED and SO_PEERGROUPS), so nobody
// can claim to be somebody else.
type peer struct {
	pid    int32
	uid    uint32
	gid    uint32
	groups []uint32 // supplementary
}

// peerOf asks the kernel who connected c.
func peerOf(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("peer of a connection: %w", err)
	}
	var p peer
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			inner = fmt.Errorf("getsockopt SO_PEERCRED: %w", err)
			return
		}
		p = peer{pid: cred.Pid, uid: cred.Uid, gid: cred.Gid}
		p.groups, inner = peerGroups(fd)
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return peer{}, fmt.Errorf("peer of a connection: %w", err)
	}
	return p, nil
}

// peerGroups reads SO_PEERGROUPS (Linux 4.13), for which x/sys/unix has no
// function. A buffer that is too small fails with ERANGE and the size wanted.
func peerGroups(fd uintptr) ([]uint32, error) {
	groups := make([]uint32, 32)
	for {
		size := uint32(4 * len(groups))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			return groups[:size/4], nil
		case errno == unix.ERANGE && int(size) > 4*len(groups):
			groups = make([]uint32, size/4)
		default:
			return nil, fmt.Errorf("getsockopt SO_PEERGROUPS: %w", errno)
		}
	}
}

// in reports whether the peer is a member of group gid.
func (p peer) in(gid int) bool {
	return gid >= 0 && (p.gid == uint32(gid) || slices.Contains(p.groups, uint32(gid)))
}

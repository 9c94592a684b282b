package host

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// defaultReceiveBuffer holds the changes of some thousand links. It costs
// memory only while messages wait in it.
const defaultReceiveBuffer = 16 << 20

// subscription is a socket on which the kernel tells of changes, and another to
// ask for the present state, both in the namespace they were made in.
type subscription struct {
	file *os.File // in the runtime's poller: closing it ends a read
	conn syscall.RawConn
	ask  *netlink.Handle
	buf  []byte
}

// subscribe joins the rtnetlink groups of the mask (RTMGRP_*).
func subscribe(groups uint32, receiveBuffer int) (*subscription, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	// netlink(7): the caller who lacks CAP_NET_ADMIN gets what rmem_max allows.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	file := os.NewFile(uintptr(fd), "rtnetlink")
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("subscribe to rtnetlink: %w", err)
	}
	ask, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &subscription{file: file, conn: conn, ask: ask, buf: make([]byte, 64<<10)}, nil
}

// interrupt ends a next that waits, and all later ones.
func (s *subscription) interrupt() { _ = s.file.Close() }

// close releases both sockets. No next may be under way.
func (s *subscription) close() {
	_ = s.file.Close()
	s.ask.Close()
}

// next waits for messages, hands each to f, and returns once none is left. Lost
// says that some were dropped; the state has to be asked for again.
//
// It goes on to the end of the queue after an overrun, because until then the
// kernel drops what comes without another word (netlink_overrun sets
// NETLINK_S_CONGESTED, netlink_rcv_wake clears it on an empty queue). Asking
// before would lose the changes between the answer and the end.
//
// A deadline that passes is os.ErrDeadlineExceeded.
func (s *subscription) next(f func(syscall.NetlinkMessage)) (lost bool, err error) {
	var failed error
	err = s.conn.Read(func(fd uintptr) bool {
		for some := false; ; some = true {
			n, from, err := unix.Recvfrom(int(fd), s.buf, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
			switch {
			case errors.Is(err, unix.EAGAIN):
				return some
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.ENOBUFS):
				lost = true
				continue
			case err != nil:
				failed = err
				return true
			}
			if a, ok := from.(*unix.SockaddrNetlink); !ok || a.Pid != 0 {
				continue // not the kernel's
			}
			if n > len(s.buf) {
				lost = true // MSG_TRUNC: the length the message had
				continue
			}
			msgs, err := syscall.ParseNetlinkMessage(s.buf[:n])
			if err != nil {
				lost = true
			}
			for _, m := range msgs {
				f(m)
			}
		}
	})
	return lost, errors.Join(err, failed)
}

// retryLater makes the coming next return after a while also without a message,
// for an answer that has failed and must be asked for again.
func (s *subscription) retryLater(retry bool) {
	var at time.Time
	if retry {
		at = time.Now().Add(100 * time.Millisecond)
	}
	_ = s.file.SetReadDeadline(at)
}

package traffic

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
)

// bulkPort is the receiver's.
const bulkPort = 7003

// writeLen is what a flow gives or takes with one call, as iperf3 does.
const writeLen = 128 << 10

// Bulk is TCP flows from one end of a lane to the other, each with a thread that
// writes and one that reads, as fast as they go.
type Bulk struct {
	received atomic.Uint64
	fds      []int
	done     []<-chan error
	halt     atomic.Bool
}

// StartBulk opens the flows and lets them run until Stop.
func StartBulk(l rig.Lane, flows int) (_ *Bulk, err error) {
	b := &Bulk{}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Stop())
		}
	}()
	listener, err := socket(l.To, unix.SOCK_STREAM, bulkPort)
	if err != nil {
		return nil, err
	}
	defer unix.Close(listener)
	if err := errors.Join(unix.Listen(listener, flows), timeouts(listener, connectTime)); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	for range flows {
		out, err := socket(l.From, unix.SOCK_STREAM, 0)
		if err != nil {
			return nil, err
		}
		b.fds = append(b.fds, out)
		if err := timeouts(out, connectTime); err != nil {
			return nil, err
		}
		if err := connect(out, sockaddr(l.To.Addr, bulkPort)); err != nil {
			return nil, fmt.Errorf("connect to %s: %w", l.To.Addr, err)
		}
		in, err := accept(listener)
		if err != nil {
			return nil, fmt.Errorf("accept: %w", err)
		}
		b.fds = append(b.fds, in)
		b.done = append(b.done,
			onThread(AnyCore, func() error { return b.take(in) }),
			onThread(AnyCore, func() error { return b.give(out) }))
	}
	return b, nil
}

// connect and accept are the calls on a socket with a timeout, which the runtime's
// signals interrupt (signal(7)). A connection that was interrupted is made all the
// same (connect(2)).
func connect(fd int, to unix.Sockaddr) error {
	err := unix.Connect(fd, to)
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(connectTime/time.Millisecond))
		if err != nil {
			continue
		}
		errno, e := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if e != nil {
			return e
		}
		if errno != 0 {
			return unix.Errno(errno)
		}
		_, err = unix.Getpeername(fd) // ENOTCONN: it took too long
	}
	return err
}

func accept(listener int) (int, error) {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// connectTime is how long a connection may take.
const connectTime = 5 * time.Second

// Received is how many bytes of payload the readers have got.
func (b *Bulk) Received() uint64 { return b.received.Load() }

// Stop ends the flows and waits for their threads.
func (b *Bulk) Stop() error {
	b.halt.Store(true)
	for _, fd := range b.fds {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // wakes who is blocked in it
	}
	var errs []error
	for _, d := range b.done {
		errs = append(errs, <-d)
	}
	for _, fd := range b.fds {
		unix.Close(fd)
	}
	b.fds, b.done = nil, nil
	return errors.Join(errs...)
}

func (b *Bulk) take(fd int) error {
	if err := timeouts(fd, 0); err != nil { // a flow may starve for a while
		return err
	}
	buf := make([]byte, writeLen)
	for {
		n, errno := read(fd, buf)
		switch {
		case b.halt.Load():
			return nil
		case errno == unix.EINTR:
		case errno != 0:
			return fmt.Errorf("receive: %w", errno)
		case n == 0:
			return errors.New("receive: the sender closed the flow")
		default:
			b.received.Add(uint64(n))
		}
	}
}

func (b *Bulk) give(fd int) error {
	if err := timeouts(fd, 0); err != nil {
		return err
	}
	buf := make([]byte, writeLen)
	for {
		_, errno := write(fd, buf)
		switch {
		case b.halt.Load():
			return nil
		case errno == unix.EINTR:
		case errno != 0:
			return fmt.Errorf("send: %w", errno)
		}
	}
}

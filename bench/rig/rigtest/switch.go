// Package rigtest is a switch in a few lines whose faults are known, to test the
// bench with. It joins each lane's two ports and nothing else, through packet
// sockets, one frame at a time.
package rigtest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
	"gxswitch/internal/host"
)

// Switch is an arm. Each fault befalls every n-th frame of a port; 0 is never.
type Switch struct {
	Label     string
	Drop      int
	Duplicate int
	Swap      int // it leaves after the one behind it
	Corrupt   int
}

// Name implements rig.Arm.
func (s Switch) Name() string { return s.Label }

// Up implements rig.Arm.
func (s Switch) Up(_ context.Context, r *rig.Rig, _ rig.Setup) (*rig.Session, error) {
	var halt atomic.Bool
	var fds []int
	var done []chan error
	down := func() error {
		halt.Store(true)
		var errs []error
		for _, d := range done {
			errs = append(errs, <-d)
		}
		for _, fd := range fds {
			unix.Close(fd)
		}
		return errors.Join(errs...)
	}
	err := r.Switch.Do(func() error {
		for _, name := range r.Ports {
			fd, err := open(name)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, down())
	}
	for i := range fds {
		d := make(chan error, 1)
		done = append(done, d)
		go func() { d <- s.forward(fds[i], fds[i^1], &halt) }() // a lane's ports are neighbours in r.Ports
	}
	return rig.NewSession(s, r.Lanes, down), nil
}

func open(name string) (int, error) {
	l, err := host.LinkByName(name)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	tick := unix.NsecToTimeval(10e6) // how soon halt is seen
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tick),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: l.Index, Protocol: 0x0300})) // ETH_P_ALL on the wire
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return fd, nil
}

func (s Switch) forward(in, out int, halt *atomic.Bool) error {
	buf := make([]byte, 1<<16)
	var held []byte
	for n := 1; !halt.Load(); n++ {
		size, err := unix.Read(in, buf)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			n--
			continue
		}
		if err != nil {
			return err
		}
		f := buf[:size]
		every := func(k int) bool { return k > 0 && n%k == 0 }
		if every(s.Drop) {
			continue
		}
		if every(s.Corrupt) {
			f[len(f)-1] ^= 1
		}
		if every(s.Swap) {
			held = append([]byte(nil), f...)
			continue
		}
		copies := 1
		if every(s.Duplicate) {
			copies = 2
		}
		for range copies {
			if _, err := unix.Write(out, f); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return err
			}
		}
		if held != nil {
			if _, err := unix.Write(out, held); err != nil {
				return err
			}
			held = nil
		}
	}
	return nil
}

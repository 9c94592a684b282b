// Package rigtest is a switch in a few lines whose faults are known, to test the
// bench with. It joins each lane's two ports and nothing else, through packet
// sockets, one frame at a time.
package rigtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

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

	// Limits is how much it lets pass of what a limit allows: 1 is exact, +Inf
	// takes the limit and does not care. 0: it has no limits.
	Limits float64
}

// Name implements rig.Arm.
func (s Switch) Name() string { return s.Label }

// Up implements rig.Arm.
func (s Switch) Up(_ context.Context, r *rig.Rig, _ rig.Setup) (*rig.Session, error) {
	var halt atomic.Bool
	limits := make([]atomic.Uint64, len(r.Ports)) // of what goes to each port, bytes a second
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
		go func() { d <- s.forward(fds[i], fds[i^1], &limits[i^1], &halt) }() // a lane's ports are neighbours in r.Ports
	}
	session := rig.NewSession(s, r.Lanes, down)
	if s.Limits > 0 {
		session.Limiter = func(_ context.Context, e rig.Endpoint, l rig.Limit) error {
			port, err := r.Port(e)
			if err != nil || l.From {
				return errors.Join(err, rig.ErrNoLimit)
			}
			allowed := min(s.Limits*float64(l.BitsPerSecond)/8, 1<<62)
			limits[slices.Index(r.Ports, port)].Store(uint64(allowed))
			return nil
		}
	}
	return session, nil
}

// bucket drops what is over a rate, with a credit of 50 ms.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) pass(bytes int, rate float64) bool {
	now := time.Now()
	b.tokens = min(b.tokens+rate*now.Sub(b.at).Seconds(), rate/20)
	b.at = now
	if b.tokens < float64(bytes) {
		return false
	}
	b.tokens -= float64(bytes)
	return true
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

func (s Switch) forward(in, out int, limit *atomic.Uint64, halt *atomic.Bool) error {
	buf := make([]byte, 1<<16)
	var held []byte
	var b bucket
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
		if rate := limit.Load(); rate > 0 && !b.pass(size, float64(rate)) {
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

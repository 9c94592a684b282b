package traffic

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
)

// A datagram that the kernel cuts into frames of 1514 bytes (UDP_SEGMENT,
// udp(7)), as many as fit one super-frame.
const (
	segmentLen = MaxLen - udpHeadersLen
	segments   = 44
)

// Segmented is a UDP sender that hands the kernel 44 frames' worth at once.
type Segmented struct {
	fd      int
	offered atomic.Uint64
	halt    atomic.Bool
	done    <-chan error
}

// StartSegmented sends from a thread on a core until Stop. Every segment bears
// the mark of a test frame, so that a Counter counts it. A flood is that of Load.
func StartSegmented(l rig.Lane, core int, flood bool) (*Segmented, error) {
	fd, err := socket(l.From, unix.SOCK_DGRAM, sourcePort)
	if err != nil {
		return nil, err
	}
	err = errors.Join(unix.Connect(fd, sockaddr(l.To.Addr, discardPort)),
		unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, segmentLen), timeouts(fd, time.Second))
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("UDP_SEGMENT: %w", err)
	}
	if flood {
		if err := unblock(fd); err != nil {
			unix.Close(fd)
			return nil, err
		}
	}
	s := &Segmented{fd: fd}
	s.done = onThread(core, s.run)
	return s, nil
}

func (s *Segmented) run() error {
	buf := make([]byte, segments*segmentLen)
	for i := range segments {
		mark(buf[i*segmentLen:], 0)
	}
	for !s.halt.Load() {
		switch _, errno := write(s.fd, buf); errno {
		case 0, unix.ENOBUFS: // dropped at the sender's own interface: offered nevertheless
			s.offered.Add(segments)
		case unix.EINTR, unix.EAGAIN: // to look whether it shall end
		default:
			return fmt.Errorf("send %d segments: %w", segments, errno)
		}
	}
	return nil
}

// Offered is how many frames it has sent.
func (s *Segmented) Offered() uint64 { return s.offered.Load() }

// Stop ends the sending and waits for the thread.
func (s *Segmented) Stop() error {
	s.halt.Store(true)
	err := <-s.done
	unix.Close(s.fd)
	return err
}

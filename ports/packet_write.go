package ports

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// Scratch is what one writer needs to call the kernel: built once, used for
// every Write. Not safe for concurrent use.
type Scratch struct {
	msgs    [BatchSize]mmsghdr
	iovs    [BatchSize][2]unix.Iovec
	segment []byte // for the frames of a super-frame that the kernel refuses
}

// NewScratch makes one writer's scratch.
func NewScratch() *Scratch {
	s := &Scratch{}
	for i := range s.msgs {
		s.msgs[i].hdr.Iov = &s.iovs[i][0]
	}
	return s
}

// Sender sends frames on an interface, and hears none of it.
type Sender struct {
	fd int // -1 once closed

	// sendmmsg is the system call, put aside for tests of kernels that refuse.
	sendmmsg func(fd int, msgs []mmsghdr) (int, unix.Errno)
}

// OpenSender opens the interface with that index. It needs CAP_NET_RAW.
func OpenSender(ifindex int) (*Sender, error) {
	s, err := openSender(ifindex)
	if err != nil {
		return nil, openError(ifindex, err)
	}
	return s, nil
}

func openSender(ifindex int) (*Sender, error) {
	// Protocol 0: this socket hears nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	s := &Sender{fd: fd, sendmmsg: sendmmsg}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		s.Close()
		return nil, fmt.Errorf("PACKET_VNET_HDR: %w", err)
	}
	// What one port may have under way downstream. SO_SNDBUFFORCE wants
	// CAP_NET_ADMIN; without it the smaller default serves.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifindex}); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close releases the socket. Nobody may be writing.
func (p *Sender) Close() error {
	if p.fd < 0 {
		return nil
	}
	err := unix.Close(p.fd)
	p.fd = -1
	return err
}

// Write implements Port. sendmmsg stops at the first frame it can't send and
// tells why only when that frame is the first: it is skipped, counted, and the
// rest sent on.
func (p *Sender) Write(frames []Send, s *Scratch) Result {
	var r Result
	for len(frames) > 0 {
		n := min(len(frames), BatchSize)
		p.write(frames[:n], s, &r)
		frames = frames[n:]
	}
	return r
}

func (p *Sender) write(frames []Send, s *Scratch, r *Result) {
	for i := range frames {
		raw, iov := frames[i].Frame.Raw, &s.iovs[i]
		if !frames[i].Tagged {
			setIovec(&iov[0], raw)
			s.msgs[i].hdr.Iovlen = 1
			continue
		}
		setIovec(&iov[0], frames[i].Frame.Tagging(frames[i].TCI))
		setIovec(&iov[1], raw[frame.VNetLen+12:])
		s.msgs[i].hdr.Iovlen = 2
	}
	for done := 0; done < len(frames); {
		n, errno := p.sendmmsg(p.fd, s.msgs[done:len(frames)])
		for ; n > 0; n-- {
			r.sent(&frames[done])
			done++
		}
		if errno == 0 || done == len(frames) {
			continue
		}
		f := &frames[done]
		switch errno {
		case unix.EINTR:
			continue
		case unix.EAGAIN: // nothing fits any more, now: neither does the rest
			for ; done < len(frames); done++ {
				r.TxFull += uint64(frames[done].Frame.Segments)
			}
			return
		case unix.EMSGSIZE:
			r.MTU += uint64(f.Frame.Segments)
		case unix.EINVAL:
			if f.Frame.IsGSO() {
				p.segment(f, s, r)
			} else {
				r.TxFull += uint64(f.Frame.Segments)
			}
		default: // ENOBUFS: dropped downstream; ENETDOWN, ENXIO: going away
			r.TxFull += uint64(f.Frame.Segments)
		}
		done++
	}
}

// segment sends a super-frame of a kind the kernel does not take, as the
// frames of the wire.
func (p *Sender) segment(f *Send, s *Scratch, r *Result) {
	if need := frame.VNetLen + frame.TagLen + f.Frame.Len; len(s.segment) < need {
		s.segment = make([]byte, need)
	}
	var one [1]mmsghdr
	var iov unix.Iovec
	one[0].hdr.Iov, one[0].hdr.Iovlen = &iov, 1
	full := false
	known := f.Frame.Segment(f.Tagged, f.TCI, s.segment, func(raw []byte) {
		if full {
			r.TxFull++
			return
		}
		setIovec(&iov, raw)
		n, errno := p.sendmmsg(p.fd, one[:])
		switch {
		case n == 1:
			r.Packets++
			r.Bytes += uint64(len(raw) - frame.VNetLen)
		case errno == unix.EMSGSIZE:
			r.MTU++
		default:
			full = errno == unix.EAGAIN // the rest would find no room either
			r.TxFull++
		}
	})
	if !known {
		r.UnsupportedGSO += uint64(f.Frame.Segments)
	}
}

func setIovec(v *unix.Iovec, b []byte) {
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
}

// sendmmsg sends without waiting and returns how many went out; the error is
// that of the first that did not, and is only known when that one is msgs[0].
func sendmmsg(fd int, msgs []mmsghdr) (int, unix.Errno) {
	// Raw: Go's scheduler is not told. It would hand the worker's processor to
	// another thread after 20 µs, at every bulk transfer, and wake threads for it.
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))),
		uintptr(len(msgs)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

package ports

import (
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

// Write implements Port. sendmmsg stops at the first frame it can't send and
// tells why only when that frame is the first: it is skipped, counted, and the
// rest sent on.
func (p *Packet) Write(frames []Send, s *Scratch) Result {
	var r Result
	for len(frames) > 0 {
		n := min(len(frames), BatchSize)
		p.write(frames[:n], s, &r)
		frames = frames[n:]
	}
	return r
}

func (p *Packet) write(frames []Send, s *Scratch, r *Result) {
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
		n, errno := p.sendmmsg(p.tx, s.msgs[done:len(frames)])
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
func (p *Packet) segment(f *Send, s *Scratch, r *Result) {
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
		n, errno := p.sendmmsg(p.tx, one[:])
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

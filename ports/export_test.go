package ports

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// RefuseGSO makes the port meet a kernel that sends no super-frames.
func (p *Packet) RefuseGSO() {
	send := p.sendmmsg
	p.sendmmsg = func(fd int, msgs []mmsghdr) (int, unix.Errno) {
		for i := range msgs {
			if unsafe.Slice(msgs[i].hdr.Iov.Base, frame.VNetLen)[1] == 0 { // gso_type
				continue
			}
			if i == 0 {
				return 0, unix.EINVAL
			}
			return send(fd, msgs[:i])
		}
		return send(fd, msgs)
	}
}

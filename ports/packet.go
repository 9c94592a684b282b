package ports

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Packet is an interface through AF_PACKET (packet(7)): a TPACKET_V2 ring for
// reception and a second socket for transmission, both with virtio-net headers,
// so that frames keep GSO and unfinished checksums on their way.
//
// Two sockets, because a socket that is polled is woken at every frame it has
// finished sending. No PACKET_QDISC_BYPASS: see docs/decisions/002.
type Packet struct {
	ring receiveRing
	tx   int // transmission socket

	ifindex int
	options PacketOptions
	lost    atomic.Uint64

	// sendmmsg is the system call, put aside for tests of kernels that refuse.
	sendmmsg func(fd int, msgs []mmsghdr) (int, unix.Errno)
}

// PacketOptions say how to open an interface.
type PacketOptions struct {
	// Promiscuous asks the device for frames of every destination: a NIC needs
	// it, virtual interfaces deliver everything anyway.
	Promiscuous bool
	// Slots is the length of the receive ring in frames, DefaultSlots if 0.
	// It is rounded up to whole blocks.
	Slots int

	deaf bool // hears nothing until receiveRing.hear
}

// ErrTooOld tells that the kernel lacks what the port needs.
var ErrTooOld = errors.New("needs Linux 5.15 or later")

// OpenPacket opens the interface with that index. It needs CAP_NET_RAW.
func OpenPacket(ifindex int, opt PacketOptions) (*Packet, error) {
	p := &Packet{ifindex: ifindex, options: opt, tx: -1, sendmmsg: sendmmsg}
	p.ring.fd = -1
	err := p.open(opt)
	if err != nil {
		p.Close()
		if errors.Is(err, unix.EPERM) {
			err = fmt.Errorf("%w (raw sockets need root or CAP_NET_RAW)", err)
		}
		return nil, fmt.Errorf("open packet socket on interface %d: %w", ifindex, err)
	}
	return p, nil
}

func (p *Packet) open(opt PacketOptions) error {
	if err := p.ring.open(p.ifindex, opt); err != nil {
		return err
	}
	// Protocol 0: this socket hears nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	p.tx = fd
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return fmt.Errorf("PACKET_VNET_HDR: %w", err)
	}
	// What one port may have under way downstream. SO_SNDBUFFORCE wants
	// CAP_NET_ADMIN; without it the smaller default serves.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20)
	return unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: p.ifindex})
}

// FD implements Port.
func (p *Packet) FD() int { return p.ring.fd }

// Lost implements Port. The kernel's counter starts over at each reading.
func (p *Packet) Lost() uint64 {
	var st unix.TpacketStats
	size := uint32(unsafe.Sizeof(st))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(p.ring.fd), unix.SOL_PACKET, unix.PACKET_STATISTICS,
		uintptr(unsafe.Pointer(&st)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return p.lost.Load()
	}
	return p.lost.Add(uint64(st.Drops))
}

// Losing implements Port.
func (p *Packet) Losing() bool { return p.ring.losing }

// Slots implements Resizer.
func (p *Packet) Slots() int { return p.ring.slots }

// Resize implements Resizer. Besides length there is a reason to want a new
// ring: a frame of a GSO kind that a virtio-net header can't express (UFO, SCTP)
// wedges a TPACKET_V2 ring. tpacket_rcv gives up after it has taken the slot
// (rx_owner_map) and before it moves on, and finds that slot taken at every
// later frame.
func (p *Packet) Resize(slots int) (*Exchange, error) {
	opt := p.options
	opt.Slots, opt.deaf = slots, true
	fresh := receiveRing{fd: -1}
	if err := fresh.open(p.ifindex, opt); err != nil {
		return nil, errors.Join(err, fresh.close())
	}
	return &Exchange{
		Redirect: func() error {
			if err := p.ring.hear(false); err != nil {
				return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
			}
			if err := fresh.hear(true); err != nil {
				return errors.Join(fmt.Errorf("SO_DETACH_FILTER: %w", err), p.ring.hear(true))
			}
			return nil
		},
		Swap: func() {
			p.Lost() // the old socket's last count
			p.ring, fresh = fresh, p.ring
		},
		Dispose: func() error { return fresh.close() },
	}, nil
}

// Close implements Port.
func (p *Packet) Close() error {
	err := p.ring.close()
	if p.tx >= 0 {
		err = errors.Join(err, unix.Close(p.tx))
		p.tx = -1
	}
	return err
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

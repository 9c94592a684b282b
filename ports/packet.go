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
	*Sender
	ring receiveRing

	ifindex int
	options PacketOptions
	lost    atomic.Uint64
	kept    atomic.Uint64
}

// PacketOptions say how to open an interface.
type PacketOptions struct {
	// Promiscuous asks the device for frames of every destination: a NIC needs
	// it, virtual interfaces deliver everything anyway.
	Promiscuous bool
	// Slots is the length of the receive ring in frames, DefaultSlots if 0.
	// It is rounded up to whole blocks.
	Slots int
	// Trunk is an interface that carries frames of many ports, each with the
	// number of its port in an outer 802.1ad tag. Read takes the tag off, and
	// Source of each frame is the number.
	Trunk bool

	deaf bool // hears nothing until receiveRing.hear
}

// ErrTooOld tells that the kernel lacks what the port needs.
var ErrTooOld = errors.New("needs Linux 5.15 or later")

// OpenPacket opens the interface with that index. It needs CAP_NET_RAW.
func OpenPacket(ifindex int, opt PacketOptions) (*Packet, error) {
	p := &Packet{ifindex: ifindex, options: opt}
	err := p.ring.open(ifindex, opt)
	if err == nil {
		p.Sender, err = openSender(ifindex)
	}
	if err != nil {
		_ = p.ring.close()
		return nil, openError(ifindex, err)
	}
	return p, nil
}

func openError(ifindex int, err error) error {
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("%w (raw sockets need root or CAP_NET_RAW)", err)
	}
	return fmt.Errorf("open packet socket on interface %d: %w", ifindex, err)
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
	p.kept.Add(uint64(st.Packets - st.Drops))
	return p.lost.Add(uint64(st.Drops))
}

// Kept is how many frames had found room in the ring when Lost was last called.
func (p *Packet) Kept() uint64 { return p.kept.Load() }

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
	return errors.Join(p.ring.close(), p.Sender.Close())
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

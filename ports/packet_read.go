package ports

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// The ring's geometry. A slot holds a frame of the usual 1500 bytes MTU; a
// longer one (GSO, jumbo) is queued whole on the socket (PACKET_COPY_THRESH)
// and read with one recv. Blocks are the units the kernel allocates.
const (
	slotLen      = 2048
	blockLen     = 64 << 10
	slotsInBlock = blockLen / slotLen

	// DefaultSlots is 768 KiB a port: what an idle one may cost.
	DefaultSlots = 384

	// copiedLen bounds what the long frames of one port may occupy.
	copiedLen = 8 << 20
)

// tpacket2Hdr is struct tpacket2_hdr of linux/if_packet.h.
type tpacket2Hdr struct {
	status   uint32
	len      uint32
	snaplen  uint32
	mac      uint16
	net      uint16
	sec      uint32
	nsec     uint32
	vlanTCI  uint16
	vlanTPID uint16
	_        [4]byte
}

// receiveRing is memory shared with the kernel: it fills slots and marks them
// ours, we mark them the kernel's again, both going round in order.
type receiveRing struct {
	fd    int
	mem   []byte
	slots int
	head  int // next slot to read
	tail  int // first slot that was read and not given back
	out   int // slots between tail and head

	losing bool // a frame of the last Read said so
}

func (r *receiveRing) open(ifindex int, opt PacketOptions) error {
	// Protocol 0 until everything is set, so that no frame of another
	// interface gets in before bind.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	r.fd = fd
	for _, o := range []struct {
		name  string
		opt   int
		value int
	}{
		{"PACKET_VERSION", unix.PACKET_VERSION, unix.TPACKET_V2},
		{"PACKET_VNET_HDR", unix.PACKET_VNET_HDR, 1},
		{"PACKET_RESERVE", unix.PACKET_RESERVE, reserve},
		{"PACKET_COPY_THRESH", unix.PACKET_COPY_THRESH, 1},
		{"PACKET_IGNORE_OUTGOING", unix.PACKET_IGNORE_OUTGOING, 1},
	} {
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o.opt, o.value); err != nil {
			return fmt.Errorf("%s: %w (%w)", o.name, err, ErrTooOld)
		}
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, copiedLen)

	blocks := max(1, (max(opt.Slots, 0)+slotsInBlock-1)/slotsInBlock)
	if opt.Slots == 0 {
		blocks = DefaultSlots / slotsInBlock
	}
	r.slots = blocks * slotsInBlock
	req := unix.TpacketReq{Block_size: blockLen, Block_nr: uint32(blocks), Frame_size: slotLen, Frame_nr: uint32(r.slots)}
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("receive ring of %d KiB: %w", blocks*blockLen>>10, err)
	}
	r.mem, err = unix.Mmap(fd, 0, blocks*blockLen, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map receive ring: %w", err)
	}
	if opt.deaf {
		if err := r.hear(false); err != nil {
			return fmt.Errorf("SO_ATTACH_FILTER: %w", err)
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: ifindex}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if opt.Promiscuous {
		mreq := unix.PacketMreq{Ifindex: int32(ifindex), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &mreq); err != nil {
			return fmt.Errorf("promiscuous mode: %w", err)
		}
	}
	return nil
}

// hear lets frames into the ring, or keeps them out.
func (r *receiveRing) hear(on bool) error {
	if on {
		return unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	return unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
}

// reserve puts the network header at a multiple of 16 in the slot and leaves
// more than a tag's room before the virtio-net header.
const reserve = 6

func (r *receiveRing) header(slot int) *tpacket2Hdr {
	return (*tpacket2Hdr)(unsafe.Pointer(&r.mem[slot*slotLen]))
}

// Read implements Port.
func (p *Packet) Read(batch []frame.Frame, buf *Buffers) int {
	r := &p.ring
	r.losing = false
	n := 0
	for n < len(batch) && r.out < r.slots {
		h := r.header(r.head)
		status := atomic.LoadUint32(&h.status)
		if status&unix.TP_STATUS_USER == 0 {
			break
		}
		if status&unix.TP_STATUS_LOSING != 0 {
			r.losing = true
		}
		long := status&unix.TP_STATUS_COPY != 0 && h.snaplen < h.len
		if long && buf.full() {
			break // it begins the next batch
		}
		start := r.head*slotLen + int(h.mac) - frame.VNetLen
		mem := r.mem[start-frame.TagLen : start+frame.VNetLen+int(h.snaplen)]
		f := &batch[n]
		f.Reset(mem[frame.TagLen:])
		f.Truncated = h.snaplen < h.len
		if long {
			if whole := r.copied(buf, int(h.len)); whole != nil {
				mem = whole
				f.Raw, f.Truncated = mem[frame.TagLen:], false
			}
		}
		if status&unix.TP_STATUS_VLAN_VALID != 0 {
			if p.options.Trunk {
				f.Source = h.vlanTCI
				f.Untag() // the frame's own tag, which the other has pushed into it
			} else if h.vlanTPID == frame.EtherTypeVLAN {
				f.TCI, f.Tagged = h.vlanTCI, true
			} else {
				f.Raw = frame.Retag(mem, frame.TagLen, h.vlanTPID, h.vlanTCI)
			}
		}
		n++
		r.out++
		if r.head++; r.head == r.slots {
			r.head = 0
		}
	}
	return n
}

// copied takes the whole of a frame of n bytes that did not fit its slot from
// the socket's queue, which is in the slots' order. What it returns has a tag's
// room before the virtio-net header; nil if the frame isn't there.
func (r *receiveRing) copied(buf *Buffers, n int) []byte {
	mem := buf.take()
	raw := mem[frame.TagLen:]
	for {
		got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(r.fd), uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)),
			unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
		switch {
		case errno == unix.EAGAIN:
			return nil
		case errno != 0: // ENETDOWN and the like stand before the queue, once
			continue
		case int(got) == frame.VNetLen+n:
			if int(got) > len(raw) {
				return nil // longer than MaxLen (BIG TCP): taken off the queue, and lost
			}
			return mem[:frame.TagLen+int(got)]
		}
		// Not this slot's frame: an earlier one's that was given up.
	}
}

// Release implements Port.
func (p *Packet) Release() {
	r := &p.ring
	for ; r.out > 0; r.out-- {
		atomic.StoreUint32(&r.header(r.tail).status, unix.TP_STATUS_KERNEL)
		if r.tail++; r.tail == r.slots {
			r.tail = 0
		}
	}
}

func (r *receiveRing) close() error {
	var err error
	if r.mem != nil {
		err = unix.Munmap(r.mem)
		r.mem = nil
	}
	if r.fd >= 0 {
		if e := unix.Close(r.fd); err == nil {
			err = e
		}
		r.fd = -1
	}
	return err
}

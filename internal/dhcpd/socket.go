package dhcpd

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
)

// sockets are the server's on one interface.
type sockets struct {
	dhcp *packet.Conn // sends everything, receives IPv4
	arp  *packet.Conn // receives ARP replies
	plug net.PacketConn
	mac  frame.MAC
}

func open(ifname string) (*sockets, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", ifname, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, fmt.Errorf("interface %s: has no Ethernet address", ifname)
	}
	s := &sockets{mac: frame.MAC(ifi.HardwareAddr)}
	if s.plug, err = openPlug(ifname); err != nil {
		return nil, fmt.Errorf("UDP port %d on %s: %w", serverPort, ifname, err)
	}
	if s.dhcp, err = listen(ifi, unix.ETH_P_IP, toServer); err == nil {
		s.arp, err = listen(ifi, unix.ETH_P_ARP, arpReplies)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("packet socket on %s: %w", ifname, err)
	}
	return s, nil
}

func (s *sockets) close() {
	s.plug.Close()
	if s.dhcp != nil {
		s.dhcp.Close()
	}
	if s.arp != nil {
		s.arp.Close()
	}
}

// send is never called for frames that do not begin with an address.
func (s *sockets) send(b []byte) error {
	_, err := s.dhcp.WriteTo(b, &packet.Addr{HardwareAddr: b[:6]})
	return err
}

func listen(ifi *net.Interface, protocol int, filter []bpf.Instruction) (*packet.Conn, error) {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return nil, err
	}
	c, err := packet.Listen(ifi, packet.Raw, protocol, &packet.Config{Filter: raw})
	if err != nil {
		return nil, err
	}
	sys, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	// The default has room for less than 200 guests that start at once. Where it
	// can't be more, they ask again.
	_ = sys.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	})
	return c, nil
}

const receiveBuffer = 4 << 20 // bytes; the kernel counts more than the frames' own

// toServer passes untagged, unfragmented UDP to the server's port: the leg
// carries all of the host's traffic, and a tagged frame is another network's.
var toServer = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 8},
	bpf.LoadAbsolute{Off: etherLen + 9, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 6},
	bpf.LoadAbsolute{Off: etherLen + 6, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x3fff, SkipTrue: 4},
	bpf.LoadMemShift{Off: etherLen},
	bpf.LoadIndirect{Off: etherLen + 2, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: serverPort, SkipTrue: 1},
	bpf.RetConstant{Val: maxFrame},
	bpf.RetConstant{Val: 0},
}

var arpReplies = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 3},
	bpf.LoadAbsolute{Off: etherLen + 6, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 2, SkipTrue: 1},
	bpf.RetConstant{Val: maxFrame},
	bpf.RetConstant{Val: 0},
}

// maxFrame is more than any client's message has.
const maxFrame = 2048

// openPlug binds the server's UDP port on the interface and throws away what
// comes (a filter that keeps 0 bytes), see the package's documentation. The
// port may be shared with a server on other interfaces that has it everywhere.
func openPlug(ifname string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		ctl := c.Control(func(fd uintptr) {
			s := int(fd)
			if err = unix.BindToDevice(s, ifname); err != nil {
				return
			}
			if err = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
				return
			}
			drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
			err = unix.SetsockoptSockFprog(s, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
		})
		if ctl != nil {
			return ctl
		}
		return err
	}}
	return lc.ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", serverPort))
}

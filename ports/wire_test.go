package ports_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
	"gxswitch/ports"
	"gxswitch/ports/porttest"
)

func TestPacket(t *testing.T) {
	l := newLab(t, "packet")
	porttest.Suite(t, func(t *testing.T, cfg porttest.Config) *porttest.Harness {
		c := l.cable(t, cfg.MTU)
		return &porttest.Harness{
			Port: c.open(t, ports.PacketOptions{Slots: cfg.Keep}),
			Send: func(vnet, data []byte) { c.far.send(t, vnet, data) },
			Next: func() (vnet, data []byte) { t.Helper(); return c.far.next(t) },
			SetUp: func(up bool) {
				if err := l.sw.Do(func() error { return host.SetUp(c.index, up) }); err != nil {
					t.Fatal(err)
				}
				if up {
					c.carrier(t)
				}
			},
			Delete: func() { c.delete(t) },
		}
	})
}

// lab is where the tests of Packet happen:
//
//	namespace sw            namespace far
//	pN ────────────────────────────── fN
//	port under test         far: a raw socket of the test's own
//
// A pair a test. No addresses, no IPv6: nothing speaks unless a test does.
type lab struct {
	sw, end *testnet.NS
	pairs   atomic.Int32
}

func newLab(t *testing.T, name string) *lab {
	t.Helper()
	n := nettest.Test(t, name)
	l := &lab{sw: nettest.Namespace(t, n, "sw"), end: nettest.Namespace(t, n, "far")}
	for _, s := range []*testnet.NS{l.sw, l.end} {
		for _, key := range []string{"net.ipv6.conf.all.disable_ipv6", "net.ipv6.conf.default.disable_ipv6"} {
			if err := s.Sysctl(key, "1"); err != nil && !errors.Is(err, unix.ENOENT) {
				t.Fatal(err)
			}
		}
	}
	return l
}

// cable is a veth pair, plugged in at both ends and up.
type cable struct {
	l     *lab
	name  string
	index int // of the end in sw
	far   *wire
}

func (l *lab) cable(t *testing.T, mtu int) *cable {
	t.Helper()
	n := l.pairs.Add(1)
	c := &cable{l: l, name: fmt.Sprintf("p%d", n)}
	far := c.farName()
	err := l.sw.Do(func() error {
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU = c.name, mtu
		v := netlink.NewVeth(a)
		v.PeerName = far
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		peer, err := host.LinkByName(far)
		if err != nil {
			return err
		}
		return moveLink(peer.Index, l.end)
	})
	if err != nil {
		t.Fatal(err)
	}
	for s, name := range map[*testnet.NS]string{l.sw: c.name, l.end: far} {
		err := s.Do(func() error {
			link, err := host.LinkByName(name)
			if err != nil {
				return err
			}
			if s == l.sw {
				c.index = link.Index
			}
			return host.SetUp(link.Index, true)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	c.carrier(t)
	c.far = dial(t, l.end, far)
	t.Cleanup(func() { c.delete(t) })
	return c
}

// carrier waits until both ends know that the other is up. Until then the queue
// of the one that was up first is one that drops without a word.
func (c *cable) carrier(t *testing.T) {
	t.Helper()
	for s, name := range map[*testnet.NS]string{c.l.sw: c.name, c.l.end: c.farName()} {
		nettest.Wait(t, name+" to be up", func() (up bool, err error) {
			err = s.Do(func() error {
				link, err := netlink.LinkByName(name)
				up = err == nil && link.Attrs().OperState == netlink.OperUp
				return err
			})
			return up, err
		})
	}
}

func (c *cable) farName() string { return "f" + c.name[1:] }

func moveLink(index int, to *testnet.NS) error {
	fd, err := unix.Open("/run/netns/"+to.Name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return netlink.LinkSetNsFd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}, fd)
}

func (c *cable) delete(t *testing.T) {
	t.Helper()
	err := c.l.sw.Do(func() error {
		return netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: c.index}})
	})
	if err != nil && !errors.Is(err, unix.ENODEV) {
		t.Fatal(err)
	}
}

// open opens the port. Who calls closes it.
func (c *cable) open(t *testing.T, opt ports.PacketOptions) *ports.Packet {
	t.Helper()
	var p *ports.Packet
	err := c.l.sw.Do(func() (err error) {
		p, err = ports.OpenPacket(c.index, opt)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wire is a raw socket at the far end: simple, slow, and none of the port's
// code. It sends and receives virtio-net headers and puts stripped tags back.
type wire struct{ fd int }

func dial(t *testing.T, s *testnet.NS, name string) *wire {
	t.Helper()
	w := &wire{fd: -1}
	err := s.Do(func() error {
		link, err := host.LinkByName(name)
		if err != nil {
			return err
		}
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		for _, opt := range []int{unix.PACKET_VNET_HDR, unix.PACKET_AUXDATA, unix.PACKET_IGNORE_OUTGOING} {
			if err := unix.SetsockoptInt(w.fd, unix.SOL_PACKET, opt, 1); err != nil {
				return err
			}
		}
		if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL<<8 | unix.ETH_P_ALL>>8, Ifindex: link.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

func (w *wire) send(t *testing.T, vnet, data []byte) {
	t.Helper()
	msg := make([]byte, 10+len(data))
	copy(msg, vnet)
	copy(msg[10:], data)
	for end := time.Now().Add(5 * time.Second); ; {
		err := unix.Send(w.fd, msg, 0)
		switch {
		case err == nil:
			return
		case err == unix.EAGAIN && time.Now().Before(end):
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLOUT}}, 100)
		default:
			t.Fatalf("send %d bytes: %v", len(data), err)
		}
	}
}

func (w *wire) next(t *testing.T) (vnet, data []byte) {
	t.Helper()
	buf, oob := make([]byte, 1<<17), make([]byte, 128)
	for end := time.Now().Add(5 * time.Second); ; {
		n, oobn, _, _, err := unix.Recvmsg(w.fd, buf, oob, 0)
		switch {
		case err == nil:
			return retag(t, buf[:10], buf[10:n], oob[:oobn])
		case (err == unix.EAGAIN || err == unix.ENETDOWN || err == unix.EINTR) && time.Now().Before(end):
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, 100)
		default:
			t.Fatalf("nothing came out at the far end: %v", err)
		}
	}
}

// retag puts back the tag that the kernel took out and tells of in struct
// tpacket_auxdata. Offsets in the virtio-net header are those without it.
func retag(t *testing.T, vnet, data, oob []byte) (_, _ []byte) {
	t.Helper()
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		if m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 {
			continue
		}
		aux := (*struct {
			status, len, snaplen        uint32
			mac, net, vlanTCI, vlanTPID uint16
		})(unsafe.Pointer(&m.Data[0]))
		if aux.status&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		if vnet[0]&1 != 0 { // NEEDS_CSUM
			binary.LittleEndian.PutUint16(vnet[6:], binary.LittleEndian.Uint16(vnet[6:])+4)
		}
		tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, aux.vlanTPID), aux.vlanTCI)
		data = append(append(data[:12:12], tag...), data[12:]...)
	}
	return vnet, data
}

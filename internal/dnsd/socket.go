package dnsd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// endpoint is one address on one interface.
type endpoint struct {
	udp  net.PacketConn
	tcp  net.Listener
	host bool // the loopback: who asks there is the host
}

func (e endpoint) close() {
	e.udp.Close()
	e.tcp.Close()
}

func open(v *view, limit *limit) ([]endpoint, error) {
	var all []endpoint
	for _, a := range v.Addrs {
		for _, ifname := range []string{v.Interface, "lo"} {
			e, err := openOne(netip.AddrPortFrom(a, port), ifname)
			if err != nil {
				for _, e := range all {
					e.close()
				}
				return nil, fmt.Errorf("listen on %s of %s: %w", netip.AddrPortFrom(a, port), ifname, err)
			}
			e.tcp, e.host = listener{e.tcp, limit}, ifname == "lo"
			all = append(all, e)
		}
	}
	return all, nil
}

func openOne(a netip.AddrPort, ifname string) (e endpoint, err error) {
	ctx, lc := context.Background(), net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		var err error
		ctl := c.Control(func(fd uintptr) { err = bind(int(fd), network, ifname) })
		if ctl != nil {
			return ctl
		}
		return err
	}}
	if e.udp, err = lc.ListenPacket(ctx, "udp", a.String()); err != nil {
		return e, err
	}
	if e.tcp, err = lc.Listen(ctx, "tcp", a.String()); err != nil {
		e.udp.Close()
	}
	return e, err
}

// bind ties a socket to the interface. The address may come later than the
// server: a leg without carrier has no IPv6 address yet.
func bind(fd int, network, ifname string) error {
	if err := unix.BindToDevice(fd, ifname); err != nil {
		return err
	}
	if network[len(network)-1] == '6' {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
}

package dnsd

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// endpoint is one address.
type endpoint struct {
	udp net.PacketConn
	tcp net.Listener
}

func (e endpoint) close() {
	e.udp.Close()
	e.tcp.Close()
}

func open(v *view, inside func(netip.Addr) bool, limit *limit) ([]endpoint, error) {
	leg, err := net.InterfaceByName(v.Interface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", v.Interface, err)
	}
	var all []endpoint
	for _, a := range v.Addrs {
		e, err := openOne(netip.AddrPortFrom(a, port), uint32(leg.Index))
		if err != nil {
			for _, e := range all {
				e.close()
			}
			return nil, fmt.Errorf("listen on %s: %w", netip.AddrPortFrom(a, port), err)
		}
		e.udp, e.tcp = packets{e.udp, inside}, listener{e.tcp, inside, limit}
		all = append(all, e)
	}
	return all, nil
}

func openOne(a netip.AddrPort, leg uint32) (e endpoint, err error) {
	ctx, lc := context.Background(), net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) error {
		var err error
		ctl := c.Control(func(fd uintptr) { err = prepare(int(fd), network, leg) })
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

// prepare makes a socket deaf to all but guests and the host, before it is bound.
// The address may come later than the server: a leg without carrier has no IPv6
// address yet.
func prepare(fd int, network string, leg uint32) error {
	if err := attach(fd, fromInside(leg)); err != nil {
		return err
	}
	if network[len(network)-1] == '6' {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
}

// fromInside passes what comes by the leg, and by the loopback.
func fromInside(leg uint32) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: leg, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: loopbackIndex, SkipTrue: 1},
		bpf.RetConstant{Val: whole},
		bpf.RetConstant{Val: 0},
	}
}

// whole is longer than any packet.
const whole = 1 << 18

// loopbackIndex is the loopback's in every namespace (LOOPBACK_IFINDEX).
const loopbackIndex = 1

func attach(fd int, filter []bpf.Instruction) error {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"gxswitch/internal/config"
	"gxswitch/internal/testnet"
)

// site is a model's namespaces. A guest's eth0 is the other end of a port that
// bears the guest's name; the outside's is the other end of eth0, which plays
// the host's NIC.
//
//	guest1  guest2  guest3     outside
//	 eth0    eth0    eth0        eth0
//	  |       |       |           |
//	guest1  guest2  guest3      eth0       host
type site struct {
	net      *testnet.Net
	spaces   map[string]*testnet.NS // by the name in the table
	transfer int                    // bytes that a pair is tried with
}

func layOut(ctx context.Context, m model) (*site, error) {
	n, err := testnet.New("demo")
	if err != nil {
		return nil, err
	}
	s := &site{net: n, spaces: map[string]*testnet.NS{}}
	if err := s.fill(ctx, m.mode); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, cleanedUp(err, s.close())
	}
	return s, nil
}

// close ends what runs in the namespaces and removes them.
func (s *site) close() error { return s.net.Close() }

func (s *site) fill(ctx context.Context, mode config.Mode) error {
	host, err := s.net.Namespace(hostName)
	if err != nil {
		return err
	}
	s.spaces[hostName] = host
	for i := 1; i <= guests; i++ {
		if err := s.plug(ctx, guestName(i), guestName(i), guestAddr(i)); err != nil {
			return err
		}
	}
	switch mode {
	case config.Bridged:
		err = errors.Join(s.plug(ctx, outsideName, "eth0", lanOutside),
			s.ip(ctx, hostName, "addr add %s/%d dev eth0", hostAddr, lan))
	case config.HostOnly, config.Routed, config.NAT:
		err = s.forward(ctx)
	case config.Isolated:
		err = s.tempt(ctx)
	}
	return err
}

// plug makes a namespace that hangs on a port of the host's. It is without IPv6,
// so that the counters show the demo's frames alone.
func (s *site) plug(ctx context.Context, name, port string, addr netip.Addr) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ns, err := s.net.Guest(s.spaces[hostName], testnet.GuestSpec{Name: name, Port: port, Addr: netip.PrefixFrom(addr, lan)})
	if err != nil {
		return err
	}
	s.spaces[name] = ns
	if err := ns.Sysctl("net.ipv6.conf.all.disable_ipv6", "1"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// forward makes the host a router between guests and outside, with routes both
// ways: if none of their packets passes, it is the switch's doing.
func (s *site) forward(ctx context.Context) error {
	err := errors.Join(s.plug(ctx, outsideName, "eth0", farOutside),
		s.ip(ctx, hostName, "addr add %s/%d dev eth0", farHost, lan),
		s.spaces[hostName].Sysctl("net.ipv4.ip_forward", "1"),
		s.ip(ctx, outsideName, "route add %s via %s", netip.PrefixFrom(hostAddr, lan).Masked(), farHost))
	for i := 1; i <= guests; i++ {
		err = errors.Join(err, s.ip(ctx, guestName(i), "route add default via %s", hostAddr))
	}
	return err
}

// tempt gives the host an address in the guests' subnet and a route to each, so
// that without the switch it would answer them.
func (s *site) tempt(ctx context.Context) error {
	err := s.ip(ctx, hostName, "addr add %s/32 dev lo", hostAddr)
	for i := 1; i <= guests; i++ {
		err = errors.Join(err, s.ip(ctx, hostName, "route add %s dev %s", guestAddr(i), guestName(i)))
	}
	return err
}

// ip runs ip(8), which testnet needs anyway, in a namespace.
func (s *site) ip(ctx context.Context, name, format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	ns := s.spaces[name]
	if ns == nil {
		return nil // making it has failed already
	}
	out, err := ns.Command(ctx, "ip", strings.Fields(line)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: ip %s: %w: %s", name, line, err, strings.TrimSpace(string(out)))
	}
	return nil
}

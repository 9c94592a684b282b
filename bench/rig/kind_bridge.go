package rig

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/vishvananda/netlink"

	"gxswitch/internal/host"
)

// masquerade is the rule that home routers have.
const masquerade = `table ip gxbench {
	chain post {
		type nat hook postrouting priority srcnat;
		oifname "` + natUplink + `" masquerade
	}
}`

// masquerade makes the kernel the guest's gateway: its own address on the
// bridge, forwarding, and nft(8)'s masquerade.
func (s *Session) masquerade(ctx context.Context, r *Rig, bridge int) error {
	gateway := Endpoint{NS: r.Switch, Name: "br0", Index: bridge, Addr: r.nat.gateway}
	if err := introduce(gateway, r.nat.guest); err != nil {
		return err
	}
	if err := r.Switch.Sysctl("net.ipv4.ip_forward", "1"); err != nil {
		return err
	}
	s.undo(func() error { return r.Switch.Sysctl("net.ipv4.ip_forward", "0") })
	if err := command(ctx, r.Switch, "nft", masquerade); err != nil {
		return err
	}
	s.undo(func() error { return command(context.Background(), r.Switch, "nft", "delete table ip gxbench") })
	// The sessions of earlier rounds count against nf_conntrack_max for half a
	// minute after their last packet.
	err := r.Switch.Do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
	if err != nil {
		return fmt.Errorf("flush the sessions: %w", err)
	}
	return s.meet(r, "br0")
}

// can says why the bridge can't do what a kind takes.
func (Bridge) can(k Kind) error {
	switch k {
	case NAT:
		return installed(exec.LookPath, "nft")
	case Policed:
		return ErrLacks
	}
	return nil
}

// carryVLANs is "bridge vlan add vid 10 dev v0 pvid untagged master", and so on.
func carryVLANs() error {
	for _, p := range []string{vlanAccess, vlanOther, vlanTrunk} {
		l, err := host.LinkByName(p)
		if err != nil {
			return err
		}
		access := p != vlanTrunk
		if access {
			err = netlink.BridgeVlanDel(link(l.Index), 1, true, true, false, true)
		}
		if err := errors.Join(err, netlink.BridgeVlanAdd(link(l.Index), VID, access, access, false, true)); err != nil {
			return fmt.Errorf("VLANs of %s: %w", p, err)
		}
	}
	return nil
}

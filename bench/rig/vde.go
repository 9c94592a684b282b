package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
)

// VDE is Virtual Distributed Ethernet's switch. It speaks to taps of its own; tc
// redirects what comes in at a port to its tap and back. (vde_pcapplug would do
// without, but with today's libpcap it holds frames back until there are many.)
type VDE struct{}

// Name implements Arm.
func (VDE) Name() string { return "vde" }

// Up implements Arm.
func (v VDE) Up(ctx context.Context, r *Rig, setup Setup) (_ *Session, err error) {
	if setup.Kind != Switching {
		return nil, ErrLacks
	}
	if err := installed(exec.LookPath, "vde_switch"); err != nil {
		return nil, err
	}
	s := r.session(v, setup)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Down())
		}
	}()
	dir, err := runDir("vde")
	if err != nil {
		return nil, err
	}
	s.undo(func() error { return os.RemoveAll(dir) })
	ports := r.ports(setup)
	// Its table is a chain behind each hash: the limit is the number of hashes.
	hashes := strconv.Itoa(max(1024, setup.FDBLimit))
	args := []string{"-s", dir + "/ctl", "-n", strconv.Itoa(len(ports) + 1), "--hashsize", hashes}
	for i := range ports {
		args = append(args, "-t", vdeTap(i))
	}
	if err := s.daemon(r.Switch, dir, "vde_switch", args...); err != nil {
		return nil, err
	}
	if err := r.awaitTap(ctx, vdeTap(len(ports)-1)); err != nil {
		return nil, err
	}
	err = r.Switch.Do(func() error {
		for i, p := range ports {
			if err := s.splice(r.Switch, p, vdeTap(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func vdeTap(i int) string { return fmt.Sprintf("v%04d", i) }

// awaitTap returns when the daemon has made its last tap.
func (r *Rig) awaitTap(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return testnet.Wait(ctx, "tap "+name, func() (bool, error) {
		_, err := r.Switch.Link(name)
		if errors.Is(err, host.ErrNoLink) {
			return false, nil
		}
		return err == nil, err
	})
}

// splice joins a port to a tap, inside the namespace of both. The tap's half
// goes with the tap.
func (s *Session) splice(ns *testnet.NS, port, tap string) error {
	p, err := host.LinkByName(port)
	if err != nil {
		return err
	}
	t, err := host.LinkByName(tap)
	if err != nil {
		return err
	}
	if err := host.SetUp(t.Index, true); err != nil {
		return err
	}
	s.undo(func() error {
		return ns.Do(func() error {
			err := netlink.QdiscDel(&netlink.Clsact{QdiscAttrs: clsactAt(p.Index)})
			if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("free %s: %w", port, err)
			}
			return nil
		})
	})
	return errors.Join(redirect(p.Index, t.Index), redirect(t.Index, p.Index))
}

func clsactAt(index int) netlink.QdiscAttrs {
	return netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}
}

// redirect sends what comes in at one link out of another.
func redirect(from, to int) error {
	if err := netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: clsactAt(from)}); err != nil {
		return fmt.Errorf("clsact: %w", err)
	}
	err := netlink.FilterAdd(&netlink.U32{ // without a selector: everything
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: from, Parent: netlink.HANDLE_MIN_INGRESS, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		Actions: []netlink.Action{netlink.NewMirredAction(to)},
	})
	if err != nil {
		return fmt.Errorf("redirect: %w", err)
	}
	return nil
}

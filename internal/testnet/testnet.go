// Package testnet lays out network namespaces joined by veth pairs, for tests,
// the demo and the bench: a switch's namespace in the middle, a guest in each of
// the others.
//
// Nothing outside its own namespaces is touched, and all of them go with Close.
// What a run that was killed left behind, the next run of the same prefix
// removes. It needs root and iproute2.
//
// A Net and its namespaces may be used from several goroutines.
package testnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
)

// runDir is where ip-netns(8) keeps its namespaces.
const runDir = "/run/netns"

// Net is a set of namespaces with names of their own, gxt-PREFIX-PID-N-NAME, where
// N tells the sets of one process apart.
type Net struct {
	prefix string

	mu     sync.Mutex // guards what follows
	spaces []*NS
	closed bool
}

// sets are those that this process made. As a process id is, their number is one
// for the whole process.
var sets struct {
	sync.Mutex // also for the sweep: two at once would be in each other's way
	made       int
}

// New makes an empty set and removes the namespaces of earlier sets of the same
// prefix whose processes are dead.
func New(prefix string) (*Net, error) {
	if prefix == "" {
		return nil, errors.New("test network: no prefix")
	}
	// A hyphen would make "a-1" hard to tell from "a" of process 1.
	stem := "gxt-" + strings.Map(plain, prefix) + "-"
	sets.Lock()
	defer sets.Unlock()
	if err := sweep(stem); err != nil {
		return nil, fmt.Errorf("test network %s: %w", prefix, err)
	}
	sets.made++
	return &Net{prefix: fmt.Sprintf("%s%d-%d-", stem, os.Getpid(), sets.made)}, nil
}

func plain(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.':
		return r
	}
	return '_'
}

func sweep(stem string) error {
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), stem)
		pid, _, ok := strings.Cut(rest, "-")
		n, err := strconv.Atoi(pid)
		if !ours || !ok || err != nil || !errors.Is(unix.Kill(n, 0), unix.ESRCH) {
			continue
		}
		if err := (&NS{Name: e.Name()}).remove(); err != nil {
			return err
		}
	}
	return nil
}

// Namespace makes a namespace with its loopback up.
func (n *Net) Namespace(name string) (*NS, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, fmt.Errorf("namespace %s: the network is closed", name)
	}
	s := &NS{Name: n.prefix + name}
	if err := run("ip", "netns", "add", s.Name); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	n.spaces = append(n.spaces, s)
	if err := s.Do(func() error { return host.SetUp(loopback, true) }); err != nil {
		return nil, fmt.Errorf("namespace %s: %w", name, err)
	}
	return s, nil
}

// loopback is the index of lo, the first link of every namespace.
const loopback = 1

// GuestSpec is a guest and the port that it hangs on. What is zero is left to
// the kernel.
type GuestSpec struct {
	Name string // of its namespace
	Port string // of its interface in the switch's namespace
	Addr netip.Prefix
	MAC  frame.MAC
	MTU  int // of both ends
}

// Guest makes a namespace with an eth0 whose other end is a link in sw. Both
// are up.
func (n *Net) Guest(sw *NS, spec GuestSpec) (*NS, error) {
	g, err := n.Namespace(spec.Name)
	if err != nil {
		return nil, err
	}
	if err := g.plug(sw, spec); err != nil {
		return nil, fmt.Errorf("guest %s: %w", spec.Name, err)
	}
	return g, nil
}

// Close kills what still runs in the namespaces and removes them, with all
// links in them. It may be called again.
func (n *Net) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	var errs []error
	for _, s := range n.spaces {
		errs = append(errs, s.remove())
	}
	n.spaces = nil
	return errors.Join(errs...)
}

// plug joins eth0 in s to the port in sw.
func (s *NS) plug(sw *NS, spec GuestSpec) error {
	in, err := os.Open(s.path())
	if err != nil {
		return err
	}
	defer in.Close()
	err = sw.Do(func() error {
		a := netlink.NewLinkAttrs()
		a.Name, a.MTU = spec.Port, spec.MTU
		veth := netlink.NewVeth(a)
		veth.PeerName, veth.PeerNamespace = "eth0", netlink.NsFd(in.Fd())
		if !spec.MAC.IsZero() {
			veth.PeerHardwareAddr = spec.MAC[:]
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("make veth %s: %w", spec.Port, err)
		}
		return up(spec.Port)
	})
	if err != nil {
		return err
	}
	return s.Do(func() error {
		if err := up("eth0"); err != nil || !spec.Addr.IsValid() {
			return err
		}
		return setAddr("eth0", spec.Addr)
	})
}

func up(name string) error {
	l, err := host.LinkByName(name)
	if err != nil {
		return err
	}
	return host.SetUp(l.Index, true)
}

// setAddr adds an address that can be used at once: without duplicate address
// detection, which takes a second.
func setAddr(name string, p netip.Prefix) error {
	l, err := host.LinkByName(name)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, a); err != nil {
		return fmt.Errorf("add address %s to %s: %w", p, name, err)
	}
	return nil
}

// Wait returns once cond is true. An error of cond ends it; so does the end of
// ctx, or ten seconds if ctx has no deadline. This is the one place that polls.
func Wait(ctx context.Context, what string, cond func() (bool, error)) error {
	if _, ok := ctx.Deadline(); !ok {
		c, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		ctx = c
	}
	start := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		ok, err := cond()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("waited %s for %s: %w", time.Since(start).Round(time.Millisecond), what, ctx.Err())
		}
	}
}

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

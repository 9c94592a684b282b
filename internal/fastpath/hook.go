package fastpath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// hook is a program at an interface's ingress: a tcx link, or a tc filter where
// the kernel has no tcx.
type hook struct {
	ifindex int
	link    link.Link // nil: a filter
	pin     string    // of the link; "" if it is not pinned
}

// Our filter runs before the guard, which has priority 2 (internal/host). Its name
// ends with the run directory's hash: another daemon may have ports of its own in
// this network namespace. Its handle says whether the qdisc came with it.
const (
	filterName        = "gxswitch-fast-"
	filterPriority    = 1
	filterHandle      = 0x67780001
	filterHandleQdisc = 0x67780002
)

// attach puts a program at an interface's ingress, behind others of tcx: who was
// there first sees the frames first.
func (e *Engine) attach(prog *ebpf.Program, ifindex int, name string) (*hook, error) {
	h := &hook{ifindex: ifindex}
	if e.filters {
		return h, attachFilter(prog, ifindex, e.hash)
	}
	l, err := link.AttachTCX(link.TCXOptions{Interface: ifindex, Program: prog, Attach: ebpf.AttachTCXIngress})
	if errors.Is(err, ebpf.ErrNotSupported) {
		return h, attachFilter(prog, ifindex, e.hash)
	}
	if err != nil {
		return nil, fmt.Errorf("attach to interface %d: %w", ifindex, err)
	}
	h.link = l
	if e.pins != "" {
		h.pin = filepath.Join(e.pins, name+"-"+strconv.Itoa(ifindex))
		_ = os.Remove(h.pin) // of an interface that had the number before
		if err := l.Pin(h.pin); err != nil {
			return nil, errors.Join(fmt.Errorf("pin the link of interface %d: %w", ifindex, err), h.remove())
		}
	}
	return h, nil
}

// remove takes the program off.
func (h *hook) remove() error {
	if h.link == nil {
		return detachFilter(h.ifindex)
	}
	var err error
	if h.pin != "" {
		if err = os.Remove(h.pin); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, h.link.Close())
}

// close forgets the program; a pinned one stays.
func (h *hook) close() error {
	if h.link == nil {
		return nil
	}
	return h.link.Close()
}

// pinnedHooks finds the links of one kind that a predecessor left, gives them the
// program, and removes those that are of no use.
func (e *Engine) pinnedHooks(prog *ebpf.Program, name string) (map[int]*hook, error) {
	found := map[int]*hook{}
	if e.pins == "" {
		return found, nil
	}
	files, err := filepath.Glob(filepath.Join(e.pins, name+"-*"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		ifindex, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(f), name+"-"))
		if err != nil {
			continue
		}
		l, err := link.LoadPinnedLink(f, nil)
		if err == nil {
			// The kernel detaches the link of an interface that is gone.
			if err = l.Update(prog); err == nil {
				found[ifindex] = &hook{ifindex: ifindex, link: l, pin: f}
				continue
			}
			l.Close()
		}
		if err := os.Remove(f); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func filterAt(ifindex int, handle uint32) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex,
			Parent:    netlink.HANDLE_MIN_INGRESS,
			Handle:    handle,
			Priority:  filterPriority,
			Protocol:  unix.ETH_P_ALL,
		},
		DirectAction: true,
	}
}

func clsactOf(ifindex int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// attachFilter puts the program there, or in the place of the one that a
// predecessor left.
func attachFilter(prog *ebpf.Program, ifindex int, hash string) error {
	handle, err := filterHandleOf(ifindex, hash)
	if err != nil {
		return err
	}
	if handle == 0 {
		handle = filterHandle
		switch err := netlink.QdiscAdd(clsactOf(ifindex)); {
		case err == nil:
			handle = filterHandleQdisc
		case !errors.Is(err, unix.EEXIST):
			return fmt.Errorf("add clsact qdisc to interface %d: %w", ifindex, err)
		}
	}
	f := filterAt(ifindex, handle)
	f.Fd, f.Name = prog.FD(), filterName+hash
	if err := netlink.FilterReplace(f); err != nil {
		return fmt.Errorf("attach filter to interface %d: %w", ifindex, err)
	}
	return nil
}

// filterHandleOf is the handle of our filter at an interface's ingress, 0 if there
// is none.
func filterHandleOf(ifindex int, hash string) (uint32, error) {
	list, err := netlink.FilterList(device(ifindex), netlink.HANDLE_MIN_INGRESS)
	if err != nil {
		return 0, fmt.Errorf("list the filters of interface %d: %w", ifindex, err)
	}
	for _, f := range list {
		if b, ok := f.(*netlink.BpfFilter); ok && b.Name == filterName+hash {
			return b.Handle, nil
		}
	}
	return 0, nil
}

// detachFilter takes the filter away, and the qdisc if that came with it and
// nobody else has a filter there. It lists none before: the library can't read
// those of every kind.
func detachFilter(ifindex int) error {
	if err := netlink.FilterDel(filterAt(ifindex, filterHandle)); gone(err) != nil {
		return err
	}
	if err := netlink.FilterDel(filterAt(ifindex, filterHandleQdisc)); err != nil {
		return gone(err)
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		list, err := netlink.FilterList(device(ifindex), parent)
		if err != nil || len(list) > 0 {
			return nil // somebody's, of whatever kind
		}
	}
	return gone(netlink.QdiscDel(clsactOf(ifindex)))
}

func device(ifindex int) netlink.Link {
	return &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: ifindex}}
}

// gone takes what is not there any more for removed.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		return nil
	}
	return err
}

// removeFilters takes the filters of an engine that is no more off every interface;
// false if there is none.
func removeFilters(hash string) (bool, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return false, err
	}
	var errs []error
	found := false
	for _, l := range links {
		list, err := netlink.FilterList(l, netlink.HANDLE_MIN_INGRESS)
		if err != nil {
			continue // of a kind that the library can't read, and none of ours
		}
		for _, f := range list {
			if b, ok := f.(*netlink.BpfFilter); ok && b.Name == filterName+hash {
				found = true
				errs = append(errs, detachFilter(l.Attrs().Index))
			}
		}
	}
	return found, errors.Join(errs...)
}

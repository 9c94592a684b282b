package host

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Scratch calls f in a network namespace of its own, which goes when f is done:
// a place to try what the kernel can do. The link is one end of a veth pair; with
// noVeth it could not be made, and f is not called. It needs CAP_SYS_ADMIN.
func Scratch(f func(Link)) (noVeth, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Not unlocked: the thread ends with the goroutine, and takes the
		// namespace with it.
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("make a network namespace: %w", err)
			return
		}
		a := netlink.NewLinkAttrs()
		a.Name = "gx0"
		if noVeth = netlink.LinkAdd(&netlink.Veth{LinkAttrs: a, PeerName: "gx1"}); noVeth != nil {
			return
		}
		l, found := LinkByName(a.Name)
		if err = found; err == nil {
			f(l)
		}
	}()
	<-done
	return noVeth, err
}

// TryTCX attaches a program by a tcx link and takes it away again.
func TryTCX(index int) (err error) {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SchedCLS,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, tcActShot), asm.Return()},
		License:      "GPL",
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, prog.Close()) }()
	l, err := link.AttachTCX(link.TCXOptions{Interface: index, Program: prog, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		return err
	}
	return l.Close()
}

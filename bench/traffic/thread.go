package traffic

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"gxswitch/bench/rig"
)

// AnyCore leaves a thread to the scheduler.
const AnyCore = -1

// onThread runs f on a thread of its own, which ends with it, pinned to a core
// unless that is AnyCore.
func onThread(core int, f func() error) <-chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock
		if core != AnyCore {
			var set unix.CPUSet
			set.Set(core)
			if err := unix.SchedSetaffinity(0, &set); err != nil {
				done <- fmt.Errorf("pin a thread to core %d: %w", core, err)
				return
			}
		}
		// Sleeps end when they should, not up to 50 µs later.
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
		done <- f()
	}()
	return done
}

// packetSocket opens a raw socket on the endpoint's interface. Protocol 0 hears
// nothing.
func packetSocket(e rig.Endpoint, protocol uint16, options ...int) (fd int, err error) {
	err = e.NS.Do(func() error {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		for _, o := range options {
			if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, o, 1); err != nil {
				unix.Close(fd)
				return err
			}
		}
		err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: e.Index, Protocol: htons(protocol)})
		if err != nil {
			unix.Close(fd)
		}
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("packet socket on %s of %s: %w", e.Name, e.NS.Name, err)
	}
	return fd, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

func sendmmsg(fd int, msgs []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))),
		uintptr(len(msgs)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

package rig

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"gxswitch/internal/host"
)

// Tap is a port without a namespace behind it: the guest is whoever reads the
// descriptor, as an emulator does. Each frame has a virtio-net header before it.
// Reads do not block.
type Tap struct {
	Endpoint
	FD int
}

// VNetLen is the length of that header.
const VNetLen = 10

func tapName(i int) string { return "k" + strconv.Itoa(i) }

// makeTaps makes a tap for each lane's sender to send to.
func (r *Rig) makeTaps() error {
	for i, l := range r.Lanes {
		t := Tap{Endpoint: Endpoint{NS: r.Switch, Name: tapName(i), MAC: mac(8, i), Addr: addr(77, 8, i)}}
		err := r.Switch.Do(func() (err error) {
			if t.FD, err = openTap(t.Name); err != nil {
				return fmt.Errorf("make tap %s: %w", t.Name, err)
			}
			r.taps = append(r.taps, t)
			link, err := host.LinkByName(t.Name)
			if err != nil {
				return err
			}
			r.taps[i].Index = link.Index
			return host.SetUp(link.Index, true)
		})
		if err != nil {
			return err
		}
		if err := neighbour(l.From.NS, l.From.Index, t.Addr, t.MAC); err != nil {
			return err
		}
	}
	return nil
}

// openTap is as in Documentation/networking/tuntap.rst.
func openTap(name string) (fd int, err error) {
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("TUNSETIFF", err)
	}
	return fd, nil
}

// closeTaps ends them, and their interfaces.
func (r *Rig) closeTaps() {
	for _, t := range r.taps {
		unix.Close(t.FD)
	}
	r.taps = nil
}

package fastpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/testnet/nettest"
)

// Pins of a killed daemon's go when its network namespace has gone, whoever looks, and
// not before: not while it lives without a daemon, nor while somebody holds them.
func TestPinsOfADeletedNamespaceGo(t *testing.T) {
	l := newLab(t)
	l.open(Options{})
	a, b := l.guest(nil), l.guest(nil)
	a.known(1)
	b.known(1)
	pins := l.e.pins
	tidy := func(when string, want bool) {
		t.Helper()
		removed, err := Tidy(l.dir)
		if err != nil {
			t.Error(err)
		}
		_, err = os.Stat(pins)
		if is := slices.Contains(removed, pins); is != want || want != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: removed %v, %v", when, is, err)
		}
	}
	tidy("the engine is open", false)
	l.crash()
	tidy("the namespace lives", false)
	a.send(a.to(b.mac()))
	b.receive()
	l.do(func() error { // all ports have gone, and the namespace has not
		return errors.Join(
			netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: a.ifindex}}),
			netlink.LinkDel(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: b.ifindex}}))
	})
	tidy("the ports have gone", false)

	if out, err := exec.Command("ip", "netns", "del", l.sw.Name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	nettest.Wait(t, "the kernel to take the namespace down", func() (bool, error) { return dead(pins), nil })
	holder := &Engine{pins: pins}
	if err := holder.hold(); err != nil {
		t.Fatal(err)
	}
	tidy("somebody holds them", false)
	if err := holder.held.Close(); err != nil {
		t.Fatal(err)
	}
	tidy("nobody does", true)
}

// Who is about to open an engine gets a directory that is there, though another has
// found it dead and removes it.
func TestPinsAreMadeAgainForWhoWaited(t *testing.T) {
	l := newLab(t)
	e := &Engine{pins: l.dir + "/bpf/gxswitch-0/v0-0"}
	if err := os.MkdirAll(e.pins, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(e.pins)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	is, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	inode := fmt.Sprintf(":%d ", is.Sys().(*syscall.Stat_t).Ino)
	held := make(chan error)
	go func() { held <- e.hold() }()
	nettest.Wait(t, "somebody to wait for the lock", func() (bool, error) {
		locks, err := os.ReadFile("/proc/locks")
		return slices.ContainsFunc(strings.Split(string(locks), "\n"), func(line string) bool {
			return strings.Contains(line, "-> FLOCK") && strings.Contains(line, inode)
		}), err
	})
	if err := os.RemoveAll(e.pins); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	defer e.held.Close()
	if is, err := os.Stat(e.pins); err != nil || !same(e.held, is) {
		t.Errorf("it holds a directory that is not there: %v", err)
	}
}

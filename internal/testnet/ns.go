package testnet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"gxswitch/internal/host"
)

// NS is a network namespace that ip-netns(8) knows by the same name.
type NS struct{ Name string }

func (s *NS) path() string { return filepath.Join(runDir, s.Name) }

// Do runs f inside the namespace, on the calling goroutine: f may end it, as
// testing's Fatal does. Goroutines that f starts are outside. Sockets that f
// opens stay inside, wherever they are used later.
//
// If the way back fails, which takes a process that gave up its rights, the
// goroutine stays locked, so that its thread ends with it.
func (s *NS) Do(f func() error) (err error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("namespace %s: %w", s.Name, err)
	}
	defer home.Close()
	if err := s.enter(); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("namespace %s: %w", s.Name, err)
	}
	defer func() {
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			err = errors.Join(err, fmt.Errorf("leave namespace %s: %w", s.Name, back))
			return
		}
		runtime.UnlockOSThread()
	}()
	return f()
}

func (s *NS) enter() error {
	f, err := os.Open(s.path())
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}

// Command is a program to run inside, with a /sys that shows the namespace. It
// is ip-netns(8) only until that has entered and executed the program, so
// signals and the process id are the program's.
func (s *NS) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", s.Name, name}, args...)...)
	// A child that outlives the program must not keep Wait waiting for its output.
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Sysctl sets a kernel parameter inside. As in sysctl(8), a key with slashes may
// have dots in its interface names.
func (s *NS) Sysctl(key, value string) error {
	path := key
	if !strings.Contains(key, "/") {
		path = strings.ReplaceAll(key, ".", "/")
	}
	err := s.Do(func() error {
		return os.WriteFile("/proc/sys/"+path, []byte(value), 0)
	})
	if err != nil {
		return fmt.Errorf("set %s to %s: %w", key, value, err)
	}
	return nil
}

// Link finds a link inside by its name.
func (s *NS) Link(name string) (l host.Link, err error) {
	err = s.Do(func() error {
		l, err = host.LinkByName(name)
		return err
	})
	return l, err
}

// remove ends the processes inside and deletes the namespace.
func (s *NS) remove() error {
	ended := s.endProcesses(unix.SIGTERM, time.Second)
	if ended != nil {
		ended = s.endProcesses(unix.SIGKILL, 5*time.Second)
	}
	// The kernel takes a dead namespace's links away some time later; who looks
	// at the other end of a pair wants it gone now. If this fails, later it is.
	_ = s.deletePairs()
	deleted := run("ip", "netns", "del", s.Name)
	if _, err := os.Stat(s.path()); errors.Is(err, fs.ErrNotExist) {
		return nil // be it by another hand
	}
	if err := errors.Join(ended, deleted); err != nil {
		return fmt.Errorf("remove namespace %s: %w", s.Name, err)
	}
	return nil
}

// goingGroup is the group of links that are deleted together: one by one each
// makes the kernel wait for all its processors.
const goingGroup = 0x67787400

func (s *NS) deletePairs() error {
	none := true
	err := s.Do(func() error {
		links, err := host.Links()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Kind != "veth" {
				continue
			}
			none = false
			err := netlink.LinkSetGroup(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: l.Index}}, goingGroup)
			if err != nil && !errors.Is(err, unix.ENODEV) { // it went with its peer
				return fmt.Errorf("delete %s: %w", l.Name, err)
			}
		}
		return nil
	})
	if err != nil || none {
		return err
	}
	return run("ip", "-n", s.Name, "link", "del", "group", strconv.Itoa(goingGroup))
}

// endProcesses signals every process inside until none is left: nothing runs
// there that this package's user did not start.
func (s *NS) endProcesses(sig unix.Signal, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	told := make(map[int]bool)
	return Wait(ctx, "the processes in "+s.Name+" to end", func() (bool, error) {
		inside, err := s.processes()
		if err != nil {
			return false, err
		}
		for _, p := range inside {
			if told[p] {
				continue
			}
			told[p] = true
			if err := s.signal(p, sig); err != nil {
				return false, err
			}
		}
		return len(inside) == 0, nil
	})
}

// processes lists who is inside, as "ip netns pids" does. A zombie is not.
func (s *NS) processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var inside []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() { // whose main thread may be in Do
			continue
		}
		if in, err := s.holds(pid); err != nil {
			return nil, err
		} else if in {
			inside = append(inside, pid)
		}
	}
	return inside, nil
}

func (s *NS) holds(pid int) (bool, error) {
	var space, process unix.Stat_t
	if err := unix.Stat(s.path(), &space); err != nil {
		return false, &fs.PathError{Op: "stat", Path: s.path(), Err: err}
	}
	if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &process) != nil {
		return false, nil // it has ended
	}
	return process.Dev == space.Dev && process.Ino == space.Ino, nil
}

// signal asks once more whether the process is inside when it holds on to it,
// for its number may have become another's.
func (s *NS) signal(pid int, sig unix.Signal) error {
	p, err := os.FindProcess(pid) // a pidfd
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	if in, err := s.holds(pid); err != nil || !in {
		return err
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

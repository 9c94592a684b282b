package fastpath

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Who opens an engine holds its directory of pins by a shared lock (flock(2)), which
// ends with the process. So what nobody holds is a killed daemon's, and may be looked
// at, and removed, by who holds it alone.

// hold locks the directory, and makes it if somebody has just removed it.
func (e *Engine) hold() error {
	if e.held != nil {
		_ = e.held.Close()
		e.held = nil
	}
	for {
		if err := os.MkdirAll(e.pins, 0o700); err != nil {
			return fmt.Errorf("make the directory of pinned programs: %w", err)
		}
		f, err := os.Open(e.pins)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
			return errors.Join(fmt.Errorf("lock %s: %w", e.pins, err), f.Close())
		}
		if is, err := os.Stat(e.pins); err == nil && same(f, is) {
			e.held = f
			return nil
		}
		f.Close() // removed, before it was ours
	}
}

func same(f *os.File, is os.FileInfo) bool {
	was, err := f.Stat()
	return err == nil && os.SameFile(was, is)
}

// Tidy removes what killed daemons left pinned, of whatever run directory, in network
// namespaces that are no more, and tells where it was. That a namespace is no more is
// told by the links: the kernel takes a tcx link off its interface when that goes, and
// as long as the namespace lives, so do the engine's own interfaces in it. Without
// tcx, and where a NIC outlived the namespace, it can't be told, and all stays.
func Tidy(runDir string) (removed []string, err error) {
	for _, base := range bases(runDir) {
		dirs, globErr := filepath.Glob(filepath.Join(base, "gxswitch-*", "*-*"))
		err = errors.Join(err, globErr)
		for _, dir := range dirs {
			gone, rerr := removeDead(dir)
			if err = errors.Join(err, rerr); gone {
				removed = append(removed, dir)
				_ = os.Remove(filepath.Dir(dir)) // unless another namespace has its own there
			}
		}
	}
	return removed, err
}

func removeDead(dir string) (bool, error) {
	f, err := os.Open(dir)
	if err != nil {
		return false, nil // another user's, or just removed
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil || !dead(dir) {
		return false, nil
	}
	return true, os.RemoveAll(dir)
}

// dead reports whether a directory of pins has links, and none of them has an
// interface any more.
func dead(dir string) bool {
	found := false
	for _, kind := range []string{"link-*", "drop-*"} {
		pins, err := filepath.Glob(filepath.Join(dir, kind))
		if err != nil {
			return false
		}
		for _, pin := range pins {
			if !detached(pin) {
				return false
			}
			found = true
		}
	}
	return found
}

func detached(pin string) bool {
	l, err := link.LoadPinnedLink(pin, nil)
	if err != nil {
		return false
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false
	}
	tcx := info.TCX()
	return tcx != nil && tcx.Ifindex == 0
}

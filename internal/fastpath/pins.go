package fastpath

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// bpffs is where every distribution has it. It is root's; packages make a
	// directory there that is the daemon's.
	bpffs    = "/sys/fs/bpf"
	bpffsOwn = bpffs + "/gxswitch"

	// layout is part of the pins' path: another one of the maps is another
	// number.
	layout = "v5"
)

// pinDir makes the directory in which an engine is pinned:
//
//	BPFFS/gxswitch-HASH/v5-COOKIE
//
// HASH is of the run directory, COOKIE of the network namespace: an interface's
// index means nothing in another. BPFFS is bpf in the run directory where
// somebody mounted one there, else /sys/fs/bpf/gxswitch if there is such a
// directory, else /sys/fs/bpf, mounted if it is not.
func pinDir(runDir string) (string, error) {
	cookie, err := netnsCookie()
	if err != nil {
		return "", fmt.Errorf("tell the network namespace: %w", err)
	}
	base, err := findBPFFS(runDir)
	if err != nil {
		return "", err
	}
	own := filepath.Join(base, "gxswitch-"+nameHash(runDir))
	dir := filepath.Join(own, layout+"-"+strconv.FormatUint(cookie, 16))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the directory of pinned programs: %w", err)
	}
	return dir, nil
}

// othersPins says that what is pinned is of a daemon of another user's: beside its
// program, which goes on forwarding, there is no place for this one.
func othersPins(dir string) error {
	if dir == "" || unix.Access(dir, unix.R_OK|unix.W_OK|unix.X_OK) == nil {
		return nil
	}
	return fmt.Errorf("a daemon of another user's has left its program in %s; as that user, gxswitch daemon --flush removes it", dir)
}

func findBPFFS(runDir string) (string, error) {
	if own := filepath.Join(runDir, "bpf"); isBPFFS(own) {
		return own, nil
	}
	if isBPFFS(bpffsOwn) {
		return bpffsOwn, nil
	}
	if isBPFFS(bpffs) {
		return bpffs, nil
	}
	if err := unix.Mount("bpf", bpffs, "bpf", 0, "mode=0700"); err != nil {
		return "", fmt.Errorf("mount a bpf filesystem on %s: %w", bpffs, err)
	}
	return bpffs, nil
}

// bases are the directories, of those that findBPFFS may find, that there are.
func bases(runDir string) []string {
	return slices.DeleteFunc([]string{filepath.Join(runDir, "bpf"), bpffsOwn, bpffs}, func(path string) bool { return !isBPFFS(path) })
}

func isBPFFS(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.BPF_FS_MAGIC
}

// nameHash is short enough for the names of interfaces.
func nameHash(runDir string) string {
	if abs, err := filepath.Abs(runDir); err == nil {
		runDir = abs
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(runDir))
	return fmt.Sprintf("%08x", h.Sum32())
}

// netnsCookie is a number that no other network namespace has had since boot
// (socket(7), SO_NETNS_COOKIE).
func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// unPromiscuous gives back the flags of devices that an engine pinned there has
// set.
func unPromiscuous(dir string) error {
	index, err := ebpf.LoadPinnedMap(filepath.Join(dir, "gx_index"), nil)
	if err != nil {
		return nil // it has attached nothing
	}
	defer index.Close()
	all, err := ebpf.LoadPinnedMap(filepath.Join(dir, "gx_ports"), nil)
	if err != nil {
		return nil
	}
	defer all.Close()
	var errs []error
	var ifindex, number uint32
	for it := index.Iterate(); it.Next(&ifindex, &number); {
		var p objectPort
		if all.Lookup(number, &p) == nil && p.Flags&flagPromiscuous != 0 {
			errs = append(errs, discreet(int(ifindex)))
		}
	}
	return errors.Join(errs...)
}

// Flush removes what an engine of the run directory left pinned in this network
// namespace, so that nothing is forwarded any more. It reports whether there was
// anything.
func Flush(runDir string) (bool, error) {
	found, perr := removePins(runDir, "")
	some, err := removePunts(nameHash(runDir))
	filters, ferr := removeFilters(nameHash(runDir))
	return found || some || filters, errors.Join(perr, err, ferr)
}

// removePins ends what is pinned for the run directory in this network namespace,
// in whatever layout, but for one directory. It reports whether there was anything.
func removePins(runDir, but string) (found bool, err error) {
	cookie, err := netnsCookie()
	if err != nil {
		return false, err
	}
	var errs []error
	for _, base := range bases(runDir) {
		own := filepath.Join(base, "gxswitch-"+nameHash(runDir))
		dirs, err := filepath.Glob(filepath.Join(own, "*-"+strconv.FormatUint(cookie, 16)))
		if err != nil {
			return found, err
		}
		for _, dir := range dirs {
			if dir != but {
				found = true
				errs = append(errs, unPromiscuous(dir), os.RemoveAll(dir))
			}
		}
		_ = os.Remove(own) // unless something is left in it
	}
	return found, errors.Join(errs...)
}

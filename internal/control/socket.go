package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what sun_path holds besides its final NUL (unix(7)).
const maxSocketPath = 107

// socket is the daemon's end: a listener at path and, for as long as it is
// open, an exclusive lock on path.lock. The lock, not the socket file, says
// whose turn it is: a file outlives a crash, a lock doesn't, and two daemons
// that start at once can't both hold it.
type socket struct {
	path     string
	listener *net.UnixListener
	lock     *os.File
	group    string // whose members may connect, "" for root alone
	gid      int    // of group, -1 without one
	closing  sync.Once
}

// openSocket takes the lock, replaces a socket file that a crash left, and
// listens. A socket that somebody listens on is never touched.
func openSocket(path, group string, log *slog.Logger) (*socket, error) {
	if len(path) > maxSocketPath {
		return nil, Errorf(CodeUsage, "control socket %s: path is longer than %d bytes", path, maxSocketPath).
			WithHint("give a shorter --run-dir")
	}
	lock, err := takeLock(path)
	if err != nil {
		return nil, err
	}
	s := &socket{path: path, lock: lock, gid: -1}
	if err := clearStale(path); err != nil {
		lock.Close()
		return nil, err
	}
	if s.listener, err = listenPrivate(path); err != nil {
		lock.Close()
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	if err := s.admit(group); err != nil {
		log.Warn("control socket is for root alone", "socket", path, "group", group, "err", err)
	}
	return s, nil
}

// takeLock locks path.lock. The file stays when the lock goes: removing it
// would let a third daemon lock a new file of the same name.
func takeLock(path string) (*os.File, error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock control socket: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errTaken(path)
	}
	return nil, fmt.Errorf("lock %s: %w", name, err)
}

func errTaken(path string) error {
	return Errorf(CodeRefused, "another gxswitch daemon answers on %s", path).
		WithHint("stop it first, or give this one a --run-dir of its own")
}

// clearStale removes a socket file on which nobody listens.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return Errorf(CodeRefused, "control socket %s: a file that is not a socket is in the way", path).
			WithHint("move it away, or give another --run-dir")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return errTaken(path)
	}
	// connect(2): ECONNREFUSED is "no one listening on the remote address".
	// Anything else (EAGAIN: its queue is full) may be a daemon that lives.
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("control socket %s is in doubt: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale control socket: %w", err)
	}
	return nil
}

// listenPrivate listens on a socket file that is born with mode 0600, whatever
// the umask: bind(2) gives the file the mode of the socket's own inode, less
// the umask, and fchmod may narrow that first. Changing the umask would do as
// well, but for every thread of the process.
func listenPrivate(path string) (*net.UnixListener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var inner error
		err := c.Control(func(fd uintptr) { inner = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, inner)
	}}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// admit opens the socket to the members of group.
func (s *socket) admit(group string) error {
	if group == "" {
		return nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("gid of group %s: %w", group, err)
	}
	if err := os.Lchown(s.path, -1, gid); err != nil {
		return err
	}
	if err := os.Chmod(s.path, 0o660); err != nil {
		return err
	}
	s.group, s.gid = group, gid
	return nil
}

// allows reports whether p may use the socket: root, the daemon's own user and
// the group. The file's mode says the same; this also holds where somebody
// changed the mode.
func (s *socket) allows(p peer) bool {
	return p.uid == 0 || p.uid == uint32(os.Geteuid()) || p.in(s.gid)
}

// close removes the socket file and then gives the lock back.
func (s *socket) close() error {
	var err error
	s.closing.Do(func() {
		err = s.listener.Close()
		if errors.Is(err, net.ErrClosed) {
			err = nil // net/http closed it when it stopped serving
		}
		err = errors.Join(err, s.lock.Close())
	})
	return err
}

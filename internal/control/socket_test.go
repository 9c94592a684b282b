package control_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
)

func listen(t *testing.T, socket, group string) (*control.Server, error) {
	t.Helper()
	s, err := control.Listen(control.ServerOptions{Socket: socket, Group: group})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

func isTaken(err error) bool {
	var e *control.Error
	return errors.As(err, &e) && e.Code == control.CodeRefused && e.Hint != "" &&
		strings.HasPrefix(e.Message, "another gxswitch daemon answers on ")
}

func TestSocketModeAndOwner(t *testing.T) {
	gid := os.Getgid()
	g, err := user.LookupGroupId(strconv.Itoa(gid))
	if err != nil {
		t.Skipf("no name for gid %d: %v", gid, err)
	}
	for group, want := range map[string]os.FileMode{g.Name: 0o660, "": 0o600, "no-such-group": 0o600} {
		socket := filepath.Join(t.TempDir(), "control.sock")
		if _, err := listen(t, socket, group); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(socket)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("group %q: mode %o, want %o", group, got, want)
		}
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() || int(st.Gid) != gid {
			t.Errorf("group %q: owner %d:%d", group, st.Uid, st.Gid)
		}
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	d := seeded(t)
	if _, err := listen(t, d.socket, ""); !isTaken(err) {
		t.Errorf("second daemon: %v", err)
	}
	// Also one that lost its lock file keeps its socket.
	if err := os.Remove(d.socket + ".lock"); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t, d.socket, ""); !isTaken(err) {
		t.Errorf("second daemon without the lock file: %v", err)
	}
	d.answersWithinASecond(t)
}

func TestOfManyStartingAtOnceOneWins(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "control.sock")
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := listen(t, socket, ""); err == nil {
				won.Add(1)
			} else if !isTaken(err) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d daemons got the socket", won.Load())
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "control.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if _, err := listen(t, socket, ""); err != nil {
		t.Errorf("over a stale socket: %v", err)
	}
}

func TestWhatIsNoSocketStays(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "control.sock")
	if err := os.WriteFile(socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(t, socket, ""); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("over a file: %v", err)
	}
	if text, _ := os.ReadFile(socket); string(text) != "precious" {
		t.Errorf("the file is now %q", text)
	}
}

func TestStoppedDaemonLeavesRoomForTheNext(t *testing.T) {
	d := seeded(t)
	d.answersWithinASecond(t)
	d.stop()
	if _, err := os.Stat(d.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if _, err := listen(t, d.socket, ""); err != nil {
		t.Errorf("the next daemon: %v", err)
	}
}

func TestLongPathIsNamed(t *testing.T) {
	socket := filepath.Join(t.TempDir(), strings.Repeat("x", 108))
	if _, err := listen(t, socket, ""); err == nil || !strings.Contains(err.Error(), "longer than 107 bytes") {
		t.Errorf("server: %v", err)
	}
	_, err := control.NewClient(socket).Status(context.Background())
	if err == nil || !strings.Contains(err.Error(), "longer than 107 bytes") {
		t.Errorf("client: %v", err)
	}
}

func TestNoCallRunsOnceServeHasReturned(t *testing.T) {
	slow := &slowReload{entered: make(chan struct{})}
	d := start(t, slow)
	go d.client.Reload(context.Background())
	<-slow.entered
	d.stop()
	if !slow.left.Load() {
		t.Error("Serve returned in the middle of a call")
	}
}

// slowReload is a switch whose Reload outlasts the server's patience.
type slowReload struct {
	controltest.Switch
	entered chan struct{}
	left    atomic.Bool
}

func (s *slowReload) Reload() (control.Reloaded, error) {
	close(s.entered)
	time.Sleep(2500 * time.Millisecond) // longer than the two seconds of grace
	s.left.Store(true)
	return control.Reloaded{}, nil
}

package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
)

func TestNoDaemon(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, socket := range []string{filepath.Join(dir, "nothing"), file, filepath.Join(file, "below")} {
		_, err := control.NewClient(socket).Status(context.Background())
		var e *control.Error
		if !errors.Is(err, control.ErrNoDaemon) || !errors.As(err, &e) || !strings.Contains(e.Hint, "gxswitch daemon") {
			t.Errorf("%s: %#v", socket, err)
		}
	}
}

// answerWith is a daemon that says one thing to whoever connects.
func answerWith(t *testing.T, text string) *control.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			http.ReadRequest(bufio.NewReader(c))
			fmt.Fprint(c, text)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return control.NewClient(socket)
}

func TestStrangeDaemons(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
	for text, want := range map[string]control.Code{
		"":                 control.CodeNoDaemon,
		"SSH-2.0-x\r\n":    control.CodeNoDaemon,
		head:               control.CodeInternal,
		head + "<html>":    control.CodeInternal,
		head + `[]`:        control.CodeInternal,
		head + `{"pid":1}`: "",
		"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n404 page not found": control.CodeInternal,
		"HTTP/1.1 409 Conflict\r\nConnection: close\r\n\r\n" +
			`{"error":{"code":"from_the_future","message":"m"}}`: "from_the_future",
	} {
		_, err := answerWith(t, text).Status(context.Background())
		var e *control.Error
		switch {
		case want == "" && err != nil, want != "" && (!errors.As(err, &e) || e.Code != want):
			t.Errorf("%q: %#v, want code %q", text, err, want)
		}
	}
}

func TestCancelledCallSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := seeded(t).client.Status(ctx); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// dialAs connects as somebody else: a thread takes on the credentials, which
// SO_PEERCRED remembers, and ends with its goroutine. (The raw system calls
// change one thread; the functions of package syscall would change them all.)
func dialAs(t *testing.T, socket string, uid, gid int, groups ...uint32) (net.Conn, error) {
	t.Helper()
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread is spoilt
		c, err := func() (net.Conn, error) {
			var list *uint32
			if len(groups) > 0 {
				list = &groups[0]
			}
			if err := becomeRaw(uid, gid, list, len(groups)); err != nil {
				return nil, err
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			f := os.NewFile(uintptr(fd), "socket")
			defer f.Close()
			if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
				return nil, err
			}
			return net.FileConn(f)
		}()
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

// The kernel refuses strangers by the socket's mode; the daemon does where
// somebody has opened that up.
func TestWhoMayUseTheSocket(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	const group, nobody = "daemon", 65534
	g, err := user.LookupGroup(group)
	if err != nil {
		t.Skipf("needs the group %s: %v", group, err)
	}
	gid, _ := strconv.Atoi(g.Gid)
	dir, err := os.MkdirTemp("/tmp", "gxswitch-control") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "control.sock")
	server, err := control.Listen(control.ServerOptions{Socket: socket, Group: group})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, controltest.New()) }()
	t.Cleanup(func() { cancel(); <-served; server.Close() })

	if _, err := dialAs(t, socket, nobody, nobody); !errors.Is(err, unix.EACCES) {
		t.Errorf("a stranger at a socket of mode 0660: %v, want EACCES", err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		who      string
		uid, gid int
		groups   []uint32
		status   int
	}{
		{"root", 0, 0, nil, 200},
		{"primary group", nobody, gid, nil, 200},
		{"supplementary group", nobody, nobody, []uint32{3, uint32(gid)}, 200},
		{"a member of forty groups", nobody, nobody, append(make([]uint32, 39), uint32(gid)), 200},
		{"a stranger", nobody, nobody, nil, 403},
		{"a stranger with root's group", nobody, 0, []uint32{0}, 403},
	} {
		c, err := dialAs(t, socket, tc.uid, tc.gid, tc.groups...)
		if err != nil {
			t.Errorf("%s: %v", tc.who, err)
			continue
		}
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprint(c, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", tc.who, err)
		} else if resp.StatusCode != tc.status {
			t.Errorf("%s: %d, want %d", tc.who, resp.StatusCode, tc.status)
		}
		c.Close()
	}
}

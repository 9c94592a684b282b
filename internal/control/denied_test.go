package control

import (
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDeniedNamesTheGroup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, nil, 0o660); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		t.Fatal(err)
	}
	hint := func() string {
		e := NewClient(path).dialError(&url.Error{Op: "Get", URL: "http://x", Err: unix.EACCES}).(*Error)
		if e.Code != CodeDenied || e.Message != "permission denied to use "+path {
			t.Errorf("got %#v", e)
		}
		return e.Hint
	}
	g, err := user.LookupGroup("daemon")
	if err != nil {
		t.Skipf("needs the group daemon: %v", err)
	}
	gid, _ := strconv.Atoi(g.Gid)
	if err := os.Chown(path, -1, gid); err != nil {
		t.Skipf("needs root, to give a file to a group: %v", err)
	}
	if got, want := hint(), `run this as root, or join the group "daemon" (usermod -aG daemon USER) and log in again`; got != want {
		t.Errorf("with a group: %s", got)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := hint(); got != "run this as root: the socket is open to no group" {
		t.Errorf("for root alone: %s", got)
	}
}

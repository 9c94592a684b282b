package control

import (
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestVictim(t *testing.T) {
	type c struct {
		pid     int32
		working bool
	}
	for _, tc := range []struct {
		name  string
		conns []c // the one that has waited longest first
		want  int
	}{
		{"one process: the oldest", []c{{1, false}, {1, false}, {1, false}}, 0},
		{"the oldest of the process that holds most", []c{{1, false}, {2, false}, {2, false}}, 1},
		{"as many each: the oldest", []c{{1, false}, {2, false}, {1, false}, {2, false}}, 0},
		{"who is being served is spared", []c{{1, true}, {1, false}, {1, false}}, 1},
		{"even by a smaller process", []c{{1, true}, {1, true}, {2, false}}, 2},
		{"unless all are", []c{{1, true}, {2, true}, {2, true}}, 0},
	} {
		b := newBound(nil, len(tc.conns), slog.New(slog.DiscardHandler))
		var all []*conn
		for _, c := range tc.conns {
			all = append(all, &conn{bound: b, peer: peer{pid: c.pid}, working: c.working})
			b.insert(all[len(all)-1])
		}
		if got := b.insert(&conn{bound: b, peer: peer{pid: 9}}); got != all[tc.want] {
			t.Errorf("%s: not connection %d", tc.name, tc.want)
		}
		if b.conns.Len() != len(tc.conns) {
			t.Errorf("%s: %d connections are held, the bound is %d", tc.name, b.conns.Len(), len(tc.conns))
		}
	}
}

// The mode must be right at birth, whatever the umask: a peer that connects
// before a chmod stays connected after it.
func TestSocketIsBornPrivate(t *testing.T) {
	dir := t.TempDir()
	defer unix.Umask(unix.Umask(0))
	path := filepath.Join(dir, "s")
	l, err := listenPrivate(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func TestPeerIsTheProcessAtTheOtherEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := listenPrivate(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p, err := peerOf(server)
	if err != nil || p.pid != int32(os.Getpid()) || p.uid != uint32(os.Geteuid()) || p.gid != uint32(os.Getegid()) {
		t.Errorf("got %+v, %v", p, err)
	}
	own, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, gid := range append(own, os.Getegid()) {
		if !p.in(gid) {
			t.Errorf("%+v is not in group %d", p, gid)
		}
	}
	if p.in(-1) || p.in(1<<30) {
		t.Errorf("%+v is in groups it is not in", p)
	}
	client.Close()
	if _, err := server.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

package xen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gxswitch/internal/xen/xentest"
)

func TestSocketIsWhereTheEnvironmentSays(t *testing.T) {
	for _, c := range []struct{ path, rundir, want string }{
		{"", "", "/run/xenstored/socket"},
		{"", "/x", "/x/socket"},
		{"/y/s", "/x", "/y/s"},
	} {
		env := map[string]string{"XENSTORED_PATH": c.path, "XENSTORED_RUNDIR": c.rundir}
		if got := SocketPath(func(k string) string { return env[k] }); got != c.want {
			t.Errorf("XENSTORED_PATH=%q XENSTORED_RUNDIR=%q: %s, want %s", c.path, c.rundir, got, c.want)
		}
	}
}

func TestDialSaysWhichSocketAndWhy(t *testing.T) {
	_, err := Dial(t.Context(), "/nowhere/xen\nstored")
	if !errors.Is(err, fs.ErrNotExist) || err.Error() != `connect to xenstored at "/nowhere/xen\nstored": connect: no such file or directory` {
		t.Errorf("%v", err)
	}
	if _, err = Dial(t.Context(), "/"+strings.Repeat("x", 10000)); err == nil || len(err.Error()) > 200 {
		t.Errorf("%v", err)
	}
}

// TestClientAndStoreKeepTheProtocol also runs with a real xenstored where
// XENSTORE_OF_TEST names the socket of one. It writes below /gxswitch-test.
func TestClientAndStoreKeepTheProtocol(t *testing.T) {
	stores := map[string]string{"xentest": xentest.New(t).Path()}
	if real := os.Getenv("XENSTORE_OF_TEST"); real != "" {
		stores["xenstored"] = real
	}
	for name, socket := range stores {
		t.Run(name, func(t *testing.T) { protocol(t, dial(t, socket), dial(t, socket)) })
	}
}

func protocol(t *testing.T, c, other *Client) {
	ctx := t.Context()
	const root = "/gxswitch-test"
	t.Cleanup(func() { _ = other.Remove(context.Background(), root) })
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(c interface {
		Read(context.Context, string) (string, error)
	}, path, want string) {
		t.Helper()
		if got, err := c.Read(ctx, path); err != nil || got != want {
			t.Errorf("read %s: %.80q, %v; want %.80q", path, got, err, want)
		}
	}
	gone := func(path string) {
		t.Helper()
		if got, err := c.Read(ctx, path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("read %s: %.80q, %v; want no such key", path, got, err)
		}
	}

	must(c.Write(ctx, root+"/a/b", "hello"))
	read(c, root+"/a/b", "hello")
	read(other, root+"/a", "")
	must(c.Write(ctx, root+"/a/b", ""))
	read(c, root+"/a/b", "")
	must(c.Write(ctx, root+"/a/c", "nul \x00, line\n, \xff"))
	read(c, root+"/a/c", "nul \x00, line\n, \xff")
	if got, err := c.Directory(ctx, root+"/a"); err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), []string{"b", "c"}) {
		t.Errorf("list: %q, %v", got, err)
	}
	if got, err := c.Directory(ctx, root+"/a/b"); err != nil || len(got) != 0 {
		t.Errorf("list of a leaf: %q, %v", got, err)
	}
	gone(root + "/a/d")
	if _, err := c.Directory(ctx, root+"/d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list: %v", err)
	}
	must(c.Remove(ctx, root+"/a/d"))
	must(c.Remove(ctx, root+"/a"))
	gone(root + "/a/b")
	if err := c.Remove(ctx, root+"/x/y/z"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove far from anything: %v", err)
	}

	// A transaction is seen when it ends, and not at all if it fails.
	stop := errors.New("stop")
	if err := c.Update(ctx, func(tx *Tx) error {
		must(tx.Write(ctx, root+"/t", "1"))
		return stop
	}); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	gone(root + "/t")
	must(c.Write(ctx, root+"/t", "one"))
	must(c.Update(ctx, func(tx *Tx) error {
		before, err := tx.Read(ctx, root+"/t")
		must(err)
		must(tx.Write(ctx, root+"/t", before+", mine"))
		read(tx, root+"/t", before+", mine")
		read(c, root+"/t", before)
		if before == "one" {
			must(other.Write(ctx, root+"/t", "two")) // comes between: once more
		}
		return nil
	}))
	read(other, root+"/t", "two, mine")
	must(c.Update(ctx, func(tx *Tx) error {
		names, err := tx.Directory(ctx, root)
		if len(names) != 1 {
			t.Errorf("%q, %v", names, err)
		}
		return tx.Remove(ctx, root+"/t")
	}))
	gone(root + "/t")
}

func TestRequestsThatXenstoredWouldRefuseAreNotSent(t *testing.T) {
	s, c := connect(t)
	for _, path := range []string{
		"", "a", "a/b", "//", "/a/", "/a//b", "/a\x00b", "/a b", "/a\nb", "/../etc/passwd", "/a/./b", "/$(reboot)", "/ä", "/\xff",
		"/" + strings.Repeat("x", 3072),
	} {
		errs := []error{c.Write(t.Context(), path, "x"), c.Remove(t.Context(), path)}
		_, err := c.Read(t.Context(), path)
		errs = append(errs, err)
		_, err = c.Directory(t.Context(), path)
		for _, err := range append(errs, err) {
			if err == nil {
				t.Errorf("%.40q: want an error", path)
			} else if len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%.40q: %q is no line", path, err)
			}
		}
	}
	if err := c.Write(t.Context(), "/a", strings.Repeat("x", 4094)); err == nil {
		t.Error("a request of 4097 bytes: want an error")
	}
	if err := c.Write(t.Context(), "/a", strings.Repeat("x", 4093)); err != nil {
		t.Errorf("a request of 4096 bytes: %v", err)
	}
	if got := s.Writes(); len(got) != 1 {
		t.Errorf("the store got %d writes, want 1", len(got))
	}
}

func TestBadAnswersAreErrors(t *testing.T) {
	for _, f := range []struct {
		fault xentest.Fault
		want  string // in the error; "" for none
		lasts bool   // the connection can be used further
	}{
		{xentest.Trickle, "", true},
		{xentest.Events, "", true},
		{xentest.NoMemory, "cannot allocate memory", true},
		{xentest.NoName, `xenstored says "EWOULD\n\x1b[2J"`, true},
		{xentest.Silent, "deadline exceeded", false},
		{xentest.Slow, "deadline exceeded", false},
		{xentest.Flood, "deadline exceeded", false},
		{xentest.Cut, "closed the connection", false},
		{xentest.HungUp, "closed the connection", false},
		{xentest.OtherID, "not to request", false},
		{xentest.OtherTx, "in transaction 1, not to request", false},
		{xentest.OtherKind, "the answer has type 3", false},
		{xentest.TooLong, "has 10000 bytes, and 4096 are the most", false},
		{xentest.Endless, "has 4294967295 bytes", false},
		{xentest.Garbage, "bytes, and 4096 are the most", false},
		{xentest.NoEnd, "an error without an end", false},
	} {
		for op, request := range map[string]func(context.Context, *Client) error{
			"read":   func(ctx context.Context, c *Client) error { _, err := c.Read(ctx, "/a"); return err },
			"list":   func(ctx context.Context, c *Client) error { _, err := c.Directory(ctx, "/a"); return err },
			"write":  func(ctx context.Context, c *Client) error { return c.Write(ctx, "/a", "x") },
			"remove": func(ctx context.Context, c *Client) error { return c.Remove(ctx, "/a/b") },
			"begin":  func(ctx context.Context, c *Client) error { return c.Update(ctx, func(*Tx) error { return nil }) },
		} {
			s, c := connect(t)
			s.Set("/a", "value")
			s.Misbehave(f.fault, 0)
			ctx := t.Context()
			if f.want == "deadline exceeded" {
				ctx = soon(t)
			}
			err := request(ctx, c)
			switch {
			case f.want == "" && err != nil:
				t.Errorf("fault %d, %s: %v", f.fault, op, err)
			case f.want != "" && (err == nil || !strings.Contains(err.Error(), f.want)):
				t.Errorf("fault %d, %s: %v, want %q", f.fault, op, err, f.want)
			}
			if errors.Is(err, fs.ErrNotExist) {
				t.Errorf("fault %d, %s: %v, which is a missing key", f.fault, op, err)
			}
			s.Misbehave(xentest.Polite, 0)
			if _, err := c.Read(t.Context(), "/a"); (err == nil) != f.lasts {
				t.Errorf("fault %d, %s: and then %v", f.fault, op, err)
			}
			s.Close()
		}
	}
}

func TestNoRequestTakesLongerThanItsContext(t *testing.T) {
	s, c := connect(t)
	s.Misbehave(xentest.Silent, 0)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the caller hung up")
	go cancel(why)
	if _, err := c.Read(ctx, "/a"); !errors.Is(err, why) {
		t.Errorf("%v, want the caller's reason", err)
	}

	// Who waits for the turn of a request that hangs gives up as well.
	c = dial(t, s.Path())
	hung, unhang := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := c.Read(hung, "/a"); done <- err }()
	for len(c.turn) == 0 { // until it has its turn
		time.Sleep(time.Millisecond)
	}
	if _, err := c.Read(soon(t), "/a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline", err)
	}
	unhang()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

func TestContextThatIsOverLeavesTheConnectionAlone(t *testing.T) {
	s, c := connect(t)
	s.Set("/a", "1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if _, err := c.Read(ctx, "/a"); !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
	}
	if got, err := c.Read(t.Context(), "/a"); got != "1" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestSilentStoreIsGivenUpWithoutADeadline(t *testing.T) {
	s, c := connect(t)
	s.Misbehave(xentest.Silent, 0)
	if c.patience != patience {
		t.Errorf("a client waits %s, want %s", c.patience, patience)
	}
	c.patience = 20 * time.Millisecond
	_, err := c.Read(context.Background(), "/a")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer from ") {
		t.Errorf("%v", err)
	}
}

func TestRequestsOfManyGoroutinesTakeTurns(t *testing.T) {
	_, c := connect(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			path := fmt.Sprintf("/k/%d", i)
			for n := range 20 {
				if err := c.Write(t.Context(), path, fmt.Sprint(n)); err != nil {
					t.Error(err)
				}
				if got, err := c.Read(t.Context(), path); got != fmt.Sprint(n) {
					t.Errorf("%s: %q, %v", path, got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestTransactionThatNeverGetsThroughEnds(t *testing.T) {
	s, c := connect(t)
	err := c.Update(t.Context(), func(*Tx) error { s.Set("/other", "x"); return nil })
	if !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("%v, want EAGAIN", err)
	}
}

func TestErrorsOfXenstoredAreThoseOfTheSystem(t *testing.T) {
	for _, name := range strings.Fields("EINVAL EACCES EEXIST EISDIR ENOENT ENOMEM ENOSPC EIO ENOTEMPTY ENOSYS EROFS EBUSY EAGAIN EISCONN E2BIG EPERM") {
		if got := unix.ErrnoName(errnoOf(name)); got != name {
			t.Errorf("%s is taken for %s", name, got)
		}
	}
}

func TestListThatIsNoListIsAnError(t *testing.T) {
	for answer, want := range map[string]int{
		"": 0, "a\x00": 1, "a\x00b-_@9\x00": 2,
		"a": -1, "a\x00b": -1, "\x00": -1, "a\x00\x00": -1, "..\x00": -1, "a/b\x00": -1, "a b\x00": -1, "\xff\x00": -1,
	} {
		if got, err := names(answer); (want < 0) != (err != nil) || want >= 0 && len(got) != want {
			t.Errorf("%q: %q, %v", answer, got, err)
		}
	}
}

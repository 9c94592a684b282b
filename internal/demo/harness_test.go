package demo

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		os.RemoveAll(buildDir)
		os.Exit(status)
	}))
}

var buildDir string // "" until build was called

// build builds gxswitch, once, and has all that is made from then on in a directory
// that holds nothing else.
var build = sync.OnceValues(func() (d testDemo, err error) {
	if buildDir, err = os.MkdirTemp("", "gxswitch-built-"); err != nil {
		return d, err
	}
	d = testDemo{binary: filepath.Join(buildDir, "gxswitch"), files: filepath.Join(buildDir, "tmp")}
	if out, err := exec.Command("go", "build", "-o", d.binary, "gxswitch/cmd/gxswitch").CombinedOutput(); err != nil {
		return d, fmt.Errorf("build gxswitch: %w\n%s", err, out)
	}
	if err := os.Mkdir(d.files, 0o755); err != nil {
		return d, err
	}
	return d, os.Setenv("TMPDIR", d.files)
})

// testDemo is a gxswitch to demonstrate with, and a place for its files.
type testDemo struct{ binary, files string }

func newTestDemo(t *testing.T) testDemo {
	t.Helper()
	nettest.Require(t)
	d, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// runner moves less than the demo does: that bytes arrive is shown by fewer too.
func (d testDemo) runner(out io.Writer) runner {
	return runner{binary: d.binary, out: &printer{w: out}, transfer: transferBytes / 16}
}

// wantNothingLeft looks for namespaces of the process, for processes of the
// binary, and for files.
func (d testDemo) wantNothingLeft(t *testing.T, pid int) {
	t.Helper()
	for what, pattern := range map[string]string{
		"namespace": fmt.Sprintf("/run/netns/gxt-demo-%d-*", pid),
		"file":      d.files + "/*",
		"process":   "/proc/[0-9]*/cmdline",
	} {
		left, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range left {
			if what == "process" {
				line, _ := os.ReadFile(name) // it may have ended
				if name = string(line); !strings.Contains(name, d.binary) {
					continue
				}
			}
			t.Errorf("%s left behind: %q", what, name)
		}
	}
}

// trigger calls f when the text is written.
type trigger struct {
	text string
	f    func()
}

func (w *trigger) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(w.text)) {
		w.f()
	}
	return len(b), nil
}

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

// build builds gxswitch, once.
var build = sync.OnceValues(func() (binary string, err error) {
	if buildDir, err = os.MkdirTemp("", "gxswitch-built-"); err != nil {
		return "", err
	}
	binary = filepath.Join(buildDir, "gxswitch")
	if out, err := exec.Command("go", "build", "-o", binary, "gxswitch/cmd/gxswitch").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build gxswitch: %w\n%s", err, out)
	}
	return binary, nil
})

// testDemo is a gxswitch to demonstrate with, and a place for its files.
type testDemo struct{ binary, files string }

func newTestDemo(t *testing.T) testDemo {
	t.Helper()
	nettest.Require(t)
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	d := testDemo{binary: binary, files: t.TempDir()}
	t.Setenv("TMPDIR", d.files)
	return d
}

func (d testDemo) runner(out io.Writer) runner {
	return runner{binary: d.binary, out: &printer{w: out}}
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

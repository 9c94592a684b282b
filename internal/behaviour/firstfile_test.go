package behaviour

import (
	"os"
	"strings"
	"testing"

	"gxswitch/internal/testnet/nettest"
)

// A daemon that began without a file at the usual place takes the one that is
// written there later.
func TestReloadFindsTheFirstFile(t *testing.T) {
	t.Parallel()
	l := newLab(t, anyEngine)
	l.etc = l.path("etc")
	if err := os.MkdirAll(l.path("etc/gxswitch"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := l.launch()
	nettest.Wait(t, "the daemon to be ready", func() (bool, error) {
		return strings.Contains(d.log.String(), "msg=ready"), nil
	})
	if _, stderr, code := l.cli("reload"); code != 1 || !strings.Contains(stderr, "hint: write /etc/gxswitch/gxswitch.toml") {
		t.Errorf("there is no file: %d, %s", code, stderr)
	}
	l.write("etc/gxswitch/gxswitch.toml", "[network.vault]\nmode = \"isolated\"\n")
	if out := l.must("reload"); !strings.Contains(out, "network vault: added") {
		t.Errorf("reload said %q", out)
	}
}

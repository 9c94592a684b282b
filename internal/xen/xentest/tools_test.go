package xentest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gxswitch/internal/xen/xentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestXensOwnToolsTakeItForXenstored runs the programs of Debian's
// xenstore-utils against the server.
func TestXensOwnToolsTakeItForXenstored(t *testing.T) {
	if _, err := exec.LookPath("xenstore-read"); err != nil {
		t.Skip("needs xenstore-read of xenstore-utils")
	}
	s := xentest.New(t)
	run := func(want string, args ...string) {
		t.Helper()
		cmd := exec.Command("xenstore-"+args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "XENSTORED_PATH="+s.Path())
		out, err := cmd.CombinedOutput()
		if got := strings.TrimRight(string(out), "\n"); got != want || err != nil && want == "" {
			t.Errorf("xenstore-%s: %q, %v; want %q", strings.Join(args, " "), got, err, want)
		}
	}
	s.AddVif(3, 1, "web1", map[string]string{"bridge": "lan0"})
	run("lan0", "read", "/local/domain/0/backend/vif/3/1/bridge")
	run("lan0", "read", "backend/vif/3/1/bridge")
	run("xenstore-read: couldn't read path backend/vif/3/1/vlan", "read", "backend/vif/3/1/vlan")
	run("", "write", "backend/vif/3/1/hotplug-error", "out of luck", "backend/vif/3/1/hotplug-status", "error")
	if got := s.Writes(); len(got) != 2 || got[1] != (xentest.Write{Path: "/local/domain/0/backend/vif/3/1/hotplug-status", Value: "error"}) {
		t.Errorf("%v", got)
	}
	run("", "exists", "/vm")
	run("device\nname\nvm", "list", "/local/domain/3")
	run(`vif = ""`+"\n"+` 1 = ""`+"\n"+`  backend = "/local/domain/0/backend/vif/3/1"`+"\n"+`  backend-id = "0"`+"\n"+
		`  handle = "1"`+"\n"+`  mac = "00:16:3e:00:03:01"`+"\n"+`  state = "1"`, "ls", "/local/domain/3/device")
	run("", "rm", "/vm")
	if s.Exists("/vm/" + xentest.UUID(3)) {
		t.Error("/vm is still there")
	}
	run("", "chmod", "/local/domain/3", "n3", "r0")
}

func TestServerOfOneTestLeavesNothingBehind(t *testing.T) {
	s := xentest.New(t)
	s.Close()
	if _, err := os.Stat(s.Path()); err == nil {
		t.Errorf("%s is still there", s.Path())
	}
	s.Close()
}

package behaviour

import (
	"os"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

// engine is which one the daemon is to have: every test has to pass with each.
func engine() string {
	if e := os.Getenv("GXSWITCH_ENGINE"); e != "" {
		return e
	}
	return "afpacket"
}

// withoutEngine is what a host is like without what the eBPF engine has on it
// while its daemon runs: interfaces, and the flag of uplinks.
func withoutEngine(text string) string {
	return regexp.MustCompile(`(?m)^.*\bgxp[0-9a-f]{8}.*\n|,PROMISC\b`).ReplaceAllString(text, "")
}

// mountBPF mounts a bpf filesystem where the daemon looks for one first: those
// that it mounts itself in "ip netns exec" end with it, and with them what is to
// go on without it.
func mountBPF(t *testing.T, runDir string) {
	t.Helper()
	dir := runDir + "/bpf"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Skipf("needs a bpf filesystem: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

package behaviour

import (
	"os"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

// bothEngines runs a test with each engine, as its subtests afpacket and ebpf, beside
// other tests.
func bothEngines(t *testing.T, test func(t *testing.T, engine string)) {
	t.Parallel()
	for _, engine := range []string{"afpacket", "ebpf"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			test(t, engine)
		})
	}
}

// bothEnginesAlone is bothEngines for what times something, measures a rate, counts
// losses or loads the machine: nothing else runs meanwhile.
func bothEnginesAlone(t *testing.T, test func(t *testing.T, engine string)) {
	for _, engine := range []string{"afpacket", "ebpf"} {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}

// anyEngine is the one of a test in which no guest says anything: it is about
// commands, configuration or scripts, and runs once.
const anyEngine = "afpacket"

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

// Package nettest ties testnet to the testing package, which a program that is
// no test need not link.
package nettest

import (
	"os"
	"os/exec"
	"testing"

	"gxswitch/internal/testnet"
)

// Require skips the test without the means to make namespaces; CI counts a skip
// as a failure.
func Require(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	Program(t, "ip")
}

// Program skips the test where a program that it runs is not installed.
func Program(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
}

// Test makes a test's network, which goes when the test ends. It Requires the
// means.
func Test(t testing.TB, name string) *testnet.Net {
	t.Helper()
	Require(t)
	n, err := testnet.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Namespace makes a namespace or ends the test.
func Namespace(t testing.TB, n *testnet.Net, name string) *testnet.NS {
	t.Helper()
	s, err := n.Namespace(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Guest makes a guest or ends the test.
func Guest(t testing.TB, n *testnet.Net, sw *testnet.NS, spec testnet.GuestSpec) *testnet.NS {
	t.Helper()
	g, err := n.Guest(sw, spec)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Wait awaits a condition or ends the test.
func Wait(t testing.TB, what string, cond func() (bool, error)) {
	t.Helper()
	if err := testnet.Wait(t.Context(), what, cond); err != nil {
		t.Fatal(err)
	}
}

package host_test

import (
	"strings"
	"testing"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// What is tried in a scratch namespace is seen by nobody, and leaves nothing.
func TestScratchIsApart(t *testing.T) {
	t.Parallel()
	inside(t, "scratch", func(*testnet.NS) {
		called := false
		noVeth, err := host.Scratch(func(l host.Link) {
			called = true
			ok(t, host.Seal(l))
			if got := sh(t, "ip -o link show"); !strings.Contains(got, l.Name) {
				t.Errorf("inside there is no %s:\n%s", l.Name, got)
			}
		})
		ok(t, err)
		ok(t, noVeth)
		if !called {
			t.Error("f was not called")
		}
		if got := sh(t, "ip -o link show"); strings.Contains(got, "gx0") {
			t.Errorf("outside:\n%s", got)
		}
	})
}

func TestTCXIsTriedAndTakenAway(t *testing.T) {
	t.Parallel()
	nettest.Require(t)
	var first, second error
	noVeth, err := host.Scratch(func(l host.Link) {
		first = host.TryTCX(l.Index)
		ok(t, host.Seal(l))
		second = host.TryTCX(l.Index)
	})
	ok(t, err)
	ok(t, noVeth)
	if (first == nil) != (second == nil) {
		t.Errorf("on an empty link %v, on a sealed one %v", first, second)
	}
	if host.TryTCX(1<<30) == nil {
		t.Error("a link that is not there takes programs")
	}
}

func TestOffloadsAreThoseThatEthtoolSets(t *testing.T) {
	t.Parallel()
	inside(t, "offload", func(*testnet.NS) {
		sh(t, "ip link add name a type veth peer name b")
		for _, c := range []struct {
			set  string
			want host.Offloads
		}{
			{"", host.Offloads{Checksum: true, ScatterGather: true, TSO: true}},
			{"tso off", host.Offloads{Checksum: true, ScatterGather: true}},
			{"tx off sg off", host.Offloads{}},
		} {
			if c.set != "" {
				sh(t, "ethtool -K a %s", c.set)
			}
			got, err := host.ReadOffloads("a")
			ok(t, err)
			if got != c.want {
				t.Errorf("after %q: %+v, want %+v", c.set, got, c.want)
			}
		}
		for _, name := range []string{"none", "a-name-of-too-many-letters"} {
			if _, err := host.ReadOffloads(name); err == nil {
				t.Errorf("%s has offloads", name)
			}
		}
	})
}

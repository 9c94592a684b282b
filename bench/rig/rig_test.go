package rig

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testRig(t *testing.T) *Rig {
	t.Helper()
	nettest.Require(t)
	r, err := New("rig", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// daemon builds the real one, of this tree.
func daemon(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gxswitch")
	if out, err := exec.Command("go", "build", "-o", binary, "gxswitch/cmd/gxswitch").CombinedOutput(); err != nil {
		t.Fatalf("build gxswitch: %v: %s", err, out)
	}
	return binary
}

func TestGxswitchTakesThePortsAndGivesThemBack(t *testing.T) {
	r := testRig(t)
	binary := daemon(t)
	s, err := r.Up(t.Context(), Gxswitch{Binary: binary, Engine: "afpacket"}, Setup{Crowd: 3, FDBLimit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []Limit{{BitsPerSecond: 5e9}, {}, {BitsPerSecond: 1e6, From: true}} {
		if err := s.Limit(t.Context(), s.Lanes[0].To, l); err != nil {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if len(s.Lanes) != 2 || len(s.Crowd) != 3 || len(s.PIDs) != 1 {
		t.Errorf("the session has %d lanes, %d of the crowd, processes %v", len(s.Lanes), len(s.Crowd), s.PIDs)
	}
	if err := s.Down(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "gxbench-afpacket-*")); len(left) > 0 {
		t.Errorf("directories are left: %v", left)
	}
	// The next arm finds the links free.
	next, err := r.Up(t.Context(), Bridge{}, Setup{Crowd: 3})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Down(); err != nil {
		t.Error(err)
	}
	if l, err := r.Switch.Link("p0"); err != nil || l.Master != 0 || !l.Running {
		t.Errorf("p0 afterwards: %+v (%v)", l, err)
	}
	if _, err := r.Switch.Link("br0"); !errors.Is(err, host.ErrNoLink) {
		t.Errorf("the bridge is still there: %v", err)
	}
}

// One after the other on the same links: a kind that an arm does not clear away is
// in the next one's way.
func TestArmsAreOfEveryKind(t *testing.T) {
	r := testRig(t)
	arms := []Arm{Direct{}, Bridge{}, Gxswitch{Binary: daemon(t), Engine: "afpacket"}}
	for _, k := range []Kind{NAT, VLANs, Policed, Taps, NAT, Switching} {
		for _, a := range arms {
			s, err := r.Up(t.Context(), a, Setup{Kind: k})
			if _, bridge := a.(Bridge); bridge && k != NAT && errors.Is(err, ErrLacks) {
				continue // no policy, nor VLANs in every kernel
			}
			if errors.Is(err, ErrNotInstalled) {
				t.Logf("kind %d, %s: %v", k, a.Name(), err)
				continue
			}
			if err != nil {
				t.Fatalf("kind %d: %v", k, err)
			}
			lanes := 2
			if s.Switch && k == NAT {
				lanes = 1
			}
			if len(s.Lanes) != lanes || s.Switch && k == VLANs != (s.Arrival.VID == VID) ||
				s.Switch && k == NAT != (!s.Gateway.IsZero() && s.Arrival.Source.IsValid()) {
				t.Errorf("kind %d, %s: %d lanes, gateway %s, arrival %+v", k, a.Name(), len(s.Lanes), s.Gateway, s.Arrival)
			}
			if err := s.Down(); err != nil {
				t.Errorf("kind %d: %v", k, err)
			}
			for _, n := range []string{"br0", benchNetwork} {
				if _, err := r.Switch.Link(n); !errors.Is(err, host.ErrNoLink) {
					t.Errorf("kind %d, %s: %s is left: %v", k, a.Name(), n, err)
				}
			}
			if got := forwarding(t, r); got != "0" {
				t.Errorf("kind %d, %s: ip_forward is left at %s", k, a.Name(), got)
			}
		}
	}
}

func forwarding(t *testing.T, r *Rig) string {
	t.Helper()
	out, err := r.Switch.Command(t.Context(), "cat", "/proc/sys/net/ipv4/ip_forward").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestOtherSwitchesAreNoGateways(t *testing.T) {
	r := testRig(t)
	for _, a := range []Arm{OVS{}, VDE{}} {
		if _, err := r.Up(t.Context(), a, Setup{Kind: NAT}); !errors.Is(err, ErrLacks) {
			t.Errorf("%s: %v, want %v", a.Name(), err, ErrLacks)
		}
	}
}

// qdisc is the queueing discipline at an interface of the switch, as tc shows it.
func qdisc(t *testing.T, r *Rig, port string) string {
	t.Helper()
	out, err := r.Switch.Command(t.Context(), "tc", "qdisc", "show", "dev", port, "root").CombinedOutput()
	if err != nil {
		t.Fatalf("tc: %v: %s", err, out)
	}
	return string(out)
}

func TestBridgeLimitsWithTBFUntilItIsDown(t *testing.T) {
	r := testRig(t)
	s, err := r.Up(t.Context(), Bridge{}, Setup{})
	if err != nil {
		t.Fatal(err)
	}
	to := s.Lanes[0].To
	for _, c := range []struct {
		bits uint64
		want string // of tc
	}{
		{1e6, "rate 1Mbit burst 6250b lat 50ms"},
		{10e6, "rate 10Mbit burst 62500b lat 50ms"},
		{5e9, "rate 5Gbit burst 31250000b lat 50ms"},
		{0, "noqueue"},
		{100e6, "rate 100Mbit burst 625000b lat 50ms"},
	} {
		if err := s.Limit(t.Context(), to, Limit{BitsPerSecond: c.bits}); err != nil {
			t.Fatalf("%d b/s: %v", c.bits, err)
		}
		port, err := r.Port(to)
		if err != nil {
			t.Fatal(err)
		}
		if got := qdisc(t, r, port); !strings.Contains(got, c.want) {
			t.Errorf("%d b/s: %s has %q, want %q", c.bits, port, got, c.want)
		}
	}
	if err := s.Limit(t.Context(), s.Lanes[0].From, Limit{BitsPerSecond: 1e6, From: true}); !errors.Is(err, ErrNoLimit) {
		t.Errorf("from a guest: %v, want %v", err, ErrNoLimit)
	}
	if err := s.Down(); err != nil {
		t.Error(err)
	}
	for _, p := range r.Ports {
		if got := qdisc(t, r, p); !strings.Contains(got, "noqueue") {
			t.Errorf("%s keeps %q", p, got)
		}
	}
}

// script is a program that stands in for gxswitch.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gxswitch")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRefusedEngineIsNotInThisBuild(t *testing.T) {
	r := testRig(t)
	binary := script(t, `echo "gxswitch: error: engine ebpf is not in this version" >&2; exit 1`)
	if _, err := r.Up(t.Context(), Gxswitch{Binary: binary, Engine: "ebpf"}, Setup{}); !errors.Is(err, ErrNotInBuild) {
		t.Errorf("error %v, want %v", err, ErrNotInBuild)
	}
}

func TestDaemonThatFailsIsAnErrorWithItsWords(t *testing.T) {
	r := testRig(t)
	binary := script(t, `echo "gxswitch: error: out of luck" >&2; exit 1`)
	_, err := r.Up(t.Context(), Gxswitch{Binary: binary, Engine: "afpacket"}, Setup{})
	if err == nil || errors.Is(err, ErrNotInBuild) || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("error %v, want the daemon's words", err)
	}
}

// One that never becomes ready is stopped when the run is interrupted.
func TestInterruptedStartEndsTheDaemon(t *testing.T) {
	r := testRig(t)
	ctx, interrupt := context.WithCancel(t.Context())
	started := filepath.Join(t.TempDir(), "started")
	binary := script(t, "echo $$ > "+started+"; exec sleep 600")
	go func() {
		for {
			if b, err := os.ReadFile(started); err == nil && len(b) > 0 {
				interrupt()
				return
			}
		}
	}()
	_, err := r.Up(ctx, Gxswitch{Binary: binary, Engine: "afpacket"}, Setup{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	b, _ := os.ReadFile(started)
	if _, err := os.Stat("/proc/" + string(b[:len(b)-1])); err == nil {
		t.Errorf("process %s still runs", b)
	}
}

func TestArmThatIsNotInstalledSaysWhatIsMissing(t *testing.T) {
	look := func(p string) (string, error) {
		if p == "there" {
			return "/bin/there", nil
		}
		return "", exec.ErrNotFound
	}
	err := installed(look, "there", "missing")
	if !errors.Is(err, ErrNotInstalled) || err.Error() != "not installed: missing" {
		t.Errorf("error %v", err)
	}
	if err := installed(look, "there"); err != nil {
		t.Error(err)
	}
}

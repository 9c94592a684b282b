package testnet_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gxswitch/internal/frame"
	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func exists(name string) bool {
	_, err := os.Stat("/run/netns/" + name)
	return err == nil
}

func TestGuestsHangOnTheirPorts(t *testing.T) {
	n := nettest.Test(t, "guests")
	sw := nettest.Namespace(t, n, "sw")
	mac := frame.MAC{2, 0, 0, 0, 0, 1}
	g := nettest.Guest(t, n, sw, testnet.GuestSpec{
		Name: "g1", Port: "vif1.0", Addr: netip.MustParsePrefix("10.0.0.1/24"), MAC: mac, MTU: 1400,
	})
	if want := fmt.Sprintf(`^gxt-guests-%d-\d+-g1$`, os.Getpid()); !regexp.MustCompile(want).MatchString(g.Name) {
		t.Errorf("named %s, want %s", g.Name, want)
	}
	eth0, err := g.Link("eth0")
	ok(t, err)
	port, err := sw.Link("vif1.0")
	ok(t, err)
	if eth0.MAC != mac || eth0.MTU != 1400 || port.MTU != 1400 || !eth0.AdminUp || !port.AdminUp {
		t.Errorf("eth0 %+v\nport %+v", eth0, port)
	}
	if _, err := g.Link("vif1.0"); !errors.Is(err, host.ErrNoLink) {
		t.Errorf("the port is in the guest: %v", err)
	}

	// Two guests whose ports the kernel's bridge joins, and both families.
	nettest.Guest(t, n, sw, testnet.GuestSpec{Name: "g2", Port: "vif2.0", Addr: netip.MustParsePrefix("10.0.0.2/24")})
	six := nettest.Guest(t, n, sw, testnet.GuestSpec{Name: "g3", Port: "vif3.0", Addr: netip.MustParsePrefix("fd00::3/64")})
	out, err := six.Command(t.Context(), "ip", "-6", "-o", "addr", "show", "dev", "eth0").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "fd00::3/64") || strings.Contains(strings.Split(string(out), "\n")[0], "tentative") {
		t.Errorf("%v: %s", err, out)
	}
	for _, args := range []string{"link add name br type bridge", "link set vif1.0 master br", "link set vif2.0 master br", "link set dev br up"} {
		if out, err := sw.Command(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	if out, err := g.Command(t.Context(), "ping", "-n", "-c", "1", "-W", "5", "10.0.0.2").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Networks of one prefix in one process know nothing of each other.
func TestNetworksSideBySide(t *testing.T) {
	first, second := nettest.Test(t, "side"), nettest.Test(t, "side")
	a, b := nettest.Namespace(t, first, "host"), nettest.Namespace(t, second, "host")
	if a.Name == b.Name {
		t.Fatalf("both are %s", a.Name)
	}
	ok(t, first.Close())
	third := nettest.Namespace(t, nettest.Test(t, "side"), "host")
	if exists(a.Name) || !exists(b.Name) || third.Name == a.Name || third.Name == b.Name {
		t.Errorf("%s was closed: %v; %s is left: %v; then %s", a.Name, !exists(a.Name), b.Name, exists(b.Name), third.Name)
	}
}

func TestDoComesBack(t *testing.T) {
	outside := host.NetNS()
	n := nettest.Test(t, "do")
	a, b := nettest.Namespace(t, n, "a"), nettest.Namespace(t, n, "b")
	var inA, inB, again uint64
	ok(t, a.Do(func() error {
		inA = host.NetNS()
		err := b.Do(func() error { inB = host.NetNS(); return nil })
		again = host.NetNS()
		return err
	}))
	if inA == outside || inB == inA || inB == outside || again != inA || host.NetNS() != outside {
		t.Errorf("outside %d, a %d, b %d, a again %d, outside again %d", outside, inA, inB, again, host.NetNS())
	}

	broken := errors.New("broken")
	if err := a.Do(func() error { return broken }); !errors.Is(err, broken) || host.NetNS() != outside {
		t.Errorf("%v, in %d", err, host.NetNS())
	}
	func() {
		defer func() {
			if recover() == nil || host.NetNS() != outside {
				t.Error("a panic leaves the thread inside")
			}
		}()
		_ = a.Do(func() error { panic("x") })
	}()
	if err := (&testnet.NS{Name: "gxt-none"}).Do(func() error { return nil }); err == nil {
		t.Error("entered a namespace that does not exist")
	}
}

func TestCommandAndSysctlAreInside(t *testing.T) {
	n := nettest.Test(t, "inside")
	s := nettest.Namespace(t, n, "s")
	nettest.Guest(t, n, s, testnet.GuestSpec{Name: "g", Port: "vif1.0"})
	ok(t, s.Sysctl("net.ipv4.ip_forward", "1"))
	ok(t, s.Sysctl("net/ipv4/conf/vif1.0/rp_filter", "2"))
	if err := s.Sysctl("net.ipv4.no_such_thing", "1"); err == nil {
		t.Error("no error")
	}
	const script = `cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/vif1.0/rp_filter; ls /sys/class/net`
	out, err := s.Command(t.Context(), "sh", "-c", script).Output()
	if err != nil || string(out) != "1\n2\nlo\nvif1.0\n" {
		t.Errorf("%v: %q", err, out)
	}
	var exit *exec.ExitError
	if err := s.Command(t.Context(), "sh", "-c", "exit 7").Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("exit status: %v", err)
	}
}

func TestCloseEndsProcessesAndRemovesAll(t *testing.T) {
	n := nettest.Test(t, "close")
	s := nettest.Namespace(t, n, "s")
	g := nettest.Guest(t, n, s, testnet.GuestSpec{Name: "g", Port: "p"})

	polite := s.Command(context.Background(), "sleep", "1000")
	ok(t, polite.Start())
	// One that will not hear SIGTERM, and a child of a child that nobody waits for.
	stubborn := g.Command(context.Background(), "sh", "-c", `trap "" TERM; setsid sh -c 'trap "" TERM; sleep 1000' & echo up; wait; sleep 1000`)
	out, err := stubborn.StdoutPipe()
	ok(t, err)
	ok(t, stubborn.Start())
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	// ip has become sleep.
	nettest.Wait(t, "sleep to run inside", func() (bool, error) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", polite.Process.Pid))
		return string(b) == "sleep\n", err
	})

	ok(t, n.Close())
	ok(t, n.Close())
	if polite.Wait() == nil || stubborn.Wait() == nil {
		t.Error("they were not killed")
	}
	if exists(s.Name) || exists(g.Name) {
		t.Error("namespaces are left")
	}
	if _, err := n.Namespace("late"); err == nil {
		t.Error("a closed set makes namespaces")
	}
}

func TestNewSweepsWhatDeadRunsLeft(t *testing.T) {
	nettest.Test(t, "sweep") // skips without the means
	dead := exec.Command("true")
	ok(t, dead.Run())
	ours := fmt.Sprintf("gxt-sweep-%d-1-x", dead.Process.Pid)
	others := []string{
		fmt.Sprintf("gxt-sweep2-%d-1-x", dead.Process.Pid), // another prefix
		fmt.Sprintf("gxt-sweep-%d-1-x", os.Getppid()),      // alive
	}
	for _, name := range append(others, ours) {
		if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	defer func() {
		for _, name := range others {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	}()
	n, err := testnet.New("sweep")
	ok(t, err)
	defer n.Close()
	if exists(ours) {
		t.Errorf("%s is left", ours)
	}
	for _, name := range others {
		if !exists(name) {
			t.Errorf("%s is gone", name)
		}
	}
}

func TestWaitTellsWhatItWaitedFor(t *testing.T) {
	calls := 0
	ok(t, testnet.Wait(t.Context(), "three", func() (bool, error) { calls++; return calls == 3, nil }))

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	err := testnet.Wait(ctx, "rain", func() (bool, error) { return false, nil })
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "for rain") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("broken")
	if err := testnet.Wait(t.Context(), "rain", func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

package host_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gxswitch/internal/host"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside runs the test's body in a namespace of its own.
func inside(t *testing.T, name string, body func(ns *testnet.NS)) {
	t.Helper()
	ns := nettest.Namespace(t, nettest.Test(t, name), "host")
	if err := ns.Do(func() error { body(ns); return nil }); err != nil {
		t.Fatal(err)
	}
}

// sh runs a line of words in the calling thread's namespace.
func sh(t *testing.T, format string, args ...any) string {
	t.Helper()
	words := strings.Fields(fmt.Sprintf(format, args...))
	// Not what ip(8) complains of, such as a test beside this one whose namespace goes.
	out, err := exec.Command(words[0], words[1:]...).Output()
	if err != nil {
		exit := &exec.ExitError{}
		errors.As(err, &exit)
		t.Fatalf("%s: %v: %s", strings.Join(words, " "), err, exit.Stderr)
	}
	return string(out)
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, name string) host.Link {
	t.Helper()
	l, err := host.LinkByName(name)
	ok(t, err)
	return l
}

func sysctl(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/" + path)
	ok(t, err)
	return strings.TrimSpace(string(b))
}

func TestLinksAreReadAsTheKernelHasThem(t *testing.T) {
	t.Parallel()
	inside(t, "links", func(*testnet.NS) {
		sh(t, "ip link add name br type bridge")
		sh(t, "ip link add name a address 02:00:00:00:00:0a mtu 1400 type veth peer name b")
		sh(t, "ip link set dev a master br up alias first")
		sh(t, "ip tuntap add t mode tap")
		sh(t, "ip link property add dev b altname another-name-for-b")

		a, b, br := link(t, "a"), link(t, "b"), link(t, "br")
		want := host.Link{
			Name: "a", Index: a.Index, MAC: [6]byte{2, 0, 0, 0, 0, 0x0a}, MTU: 1400,
			AdminUp: true, Kind: "veth", Master: br.Index, PeerIndex: b.Index, Alias: "first",
		}
		if a != want {
			t.Errorf("got  %+v\nwant %+v", a, want)
		}
		if got := link(t, "another-name-for-b"); got != b {
			t.Errorf("by its alternative name: %+v, want %+v", got, b)
		}
		if got := link(t, "t").Kind; got != "tun" {
			t.Errorf("a tap is of kind %q", got)
		}
		if lo := link(t, "lo"); !lo.Loopback || !lo.AdminUp || !lo.Running || lo.Kind != "" {
			t.Errorf("loopback: %+v", lo)
		}

		ok(t, host.SetUp(b.Index, true))
		nettest.Wait(t, "a to run", func() (bool, error) {
			l, err := host.LinkByIndex(a.Index)
			return l.Running, err
		})
		ok(t, host.SetUp(b.Index, false))
		if link(t, "a").Running {
			t.Error("a runs although its peer is down")
		}

		all, err := host.Links()
		ok(t, err)
		if len(all) != 5 || all[0].Name != "lo" {
			t.Errorf("links: %+v", all)
		}
	})
}

func TestAPeerInAnotherNamespaceIsNotMistakenForALocalLink(t *testing.T) {
	t.Parallel()
	n := nettest.Test(t, "peer")
	sw := nettest.Namespace(t, n, "sw")
	nettest.Guest(t, n, sw, testnet.GuestSpec{Name: "g", Port: "p"})
	if l, err := sw.Link("p"); err != nil || l.PeerIndex != 0 {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestAMissingLinkIsErrNoLink(t *testing.T) {
	t.Parallel()
	inside(t, "nolink", func(*testnet.NS) {
		gone := host.Link{Name: "gone", Index: 999}
		calls := map[string]func() error{
			"LinkByName":      func() error { _, err := host.LinkByName("gone"); return err },
			"LinkByName none": func() error { _, err := host.LinkByName(""); return err },
			"LinkByName long": func() error { _, err := host.LinkByName(strings.Repeat("x", 200)); return err },
			"LinkByIndex":     func() error { _, err := host.LinkByIndex(999); return err },
			"LinkByIndex 0":   func() error { _, err := host.LinkByIndex(0); return err },
			"SetUp":           func() error { return host.SetUp(999, true) },
			"SetMTU":          func() error { return host.SetMTU(999, 1500) },
			"Inspect":         func() error { _, err := host.Inspect(gone); return err },
			"Seal":            func() error { return host.Seal(gone) },
		}
		for name, call := range calls {
			if err := call(); !errors.Is(err, host.ErrNoLink) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := host.Unseal(gone, host.Sealed{}); err != nil {
			t.Errorf("Unseal: %v", err)
		}
	})
}

func TestErrorsNameOperationAndObject(t *testing.T) {
	t.Parallel()
	inside(t, "errors", func(*testnet.NS) {
		sh(t, "ip link add vif1.0 type veth peer name x")
		err := host.SetMTU(link(t, "vif1.0").Index, 90000)
		if err == nil || !strings.HasPrefix(err.Error(), "set mtu of vif1.0 to 90000: ") {
			t.Errorf("got %v", err)
		}
	})
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	if len(host.BootID()) != 36 {
		t.Errorf("boot id %q", host.BootID())
	}
	outside := host.NetNS()
	inside(t, "identity", func(*testnet.NS) {
		if here := host.NetNS(); here == 0 || here == outside {
			t.Errorf("namespace %d inside, %d outside", here, outside)
		}
	})
	if host.NetNS() != outside {
		t.Error("the thread did not come back")
	}
}

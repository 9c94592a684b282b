package behaviour

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// served is a network whose guests get addresses and names from the host.
const served = `
[network.lab]
mode    = "host-only"
address = "10.9.0.254/24"
dhcp    = { range = "10.9.0.50-10.9.0.99", lease = "1h" }
dns     = { domain = "xen", upstream = ["none"] }
`

const allPorts = `
[[port]]
name    = "p*"
network = "lab"
`

// bare hangs guest i on port pi, without an address, and waits until frames pass.
func (l *lab) bare(i int) *testnet.NS {
	l.t.Helper()
	g := nettest.Guest(l.t, l.net, l.host, guestSpec(i, ""))
	awaitOperational(l.t, g, "eth0")
	return g
}

func leases(l *lab) []control.Lease {
	l.t.Helper()
	return list[[]control.Lease](l, "lease", "list")
}

// leaseOf is guest i's, if it has one.
func leaseOf(l *lab, i int) (control.Lease, bool) {
	l.t.Helper()
	for _, lease := range leases(l) {
		if lease.MAC == guestMAC(i) {
			return lease, true
		}
	}
	return control.Lease{}, false
}

// hook is a client's script: in the states that match it gives eth0 the address,
// and then leaves its environment behind.
func (l *lab) hook(condition, addr string) (script, noted string) {
	l.t.Helper()
	script, noted = l.path("hook"), l.path("env")
	l.write("hook", fmt.Sprintf("#!/bin/sh\n%s || exit 0\nip addr replace %s dev eth0\nenv >%[3]s.new\nmv %[3]s.new %[3]s\n", condition, addr, noted))
	if err := os.Chmod(script, 0o755); err != nil {
		l.t.Fatal(err)
	}
	_ = os.Remove(noted)
	return script, noted
}

func awaitFile(t *testing.T, name string) string {
	t.Helper()
	var b []byte
	nettest.Wait(t, name, func() (bool, error) {
		var err error
		b, err = os.ReadFile(name)
		return err == nil, nil
	})
	return string(b)
}

// dhclient runs until it is told to end. Its leases outlive it.
func (l *lab) dhclient(g *testnet.NS, log *logBuffer, script string) (end func(syscall.Signal)) {
	l.t.Helper()
	cmd := g.Command(context.Background(), "dhclient", "-d", "-v", "-sf", script, "-pf", l.path("dhclient.pid"), "-lf", l.path("dhclient.leases"), "eth0")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		l.t.Skip(err)
	}
	end = func(sig syscall.Signal) {
		_ = cmd.Process.Signal(sig)
		_ = cmd.Wait()
	}
	l.t.Cleanup(func() {
		end(syscall.SIGKILL)
		if l.t.Failed() {
			l.t.Logf("dhclient:\n%s", log)
		}
	})
	return end
}

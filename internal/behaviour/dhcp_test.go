package behaviour

import (
	"bufio"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// guestSpec is a guest like lab.guest's, with another address or none.
func guestSpec(i int, addr string) testnet.GuestSpec {
	s := testnet.GuestSpec{Name: "g" + strconv.Itoa(i), Port: "p" + strconv.Itoa(i), MAC: guestMAC(i)}
	if addr != "" {
		s.Addr = netip.MustParsePrefix(addr)
	}
	return s
}

// dnsmasq serves 10.9.0.50 to 10.9.0.59 on an interface of the host.
func (l *lab) dnsmasq(nic string) {
	l.t.Helper()
	nettest.Program(l.t, "dnsmasq")
	cmd := l.host.Command(l.t.Context(), "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--user=root", "--port=0",
		"--interface="+nic, "--bind-interfaces", "--dhcp-range=10.9.0.50,10.9.0.59,1h", "--no-ping",
		"--dhcp-leasefile="+l.path("leases"), "--pid-file="+l.path("dnsmasq.pid"))
	log, err := cmd.StderrPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Wait() }) // the test's context ends it before
	lines := bufio.NewScanner(log)
	for started := false; !started; {
		if !lines.Scan() {
			l.t.Fatal("dnsmasq ended before it was ready")
		}
		started = strings.Contains(lines.Text(), "sockets bound") || strings.Contains(lines.Text(), "DHCP, IP range")
	}
	go func() {
		for lines.Scan() {
		}
	}()
}

// udhcpc gets a guest an address and returns it.
func (l *lab) udhcpc(g *testnet.NS) string {
	l.t.Helper()
	script := l.path("udhcpc.sh")
	const text = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip addr replace \"$ip/24\" dev \"$interface\"\necho \"$ip\" >\"$0.ip\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		l.t.Fatal(err)
	}
	mustRun(l.t, g, "udhcpc", "-f", "-q", "-n", "-t", "5", "-T", "1", "-i", "eth0", "-s", script)
	b, err := os.ReadFile(script + ".ip")
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

package behaviour

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// An interface that appears forwards within 100 ms, one that goes is absent.
func TestHotAttach(t *testing.T) { bothEngines(t, testHotAttach) }
func testHotAttach(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.start(isolated + "[[port]]\nname = \"late\"\nnetwork = \"vault\"\n")
	l.awaitPort("p1", "up")
	if s := l.portState("late"); s != "absent" {
		t.Errorf("a configured port without interface is %q, want absent", s)
	}
	late := nettest.Namespace(t, l.net, "late")
	mustRun(t, l.host, "ip", "link", "add", "late", "type", "veth", "peer", "name", "eth0", "netns", late.Name)
	mustRun(t, late, "ip", "link", "set", "eth0", "up")
	mustRun(t, late, "ip", "addr", "add", guestIP(9)+"/24", "dev", "eth0")
	l.awaitPort("late", "up")
	talk(t, g1, guestIP(9))
	mustRun(t, l.host, "ip", "link", "del", "late")
	l.awaitPort("late", "absent")
	for _, e := range list[[]control.FDBEntry](l, "fdb", "list") {
		if e.Port == "late" {
			t.Errorf("an entry outlives its port: %+v", e)
		}
	}
}

// The time from an interface's appearance to the first frame through it.
func TestForwardsWithin100ms(t *testing.T) { bothEnginesAlone(t, testForwardsWithin100ms) }
func testForwardsWithin100ms(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.start(isolated)
	l.awaitPort("p1", "up")
	late := nettest.Namespace(t, l.net, "late")
	best := time.Hour
	for range 5 {
		mustRun(t, late, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "pl")
		mustRun(t, late, "ip", "addr", "add", guestIP(9)+"/24", "dev", "eth0")
		mustRun(t, late, "ip", "link", "set", "eth0", "up")
		var conn net.PacketConn
		if err := g1.Do(func() (err error) {
			conn, err = net.ListenPacket("udp", guestIP(1)+":0")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		var out net.Conn
		if err := late.Do(func() (err error) {
			out, err = net.Dial("udp", conn.LocalAddr().String())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		// The neighbour is known, so that ARP's retry of a second isn't measured.
		mustRun(t, late, "ip", "neigh", "replace", guestIP(1), "lladdr", guestMAC(1).String(), "dev", "eth0")
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = out.Write([]byte("x"))
					time.Sleep(time.Millisecond)
				}
			}
		}()
		mustRun(t, late, "ip", "link", "set", "pl", "netns", l.host.Name)
		start := time.Now()
		_ = conn.SetReadDeadline(start.Add(5 * time.Second))
		if _, _, err := conn.ReadFrom(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(start))
		close(stop)
		conn.Close()
		out.Close()
		mustRun(t, late, "ip", "link", "del", "eth0")
	}
	t.Logf("first frame %v after the interface came", best)
	if best > 100*time.Millisecond {
		t.Errorf("first frame after %v, want 100 ms", best)
	}
}

// Two hundred ports at once are attached within five seconds.
func TestManyPortsAtOnce(t *testing.T) { bothEnginesAlone(t, testManyPortsAtOnce) }
func testManyPortsAtOnce(t *testing.T, engine string) {
	l := newLab(t, engine)
	l.start(isolated)
	const count = 200
	var batch strings.Builder
	for i := range count {
		fmt.Fprintf(&batch, "link add p%d up type veth peer name q%d\nlink set q%d up\n", i, i, i)
	}
	l.write("batch", batch.String())
	start := time.Now()
	mustRun(t, l.host, "ip", "-batch", l.path("batch"))
	made := time.Since(start)
	nettest.Wait(t, "all ports to be up", func() (bool, error) {
		up := 0
		for _, p := range list[[]control.Port](l, "port", "list") {
			if p.State == "up" {
				up++
			}
		}
		return up == count, nil
	})
	t.Logf("%d ports up %v after the first was made, the last was made after %v", count, time.Since(start), made)
	if d := time.Since(start); d > 5*time.Second+made {
		t.Errorf("%d ports took %v", count, d)
	}
}

// A daemon that stops puts everything back as it was.
func TestCleanStop(t *testing.T) { bothEngines(t, testCleanStop) }
func testCleanStop(t *testing.T, engine string) {
	l := newLab(t, engine)
	l.guest(1)
	mustRun(t, l.host, "ip", "link", "set", "p1", "down")
	l.guest(2)
	before := footprint(t, l.host)
	l.start(hostOnly + "[[port]]\nname = \"x\"\nnetwork = \"lab\"\n")
	l.awaitPort("p1", "up")
	l.awaitPort("lab", "up")
	if during := footprint(t, l.host); during == before {
		t.Error("the footprint test sees nothing of a running daemon")
	}
	l.daemon.end(t, syscall.SIGTERM)
	if l.daemon.err != nil {
		t.Errorf("daemon ended with %v", l.daemon.err)
	}
	if after := footprint(t, l.host); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	for _, f := range []string{"run/control.sock"} {
		if _, err := os.Stat(l.path(f)); err == nil {
			t.Errorf("%s is left behind", f)
		}
	}
	if _, errs, code := l.cli("status"); code != 3 || !strings.Contains(errs, "hint:") {
		t.Errorf("status without a daemon: exit %d, %s", code, errs)
	}
}

// An interface that is renamed away and back, faster than the daemon follows, is
// what it was once the daemon stops.
func TestRenamedToAndFro(t *testing.T) { bothEngines(t, testRenamedToAndFro) }
func testRenamedToAndFro(t *testing.T, engine string) {
	l := newLab(t, engine)
	l.guest(1)
	before := footprint(t, l.host)
	l.start(strings.Replace(isolated, "[[port]]", "mtu = 1400\n[[port]]", 1))
	l.write("renames", "link set dev p1 name x1\nlink set dev x1 name p1\nlink add pz type veth peer name z\n")
	for range 10 {
		l.awaitPort("p1", "up")
		mustRun(t, l.host, "ip", "-batch", l.path("renames"))
		l.awaitPort("pz", "down") // so the daemon has seen what was before
		mustRun(t, l.host, "ip", "link", "del", "pz")
		l.awaitPort("pz", "")
	}
	l.daemon.end(t, syscall.SIGTERM)
	if after := footprint(t, l.host); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// An administrator's change to a NIC outlives the daemon.
func TestUplinkKeepsItsMTU(t *testing.T) { bothEngines(t, testUplinkKeepsItsMTU) }
func testUplinkKeepsItsMTU(t *testing.T, engine string) {
	l := newLab(t, engine)
	l.far("eth1")
	l.start("[network.lan]\nmode = \"bridged\"\nuplink = \"eth1\"\n")
	l.awaitPort("eth1", "up")
	mustRun(t, l.host, "ip", "link", "set", "eth1", "mtu", "9000")
	nettest.Wait(t, "the new MTU", func() (bool, error) { return l.port("eth1").MTU == 9000, nil })
	l.daemon.end(t, syscall.SIGTERM)
	if out := mustRun(t, l.host, "ip", "-o", "link", "show", "eth1"); !strings.Contains(out, " mtu 9000 ") {
		t.Errorf("after the daemon's end: %s", out)
	}
}

// footprint is what an administrator would look at: links, qdiscs, filters,
// and the sysctls that a daemon might turn.
func footprint(t *testing.T, ns *testnet.NS) string {
	t.Helper()
	links := mustRun(t, ns, "ip", "-d", "-o", "link")
	// Not what comes by itself: the carrier.
	links = regexp.MustCompile(`numtxqueues.*| state \w+|,LOWER_UP|NO-CARRIER,`).ReplaceAllString(links, "")
	text := links + mustRun(t, ns, "tc", "qdisc", "show") + mustRun(t, ns, "ip", "-o", "-4", "addr")
	for _, i := range regexp.MustCompile(`(?m)^\d+: (p\d+)@`).FindAllStringSubmatch(links, -1) {
		text += mustRun(t, ns, "tc", "filter", "show", "dev", i[1], "ingress")
	}
	text += mustRun(t, ns, "sh", "-c", "grep . /proc/sys/net/ipv6/conf/*/disable_ipv6 /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter")
	return text
}

// A daemon that was killed leaves no hole, and the next one takes over: its
// ports, those of the command line, and what it had changed.
func TestKilledAndTakenOver(t *testing.T) { bothEngines(t, testKilledAndTakenOver) }
func testKilledAndTakenOver(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	g2 := l.guest(2)
	mustRun(t, l.host, "ip", "addr", "add", "10.9.0.99/32", "dev", "lo")
	l.write("gxswitch.toml", "")
	before := footprint(t, l.host)
	l.start("[network.vault]\nmode = \"isolated\"\n")
	l.must("network", "add", "extra", "--mode", "host-only", "--address", "10.8.0.1/24")
	l.must("port", "add", "p1", "--network", "vault", "--label", "one")
	l.must("port", "add", "p2", "--network", "vault")
	l.must("port", "set", "p2", "--label", "two")
	talk(t, g1, guestIP(2))
	l.daemon.end(t, syscall.SIGKILL)
	// Nobody forwards now, and still the host does not answer.
	if out, err := run(t, g2, "arping", "-c", "2", "-w", "1", "-I", "eth0", "10.9.0.99"); err == nil {
		t.Errorf("while the daemon is dead the host answers:\n%s", out)
	}
	l.start("[network.vault]\nmode = \"isolated\"\n")
	talk(t, g1, guestIP(2))
	labels := map[string]string{}
	for _, p := range list[[]control.Port](l, "port", "list") {
		labels[p.Name] = p.Network + "/" + p.Label
	}
	if labels["p1"] != "vault/one" || labels["p2"] != "vault/two" || labels["extra"] != "extra/" {
		t.Errorf("ports after the take-over: %v", labels)
	}
	l.must("network", "del", "extra")
	l.must("port", "del", "p1")
	l.must("port", "del", "p2")
	l.daemon.end(t, syscall.SIGTERM)
	if after := footprint(t, l.host); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// What the last daemon left and nobody wants any more is cleaned away.
func TestKilledAndReconfigured(t *testing.T) { bothEngines(t, testKilledAndReconfigured) }
func testKilledAndReconfigured(t *testing.T, engine string) {
	l := newLab(t, engine)
	l.guest(1)
	before := footprint(t, l.host)
	l.start(hostOnly)
	l.awaitPort("p1", "up")
	l.daemon.end(t, syscall.SIGKILL)
	l.start("")
	after := footprint(t, l.host)
	if l.engine != "afpacket" {
		after = withoutEngine(after)
	}
	if after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// A reload touches what changed and nothing else: not a frame of the rest.
func TestReloadLosesNothing(t *testing.T) { bothEnginesAlone(t, testReloadLosesNothing) }
func testReloadLosesNothing(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.guest(2)
	l.start(isolated)
	talk(t, g1, guestIP(2))
	changing(t, "reload", []pair{{from: g1, to: guestIP(2)}}, 1500, "0.001", func(round int) {
		text := isolated
		if round%2 == 0 {
			text += "[network.more]\nmode = \"host-only\"\naddress = \"10.7.0.1/24\"\n[[port]]\nname = \"p1\"\nnetwork = \"vault\"\nlabel = \"x\"\n"
		}
		l.write("gxswitch.toml", text)
		l.must("reload")
	})
	// A configuration that does not check changes nothing.
	l.write("gxswitch.toml", isolated+"[network.bad]\nmode = \"bridgd\"\n")
	_, errs, code := l.cli("reload")
	if code != 1 || !strings.Contains(errs, "gxswitch.toml:") || !strings.Contains(errs, "bridged") {
		t.Errorf("reload of a wrong file: exit %d, %s", code, errs)
	}
	talk(t, g1, guestIP(2))
}

// Each mistake is a sentence that names the object, and most say the mend.
func TestRefusals(t *testing.T) {
	t.Parallel()
	l := newLab(t, anyEngine)
	l.guest(1)
	l.guest(2)
	mustRun(t, l.host, "ip", "link", "add", "br9", "type", "bridge")
	mustRun(t, l.host, "ip", "link", "set", "p2", "master", "br9")
	l.start("[network.vault]\nmode = \"isolated\"\n[network.lab]\nmode = \"host-only\"\n")
	l.must("port", "add", "p1", "--network", "vault")
	l.must("port", "add", "p1", "--network", "vault") // the same again
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"port add p1 --network lab", 1, []string{"p1", "vault", "lab", "hint:"}},
		{"port add p2 --network lab", 1, []string{"p2", "bridge br9", "nomaster"}},
		{"port add lo --network lab", 1, []string{"lo"}},
		{"port add lab --network vault", 1, []string{"lab"}},
		{"port add nope --network lab", 4, []string{"nope", "[[port]]"}},
		{"port add p2 --network nope", 4, []string{"nope"}},
		{"port add p2 --network lab --mtu 5", 2, []string{"mtu"}},
		{"port add p2 --network lab --mac 01:00:00:00:00:01", 2, []string{"mac"}},
		{"port del nope", 4, []string{"nope"}},
		{"port del lab", 1, []string{"lab", "host"}},
		{"port show nope", 4, []string{"nope"}},
		{"network add UPPER --mode isolated", 2, []string{"UPPER"}},
		{"network add sixteen-letters- --mode isolated", 2, []string{"sixteen-letters-"}},
		{"network add x --mode bridgd --uplink p2", 2, []string{"bridgd", "bridged"}},
		{"network add x --mode bridged", 2, []string{"uplink"}},
		{"network add x --mode bridged --uplink nope", 4, []string{"nope"}},
		{"network add x --mode bridged --uplink p1", 1, []string{"p1", "vault"}},
		{"network add x --mode isolated --address 10.1.1.1/24", 2, []string{"address"}},
		{"network add vault --mode host-only", 1, []string{"vault"}},
		{"network add br9 --mode host-only", 1, []string{"br9", "bridge"}},
		{"network del nope", 4, []string{"nope"}},
		{"network set nope --mtu 1400", 4, []string{"nope"}},
		{"fdb add 00:16:3e:00:00:01 --port nope", 4, []string{"nope"}},
		{"fdb del 00:16:3e:00:00:01 --network vault", 4, []string{"00:16:3e:00:00:01"}},
		{"fdb list --network nope", 4, []string{"nope"}},
		{"stats nope", 4, []string{"nope"}},
		{"nonsense", 2, []string{"nonsense"}},
	} {
		out, errs, code := l.cli(strings.Fields(c.args)...)
		if code != c.code {
			t.Errorf("%s: exit %d, want %d\n%s%s", c.args, code, c.code, out, errs)
		}
		if !strings.HasPrefix(errs, "gxswitch: error: ") {
			t.Errorf("%s: %q", c.args, errs)
		}
		for _, w := range c.want {
			if !strings.Contains(errs, w) {
				t.Errorf("%s: does not say %q: %s", c.args, w, errs)
			}
		}
	}
	if s := l.portState("p1"); s != "up" {
		t.Errorf("p1 is %q after all this", s)
	}
}

// A second daemon on the same socket goes away without touching anything.
func TestSecondDaemon(t *testing.T) { bothEngines(t, testSecondDaemon) }
func testSecondDaemon(t *testing.T, engine string) {
	l := newLab(t, engine)
	g1 := l.guest(1)
	l.guest(2)
	first := l.start(isolated)
	second := l.launch()
	<-second.done
	if second.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(second.log.String(), "another gxswitch daemon") {
		t.Errorf("exit %d\n%s", second.cmd.ProcessState.ExitCode(), second.log)
	}
	select {
	case <-first.done:
		t.Error("the first daemon ended")
	default:
	}
	talk(t, g1, guestIP(2))
}

// Without privileges there is a sentence, not a stack of errors.
func TestNoPrivileges(t *testing.T) { bothEngines(t, testNoPrivileges) }
func testNoPrivileges(t *testing.T, engine string) {
	l := newLab(t, engine)
	l.write("gxswitch.toml", isolated)
	for _, dir := range []string{filepath.Dir(binary), filepath.Dir(l.dir), l.dir} { // for nobody to read
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", binary}, l.daemonArgs()...)
	out, err := run(t, l.host, args...)
	if err == nil || !strings.Contains(out, "privileges") || !strings.Contains(out, "hint:") {
		t.Errorf("%v: %s", err, out)
	}
}

package behaviour

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
	"gxswitch/internal/testnet"
	"gxswitch/internal/testnet/nettest"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	if text := os.Getenv(denials); text != "" {
		become(text, os.Args[1:])
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "gxswitch-behaviour")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "gxswitch")
		if out, err := exec.Command("go", "build", "-o", binary, "gxswitch/cmd/gxswitch").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build gxswitch: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// lab is a host with guests on it:
//
//	g1 [eth0]--p1-+
//	g2 [eth0]--p2-+-- host (the daemon's namespace)
//	g3 [eth0]--p3-+
type lab struct {
	t      *testing.T
	net    *testnet.Net
	host   *testnet.NS
	dir    string
	env    []string // of the daemon and the hotplug script, besides the test's own
	engine string
	daemon *daemon

	denied     string // see without
	resolvConf string // that the daemon sees for the host's own, if not ""
	etc        string // likewise for /etc; with it there is no --config
}

// newLab is one whose daemon has that engine.
func newLab(t *testing.T, engine string) *lab {
	n := nettest.Test(t, "bh")
	l := &lab{t: t, net: n, host: nettest.Namespace(t, n, "host"), dir: t.TempDir(), engine: engine}
	if engine != "afpacket" {
		mountBPF(t, l.path("run"))
	}
	return l
}

// guest hangs a guest with 10.9.0.i/24 and MAC 02:00:00:00:00:i on port pi.
func (l *lab) guest(i int) *testnet.NS {
	return l.guestMTU(i, 0)
}

func (l *lab) guestMTU(i, mtu int) *testnet.NS {
	l.t.Helper()
	return nettest.Guest(l.t, l.net, l.host, testnet.GuestSpec{
		Name: "g" + strconv.Itoa(i), Port: "p" + strconv.Itoa(i), MTU: mtu,
		Addr: netip.PrefixFrom(netip.MustParseAddr(guestIP(i)), 24), MAC: guestMAC(i),
	})
}

func guestIP(i int) string          { return "10.9.0." + strconv.Itoa(i) }
func guestMAC(i int) frame.MAC      { return frame.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)} }
func (l *lab) path(f string) string { return filepath.Join(l.dir, f) }

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(l.path(name), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// daemon is a running gxswitch daemon.
type daemon struct {
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{}
	err  error
}

func (d *daemon) running() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs the daemon with the configuration and waits until it is ready.
func (l *lab) start(toml string) *daemon {
	l.t.Helper()
	l.write("gxswitch.toml", toml)
	d := l.launch()
	nettest.Wait(l.t, "the daemon to be ready", func() (bool, error) {
		select {
		case <-d.done:
			return false, fmt.Errorf("daemon ended: %v\n%s", d.err, d.log)
		default:
			return strings.Contains(d.log.String(), "ready"), nil
		}
	})
	l.daemon = d
	return d
}

func (l *lab) daemonArgs() []string {
	args := []string{"daemon", "--run-dir", l.path("run"), "--state-dir", l.path("state"), "--engine", l.engine}
	if l.etc == "" {
		args = append(args, "--config", l.path("gxswitch.toml"))
	}
	return args
}

func (l *lab) launch() *daemon {
	l.t.Helper()
	d := &daemon{log: &logBuffer{}, done: make(chan struct{})}
	args := append([]string{binary}, l.daemonArgs()...)
	if l.denied != "" {
		args = append([]string{"sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$@"`, "",
			"env", denials + "=" + l.denied, os.Args[0]}, args...)
	}
	if l.resolvConf != "" { // in the mount namespace that ip-netns(8) made
		args = append([]string{"sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, l.resolvConf}, args...)
	}
	if l.etc != "" {
		args = append([]string{"sh", "-c", `mount --bind "$0" /etc && exec "$@"`, l.etc}, args...)
	}
	d.cmd = l.host.Command(context.Background(), args[0], args[1:]...)
	d.cmd.Env = append(os.Environ(), l.env...)
	d.cmd.Stderr, d.cmd.Stdout = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	l.t.Cleanup(func() {
		d.end(l.t, syscall.SIGTERM)
		if l.t.Failed() {
			l.t.Logf("daemon's log:\n%s", d.log)
		}
	})
	return d
}

// end sends the signal and waits for the process.
func (d *daemon) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	_ = d.cmd.Process.Signal(sig)
	select {
	case <-d.done:
	case <-time.After(20 * time.Second):
		_ = d.cmd.Process.Signal(syscall.SIGQUIT)
		<-d.done
		t.Errorf("the daemon did not end on %v:\n%s", sig, d.log)
	}
}

// cli runs a command of the control client and returns what it said.
func (l *lab) cli(args ...string) (stdout, stderr string, code int) {
	l.t.Helper()
	cmd := exec.Command(binary, append([]string{"--socket", l.path("run/control.sock")}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must is cli for what has to succeed.
func (l *lab) must(args ...string) string {
	l.t.Helper()
	out, errs, code := l.cli(args...)
	if code != 0 {
		l.t.Fatalf("gxswitch %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

func list[T any](l *lab, args ...string) T {
	l.t.Helper()
	var v T
	if err := json.Unmarshal([]byte(l.must(append(args, "-j")...)), &v); err != nil {
		l.t.Fatalf("gxswitch %v: %v", args, err)
	}
	return v
}

// stats are a port's counters.
func (l *lab) stats(port string) control.PortStats {
	l.t.Helper()
	s := list[control.Stats](l, "stats", port)
	if len(s.Ports) != 1 {
		l.t.Fatalf("stats %s: %d ports", port, len(s.Ports))
	}
	return s.Ports[0]
}

// portState is "" for a port that isn't listed.
func (l *lab) portState(name string) string {
	l.t.Helper()
	for _, p := range list[[]control.Port](l, "port", "list") {
		if p.Name == name {
			return p.State
		}
	}
	return ""
}

func (l *lab) awaitPort(name, state string) {
	l.t.Helper()
	nettest.Wait(l.t, "port "+name+" to be "+state, func() (bool, error) { return l.portState(name) == state, nil })
}

// awaitOperational waits until the kernel has noticed that a veth's other end is
// up. Until then its queue is one that drops without a word (noop_qdisc), though
// the interface has its carrier: linkwatch_do_dev activates the queue, at once but
// on a thread of its own.
func awaitOperational(t *testing.T, ns *testnet.NS, name string) {
	t.Helper()
	nettest.Wait(t, name+" to be operational", func() (up bool, err error) {
		err = ns.Do(func() error {
			link, err := netlink.LinkByName(name)
			up = err == nil && link.Attrs().OperState == netlink.OperUp
			return err
		})
		return up, err
	})
}

// run runs a program in a namespace and returns what it printed; it may fail.
func run(t *testing.T, ns *testnet.NS, args ...string) (string, error) {
	t.Helper()
	nettest.Program(t, args[0])
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	out, err := ns.Command(ctx, args[0], args[1:]...).CombinedOutput()
	return goingNamespace.ReplaceAllString(string(out), ""), err
}

// goingNamespace is ip(8)'s complaint about a namespace of another test that is
// going away while it looks for the names of all.
var goingNamespace = regexp.MustCompile(`(?m)^Error: Peer netns reference is invalid\.\n`)

func mustRun(t *testing.T, ns *testnet.NS, args ...string) string {
	t.Helper()
	out, err := run(t, ns, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

var pingLine = regexp.MustCompile(`(\d+) packets transmitted, (\d+) received(?:, \+(\d+) duplicates)?`)

var pingReply = regexp.MustCompile(`(?m)^\d+ bytes from .*icmp_seq=(\d+) .*?(\(DUP!\))?$`)

// ping returns how many of count requests were answered, and how many answers came
// once more.
func ping(t *testing.T, from *testnet.NS, to string, count int, more ...string) (replies, duplicates int) {
	t.Helper()
	args := append([]string{"ping", "-n", "-c", strconv.Itoa(count), "-i", "0.005", "-W", "1", to}, more...)
	if count > fewPings {
		// Else ping(8) gives the last answer two round trips, which a busy machine
		// may need longer for. So it asks on until it has count answers.
		args = append(args, "-w", "30")
	}
	out, _ := run(t, from, args...)
	if !pingLine.MatchString(out) && !strings.Contains(out, "unreachable") {
		t.Fatalf("%v:\n%s", args, out)
	}
	for _, m := range pingReply.FindAllStringSubmatch(out, -1) {
		switch seq, _ := strconv.Atoi(m[1]); {
		case seq > count:
		case m[2] != "":
			duplicates++
		default:
			replies++
		}
	}
	if replies > 0 && replies < count {
		t.Log(out) // which is missing?
	}
	return replies, duplicates
}

// fewPings are sent where no answer is to come: ping(8) waits a second for one.
const fewPings = 3

// changing makes one change after the other, at least three, while each pair's first
// pings its second, and fails the test if an answer is missing or comes twice.
func changing(t *testing.T, what string, pairs []pair, count int, interval string, change func(round int)) {
	t.Helper()
	const least = 3
	var rounds atomic.Int32
	var pings sync.WaitGroup
	done := make(chan struct{})
	for _, p := range pairs {
		pings.Go(func() {
			for enough := false; !enough; enough = rounds.Load() >= least {
				if r, d := ping(t, p.from, p.to, count, "-i", interval); r != count || d != 0 {
					t.Errorf("%s: %s to %s: %d of %d replies, %d duplicates over %d rounds", what, p.from.Name, p.to, r, count, d, rounds.Load())
				}
			}
		})
	}
	go func() { pings.Wait(); close(done) }()
	defer func() { // also where a change fails
		rounds.Add(least)
		<-done
	}()
	for running := true; running; {
		change(int(rounds.Load()))
		rounds.Add(1)
		select {
		case <-done:
			running = false
		default:
		}
	}
}

// talk fails the test unless 20 of 20 pings come back, none twice.
func talk(t *testing.T, from *testnet.NS, to string) {
	t.Helper()
	if r, d := ping(t, from, to, 20); r != 20 || d != 0 {
		t.Errorf("%s to %s: %d of 20 replies, %d duplicates", from.Name, to, r, d)
	}
}

// awaitWay waits until a machine is reached by a gateway that has just been told of
// something: the kernel tells it of addresses and of routes apart.
func awaitWay(t *testing.T, from *testnet.NS, to string) {
	t.Helper()
	nettest.Wait(t, "a way to "+to, func() (bool, error) {
		r, _ := ping(t, from, to, 1)
		return r == 1, nil
	})
}

// silent fails the test if anything comes back.
func silent(t *testing.T, from *testnet.NS, to string) {
	t.Helper()
	if r, _ := ping(t, from, to, fewPings); r != 0 {
		t.Errorf("%s to %s: %d replies, want none", from.Name, to, r)
	}
}

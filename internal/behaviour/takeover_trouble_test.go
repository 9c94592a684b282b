package behaviour

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
)

// A daemon that is killed leaves the addresses on the leg. The next one goes on, or
// puts them back if it is not to have them any more.
func TestTakeoverKilled(t *testing.T) { bothEngines(t, testTakeoverKilled) }
func testTakeoverKilled(t *testing.T, engine string) {
	l := newLAN(t, engine)
	l.guest(1)
	before := l.config()
	s := startSession(t, l.host, l.beyond, "10.9.0.100")
	l.start(takeover)
	during := l.config()
	l.daemon.end(t, syscall.SIGKILL)
	if text := l.config(); text != during {
		t.Errorf("while it is dead, before:\n%s\nafter:\n%s", during, text)
	}
	l.start(takeover)
	if text := l.config(); text != during {
		t.Errorf("taken over again, before:\n%s\nafter:\n%s", during, text)
	}
	talk(t, l.beyond, "10.9.0.100")

	// Killed while it gives back, or takes: the record says so.
	l.daemon.end(t, syscall.SIGKILL)
	state, err := os.ReadFile(l.path("state/state.json"))
	if err != nil || !strings.Contains(string(state), `"phase":"taken"`) {
		t.Fatalf("%v: %s", err, state)
	}
	l.write("state/state.json", strings.Replace(string(state), `"phase":"taken"`, `"phase":"returning"`, 1))
	l.start(takeover)
	if text := l.config(); text != during {
		t.Errorf("taken over once more, before:\n%s\nafter:\n%s", during, text)
	}
	talk(t, l.beyond, "10.9.0.100")
	s.survived(t, 5*time.Second)
	s = startSession(t, l.beyond, l.host, "192.0.2.2")
	l.daemon.end(t, syscall.SIGKILL)
	l.start("[network.vault]\nmode = \"isolated\"\n")
	l.restored(before)
	talk(t, l.beyond, "10.9.0.100")
	s.survived(t, 5*time.Second)
}

// A daemon that can't start gives back what the one before, which was killed or has
// left it to the next, had taken over: the host is not to stay without its network.
func TestTakeoverKilledAndNoNextDaemon(t *testing.T) {
	bothEngines(t, testTakeoverKilledAndNoNextDaemon)
}
func testTakeoverKilledAndNoNextDaemon(t *testing.T, engine string) {
	for _, c := range []struct{ name, config, says string }{
		{"network that can't be", takeover + "[network.foreign0]\nmode = \"host-only\"\n", "foreign0"},
		{"file that does not check", takeover + "colour = \"red\"\n", "colour: unknown key"},
	} {
		for _, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGUSR1} {
			t.Run(fmt.Sprintf("%s after %s", c.name, end), func(t *testing.T) {
				t.Parallel()
				l := newLAN(t, engine)
				mustRun(t, l.host, "ip", "link", "add", "foreign0", "type", "bridge")
				before := l.config()
				l.start(takeover)
				during := l.config()
				l.write("gxswitch.toml", c.config)
				l.fails("gxswitch: error: ") // beside the one that runs
				if text := l.config(); text != during {
					t.Errorf("while one runs another takes its things away, before:\n%s\nafter:\n%s", during, text)
				}
				l.daemon.end(t, end)
				l.fails(c.says)
				l.restored(before)
				talk(t, l.host, "192.0.2.2")

				l.start(takeover)
				if text := mustRun(t, l.host, "ip", "-4", "-o", "addr", "show", "dev", "xenbr0"); !strings.Contains(text, "10.9.0.100/") {
					t.Errorf("not taken over again: %s", text)
				}
				talk(t, l.host, "192.0.2.2")
			})
		}
	}
}

// What can't be taken over stays as it was, and the error says why.
func TestTakeoverRefused(t *testing.T) { bothEngines(t, testTakeoverRefused) }
func testTakeoverRefused(t *testing.T, engine string) {
	l := newLAN(t, engine)
	mustRun(t, l.host, "ip", "link", "add", "xenbr0", "type", "bridge")
	before := l.config()
	l.write("gxswitch.toml", takeover)
	d := l.launch()
	<-d.done
	if log := d.log.String(); d.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(log, "bridge interface xenbr0 that is not gxswitch's") {
		t.Errorf("exit %d\n%s", d.cmd.ProcessState.ExitCode(), log)
	}
	l.restored(before)
	talk(t, l.host, "192.0.2.2")

	l.start("")
	for _, c := range []struct{ args, want string }{
		{"network add xenbr0 --mode bridged --uplink eth0 --takeover", "xenbr0"},
		{"network add xenbr1 --mode bridged --uplink nope --takeover", "nope"},
	} {
		if _, errs, code := l.cli(strings.Fields(c.args)...); code == 0 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit %d, %s", c.args, code, errs)
		}
	}
	l.must("network", "add", "xenbr1", "--mode", "bridged", "--uplink", "eth0")
	if _, err := run(t, l.host, "ip", "link", "add", "link", "eth0", "name", "mv0", "type", "macvlan"); err == nil {
		if _, errs, code := l.cli("network", "set", "xenbr1", "--takeover"); code != 1 || !strings.Contains(errs, "mv0 stands on eth0") {
			t.Errorf("with an interface on top: exit %d, %s", code, errs)
		}
		if n := list[control.Network](l.lab, "network", "show", "xenbr1"); n.Takeover {
			t.Error("the network has what was refused")
		}
		mustRun(t, l.host, "ip", "link", "del", "mv0")
	}
	l.must("network", "del", "xenbr1")
	l.restored(before)

	l.write("two.toml", takeover+"[network.more]\nmode = \"bridged\"\nuplink = \"eth0\"\ntakeover = true\n")
	if _, errs, code := l.cli("config", "check", l.path("two.toml")); code != 1 || !strings.Contains(errs, "two.toml:12: network.more.takeover: network xenbr0 takes over eth0 already") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

// What a network could not do when the daemon began is no secret of its log.
func TestTakeoverThatFailsAtTheStartIsShown(t *testing.T) {
	bothEngines(t, testTakeoverThatFailsAtTheStartIsShown)
}
func testTakeoverThatFailsAtTheStartIsShown(t *testing.T, engine string) {
	l := newLAN(t, engine)
	if _, err := run(t, l.host, "ip", "link", "add", "link", "eth0", "name", "mv0", "type", "macvlan"); err != nil {
		t.Skip("needs a kernel with macvlan")
	}
	l.start(takeover)
	const why = "mv0 stands on eth0"
	if n := list[control.Network](l.lab, "network", "show", "xenbr0"); !strings.Contains(n.Problem, why) {
		t.Errorf("network show: problem %q", n.Problem)
	}
	for _, args := range []string{"status", "network list", "network show xenbr0", "show"} {
		if out := l.must(strings.Fields(args)...); !strings.Contains(out, why) {
			t.Errorf("%s:\n%s", args, out)
		}
	}
	mustRun(t, l.host, "ip", "link", "del", "mv0")
	l.must("reload")
	if out := l.must("status"); strings.Contains(out, "problem") {
		t.Errorf("mended:\n%s", out)
	}
	talk(t, l.router, "10.9.0.100")
}

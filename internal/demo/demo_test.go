package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"gxswitch/internal/control"
)

func TestUnknownModeIsWrongUsage(t *testing.T) {
	for mode, want := range map[string]control.Code{
		"bridge": control.CodeUsage,
		"":       control.CodeUsage,
	} {
		var e *control.Error
		if err := Run(t.Context(), mode, io.Discard); !errors.As(err, &e) || e.Code != want {
			t.Errorf("mode %q: %v, want an error of code %s", mode, err, want)
		}
	}
}

func TestEveryModeKeepsItsPromise(t *testing.T) {
	d := newTestDemo(t)
	t.Run("at once", func(t *testing.T) {
		for _, m := range models() {
			t.Run(string(m.mode), func(t *testing.T) {
				t.Parallel()
				d.keepsItsPromise(t, m)
			})
		}
	})
	d.wantNothingLeft(t, os.Getpid())
}

func (d testDemo) keepsItsPromise(t *testing.T, m model) {
	t.Helper()
	var out bytes.Buffer
	if err := d.runner(&out).run(t.Context(), []model{m}); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, p := range m.pairs {
		row := fmt.Sprintf(`(?m)^%s +%s +20/20 +0%% +[0-9.]+/[0-9.]+ ms +[0-9.]+ Gb/s +ok$`, p.from, p.to)
		if !p.mayTalk {
			row = fmt.Sprintf(`(?m)^%s +%s +0/5 +100%% +- +- +blocked, as it should be$`, p.from, p.to)
		}
		if !regexp.MustCompile(row).Match(out.Bytes()) {
			t.Errorf("no row like %s", row)
		}
	}
	for _, p := range m.ports {
		if !regexp.MustCompile(`(?m)^` + p + ` +\d+ +\d+ +\S`).Match(out.Bytes()) {
			t.Errorf("no counters of port %s", p)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}

// Cut short at any moment, from the first namespace to the last pair, the demo
// leaves nothing behind.
func TestCancelledLeavesNothing(t *testing.T) {
	d := newTestDemo(t)
	for _, after := range []string{"[network.vault]", "FROM", "guest1   guest2", "PORT"} {
		t.Run(after, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := d.runner(&trigger{text: after, f: cancel}).run(ctx, []model{isolated()})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			d.wantNothingLeft(t, os.Getpid())
		})
	}
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 40 * time.Millisecond, 160 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			if err := d.runner(io.Discard).run(ctx, models()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want context.DeadlineExceeded", err)
			}
			d.wantNothingLeft(t, os.Getpid())
		})
	}
}

// The same with the real program and real signals.
func TestSignalledLeavesNothing(t *testing.T) {
	d := newTestDemo(t)
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.Command(d.binary, "demo", "--mode", "isolated")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			read, buf := "", make([]byte, 4096)
			for err == nil && !strings.Contains(read, "FROM") {
				var n int
				n, err = stdout.Read(buf)
				read += string(buf[:n])
			}
			if sig == syscall.SIGPIPE {
				stdout.Close() // as head(1) does
			} else if err := cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
			err = cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); sig != syscall.SIGPIPE && status != 1 {
				t.Errorf("exit status %d (%v), want 1; stderr: %s", status, err, &stderr)
			}
			d.wantNothingLeft(t, cmd.Process.Pid)
		})
	}
}

func TestMisbehaviourIsTold(t *testing.T) {
	d := newTestDemo(t)
	m := isolated()
	m.pairs = []pair{
		{guestName(1), guestName(2), guestAddr(2), false},
		{guestName(1), hostName, hostAddr, true},
	}
	var out bytes.Buffer
	err := d.runner(&out).run(t.Context(), []model{m})
	want := "isolated: guest1 to guest2: 5 of 5 pings were answered, where the mode forbids any (and 1 more of 2 pairs did not behave)"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	for _, verdict := range []string{"WRONG: 5 of 5 pings were answered", "WRONG: 20 of 20 pings were lost"} {
		if !strings.Contains(out.String(), verdict) {
			t.Errorf("the table does not say %q:\n%s", verdict, &out)
		}
	}
	d.wantNothingLeft(t, os.Getpid())
}

// Without the switch the host would answer the guests of an isolated network:
// that it does not is no accident of the site. And a request that gets through
// is told from one that does not, though no answer comes back.
func TestIsolatedHostIsReachableWithoutTheSwitch(t *testing.T) {
	d := newTestDemo(t)
	s, err := layOut(t.Context(), isolated())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		d.wantNothingLeft(t, os.Getpid())
	}()
	for i := 1; i <= guests; i++ {
		r, err := s.knock(t.Context(), pair{guestName(i), hostName, hostAddr, false})
		if err != nil || r.received != blockedPings || r.arrived != blockedPings || r.duplicates != 0 {
			t.Errorf("%s: %+v, %v; want %d answers", guestName(i), r, err, blockedPings)
		}
	}
	if err := s.ip(t.Context(), hostName, "route replace blackhole %s", guestAddr(1)); err != nil {
		t.Fatal(err)
	}
	r, err := s.knock(t.Context(), pair{guestName(1), hostName, hostAddr, false})
	if want := "5 of 5 pings arrived, where the mode forbids any"; err != nil || r.fault != want {
		t.Errorf("one way: %+v, %v; want %q", r, err, want)
	}
}

func TestDaemonThatEndsIsToldWithItsLastWords(t *testing.T) {
	d := newTestDemo(t)
	m := isolated()
	m.toml = "[network.vault]\nmode = \"insulated\"\n"
	err := d.runner(io.Discard).run(t.Context(), []model{m})
	if err == nil || !strings.Contains(err.Error(), "ended too early: exit status 1") || !strings.Contains(err.Error(), "insulated") {
		t.Errorf("got %v", err)
	}
	d.wantNothingLeft(t, os.Getpid())
}

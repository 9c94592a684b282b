package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
)

// How long the daemon may take to come up, and to go.
const (
	startPatience = 10 * time.Second
	stopPatience  = 5 * time.Second
)

// daemon is a gxswitch daemon in a namespace, with files of its own.
type daemon struct {
	dir    string
	log    *os.File
	cmd    *exec.Cmd
	client *control.Client
	alive  context.Context // ends when the daemon does, for that cause
	end    context.CancelFunc
	ended  chan struct{} // closed when the process is gone
	early  error         // why it went before stop; to be read after ended
	ready  bool          // await has seen it at work
}

func startDaemon(ctx context.Context, binary string, ns *testnet.NS, toml string) (d *daemon, err error) {
	dir, err := os.MkdirTemp("", "gxswitch-demo-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = cleanedUp(err, os.RemoveAll(dir))
		}
	}()
	file, run, state := filepath.Join(dir, "gxswitch.toml"), filepath.Join(dir, "run"), filepath.Join(dir, "state")
	if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	// The daemon outlives ctx until stop, which ends life.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	cmd := ns.Command(life, binary, "daemon", "--config", file, "--run-dir", run, "--state-dir", state)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopPatience // then it is killed
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C is for the demo, which then stops it
		Pdeathsig: syscall.SIGTERM,
	}
	if err := cmd.Start(); err != nil {
		end()
		log.Close()
		return nil, err
	}
	alive, died := context.WithCancelCause(ctx)
	d = &daemon{dir: dir, log: log, cmd: cmd, alive: alive, end: end, ended: make(chan struct{}),
		client: control.NewClient(filepath.Join(run, "control.sock"))}
	go func() {
		defer close(d.ended)
		err := cmd.Wait()
		if life.Err() == nil {
			d.early = fmt.Errorf("the daemon ended too early: %v%s", err, d.lastWords())
		}
		died(d.early)
	}()
	return d, nil
}

// await waits until the daemon answers and each port is up.
func (d *daemon) await(ctx context.Context, ports []string) error {
	timed, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var missing string // what was still missing when we last looked
	err := testnet.Wait(timed, "the daemon", func() (bool, error) {
		rows, err := d.client.Ports(timed)
		if errors.Is(err, control.ErrNoDaemon) {
			missing = "answer on its control socket"
			return false, nil
		}
		if err != nil {
			return false, err
		}
		missing = notUp(rows, ports)
		return missing == "", nil
	})
	if err != nil && missing != "" {
		return fmt.Errorf("%w: no %s%s", err, missing, d.lastWords())
	}
	d.ready = err == nil
	return err
}

// notUp names a port that is not up; "" if all are.
func notUp(rows []control.Port, ports []string) string {
	state := map[string]string{}
	for _, r := range rows {
		state[r.Name] = r.State
	}
	for _, p := range ports {
		if s := state[p]; s != "up" {
			return "port " + p + " that is up"
		}
	}
	return ""
}

// stop ends the daemon and removes its files. A daemon that does not end by
// itself, or not well, is an error.
func (d *daemon) stop() error {
	d.client.Close()
	d.end()
	<-d.ended
	err := d.early
	if err == nil && !d.stoppedWell() {
		err = fmt.Errorf("the daemon did not stop as it should: %s%s", d.cmd.ProcessState, d.lastWords())
	}
	return errors.Join(err, d.log.Close(), os.RemoveAll(d.dir))
}

// stoppedWell reports whether the daemon ended as SIGTERM asks it to. Before it
// is ready that may come too early for it to listen.
func (d *daemon) stoppedWell() bool {
	status, _ := d.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return d.cmd.ProcessState.Success() || !d.ready && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// lastWords is the end of the daemon's log.
func (d *daemon) lastWords() string {
	b, err := os.ReadFile(d.log.Name())
	text := strings.TrimSpace(string(b))
	if err != nil || text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	return "; its log ends: " + strings.Join(lines[max(0, len(lines)-3):], " | ")
}

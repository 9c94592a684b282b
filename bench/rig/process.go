package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gxswitch/internal/testnet"
)

// process is a daemon that an arm started inside the switch's namespace.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer // held open: some daemons end with it
	log   string    // file of its output
	ended chan struct{}
	err   error // of Wait, once ended is closed
}

// patience is how long a daemon may take to stop before it is killed. With a
// thousand ports to give back it takes seconds.
const patience = 60 * time.Second

// start runs a program inside ns with its output in dir. It is out of reach of
// the terminal's Ctrl-C: the session that started it stops it.
func start(ns *testnet.NS, dir, name string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, filepath.Base(name)+".log"), ended: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = ns.Command(context.Background(), name, args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// exited reports whether it has ended, and with what words.
func (p *process) exited() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended (%v): %s", filepath.Base(p.log), p.err, p.tail())
	default:
		return nil
	}
}

// tail is the end of its output, on one line.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 400
	b = bytes.TrimSpace(b)
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.ReplaceAll(string(b), "\n", "; ")
}

// stop asks it to end, and returns when it has. One that had ended before is
// an error: it did not live through the measure.
func (p *process) stop() error {
	if err := p.exited(); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-p.ended:
		return nil
	case <-t.C:
		err := p.cmd.Process.Kill()
		<-p.ended
		return errors.Join(fmt.Errorf("process %d did not stop within %s and was killed", p.pid(), patience), err)
	}
}

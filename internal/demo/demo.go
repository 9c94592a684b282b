// Package demo shows the switch at work on a machine where nothing is set up:
// for each mode it makes a host, guests and an outside in network namespaces,
// starts a real daemon there, and tries who reaches whom.
//
// It is no benchmark: sender, receiver and switch share the machine's cores.
// And it changes nothing of the machine outside its namespaces.
//
// One goroutine does it all, but for the daemon's end, which it waits for, and
// the sending half of a TCP transfer. A pair that behaves otherwise than the
// mode says is a row of the table and, when all is done, an error. Any other
// failure ends the demo. Whatever ends it, the daemon is stopped and the
// namespaces and files are removed, and a failure to do that is an error.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"gxswitch/internal/control"
)

// All is the mode that stands for every mode there is.
const All = "all"

// Run demonstrates a mode, or all of them, with this program as the daemon, and
// prints to out as it goes. It needs root.
func Run(ctx context.Context, mode string, out io.Writer) error {
	chosen, err := choose(mode)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return control.Errorf(control.CodeRefused, "the demo needs root: it makes network namespaces of its own").
			WithHint("sudo gxswitch demo; nothing outside those namespaces is touched")
	}
	// Not /proc/self/exe: who looks at it is ip(8), on its way to the daemon.
	binary, err := os.Executable()
	if err != nil {
		return err
	}
	return runner{binary: binary, out: &printer{w: out}, transfer: transferBytes}.run(ctx, chosen)
}

// choose is the models that the user asked for.
func choose(mode string) ([]model, error) {
	all := models()
	if mode == All {
		return all, nil
	}
	for _, m := range all {
		if string(m.mode) == mode {
			return []model{m}, nil
		}
	}
	return nil, control.Errorf(control.CodeUsage, "unknown mode %q", mode).
		WithHint("--mode all, bridged, host-only, isolated, routed or nat")
}

// runner is one run of the demo.
type runner struct {
	binary   string // gxswitch
	out      *printer
	transfer int // bytes from each guest to whom it may talk to
}

func (r runner) run(ctx context.Context, chosen []model) error {
	// Also a terminal that is closed, or a reader that has seen enough, must
	// leave nothing behind.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGHUP)
	defer stop()
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE) // from here on a write fails instead
	defer signal.Stop(pipe)

	start := time.Now()
	r.out.head()
	var faults []string
	pairs := 0
	for _, m := range chosen {
		f, err := r.show(ctx, m)
		if err != nil {
			return err
		}
		faults = append(faults, f...)
		pairs += len(m.pairs)
	}
	switch len(faults) {
	case 0:
		r.out.next(pairs, time.Since(start))
		return r.out.err
	case 1:
		return errors.New(faults[0])
	default:
		return fmt.Errorf("%s (and %d more of %d pairs did not behave)", faults[0], len(faults)-1, pairs)
	}
}

// show demonstrates one model. A fault is a pair that did not behave, in words.
func (r runner) show(ctx context.Context, m model) (faults []string, err error) {
	r.out.model(m)
	s, err := layOut(ctx, m)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, control.Errorf(control.CodeRefused, "%v", err).WithHint("the demo needs ip(8), of the package iproute2")
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = cleanedUp(err, s.close()) }()
	s.transfer = r.transfer
	d, err := startDaemon(ctx, r.binary, s.spaces[hostName], m.toml)
	if err != nil {
		return nil, err
	}
	defer func() { err = cleanedUp(err, d.stop()) }()
	faults, err = r.measure(d.alive, m, s, d)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case d.alive.Err() != nil: // then what failed, failed for that
		return nil, context.Cause(d.alive)
	}
	return faults, err
}

// measure tries the model's pairs, once the switch is ready.
func (r runner) measure(ctx context.Context, m model, s *site, d *daemon) (faults []string, err error) {
	if err := d.await(ctx, m.ports); err != nil {
		return nil, err
	}
	r.out.header()
	for _, p := range m.pairs {
		res, err := s.measure(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %s to %s: %w", m.mode, p.from, p.to, err)
		}
		if ctx.Err() != nil { // a transfer fails by it too
			return nil, ctx.Err()
		}
		if r.out.row(p, res); r.out.err != nil {
			return nil, r.out.err
		}
		if res.fault != "" {
			faults = append(faults, fmt.Sprintf("%s: %s to %s: %s", m.mode, p.from, p.to, res.fault))
		}
	}
	st, err := d.client.Stats(ctx, nil)
	if err != nil {
		return nil, err
	}
	r.out.counters(st, m.drops)
	return faults, r.out.err
}

// cleanedUp adds to err that cleaning up failed. That is then what it is about,
// also for one who asks whether it was an interruption.
func cleanedUp(err, cleanup error) error {
	switch {
	case cleanup == nil:
		return err
	case err == nil || errors.Is(cleanup, err):
		return cleanup
	}
	return fmt.Errorf("%w (after: %v)", cleanup, err)
}

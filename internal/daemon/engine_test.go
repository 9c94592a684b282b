package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gxswitch/internal/control"
	"gxswitch/internal/fastpath"
	"gxswitch/internal/testnet/nettest"
)

// An engine that can't be had is refused where it was asked for; auto takes the
// other, and knows why.
func TestEngineThatCannotBeHad(t *testing.T) {
	n := nettest.Test(t, "eng") // what is flushed is this namespace's
	ns := nettest.Namespace(t, n, "host")
	denied := func() (*fastpath.Engine, error) {
		return nil, fmt.Errorf("load the eBPF program: %w (no memory for its maps)", unix.ENOMEM)
	}
	try := func(engine string) (reason string, err error) {
		opt := Options{Engine: engine, RunDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
		var k *fastpath.Engine
		done := ns.Do(func() error {
			k, reason, err = tryEngine(opt, denied)
			return nil
		})
		if done != nil || k != nil {
			t.Errorf("%s: engine %v, %v", engine, k, done)
		}
		return reason, err
	}
	if reason, err := try(engineAuto); err != nil || !strings.Contains(reason, "no memory for its maps") {
		t.Errorf("auto: reason %q, %v", reason, err)
	}
	_, err := try(engineEBPF)
	var refused *control.Error
	if !errors.As(err, &refused) || refused.Code != control.CodeRefused || !strings.Contains(refused.Message, "no memory") || refused.Hint == "" {
		t.Errorf("ebpf: %v", err)
	}
}

package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gxswitch/internal/control"
	"gxswitch/internal/testnet"
)

// Gxswitch is the daemon with one engine, started anew each time.
type Gxswitch struct {
	Binary string // path of gxswitch
	Engine string
}

// Name implements Arm.
func (g Gxswitch) Name() string { return g.Engine }

// attachTimeout is for a thousand ports.
const attachTimeout = 2 * time.Minute

// Up implements Arm.
func (g Gxswitch) Up(ctx context.Context, r *Rig, setup Setup) (_ *Session, err error) {
	s := r.session(g, setup)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Down())
		}
	}()
	if _, err := os.Stat(g.Binary); err != nil {
		return nil, fmt.Errorf("the gxswitch binary: %w", err)
	}
	dir, err := runDir(g.Engine)
	if err != nil {
		return nil, err
	}
	s.undo(func() error { return os.RemoveAll(dir) })
	file := filepath.Join(dir, "gxswitch.toml")
	if err := os.WriteFile(file, []byte(g.config(r, setup)), 0o600); err != nil {
		return nil, err
	}
	p, err := start(r.Switch, dir, g.Binary, "daemon", "--config", file,
		"--run-dir", dir, "--state-dir", filepath.Join(dir, "state"), "--engine", g.Engine)
	if err != nil {
		return nil, err
	}
	s.PIDs = []int{p.pid()}
	client := control.NewClient(filepath.Join(dir, "control.sock"))
	s.undo(func() error { client.Close(); return nil })
	if err := g.await(ctx, p, client, len(r.ports(setup))+further(setup.Kind)); err != nil {
		if errors.Is(err, ErrNotInBuild) {
			return nil, ErrNotInBuild
		}
		if p.exited() == nil {
			err = errors.Join(err, p.stop())
		}
		return nil, err
	}
	s.undo(p.stop)
	if setup.Kind == NAT {
		if err := s.meet(r, benchNetwork); err != nil {
			return nil, err
		}
	}
	s.Limiter = func(ctx context.Context, e Endpoint, l Limit) error { return limitPort(ctx, r, client, e, l) }
	return s, nil
}

// await returns when every port is attached and up. A daemon that ends before
// its socket answers has refused; one that refused the engine says so.
func (g Gxswitch) await(ctx context.Context, p *process, client *control.Client, want int) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	return testnet.Wait(ctx, fmt.Sprintf("%d ports to be attached", want), func() (bool, error) {
		if err := p.exited(); err != nil {
			if strings.Contains(err.Error(), "engine") && strings.Contains(err.Error(), "not in this") {
				return false, ErrNotInBuild
			}
			return false, err
		}
		ports, err := client.Ports(ctx)
		if err != nil {
			if errors.Is(err, control.ErrNoDaemon) {
				return false, nil
			}
			return false, err
		}
		up := 0
		for _, row := range ports {
			if row.Problem != "" {
				return false, fmt.Errorf("port %s: %s", row.Name, row.Problem)
			}
			if row.State == "up" {
				up++
			}
		}
		return up == want, nil
	})
}

// benchNetwork is the network's name, and that of its interface if it has one.
const benchNetwork = "bench"

// config attaches the lanes' ports by a pattern and the crowd's one by one.
func (g Gxswitch) config(r *Rig, setup Setup) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[network.%s]\n", benchNetwork)
	if setup.FDBLimit > 0 {
		fmt.Fprintf(&b, "fdb_limit = %d\n", setup.FDBLimit)
	}
	configKind(&b, r, setup.Kind)
	for i := range setup.Crowd {
		configPort(&b, CrowdPort(i), "")
	}
	return b.String()
}

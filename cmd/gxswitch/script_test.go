package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"gxswitch/internal/control"
	"gxswitch/internal/control/controltest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"gxswitch": main})
}

// leakChecked fails the tests if they leave goroutines behind.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	status := l.m.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		println(err.Error())
		return 1
	}
	return status
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second to end
			env.Setenv("GXSWITCH_SOCKET", filepath.Join(env.WorkDir, "control.sock"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fake-daemon": fakeDaemon,
			"exits":       exits,
		},
	})
}

// fakeDaemon starts a daemon on the script's socket, in this process, so that
// it answers when the command is done: fake-daemon [empty|odd|shared].
func fakeDaemon(ts *testscript.TestScript, neg bool, args []string) {
	var sw control.Switch = controltest.New()
	switch {
	case neg || len(args) > 1:
		ts.Fatalf("usage: fake-daemon [empty|odd|shared]")
	case len(args) == 1 && args[0] == "empty":
		sw = &controltest.Switch{}
	case len(args) == 1 && args[0] == "odd":
		sw = odd{controltest.New()}
	case len(args) == 1 && args[0] == "shared":
		sw = shared{controltest.New()}
	}
	server, err := control.Listen(control.ServerOptions{Socket: ts.Getenv("GXSWITCH_SOCKET")})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, sw) }()
	ts.Defer(func() {
		cancel()
		if err := <-done; err != nil {
			ts.Logf("fake-daemon: %v", err)
		}
		server.Close()
	})
}

// odd is a switch with a label that a terminal must not get to see, and a port
// that can't be attached.
type odd struct{ *controltest.Switch }

func (o odd) Ports() []control.Port {
	all := o.Switch.Ports()
	all[2].Label = "a\x1b[2J\u202e\u009b\xff é\nb"
	all[2].State = "down"
	all[2].Problem = "in bridge br0"
	return all
}

func (odd) DelPort(name string) error {
	return control.Errorf(control.CodeRefused, "port %s: no\x1b[2J", name).WithHint("try\nthis")
}

func (odd) Reload() (control.Reloaded, error) { return control.Reloaded{}, errors.New("disk full") }

// shared is a switch with two networks of a trunk, besides the others.
type shared struct{ *controltest.Switch }

func (s shared) Networks() []control.Network {
	all := s.Switch.Networks()
	for _, vid := range []int{10, 20} {
		all = append(all, control.Network{Name: fmt.Sprint("br", vid), Mode: "bridged", Uplink: "eth1", UplinkVLAN: vid,
			RateUp: "1Gb/s", MTU: 1500, Ports: 1, FDBLimit: 8192, AgeingS: 300, Source: "config"})
	}
	return all
}

func (s shared) Ports() []control.Port {
	all := s.Switch.Ports()
	for _, vid := range []int{10, 20} {
		all = append(all, control.Port{Name: "eth1", Network: fmt.Sprint("br", vid), Role: "uplink", State: "up", IfIndex: 3, MTU: 1500,
			VLAN: "1p/2-4094", RateFrom: "80Mb/s", RateFromBy: "netback", AntiSpoof: "off", Engine: "afpacket", Source: "config"})
	}
	return all
}

func (s shared) Stats(ports []string) (control.Stats, error) {
	if len(ports) != 1 || ports[0] != "eth1" {
		return s.Switch.Stats(ports)
	}
	return control.Stats{Ports: []control.PortStats{{Port: "eth1", Network: "br10", RxPackets: 1}, {Port: "eth1", Network: "br20", RxPackets: 2}}}, nil
}

// exits runs a command that must end with a status: exits 2 gxswitch ….
// Its output is for stdout and stderr to check.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N command [args...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		got = string(rune('0' + exit.ExitCode()))
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s (%v)", got, args[0], err)
	}
}

package main

import "github.com/spf13/cobra"

// daemonOptions are the flags of gxswitch daemon.
type daemonOptions struct {
	config   string // file
	runDir   string // where control.sock is
	stateDir string // what a crash must not lose
	engine   string // auto, afpacket or ebpf
	flush    bool   // remove what a daemon left in the kernel, and end
	logLevel string // debug, info, warn or error
}

func newDaemonCommand() *cobra.Command {
	var o daemonOptions
	engine := newChoice("ENGINE", "auto", "auto", "afpacket", "ebpf")
	level := newChoice("LEVEL", "info", "debug", "info", "warn", "error")
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Be the switch",
		Long: `Runs the switch until SIGTERM or ^C. It logs "ready" once its control socket,
control.sock in the run directory, answers and every configured port whose
interface exists is attached. SIGHUP reads the configuration again.

The engine ebpf forwards in the kernel what the switch has decided. It goes on
when the daemon is killed, until the next one takes over or --flush ends it.
afpacket moves every frame itself. auto is ebpf where the kernel has it, else
afpacket; "gxswitch status" says why.`,
		Example: `  gxswitch daemon
  gxswitch daemon --config ./lab.toml --run-dir /tmp/lab --state-dir /tmp/lab
  gxswitch daemon --flush`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "config", "run-dir", "state-dir"); err != nil {
				return err
			}
			o.engine, o.logLevel = engine.text, level.text
			return runDaemon(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.config, "config", defaultConfig, "configuration `FILE`; conf.d is looked for beside it")
	flags.StringVar(&o.runDir, "run-dir", "/run/gxswitch", "`DIR` of the control socket")
	flags.StringVar(&o.stateDir, "state-dir", "/var/lib/gxswitch", "`DIR` of what must survive a crash")
	flags.Var(engine, "engine", "what moves the frames: auto, afpacket or ebpf")
	flags.BoolVar(&o.flush, "flush", false, "remove what a daemon that was killed left forwarding in the kernel, and end")
	flags.Var(level, "log-level", "debug, info, warn or error")
	complete(cmd, "engine", "auto", "afpacket", "ebpf")
	complete(cmd, "log-level", "debug", "info", "warn", "error")
	return cmd
}

func newDemoCommand(a *app) *cobra.Command {
	mode := newChoice("MODE", "all", "all", "bridged", "host-only", "isolated", "routed", "nat")
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the switch at work on this machine",
		Long: `Builds guests out of network namespaces, joins them to networks of each mode
and shows who reaches whom. Needs root; leaves nothing behind.`,
		Example: `  gxswitch demo
  gxswitch demo --mode isolated`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), mode.text, a.stdout)
		},
	}
	cmd.Flags().Var(mode, "mode", "all, bridged, host-only, isolated, routed or nat")
	complete(cmd, "mode", "all", "bridged", "host-only", "isolated", "routed", "nat")
	return cmd
}

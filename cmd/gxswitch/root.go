package main

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
	"gxswitch/internal/version"
)

const defaultSocket = "/run/gxswitch/control.sock"

// app is what the commands of one run share: where they print, and what the
// global flags say.
type app struct {
	stdout   io.Writer     // for what must come out at once
	out      *bufio.Writer // for all else; run flushes it
	stderr   io.Writer
	socket   string // --socket
	json     bool   // -j or -o json
	noHeader bool   // --no-header
	helpless error  // why there was no help to give
}

func newRootCommand(a *app) *cobra.Command {
	var versionWanted bool
	root := &cobra.Command{
		Use:   "gxswitch",
		Short: "A software Ethernet switch for Xen hosts",
		Long: `gxswitch joins guests' interfaces to networks and switches their frames.
"gxswitch daemon" is the switch; every other command asks it over its socket.`,
		Example: `  gxswitch demo
  gxswitch network add lab --mode host-only --address 192.168.60.1/24
  gxswitch port add vif1.0 --network lab
  gxswitch show`,
		Args:              noSuchCommand,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return notEmpty(cmd, "socket") },
		RunE: func(cmd *cobra.Command, _ []string) error {
			if versionWanted {
				_, err := fmt.Fprintln(a.out, "gxswitch", version.String())
				return err
			}
			return cmd.Help()
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetFlagErrorFunc(flagError)
	root.InitDefaultHelpFlag() // known before commands are looked for: --help port add
	// A flag of our own, because cobra's does not look at the arguments.
	root.Flags().BoolVarP(&versionWanted, "version", "v", false, "version for gxswitch")
	a.helpOnCommandsAlone(root)

	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", "", "`PATH` of the control socket (default $GXSWITCH_SOCKET, else "+defaultSocket+")")
	flags.VarP(&outputFlag{&a.json}, "output", "o", "how to print: table or json")
	flags.BoolVarP(&a.json, "json", "j", false, "short for -o json; errors are JSON too")
	complete(root, "output", "table", "json")

	root.AddCommand(
		newDaemonCommand(),
		newDemoCommand(a),
		newStatusCommand(a),
		newShowCommand(a),
		newNetworkCommand(a),
		newPortCommand(a),
		newFDBCommand(a),
		newLeaseCommand(a),
		newDNSCommand(a),
		newStatsCommand(a),
		newVLANCommand(a),
		newDoctorCommand(a),
		newHotplugCommand(a),
		newForwardCommand(a),
		newNATCommand(a),
		newConfigCommand(a),
		newReloadCommand(a),
		newVersionCommand(a),
		newCompletionCommand(a),
		newManualCommand(a),
	)
	root.SetHelpCommand(newHelpCommand())
	return root
}

// client is the daemon that the flags and the environment name.
func (a *app) client() *control.Client {
	socket := a.socket
	if socket == "" {
		socket = os.Getenv("GXSWITCH_SOCKET")
	}
	if socket == "" {
		socket = defaultSocket
	}
	return control.NewClient(socket)
}

// helpOnCommandsAlone has --help beside what is no command fail, as it does
// without: cobra would print the help of the command above.
func (a *app) helpOnCommandsAlone(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if cmd.HasSubCommands() {
			a.helpless = noSuchCommand(cmd, cmd.Flags().Args())
		}
		if a.helpless == nil {
			help(cmd, args)
		}
	})
}

// newGroup is a command that has nothing but subcommands.
func newGroup(use, short, long, example string, subcommands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: example,
		Args:    noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef(cmd, "%s wants a command: %s", cmd.CommandPath(), names(cmd))
		},
	}
	group.InitDefaultHelpFlag()
	group.AddCommand(subcommands...)
	return group
}

// tableFlags gives a command that prints a table --no-header.
func (a *app) tableFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.noHeader, "no-header", false, "leave the table's header out")
	return cmd
}

func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Say what a command does",
		Example: "  gxswitch help port add",
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var all []string
			for _, sub := range target.Commands() {
				if sub.IsAvailableCommand() {
					all = append(all, sub.Name())
				}
			}
			return all, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err == nil {
				err = noSuchCommand(target, rest)
			}
			if err != nil {
				return err
			}
			target.InitDefaultHelpFlag()
			return target.Help()
		},
	}
}

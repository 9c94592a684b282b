package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/doctor"
	"gxswitch/internal/version"
)

func newDoctorCommand(a *app) *cobra.Command {
	var file, root string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is in the switch's way",
		Long: `Looks at this machine for what may keep the switch from doing its job: the
configuration, the daemon, the kernel, the uplinks, what other programs do with
the same interfaces, and xl. STATUS is ok, warn or fail; below the table it says
how to mend what is not ok. Nothing is changed. The exit status is 1 if anything
is fail.

As root it tries the kernel, in a network namespace of its own.`,
		Example: `  gxswitch doctor
  gxswitch doctor -j | jq '.[] | select(.status != "ok")'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "config", "root"); err != nil {
				return err
			}
			m := &doctor.Machine{Root: os.DirFS(root), Host: doctor.ThisHost(), ConfigFile: file, Version: version.String()}
			m.Config, m.ConfigError = config.Load(file)
			client := a.client()
			defer client.Close()
			m.Daemon, m.DaemonError = client.Status(cmd.Context())
			return a.diagnose(doctor.Examine(m))
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "configuration `FILE`")
	cmd.Flags().StringVar(&root, "root", "/", "`DIR` to look for files in, for tests")
	_ = cmd.Flags().MarkHidden("root")
	return a.tableFlags(cmd)
}

// diagnose prints what was found, and fails if something is broken.
func (a *app) diagnose(all []doctor.Finding) error {
	err := a.print(all, func(b *strings.Builder) {
		var rows [][]string
		for _, f := range all {
			rows = append(rows, []string{f.Name, string(f.Status), f.What})
		}
		a.table(b, []string{"NAME", "STATUS", "WHAT"}, rows)
		for _, f := range all {
			if f.Mend != "" && f.Status != doctor.OK {
				fmt.Fprintf(b, "mend %s: %s\n", f.Name, printable(f.Mend))
			}
		}
	})
	if n := doctor.Failed(all); err == nil && n > 0 {
		return control.Errorf(control.CodeRefused, "%s", plural(n, "failure")).WithHint("the lines that begin with mend say what to do")
	}
	return err
}

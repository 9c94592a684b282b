package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gxswitch/internal/config"
)

const defaultConfig = "/etc/gxswitch/gxswitch.toml"

func newConfigCommand(a *app) *cobra.Command {
	return newGroup("config", "Check the configuration, or show the one in force", "",
		`  gxswitch config check ./gxswitch.toml
  gxswitch config show`,
		newConfigCheck(a), newConfigShow(a))
}

func newConfigCheck(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration without using it",
		Long: `Checks FILE, or ` + defaultConfig + `, and the conf.d beside it, and says
every problem with its file and line. No daemon is asked.`,
		Example: `  gxswitch config check
  gxswitch config check ./gxswitch.toml && gxswitch reload`,
		Args: atMost("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			file := defaultConfig
			if len(args) == 1 {
				file = args[0]
			}
			c, err := config.Load(file)
			if err != nil {
				return err
			}
			result := struct {
				File     string `json:"file"`
				OK       bool   `json:"ok"`
				Networks int    `json:"networks"`
				Rules    int    `json:"port_rules"`
			}{file, true, len(c.Networks), len(c.Ports)}
			return a.print(result, func(b *strings.Builder) {
				fmt.Fprintf(b, "%s: ok (%s, %s)\n", printable(file),
					plural(len(c.Networks), "network"), plural(len(c.Ports), "port rule"))
			})
		},
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func newConfigShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the configuration in force, as TOML",
		Example: `  gxswitch config show
  gxswitch config show -j | jq -r .file`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			c, err := client.Config(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(c, func(b *strings.Builder) { b.WriteString(c.TOML) })
		},
	}
}

func newReloadCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon read its configuration again",
		Long: `Makes the daemon apply what changed in its configuration, and says what that
was. What did not change is not touched and loses no frame; a configuration
that does not check changes nothing.`,
		Example: `  gxswitch reload
  gxswitch config check && gxswitch reload`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			r, err := client.Reload(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(r, func(b *strings.Builder) {
				for _, line := range r.Changes {
					fmt.Fprintln(b, printable(line))
				}
			})
		},
	}
}

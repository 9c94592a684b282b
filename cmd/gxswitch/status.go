package main

import (
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/version"
)

func newStatusCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say how the daemon is",
		Long:  `Says how the daemon is. Exit status 3 means that none answers.`,
		Example: `  gxswitch status
  gxswitch status -j | jq .uptime_s`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(s, func(b *strings.Builder) {
				all := []field{
					{"version", s.Version},
					{"engine", withReason(s.Engine, s.EngineReason)},
					{"uptime", time.Duration(s.UptimeS) * time.Second},
					{"pid", s.PID},
					{"networks", s.Networks},
					{"ports", s.Ports},
					{"workers", s.Workers},
					{"config", s.Config},
				}
				if s.EngineFull > 0 {
					all = append(all, field{"engine_full", s.EngineFull})
				}
				for _, p := range s.Problems {
					all = append(all, field{"problem", p})
				}
				fields(b, all)
			})
		},
	}
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say which gxswitch this is",
		Long:    `Says which gxswitch this is. "gxswitch status" says which one the daemon is.`,
		Example: "  gxswitch version",
		Args:    exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Go      string `json:"go"`
				Arch    string `json:"arch"`
			}{version.String(), runtime.Version(), runtime.GOARCH}
			return a.print(v, func(b *strings.Builder) { b.WriteString("gxswitch " + v.Version + "\n") })
		},
	}
}

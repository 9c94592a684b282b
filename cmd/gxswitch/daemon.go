package main

import (
	"context"
	"log/slog"
	"os"

	"gxswitch/internal/daemon"
)

// runDaemon is the switch, until ctx is done. Only the file at the usual place
// may be missing.
func runDaemon(ctx context.Context, o daemonOptions) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return err
	}
	opt := daemon.Options{
		ConfigFile:     o.config,
		ConfigRequired: o.config != defaultConfig,
		RunDir:         o.runDir,
		StateDir:       o.stateDir,
		Engine:         o.engine,
		Log:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	if o.flush {
		return daemon.Flush(opt)
	}
	return daemon.Run(ctx, opt)
}

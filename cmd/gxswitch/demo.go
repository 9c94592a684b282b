package main

import (
	"context"
	"io"

	"gxswitch/internal/demo"
)

// runDemo shows the modes at work and tells about it on out.
func runDemo(ctx context.Context, mode string, out io.Writer) error {
	return demo.Run(ctx, mode, out)
}

// Command gxswitch is a software Ethernet switch for Xen hosts and its command
// line. `gxswitch daemon` is the switch; every other command asks the daemon
// over its control socket and ends.
//
// Rules for what the commands print:
//
//   - Results go to standard output, everything else to standard error.
//   - An error is one line, "gxswitch: error: …", in lower case and without a
//     full stop, with the name of the object; "hint: …" says what to do.
//   - A change that succeeds prints nothing.
//   - Nothing that a guest, a file or a peer chose reaches a terminal unescaped.
//   - Tables are for people, -j is for programs; both say the same words.
package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is one run of the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, out: bufio.NewWriter(stdout), stderr: stderr}
	root := newRootCommand(a)
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.helpless
	}
	if flushed := a.out.Flush(); err == nil {
		err = flushed
	}
	// Who reads our output may have seen enough: `gxswitch fdb list | head -1`.
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return 0
	}
	a.report(err, a.json || asksForJSON(args))
	return exitStatus(err)
}

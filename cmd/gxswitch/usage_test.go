package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// wrongUses are command lines that can't be meant, each of cmd.
func wrongUses(cmd *cobra.Command) []string {
	all := []string{"--bogus", "-o xml", "--socket="}
	if cmd.Name() != "stats" { // it takes any number of ports
		all = append(all, "a b c d")
	}
	if cmd.HasSubCommands() {
		all = append(all, "bogus", "bogus --help", "--help bogus", "bogus --bogus")
	}
	return all
}

// Nothing of it may reach a daemon: there is none, which would be 3.
func TestWrongUsageOfEveryCommandExits2WithAHint(t *testing.T) {
	t.Setenv("GXSWITCH_SOCKET", t.TempDir()+"/none")
	walk(testRoot(), func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		for _, use := range wrongUses(cmd) {
			var stdout, stderr bytes.Buffer
			status := run(context.Background(), append(path[:len(path):len(path)], strings.Fields(use)...), &stdout, &stderr)
			said := stderr.String()
			if status != 2 || stdout.Len() > 0 || !strings.HasPrefix(said, "gxswitch: error: ") || !strings.Contains(said, "\nhint: ") ||
				strings.Count(said, "\n") != 2 {
				t.Errorf("%s %s: exit status %d, %s%s", cmd.CommandPath(), use, status, stdout.String(), said)
			}
		}
	})
}

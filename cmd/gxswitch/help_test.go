package main

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func testRoot() *cobra.Command {
	return newRootCommand(&app{stdout: io.Discard, out: bufio.NewWriter(io.Discard), stderr: io.Discard})
}

// walk calls f for cmd and every command below it.
func walk(cmd *cobra.Command, f func(*cobra.Command)) {
	f(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, f)
	}
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	walk(testRoot(), func(cmd *cobra.Command) {
		name := cmd.CommandPath()
		switch {
		case cmd.Short == "" || strings.HasSuffix(cmd.Short, "."):
			t.Errorf("%s: Short is %q", name, cmd.Short)
		case !strings.Contains(cmd.Example, "gxswitch"):
			t.Errorf("%s: no example", name)
		case !cmd.HasSubCommands() && !strings.Contains(cmd.Example, name):
			t.Errorf("%s: the examples are of other commands:\n%s", name, cmd.Example)
		}
		for _, line := range strings.Split(cmd.Long+"\n"+cmd.Example, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: line of help is %d wide: %s", name, len(line), line)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no usage", name, f.Name)
			}
		})
	})
}

func TestEveryExampleParses(t *testing.T) {
	walk(testRoot(), func(cmd *cobra.Command) {
		for _, line := range strings.Split(cmd.Example, "\n") {
			_, line, _ = strings.Cut(line, "gxswitch ")
			line, _, _ = strings.Cut(line, " | ")
			line, _, _ = strings.Cut(line, " > ")
			line, _, _ = strings.Cut(line, " && ")
			args := strings.Fields(strings.TrimSuffix(line, ")"))
			target, rest, err := testRoot().Find(args)
			if err == nil {
				err = target.ParseFlags(rest)
			}
			if err == nil {
				err = target.ValidateArgs(target.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
			}
		}
	})
}

func TestOnlyThisVersionsCommands(t *testing.T) {
	want := "completion config daemon demo dns doctor fdb forward help hotplug lease manual nat network port reload show stats status version vlan"
	var got []string
	root := testRoot()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		got = append(got, cmd.Name())
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

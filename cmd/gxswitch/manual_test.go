package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gxswitch/internal/config"
	"gxswitch/internal/frame"
)

func manualPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../man/gxswitch.8.in")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// commandsSection is what `make man` puts in the place of @COMMANDS@.
func commandsSection() string {
	var b strings.Builder
	manualOf(&b, testRoot())
	return b.String()
}

func TestEveryCommandAndFlagIsInTheManual(t *testing.T) {
	if n := strings.Count(manualPage(t), "\n@COMMANDS@\n"); n != 1 {
		t.Errorf("gxswitch.8.in has %d places for the commands", n)
	}
	section := commandsSection()
	walk(testRoot(), func(cmd *cobra.Command) {
		if cmd.HasSubCommands() || cmd.Hidden {
			return
		}
		_, entry, found := strings.Cut(section, "\n.SS "+roffCode(strings.TrimSuffix(cmd.UseLine(), " [flags]"))+"\n")
		if !found && !strings.HasPrefix(section, ".SS "+cmd.CommandPath()) {
			t.Errorf("no entry for %s", cmd.CommandPath())
			return
		}
		entry, _, _ = strings.Cut(entry, "\n.SS ")
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !f.Hidden && found && !strings.Contains(entry, roffCode("--"+f.Name)) {
				t.Errorf("%s: no --%s", cmd.CommandPath(), f.Name)
			}
		})
	})
}

func TestEveryDropReasonIsInTheManual(t *testing.T) {
	_, section, _ := strings.Cut(manualPage(t), "\n.SH DROP REASONS\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	for r := frame.Pass + 1; int(r) < frame.NumReasons; r++ {
		if !strings.Contains(section, ".TP\n.B "+r.String()+"\n") {
			t.Errorf("no entry for %s", r)
		}
	}
}

// A line of the page that begins with a dot or a quote is for troff.
func TestNoTextIsTakenForARequest(t *testing.T) {
	for in, want := range map[string]string{
		".x":      `\&.x` + "\n",
		"'x":      `\&'x` + "\n",
		"a.x":     "a.x\n",
		`a\b`:     `a\eb` + "\n",
		"a --b …": `a \-\-b \[u2026]` + "\n",
	} {
		if got := roffLine(roffText(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The package's configuration is one that checks, and so is each of its examples.
func TestThePackagesConfigurationChecks(t *testing.T) {
	text, err := os.ReadFile("../../packaging/gxswitch.toml")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "#"); found && rest != "" && !strings.HasPrefix(rest, " ") {
			line = rest
		}
		all = append(all, line)
	}
	for name, text := range map[string]string{"as it is": string(text), "with its examples": strings.Join(all, "")} {
		c, err := config.Parse("gxswitch.toml", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := strings.Contains(name, "examples"); (len(c.Networks) > 0) != want {
			t.Errorf("%s: %d networks", name, len(c.Networks))
		}
	}
}

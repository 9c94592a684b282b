package main

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"gxswitch/internal/config"
)

// Commands and configurations of the guides are those that there are: a reader
// types them.
const guides = "../../docs/migrating.md ../../docs/recipes.md"

// The guides are ahead of this version where it says "not yet", and by these
// commands. Once they exist they are checked like all others.
const planned = "hotplug"

func TestCommandsOfTheGuidesParse(t *testing.T) {
	// `gxswitch …` in a table or a sentence, or at the start of a line of a block.
	quoted := regexp.MustCompile("(?m)(?:`|^)gxswitch ([^`\n]+)")
	found := 0
	for _, file := range strings.Fields(guides) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			line, _, _ := strings.Cut(m[1], " && ")
			line, _, _ = strings.Cut(line, "#")
			found++
			if err := parses(strings.Fields(line)); err != nil {
				t.Errorf("%s: gxswitch %s: %v", file, line, err)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d commands found", found)
	}
}

// parses reads a command line as main would, up to running it. A name alone, as in
// "gxswitch network del", is a mention.
func parses(args []string) error {
	root := testRoot()
	if slices.Contains(strings.Fields(planned), args[0]) && !slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == args[0] }) {
		return nil
	}
	target, rest, err := root.Find(args)
	if err != nil || len(rest) == 0 && target.HasParent() {
		return err
	}
	if err := target.ParseFlags(rest); err != nil {
		return err
	}
	if err := target.ValidateArgs(target.Flags().Args()); err != nil {
		return err
	}
	return target.ValidateRequiredFlags()
}

func TestConfigurationsOfTheGuidesCheck(t *testing.T) {
	block := regexp.MustCompile("(?s)```toml\n(.*?)```")
	for _, file := range strings.Fields(guides) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := block.FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s: no configuration", file)
		}
		for _, m := range blocks {
			_, err := config.Parse("guide.toml", []byte(m[1]))
			var all config.Errors
			if !errors.As(err, &all) {
				continue
			}
			for _, e := range all {
				if strings.HasSuffix(e.Msg, "not supported by this version of gxswitch yet") {
					continue
				}
				t.Errorf("%s: %v (%s)\n%s", file, e, e.Hint, m[1])
			}
		}
	}
}

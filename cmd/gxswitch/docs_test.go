package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"gxswitch/internal/config"
)

// Commands and configurations of the guides are those that there are: a reader
// types them.
const guides = "../../docs/migrating.md ../../docs/recipes.md"

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
			if _, err := config.Parse("guide.toml", []byte(m[1])); err != nil {
				t.Errorf("%s: %v\n%s", file, err, m[1])
			}
		}
	}
}

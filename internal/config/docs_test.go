package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gxswitch/internal/frame"
)

const docs = "../../docs/"

// rowsOf are the words that the first cells of a file's tables name.
func rowsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for word := range strings.SplitSeq(cells[1], ",") {
			rows[strings.Trim(word, " `")] = true
		}
	}
	return rows
}

// Each reason is a row of what administrators read, and of what developers do.
func TestEveryDropReasonIsDocumented(t *testing.T) {
	for _, file := range []string{"../../README.md", docs + "architecture.md"} {
		rows := rowsOf(t, file)
		for r := frame.Pass + 1; int(r) < frame.NumReasons; r++ {
			if !rows[r.String()] {
				t.Errorf("%s: no row for %s", file, r)
			}
		}
	}
}

// Each key is a row of the manual.
func TestEveryKeyIsDocumented(t *testing.T) {
	rows := rowsOf(t, docs+"configuration.md")
	for table, names := range map[string][]string{
		"[daemon]": keysOfThisVersion(daemonKeys()), "[network.NAME]": keysOfThisVersion(networkKeys()), "[[port]]": keysOfThisVersion(portKeys()),
		"dhcp": keysOfThisVersion(dhcpKeys()), "dns": keysOfThisVersion(dnsKeys()),
		"[[network.NAME.host]]": keysOfThisVersion(hostKeys()), "[[network.NAME.forward]]": keysOfThisVersion(forwardKeys()),
	} {
		for _, name := range names {
			if !rows[name] {
				t.Errorf("configuration.md: no row for %s of %s", name, table)
			}
		}
	}
}

func keysOfThisVersion[T any](keys []key[T]) (names []string) {
	for _, k := range keys {
		if !k.later {
			names = append(names, k.name)
		}
	}
	return names
}

// What the manual shows as a configuration is one: a block that begins with a table
// is checked. Blocks that show a few keys alone, or ports of networks above, are
// parts of one.
func TestDocumentedConfigurationsAreValid(t *testing.T) {
	files, err := filepath.Glob(docs + "*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	checked := 0
	for _, file := range append(files, "../../README.md") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range tomlBlocks(string(b)) {
			if !strings.Contains(block, "[network.") {
				continue
			}
			checked++
			name := fmt.Sprintf("%s, TOML block %d", filepath.Base(file), i+1)
			if _, err := Parse(name, []byte(block)); err != nil {
				t.Errorf("%s:\n%s\n%v", name, block, err)
			}
		}
	}
	if checked < 10 {
		t.Errorf("%d blocks, where are they?", checked)
	}
}

func tomlBlocks(text string) (blocks []string) {
	for _, part := range strings.Split("\n"+text, "\n```toml\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		blocks = append(blocks, block)
	}
	return blocks
}

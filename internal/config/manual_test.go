package config

import (
	"os"
	"strings"
	"testing"
)

// Every key has its entry in gxswitch.toml(5), below its table.
func TestEveryKeyIsInTheManual(t *testing.T) {
	text, err := os.ReadFile("../../man/gxswitch.toml.5.in")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(text), "\n.SH ")[1:] {
		title, body, _ := strings.Cut(s, "\n")
		sections[strings.Trim(title, `"`)] = body
	}
	// A table within a network is an entry whose keys are set in below it.
	for _, table := range strings.Split(sections["[network.NAME]"], "\n.RS\n")[:4] {
		name := table[strings.LastIndex(table, "\n.B ")+len("\n.B "):]
		name, _, _ = strings.Cut(name, "\n")
		_, body, _ := strings.Cut(sections["[network.NAME]"], table+"\n.RS\n")
		sections[name], _, _ = strings.Cut(body, "\n.RE\n")
		sections[name] += "\n"
	}
	for _, table := range []struct {
		title string
		keys  []string
	}{
		{"[daemon]", keyNames(daemonKeys())},
		{"[network.NAME]", keyNames(networkKeys())},
		{"dhcp", keyNames(dhcpKeys())},
		{"dns", keyNames(dnsKeys())},
		{"host", keyNames(hostKeys())},
		{"forward", keyNames(forwardKeys())},
		{"[[port]]", keyNames(portKeys()[:len(portKeys())-len(portDefaultKeys())])},
		{"[defaults.port]", keyNames(portDefaultKeys())},
	} {
		if len(table.keys) == 0 {
			t.Errorf("%s: no keys to look for", table.title)
		}
		for _, key := range table.keys {
			if !strings.Contains(sections[table.title], "\n.TP\n.B "+key+"\n") && !strings.HasPrefix(sections[table.title], ".TP\n.B "+key+"\n") {
				t.Errorf("man/gxswitch.toml.5.in: no entry for %s in %s", key, table.title)
			}
		}
	}
}

func keyNames[T any](keys []key[T]) []string {
	var names []string
	for _, k := range keys {
		names = append(names, k.name)
	}
	return names
}

// The examples of both pages are configurations that check.
func TestExamplesOfTheManualCheck(t *testing.T) {
	found := 0
	for _, page := range []string{"gxswitch.toml.5.in", "gxswitch.8.in"} {
		text, err := os.ReadFile("../../man/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range strings.Split(string(text), "\n.EX\n")[1:] {
			example, _, _ = strings.Cut(example, "\n.EE\n")
			if !strings.HasPrefix(example, "[") {
				continue // commands
			}
			found++
			if _, err := Parse(page, []byte(strings.ReplaceAll(example, `\-`, "-"))); err != nil {
				t.Errorf("%v\n%s", err, example)
			}
		}
	}
	if found < 4 {
		t.Errorf("only %d examples found", found)
	}
}

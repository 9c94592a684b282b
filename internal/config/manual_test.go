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
	for _, table := range []struct {
		title string
		keys  []string
	}{
		{"[daemon]", keyNames(daemonKeys())},
		{"[network.NAME]", keyNames(networkKeys())},
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

package xen

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

// Every key of a domain's vif line, and every variable, has its entry in
// vif-gxswitch(8).
func TestEveryKeyIsInTheManual(t *testing.T) {
	page, err := os.ReadFile("../../man/vif-gxswitch.8.in")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(page), "\n.SH ")[1:] {
		title, text, _ := strings.Cut(s, "\n")
		sections[title] = text
	}

	id := ID{DomID: 3, DevID: 0}
	// What xl and netback tell each other, and not the administrator.
	inner := []string{"frontend", "frontend-id", "handle", rateKey}
	var keys []string
	_, err = readVif(id, func(p string) (string, error) {
		switch dir, key := path.Split(p); {
		case key == "mac":
			keys = append(keys, key)
			return "00:16:3e:00:00:05", nil
		case dir == id.BackendPath()+"/":
			keys = append(keys, key)
			return "", fs.ErrNotExist
		case key == "vm":
			return "/vm/5ca1ab1e-0000-4000-8000-000000000001", nil
		case key == "uuid":
			return "5ca1ab1e-0000-4000-8000-000000000001", nil
		}
		return "web1", nil
	})
	if err != nil || len(keys) < 10 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	for _, key := range keys {
		if !slices.Contains(inner, key) && !strings.Contains(sections["KEYS"], ".TP\n.B "+key+"\n") {
			t.Errorf("no entry for %s", key)
		}
	}

	for _, args := range [][]string{{"online", "type_if=vif"}, {"add", "type_if=tap"}} {
		getenv := func(name string) string {
			if !strings.Contains(sections["ENVIRONMENT"], name) {
				t.Errorf("no entry for %s", name)
			}
			return map[string]string{"vif": "vif3.0", "INTERFACE": "vif3.0-emu", "XENBUS_PATH": id.BackendPath()}[name]
		}
		if _, err := ParseCall(args, getenv); err != nil {
			t.Error(err)
		}
		SocketPath(getenv)
	}
}

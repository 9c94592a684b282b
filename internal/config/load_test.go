package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes files under a new directory: name, text, name, text …
func tree(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadReadsTheFileAndThenConfDInOrder(t *testing.T) {
	dir := tree(t,
		"gxswitch.toml", "[network.a]\nmode='isolated'\n[[port]]\nname='a*'\nnetwork='c'\n",
		"conf.d/20.toml", "[network.c]\nmode='isolated'\n[[port]]\nname='c*'\nnetwork='a'\n",
		"conf.d/10.toml", "[daemon]\ngroup='g'\n[[port]]\nname='b*'\nnetwork='c'\n",
		"conf.d/.30.toml", "an editor's",
		"conf.d/10.toml~", "a backup",
		"conf.d/README", "not TOML",
	)
	file := filepath.Join(dir, "gxswitch.toml")
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.File, c.Daemon.Group}
	for _, n := range c.Networks {
		got = append(got, n.Name+" "+n.Pos.String())
	}
	for _, p := range c.Ports {
		got = append(got, p.Name+" "+p.Pos.String())
	}
	want := []string{
		file, "g",
		"a " + file + ":1", "c " + dir + "/conf.d/20.toml:1",
		"a* " + file + ":3", "b* " + dir + "/conf.d/10.toml:3", "c* " + dir + "/conf.d/20.toml:3",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestLoadSaysWhatIsWrong(t *testing.T) {
	const lab = "[network.lab]\nmode='isolated'\n"
	for _, c := range []struct {
		files []string
		want  string // DIR stands for the directory
	}{
		{[]string{"f", lab, "conf.d/a.toml", "\n" + lab}, "DIR/conf.d/a.toml:2: network.lab: there is a network of that name already (DIR/f:1)"},
		{[]string{"f", "[daemon]\ngroup='a'", "conf.d/a.toml", "[daemon]\ngroup='a'"}, "DIR/conf.d/a.toml:2: daemon.group: the key is set already (DIR/f:2)"},
		{[]string{"f", lab + "[[port]]\nname='a'\nnetwork='lab'", "conf.d/a.toml", "[[port]]\nname='a'\nnetwork='lab'"}, "DIR/conf.d/a.toml:2: port.a.name: there is a port of that name already (DIR/f:3)\n  hint: two patterns may overlap, and the first one wins, but they may not be the same"},
		// A broken file hides networks: that there is no lab is not said.
		{[]string{"f", "[[port]]\nname='a'\nnetwork='lab'\nmtu=1", "conf.d/a.toml", lab + "x"}, "DIR/f:4: port.a.mtu: 1 is out of range: 68 to 65521\nDIR/conf.d/a.toml:3:1: expected '=' after key"},
		{[]string{"f", "", "conf.d", ""}, "read configuration: open DIR/conf.d: not a directory"},
		{[]string{"f", "", "conf.d/a.toml/b", ""}, "read configuration: read DIR/conf.d/a.toml: is a directory"},
		{[]string{"f", strings.Repeat("#", maxFile+1)}, "DIR/f: the file is larger than 1 MiB"},
	} {
		dir := tree(t, c.files...)
		_, err := Load(filepath.Join(dir, "f"))
		if err == nil {
			t.Errorf("%q is accepted", c.files)
			continue
		}
		if d := cmp.Diff(c.want, strings.ReplaceAll(err.Error(), dir, "DIR")); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
	}
}

func TestLoadWithoutTheFile(t *testing.T) {
	dir := tree(t, "conf.d/a.toml", "[network.lab]\nmode='isolated'\n")
	if _, err := Load(filepath.Join(dir, "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: want fs.ErrNotExist", err)
	}
	// A drop-in that is a link to nowhere is another matter.
	if err := os.Symlink("nowhere", filepath.Join(dir, "conf.d/b.toml")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(filepath.Join(dir, "f")); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: want an error that is not fs.ErrNotExist", err)
	}
}

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads file and the conf.d/*.toml beside it, in the order of their names.
// It fails with fs.ErrNotExist where there is no such file, and with Errors
// where the files are there but not right.
func Load(file string) (Config, error) {
	data, err := readFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	r := newReader(file)
	broken := !r.text(file, data)

	dropIns, err := dropIns(filepath.Join(filepath.Dir(file), "conf.d"))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	for _, name := range dropIns {
		data, err := readFile(name)
		if err != nil {
			// Not fs.ErrNotExist, even for a link that leads nowhere: that is
			// said of the FILE alone, and means a host without a configuration.
			return Config{}, fmt.Errorf("read configuration: %v", err)
		}
		broken = !r.text(name, data) || broken
	}
	return r.finish(broken, append([]string{file}, dropIns...))
}

// Parse reads one text. The name stands in the positions.
func Parse(name string, data []byte) (Config, error) {
	r := newReader(name)
	broken := !r.text(name, data)
	return r.finish(broken, []string{name})
}

// text reads one file's text. It is false where that is not TOML at all.
func (r *reader) text(name string, data []byte) bool {
	root, e := parseDocument(name, data)
	if e != nil {
		r.errs = append(r.errs, e)
		return false
	}
	r.document(root)
	return true
}

// finish is the outcome. With a broken file there may be less than was meant,
// and whether the rest fits together can't be said.
func (r *reader) finish(broken bool, files []string) (Config, error) {
	if !broken {
		r.cross()
	}
	if len(r.errs) == 0 {
		r.inherit()
		return r.cfg, nil
	}
	rank := map[string]int{}
	for i, f := range files {
		rank[f] = i
	}
	slices.SortStableFunc(r.errs, func(a, b *Error) int {
		if d := rank[a.Pos.File] - rank[b.Pos.File]; d != 0 {
			return d
		}
		return a.Pos.Line - b.Pos.Line
	})
	return Config{}, r.errs
}

// dropIns are the files of conf.d, none where there is no such directory. A
// name that begins with a dot is an editor's or a package manager's.
func dropIns(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []string
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".toml") && !strings.HasPrefix(name, ".") {
			files = append(files, filepath.Join(dir, name))
		}
	}
	return files, err
}

// readFile reads a byte more than a file may have, for parseDocument to see.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

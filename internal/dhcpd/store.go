package dhcpd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// load reads the leases' file; nil if there is none.
func load(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// setAside renames a damaged file, for an administrator to look at.
func setAside(path string) error { return os.Rename(path, path+".damaged") }

// save replaces the file in one step, readable by root alone.
func save(path string, text []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return err
	}
	// A file of another mode may have been there.
	if err := os.Chmod(next, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// syncFile writes to the disk what save has written to the file.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

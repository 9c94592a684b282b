package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"gxswitch/internal/testnet"
)

// OVS is Open vSwitch with its userspace datapath (netdev), which moves frames
// through AF_PACKET as gxswitch's portable engine does. It has a database and
// daemons of its own, so that one which runs on the machine is left alone.
type OVS struct{}

// Name implements Arm.
func (OVS) Name() string { return "ovs" }

// Up implements Arm.
func (o OVS) Up(ctx context.Context, r *Rig, setup Setup) (_ *Session, err error) {
	if setup.Kind != Switching {
		return nil, ErrLacks
	}
	if err := installed(exec.LookPath, "ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl"); err != nil {
		return nil, err
	}
	schema, err := ovsSchema()
	if err != nil {
		return nil, err
	}
	s := r.session(o, setup)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Down())
		}
	}()
	dir, err := runDir("ovs")
	if err != nil {
		return nil, err
	}
	s.undo(func() error { return os.RemoveAll(dir) })
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := command(ctx, r.Switch, "ovsdb-tool", "create", in("conf.db"), schema); err != nil {
		return nil, err
	}
	db := "unix:" + in("db.sock")
	if err := s.daemon(r.Switch, dir, "ovsdb-server", in("conf.db"), "--no-chdir", "--remote=p"+db, "--unixctl="+in("ovsdb.ctl")); err != nil {
		return nil, err
	}
	if err := appears(ctx, in("db.sock")); err != nil {
		return nil, err
	}
	vsctl := func(ctx context.Context, args ...string) error {
		return command(ctx, r.Switch, "ovs-vsctl", append([]string{"--timeout=60", "--db=" + db}, args...)...)
	}
	// Without it a frame with an unfinished checksum or GSO is lost, and TCP
	// stalls unless the guests switch their offloads off.
	if err := vsctl(ctx, "--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:userspace-tso-enable=true"); err != nil {
		return nil, err
	}
	if err := s.daemon(r.Switch, dir, "ovs-vswitchd", db, "--no-chdir", "--disable-system", "--unixctl="+in("vswitchd.ctl")); err != nil {
		return nil, err
	}
	// The bridge's tap outlives the daemon unless it is told.
	s.undo(func() error { return vsctl(context.Background(), "--if-exists", "del-br", "ovsbr") })
	add := []string{"add-br", "ovsbr", "--", "set", "bridge", "ovsbr", "datapath_type=netdev", "fail-mode=standalone"}
	if setup.FDBLimit > 0 {
		add = append(add, "other_config:mac-table-size="+strconv.Itoa(setup.FDBLimit))
	}
	for _, p := range r.ports(setup) {
		add = append(add, "--", "add-port", "ovsbr", p)
	}
	if err := vsctl(ctx, add...); err != nil { // returns when the daemon has done it
		return nil, err
	}
	return s, nil
}

// ovsSchema is where the package put the database's schema.
func ovsSchema() (string, error) {
	for _, dir := range []string{os.Getenv("OVS_PKGDATADIR"), "/usr/share/openvswitch", "/usr/local/share/openvswitch"} {
		file := filepath.Join(dir, "vswitch.ovsschema")
		if _, err := os.Stat(file); dir != "" && err == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("%w: vswitch.ovsschema", ErrNotInstalled)
}

// daemon starts a program that Down stops.
func (s *Session) daemon(ns *testnet.NS, dir, name string, args ...string) error {
	p, err := start(ns, dir, name, args...)
	if err != nil {
		return err
	}
	s.PIDs = append(s.PIDs, p.pid())
	s.undo(p.stop)
	return nil
}

// command runs a program inside to its end.
func command(ctx context.Context, ns *testnet.NS, name string, args ...string) error {
	out, err := ns.Command(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// appears waits for a file.
func appears(ctx context.Context, file string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return testnet.Wait(ctx, file+" to appear", func() (bool, error) {
		_, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	})
}

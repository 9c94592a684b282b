package daemon

import (
	"errors"
	"path/filepath"

	"gxswitch/internal/control"
	"gxswitch/internal/host"
)

// rescue is for a daemon that can't start, by its configuration for one. What a
// predecessor took over, which was killed or left it to this one, is given back: else
// the host is cut off until somebody mends that, who may have no other way in. While
// another daemon runs it does nothing.
func rescue(opt Options) {
	st, err := loadState(opt.StateDir)
	if err != nil || len(st.Takeovers) == 0 {
		return
	}
	server, err := control.Listen(control.ServerOptions{Socket: opt.socket(), Log: opt.Log})
	if err != nil {
		return
	}
	giveBackAll(opt, st)
	if err := server.Close(); err != nil {
		opt.Log.Error("close control socket", "err", err)
	}
}

// giveBackAll gives back what is taken over, without a switch, but not what a daemon
// has that shares the state directory and no more. The rest of the journal stays for
// the one that does start.
func giveBackAll(opt Options, st state) {
	for name, t := range st.Takeovers {
		mine, err := claim("network " + name)
		if err != nil {
			continue
		}
		opt.Log.Warn("the daemon does not start: the uplink that was taken over is given back", "network", name, "uplink", t.NIC.Name)
		// What forwards in the kernel would go on taking the host's frames from it.
		err = errors.Join(flushEngine(opt.RunDir, opt.Log), giveBackOne(opt, st, name, t), mine.Close())
		if err != nil {
			opt.Log.Error("give back what an earlier daemon took over", "network", name, "err", err)
		}
	}
}

func giveBackOne(opt Options, st state, name string, t *host.Takeover) error {
	note := func(host.Link) error { return st.save(opt.StateDir) }
	if err := returnTakeover(name, t, opt.Log, note, func() {}); err != nil {
		return err
	}
	delete(st.Takeovers, name)
	return errors.Join(st.save(opt.StateDir), host.DelLeg(name))
}

func (opt Options) socket() string {
	if opt.Socket != "" {
		return opt.Socket
	}
	return filepath.Join(opt.RunDir, "control.sock")
}

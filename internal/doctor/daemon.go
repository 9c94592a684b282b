package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
)

func checkConfig(m *Machine) []Finding {
	var wrong config.Errors
	switch {
	case errors.Is(m.ConfigError, fs.ErrNotExist):
		return warn(m.ConfigFile+" is not there: the daemon starts without networks", "write it, see gxswitch.toml(5), and gxswitch reload")
	case errors.As(m.ConfigError, &wrong):
		var all []Finding
		for _, e := range wrong {
			all = append(all, fail(e.Error(), e.Hint)...)
		}
		return all
	case m.ConfigError != nil:
		return fail(m.ConfigError.Error(), "")
	case len(m.Config.Networks) == 0:
		return warn(m.ConfigFile+" has no networks", "take the # from one of its examples, and gxswitch reload")
	}
	return ok(fmt.Sprintf("%s, networks: %d", m.ConfigFile, len(m.Config.Networks)))
}

func checkDaemon(m *Machine) []Finding {
	var refused *control.Error
	switch {
	case errors.Is(m.DaemonError, control.ErrNoDaemon):
		return warn(m.DaemonError.Error(), "systemctl start gxswitch, or gxswitch daemon")
	case errors.As(m.DaemonError, &refused):
		return fail(refused.Message, refused.Hint)
	case m.DaemonError != nil:
		return fail(m.DaemonError.Error(), "")
	case m.Daemon.Version != m.Version:
		return warn(fmt.Sprintf("the daemon is version %s, this program %s", m.Daemon.Version, m.Version),
			"systemctl restart gxswitch; networks and ports stay")
	}
	all := ok(fmt.Sprintf("version %s, process %d, engine %s", m.Daemon.Version, m.Daemon.PID, m.Daemon.Engine))
	if why := m.Daemon.EngineReason; why != "" {
		all = append(all, warn("the engine is afpacket: "+why, "docs/engines.md says what ebpf needs")...)
	}
	if n := m.Daemon.EngineFull; n > 0 {
		all = append(all, warn(fmt.Sprintf("%d times an address found no room in the kernel, and the daemon moves its frames", n),
			"gxswitch fdb list: who has so many? mac_limit bounds a port's")...)
	}
	for _, p := range m.Daemon.Problems {
		all = append(all, warn(p, "")...)
	}
	return all
}

// checkGroup looks where systemd-sysusers and groupadd write. A group may be in
// a directory service instead, so it only warns.
func checkGroup(m *Machine) []Finding {
	group := m.Config.Daemon.Group
	if group == "" {
		group = config.DefaultGroup
	}
	for line := range strings.Lines(m.read("etc/group")) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if fields[0] != group || len(fields) < 4 {
			continue
		}
		if fields[3] == "" {
			return ok(group + " is there, without members: root alone uses the control socket")
		}
		return ok(group + ": " + fields[3])
	}
	return warn("no group "+group+" in /etc/group: root alone uses the control socket", "groupadd --system "+group+", and restart the daemon")
}

package doctor

import (
	"io/fs"
	"path"
	"strings"
)

const (
	script    = "vif-gxswitch"
	scriptDir = "etc/xen/scripts"
	xlConf    = "etc/xen/xl.conf"
	scriptKey = "vif.default.script"
)

// checkToolstack looks at what xl does with a guest's vif that names no script.
func checkToolstack(m *Machine) []Finding {
	if !m.exists(xlConf) && !m.exists("run/xenstored/socket") {
		return ok("not a Xen host: ports join by name, or by gxswitch port add")
	}
	info, err := fs.Stat(m.Root, path.Join(scriptDir, script))
	switch {
	case err != nil:
		return fail("/"+path.Join(scriptDir, script)+" is not there: xl can't hand guests to the switch", "install the package anew, or make install")
	case info.Mode()&0o111 == 0:
		return fail("/"+path.Join(scriptDir, script)+" is not executable", "chmod 755 /"+path.Join(scriptDir, script))
	}
	set := m.defaultScript()
	if path.Base(set) == script {
		return ok(scriptKey + " is " + set)
	}
	if set == "" {
		set = "vif-bridge, as nobody says otherwise"
	}
	return warn(scriptKey+" is "+set+": a vif without script= goes there", scriptKey+`="`+script+`" in /`+xlConf+", or script="+script+" in each vif line")
}

// defaultScript is what xl.conf(5) says, "" if it does not.
func (m *Machine) defaultScript() string {
	set := ""
	for line := range strings.Lines(m.read(xlConf)) {
		key, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(key) == scriptKey {
			value, _, _ = strings.Cut(value, "#")
			set = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return set
}

package doctor

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

const (
	script    = "vif-gxswitch"
	scriptDir = "etc/xen/scripts"
	xlConf    = "etc/xen/xl.conf"
	scriptKey = "vif.default.script"
	bridgeKey = "vif.default.bridge"
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
	set := m.xlSetting(scriptKey)
	if path.Base(set) == script {
		return append(ok(scriptKey+" is "+set), m.defaultBridge()...)
	}
	if set == "" {
		set = "vif-bridge, as nobody says otherwise"
	}
	return warn(scriptKey+" is "+set+": a vif without script= goes there", scriptKey+`="`+script+`" in /`+xlConf+", or script="+script+" in each vif line")
}

// defaultBridge looks for the network of a vif line that names none. A [[port]] of
// the domain's may name one all the same, hence nothing fails.
func (m *Machine) defaultBridge() []Finding {
	name := cmp.Or(m.xlSetting(bridgeKey), "xenbr0")
	switch {
	case m.network(name) != nil:
		return ok("a vif without bridge= goes to network " + name)
	case len(m.Config.Networks) == 0:
		return nil // which checkConfig says
	}
	return warn("a vif without bridge= asks for network "+name+", which is not there",
		fmt.Sprintf("%s=%q in /%s, or bridge= in each vif line, or a [[port]] that names a network", bridgeKey, m.Config.Networks[0].Name, xlConf))
}

// xlSetting is what xl.conf(5) says, "" if it does not.
func (m *Machine) xlSetting(name string) string {
	set := ""
	for line := range strings.Lines(m.read(xlConf)) {
		key, value, _ := strings.Cut(line, "=")
		if strings.TrimSpace(key) == name {
			value, _, _ = strings.Cut(value, "#")
			set = strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return set
}

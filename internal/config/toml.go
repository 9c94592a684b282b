package config

import "strings"

// TOML is the configuration in force, defaults and all, as one text that Parse
// reads again into the same. Keys that are left out are not set.
func (c Config) TOML() string {
	var b strings.Builder
	writeTable(&b, "[daemon]", daemonKeys(), &c.Daemon, new(Daemon))
	if !c.PortDefaults.Equal(Port{}) || c.PortDefaults.AntispoofTold {
		writeTable(&b, "[defaults.port]", portDefaultKeys(), &c.PortDefaults, new(Port))
	}
	for _, n := range c.Networks {
		name := n.Name
		if !isBareKey(name) {
			name = tomlString(name)
		}
		writeTable(&b, "[network."+name+"]", networkKeys(), &n, new(Network))
	}
	for _, p := range c.Ports {
		writeTable(&b, "[[port]]", portKeys(), &p, &c.PortDefaults)
	}
	return b.String()
}

// writeTable writes a header and the keys that have a value, in columns. A key
// that is left out is read as from has it.
func writeTable[T any](b *strings.Builder, header string, keys []key[T], t, from *T) {
	type line struct{ name, value string }
	var lines []line
	width := 0
	for _, k := range keys {
		if v := k.show(t, from); v != "" {
			lines = append(lines, line{k.name, v})
			width = max(width, len(k.name))
		}
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	b.WriteString(header + "\n")
	for _, l := range lines {
		b.WriteString(l.name + strings.Repeat(" ", width-len(l.name)) + " = " + l.value + "\n")
	}
}

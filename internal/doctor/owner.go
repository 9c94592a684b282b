package doctor

import (
	"fmt"
	"strings"

	"gxswitch/internal/host"
)

// checkOwners asks who else configures the interfaces. On the NIC of a bridged
// network somebody should: the host keeps its address there, unless the network
// takes it over, which checkTakeover is about. A guest's interface
// or a host interface is the switch's alone, and a manager that gives it an
// address, or sets it down, takes the guest's network away.
func checkOwners(m *Machine) []Finding {
	var found []Finding
	for _, manager := range []struct {
		name string
		owns func(*Machine, host.Link) bool
		mend func(pattern string) string
	}{
		{"NetworkManager", ownedByNetworkManager, func(pattern string) string {
			return fmt.Sprintf("[keyfile] unmanaged-devices=interface-name:%s in /etc/NetworkManager/conf.d/gxswitch.conf, then nmcli general reload", pattern)
		}},
		{"systemd-networkd", ownedByNetworkd, func(pattern string) string {
			return fmt.Sprintf("[Match] Name=%s and [Link] Unmanaged=yes in /etc/systemd/network/10-gxswitch.network, then networkctl reload", pattern)
		}},
	} {
		for _, l := range m.present(func(l host.Link) bool { return manager.owns(m, l) }) {
			n := m.network(l.Name)
			switch {
			case m.takesOver(l) != "":
			case m.isUplink(l):
				found = append(found, ok(fmt.Sprintf("%s has %s, for the host's own address", manager.name, l.Name))...)
			case n != nil && n.HasHostLeg(), m.isGuest(l), isInner(l.Name):
				found = append(found, warn(fmt.Sprintf("%s manages %s, which is the switch's", manager.name, l.Name), manager.mend(pattern(l.Name)))...)
			}
		}
	}
	if found == nil {
		return ok("neither NetworkManager nor systemd-networkd has interfaces of the switch")
	}
	return found
}

// takesOver is the network that has the NIC's addresses, or is to have them; "" if
// none.
func (m *Machine) takesOver(nic host.Link) string {
	for _, n := range m.Config.Networks {
		if n.Takeover && n.Uplink == nic.Name {
			return n.Name
		}
	}
	return ""
}

// checkTakeover says beforehand what the daemon would, of a NIC whose addresses go
// to the host interface.
func checkTakeover(m *Machine) []Finding {
	var found []Finding
	for _, l := range m.present(func(l host.Link) bool { return m.takesOver(l) != "" }) {
		warnings, err := m.Host.Takeover(m.takesOver(l), l)
		if err != nil {
			what, mend, _ := strings.Cut(err.Error(), "; ")
			found = append(found, fail(what, mend)...)
		}
		for _, w := range warnings {
			what, mend, _ := strings.Cut(w, "; ")
			found = append(found, warn(what, mend)...)
		}
		if err == nil && len(warnings) == 0 {
			found = append(found, ok(fmt.Sprintf("nobody else is at the addresses of %s", l.Name))...)
		}
	}
	if found == nil {
		return ok("no network takes over a NIC's addresses")
	}
	return found
}

// ownedByNetworkManager reads what NetworkManager keeps of each device
// (NM_CONFIG_DEVICE_STATE_DIR).
func ownedByNetworkManager(m *Machine, l host.Link) bool {
	return hasLine(m.read(fmt.Sprintf("run/NetworkManager/devices/%d", l.Index)), "managed=true")
}

// ownedByNetworkd reads what sd-network(3) does.
func ownedByNetworkd(m *Machine, l host.Link) bool {
	text := m.read(fmt.Sprintf("run/systemd/netif/links/%d", l.Index))
	for line := range strings.Lines(text) {
		if state, found := strings.CutPrefix(strings.TrimSpace(line), "ADMIN_STATE="); found {
			return state != "unmanaged"
		}
	}
	return false
}

func hasLine(text, want string) bool {
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == want {
			return true
		}
	}
	return false
}

// pattern is what matches the interface and its like.
func pattern(name string) string {
	switch {
	case isVif(name):
		return "vif*"
	case isInner(name):
		return "gxh-*"
	}
	return name
}

// isInner reports whether it is the inner end of a host interface.
func isInner(name string) bool { return strings.HasPrefix(name, "gxh-") }

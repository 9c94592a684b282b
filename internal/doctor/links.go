package doctor

import (
	"fmt"
	"slices"
	"strings"

	"gxswitch/internal/config"
	"gxswitch/internal/host"
)

// links are the interfaces by index; none where they can't be listed, which
// checkUplinks says.
func (m *Machine) links() map[int]host.Link {
	all, _ := m.Host.Links()
	byIndex := make(map[int]host.Link, len(all))
	for _, l := range all {
		byIndex[l.Index] = l
	}
	return byIndex
}

// uplinks are the names of the networks' NICs, each once.
func (m *Machine) uplinks() []string {
	var names []string
	for _, n := range m.Config.Networks {
		if n.Uplink != "" && !slices.Contains(names, n.Uplink) {
			names = append(names, n.Uplink)
		}
	}
	return names
}

// present are the interfaces that keep says yes to, in order.
func (m *Machine) present(keep func(host.Link) bool) []host.Link {
	all, _ := m.Host.Links()
	return slices.DeleteFunc(all, func(l host.Link) bool { return !keep(l) })
}

func (m *Machine) isUplink(l host.Link) bool { return slices.Contains(m.uplinks(), l.Name) }

// isGuest reports whether a [[port]] is for the interface, or its name is one
// that Xen gives.
func (m *Machine) isGuest(l host.Link) bool {
	if l.Loopback || m.isUplink(l) || m.network(l.Name) != nil {
		return false
	}
	_, matched := m.Config.MatchPort(l.Name)
	return matched || isVif(l.Name)
}

// isVif reports whether netback or the device model would give such a name:
// vif3.0, vif3.0-emu.
func isVif(name string) bool {
	rest, vif := strings.CutPrefix(strings.TrimSuffix(name, "-emu"), "vif")
	domain, device, dot := strings.Cut(rest, ".")
	return vif && dot && isNumber(domain) && isNumber(device)
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// network is the configured network of that name, or nil.
func (m *Machine) network(name string) *config.Network {
	for i := range m.Config.Networks {
		if m.Config.Networks[i].Name == name {
			return &m.Config.Networks[i]
		}
	}
	return nil
}

func checkUplinks(m *Machine) []Finding {
	all, err := m.Host.Links()
	if err != nil {
		return fail(err.Error(), "")
	}
	var found []Finding
	for _, name := range m.uplinks() {
		i := slices.IndexFunc(all, func(l host.Link) bool { return l.Name == name })
		switch {
		case i < 0:
			found = append(found, warn(name+" is not there; its networks wait for it", "ip link shows the names of interfaces")...)
		case all[i].Loopback:
			found = append(found, fail(name+" is the loopback interface", "name a NIC as uplink")...)
		case !all[i].Running:
			found = append(found, warn(name+" has no carrier", "the daemon sets it up; else look at the cable")...)
		default:
			found = append(found, ok(fmt.Sprintf("%s, mtu %d", name, all[i].MTU))...)
		}
	}
	if found == nil {
		return ok("no network has one")
	}
	return found
}

// checkBridges looks for what earlier ways of networking left: a NIC or a
// guest's interface that a bridge has, and a bridge that bears a network's name.
func checkBridges(m *Machine) []Finding {
	var found []Finding
	links := m.links()
	for _, l := range m.present(func(l host.Link) bool { return l.Master != 0 && (m.isUplink(l) || m.isGuest(l)) }) {
		master := links[l.Master]
		what := fmt.Sprintf("%s is enslaved to %s %s, and can't be a port", l.Name, orWord(master.Kind, "interface"), orWord(master.Name, "of another namespace"))
		if m.isGuest(l) {
			found = append(found, warn(what, fmt.Sprintf("script=vif-gxswitch in the guest's vif line; now: ip link set %s nomaster", l.Name))...)
			continue
		}
		found = append(found, fail(what, fmt.Sprintf("take %s out of %s where it is configured, and its address back to %s; now: ip link set %s nomaster", l.Name, master.Name, l.Name, l.Name))...)
	}
	for _, l := range m.present(func(l host.Link) bool { return l.Kind == "bridge" && m.network(l.Name) != nil }) {
		mend := fmt.Sprintf("remove it where it is configured; now: ip link del %s", l.Name)
		if m.network(l.Name).HasHostLeg() {
			found = append(found, fail(fmt.Sprintf("the bridge %s has the name of a network, whose host interface needs it", l.Name), mend)...)
			continue
		}
		found = append(found, warn(fmt.Sprintf("the bridge %s has the name of a network: vif-bridge would put guests there", l.Name), mend)...)
	}
	if found == nil {
		return ok("none has an uplink, a guest, or a network's name")
	}
	return found
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return s
}

func checkOffloads(m *Machine) []Finding {
	var found []Finding
	for _, l := range m.present(m.isUplink) {
		o, err := m.Host.Offloads(l.Name)
		var off []string
		for _, f := range []struct {
			on   bool
			word string
		}{{o.Checksum, "tx"}, {o.ScatterGather, "sg"}, {o.TSO, "tso"}} {
			if !f.on {
				off = append(off, f.word)
			}
		}
		switch {
		case err != nil:
			found = append(found, warn(err.Error(), "")...)
		case o.LRO:
			found = append(found, warn(l.Name+" merges what it receives (lro), and what it merged can't be sent on", "ethtool -K "+l.Name+" lro off")...)
		case len(off) > 0:
			found = append(found, warn(fmt.Sprintf("%s does not do %s: the CPU cuts and sums what guests send", l.Name, strings.Join(off, ", ")),
				"ethtool -K "+l.Name+" "+strings.Join(off, " on ")+" on, if it can")...)
		default:
			found = append(found, ok(l.Name+": checksums and segmentation on, lro off")...)
		}
	}
	if found == nil {
		return ok("no uplink to look at")
	}
	return found
}

package doctor

import (
	"fmt"

	"gxswitch/internal/config"
)

// checkBridgeNetfilter is there because of what is told of it: with it the host's
// iptables rules see bridged frames. Those of this switch are on no bridge.
func checkBridgeNetfilter(m *Machine) []Finding {
	if m.read("proc/sys/net/bridge/bridge-nf-call-iptables") == "1" {
		return ok("is on, and harmless: frames of the switch are on no bridge")
	}
	return ok("is off")
}

// checkReversePath is there because of what is told of it, too: it drops what comes
// in by another interface than the way back leads out by. Guests' packets to the
// outside don't pass the host's stack, and those to the host come by the interface
// that its route to them names.
func checkReversePath(m *Machine) []Finding {
	for _, conf := range []string{"all", "default"} {
		if m.read("proc/sys/net/ipv4/conf/"+conf+"/rp_filter") == "1" {
			return ok("is strict, and harmless: the host's way to a guest is the way that the guest's packets come")
		}
	}
	return ok("is not strict")
}

// checkARPIgnore is about routed networks without an address of their own. Their
// host interface bears the host's address on the uplink, as a /32, and with some
// values the host would not answer ARP for that (ip-sysctl.rst, arp_ignore).
func checkARPIgnore(m *Machine) []Finding {
	const file = "proc/sys/net/ipv4/conf/all/arp_ignore"
	value := m.read(file)
	answers := value == "" || value == "0" || value == "1" || value == "3"
	for _, n := range m.Config.Networks {
		if n.Mode == config.Routed && !n.Address.IsValid() && !answers {
			return fail(fmt.Sprintf("/%s is %s: the host answers no guest of network %s", file, value, n.Name),
				"sysctl -w net.ipv4.conf.all.arp_ignore=1, and where it is set at boot")
		}
	}
	return ok("is in nobody's way")
}

package doctor

import (
	"fmt"
	"strings"

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

// checkReversePath is about routed networks without an address of their own:
// their guests have addresses of the uplink's subnet, and what they send to the
// host comes in by another interface than that subnet's route.
func checkReversePath(m *Machine) []Finding {
	var found []Finding
	for _, n := range m.Config.Networks {
		if n.Mode != config.Routed || n.Address.IsValid() {
			continue
		}
		// The stricter of the two counts (Documentation/networking/ip-sysctl).
		for _, conf := range []string{"all", n.Name} {
			file := "proc/sys/net/ipv4/conf/" + conf + "/rp_filter"
			if m.read(file) != "1" {
				continue
			}
			mend := fmt.Sprintf("sysctl -w %s=2", strings.ReplaceAll(strings.TrimPrefix(file, "proc/sys/"), ".", "/"))
			found = append(found, warn(fmt.Sprintf("/%s is 1: the host may drop what guests of %s send to it", file, n.Name), mend)...)
		}
	}
	if found == nil {
		return ok("is in nobody's way")
	}
	return found
}

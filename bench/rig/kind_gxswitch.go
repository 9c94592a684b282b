package rig

import (
	"fmt"
	"strings"
)

// further is how many ports the daemon has that are no guest's: of a gateway, the
// uplink and the host's interface.
func further(k Kind) int {
	if k == NAT {
		return 2
	}
	return 0
}

// configKind ends the network's table and gives it its ports.
func configKind(b *strings.Builder, r *Rig, k Kind) {
	if k == NAT {
		fmt.Fprintf(b, "mode = \"nat\"\nuplink = %q\naddress = \"%s/%d\"\n", natUplink, r.nat.gateway, prefixLen)
		configPort(b, natPort, "")
		return
	}
	fmt.Fprint(b, "mode = \"isolated\"\n")
	switch k {
	case VLANs:
		access, trunk := fmt.Sprintf("vlan = \"%d\"\n", VID), fmt.Sprintf("vlan = \"1p/%d\"\n", VID)
		configPort(b, vlanAccess, access)
		configPort(b, vlanOther, access)
		configPort(b, vlanTrunk, trunk)
	case Policed:
		for i, l := range r.Lanes {
			for j, e := range []Endpoint{l.From, l.To} {
				configPort(b, r.Ports[2*i+j], fmt.Sprintf(policy, e.MAC, e.Addr))
			}
		}
	default:
		configPort(b, "p*", "")
		if k == Taps {
			configPort(b, "k*", "")
		}
	}
}

// policy is all that a port is held to, of one guest.
const policy = `mac = "%s"
ip = ["%s"]
antispoof = "mac+ip"
ra_guard = true
dhcp_guard = true
bpdu_guard = true
storm = "2000pps"
mac_limit = 16
`

func configPort(b *strings.Builder, name, keys string) {
	fmt.Fprintf(b, "\n[[port]]\nname = %q\nnetwork = %q\n%s", name, benchNetwork, keys)
}

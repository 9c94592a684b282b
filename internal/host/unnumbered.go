package host

import (
	"fmt"
	"os"
	"strings"
)

const ipv4Conf = "/proc/sys/net/ipv4/conf/"

// SetUnnumbered makes ready a leg whose guests are in the network of another
// interface, such as 192.168.1.21 behind a host that is 192.168.1.20/24 on eth0.
// The caller gives the leg the host's address as a /32 (EnsureLeg), and each
// guest a route (AddHostRoute). The address is on both interfaces then. Without
// it on the leg, the kernel takes for its source any address that the machine
// has, and a host with arp_ignore=1 answers no guest.
//
// Of the leg's sysctls only arp_ignore can stand in the way. rp_filter does not,
// be it strict: the way back to the guest is the route. Nor do arp_announce and
// arp_filter. Forwarding is not touched.
//
// The kernel uses the larger of the leg's arp_ignore and that for all
// interfaces (ip-sysctl.rst). An error says so where that keeps it from answering
// guests all the same.
func SetUnnumbered(link Link) error {
	if err := setConf(ipv4Conf, link.Index, "arp_ignore", "0"); err != nil {
		return fmt.Errorf("prepare %s for guests of another interface's network: %w", link.Name, err)
	}
	text, err := os.ReadFile(ipv4Conf + "all/arp_ignore")
	if err != nil {
		return fmt.Errorf("read arp_ignore: %w", err)
	}
	// 2 wants the guest in a network of the leg's own, 8 silences all; 3 minds
	// addresses of host scope, which ours is not.
	switch all := strings.TrimSpace(string(text)); all {
	case "0", "1", "3":
		return nil
	default:
		return fmt.Errorf("net.ipv4.conf.all.arp_ignore is %s, so the host answers no guest on %s; make it 0 or 1 (sysctl -w net.ipv4.conf.all.arp_ignore=1)", all, link.Name)
	}
}

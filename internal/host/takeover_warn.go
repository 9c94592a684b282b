package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// runtimeDir is where other managers of interfaces say what they manage.
const runtimeDir = "/run"

// TakeoverWarnings says who else may change the card's addresses, or rely on its
// name, and what to do about it. Nothing of it keeps a takeover from working now.
func TakeoverWarnings(network string, nic Link) []string {
	warnings := managers(runtimeDir, nic)
	if c := dhcpClient(nic.Name); c != "" {
		warnings = append(warnings, fmt.Sprintf("DHCP client %s runs on %s and will not see the server's answers there; run it on %s", c, nic.Name, network))
	} else if a := leased(nic); a != "" {
		warnings = append(warnings, fmt.Sprintf("address %s has a lifetime; the DHCP client that renews it must run on %s, not on %s", a, network, nic.Name))
	}
	return append(warnings, rules(network, nic)...)
}

// managers reads what NetworkManager and systemd-networkd keep of each interface.
func managers(run string, nic Link) []string {
	var found []string
	index := strconv.Itoa(nic.Index)
	switch valueOf(filepath.Join(run, "NetworkManager/devices", index), "managed") {
	case "", "false", "0", "no", "unmanaged", "unknown":
	default:
		found = append(found, fmt.Sprintf("NetworkManager manages %s and may give it addresses again; "+
			"tell it to leave the interface alone: unmanaged-devices=interface-name:%s under [keyfile] in /etc/NetworkManager/conf.d/gxswitch.conf", nic.Name, nic.Name))
	}
	switch valueOf(filepath.Join(run, "systemd/netif/links", index), "ADMIN_STATE") {
	case "configuring", "configured", "failed":
		found = append(found, fmt.Sprintf("systemd-networkd manages %s and may give it addresses again; "+
			"tell it to leave the interface alone: Unmanaged=yes under [Link] in its .network file", nic.Name))
	}
	return found
}

// valueOf is the value of the first line KEY=VALUE.
func valueOf(file, key string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// dhcpClient is the name of a DHCP client of this network namespace that was
// started for the interface, or "".
func dhcpClient(nic string) string {
	clients := []string{"dhclient", "udhcpc", "dhcpcd"}
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	all, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range all {
		name := readWord(file)
		process := filepath.Dir(file)
		if !slices.Contains(clients, name) {
			continue
		}
		if ns, err := os.Readlink(process + "/ns/net"); err != nil || ns != own {
			continue
		}
		args, _ := os.ReadFile(process + "/cmdline")
		for arg := range bytes.SplitSeq(args, []byte{0}) {
			if string(arg) == nic || string(arg) == "-i"+nic {
				return name
			}
		}
	}
	return ""
}

// leased is an IPv4 address of the card that ends unless somebody renews it, or "".
func leased(nic Link) string {
	h := Holdings{Name: nic.Name, Index: nic.Index}
	if h.readAddrs() != nil {
		return ""
	}
	for _, a := range h.Addrs {
		if a[0] == unix.AF_INET && addrFlags(a)&unix.IFA_F_PERMANENT == 0 {
			return addrText(a)
		}
	}
	return ""
}

// rules looks for policy routing rules that name the card, which go on naming it.
func rules(network string, nic Link) []string {
	all, err := dump(func() ([]netlink.Rule, error) { return netlink.RuleList(netlink.FAMILY_ALL) })
	if err != nil {
		return nil
	}
	var found []string
	for _, r := range all {
		if r.IifName == nic.Name || r.OifName == nic.Name {
			found = append(found, fmt.Sprintf("policy routing rule %d names %s, and packets come and go by %s now; add one that names %s", r.Priority, nic.Name, network, network))
		}
	}
	return found
}

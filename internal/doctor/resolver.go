package doctor

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gxswitch/internal/config"
)

// checkResolver looks for somebody else at port 53 of a network's gateway, where
// its dns answers. A listener on every address is the usual case: dnsmasq or
// BIND as they come.
func checkResolver(m *Machine) []Finding {
	taken := m.listeners(53)
	var found []Finding
	for _, n := range m.Config.Networks {
		gateway := n.Address.Addr()
		if !n.DNS.On || !gateway.IsValid() {
			continue
		}
		for _, addr := range taken {
			// One on the gateway's own address is the daemon's, while that runs.
			own := addr == gateway && m.DaemonError == nil
			if own || addr != gateway && !covers(addr, gateway) {
				continue
			}
			found = append(found, warn(fmt.Sprintf("port 53 is taken on %s: dns of network %s can't answer on %s", addr, n.Name, gateway),
				"let the other server listen on addresses of its own (dnsmasq: bind-dynamic and except-interface="+n.Name+"; BIND: listen-on), or do without dns here")...)
			break
		}
	}
	if found == nil {
		return ok("nobody else has port 53 where a network has dns")
	}
	return found
}

// checkDHCP looks for somebody else at the DHCP server's port. Sockets that are
// bound to one interface each may share it, but that is not to be seen here; so it
// looks only while none of them is the daemon's.
func checkDHCP(m *Machine) []Finding {
	serves := slices.ContainsFunc(m.Config.Networks, func(n config.Network) bool { return n.DHCP.On })
	taken := m.listeners(67)
	switch {
	case !serves:
		return ok("no network has a DHCP server")
	case m.DaemonError == nil:
		return ok("gxswitch network show says whether it is served")
	case len(taken) > 0:
		return warn(fmt.Sprintf("port 67 is taken on %s: a network's DHCP server may not get it", taken[0]),
			"let the other DHCP server bind to interfaces of its own (dnsmasq: bind-dynamic and except-interface=), or stop it")
	}
	return ok("nobody else has port 67")
}

// covers reports whether a socket on addr gets what is sent to the other
// address. One on :: gets IPv4 as well (ipv6(7), IPV6_V6ONLY).
func covers(addr, other netip.Addr) bool {
	return addr.IsUnspecified() && (addr.Is6() || other.Is4())
}

// listeners are the addresses on which somebody has the UDP port, or listens on
// the TCP port.
func (m *Machine) listeners(port uint16) []netip.Addr {
	var addrs []netip.Addr
	for _, table := range []struct{ file, state string }{
		// TCP_CLOSE is an unconnected UDP socket, TCP_LISTEN a listener.
		{"proc/net/udp", "07"}, {"proc/net/udp6", "07"}, {"proc/net/tcp", "0A"}, {"proc/net/tcp6", "0A"},
	} {
		for line := range strings.Lines(m.read(table.file)) {
			fields := strings.Fields(line)
			if len(fields) < 4 || fields[3] != table.state {
				continue
			}
			addr, hexPort, _ := strings.Cut(fields[1], ":")
			if a, ok := procAddr(addr); ok && hexPort == fmt.Sprintf("%04X", port) {
				addrs = append(addrs, a)
			}
		}
	}
	return addrs
}

// procAddr reads an address of /proc/net: 32-bit words, each printed as a number
// of the machine, which on amd64 and arm64 means bytes backwards.
func procAddr(s string) (netip.Addr, bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, false
	}
	for w := 0; w < len(b); w += 4 {
		b[w], b[w+1], b[w+2], b[w+3] = b[w+3], b[w+2], b[w+1], b[w]
	}
	addr, valid := netip.AddrFromSlice(b)
	return addr, valid
}

package demo

import (
	"fmt"
	"net/netip"

	"gxswitch/internal/config"
)

// Who there is, as the table calls them. The host's namespace is the switch's.
const (
	hostName    = "host"
	outsideName = "outside"
	guests      = 3
)

func guestName(i int) string { return fmt.Sprintf("guest%d", i) }

// model is a mode and what it promises.
type model struct {
	mode  config.Mode
	says  string // what the model is, in one sentence
	toml  string
	ports []string // what must be up, as the switch calls them
	drops string   // what its drops mean
	pairs []pair
}

// pair is one who calls and one who answers, or must not be reached.
type pair struct {
	from, to string
	addr     netip.Addr // of to
	mayTalk  bool
}

// The addresses. All of LAN is one network of the switch; host-only guests
// would reach the outside through a host that forwards.
var (
	hostAddr   = netip.MustParseAddr("10.77.0.254")
	lanOutside = netip.MustParseAddr("10.77.0.100") // where the outside is on the same LAN
	farOutside = netip.MustParseAddr("10.99.0.2")
	farHost    = netip.MustParseAddr("10.99.0.1") // the host, as the far outside knows it
)

func guestAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(i)}) }

// lan is every network's prefix length.
const lan = 24

func models() []model {
	return []model{bridged(), hostOnly(), isolated(), routed(), nat()}
}

func bridged() model {
	m := model{
		mode: config.Bridged,
		says: "the guests are on the LAN of the host's NIC; the host keeps its address there and is not in their network.",
		toml: `[network.lan]
mode   = "bridged"
uplink = "eth0"

[[port]]
name    = "guest*"
network = "lan"
`,
		ports: []string{"eth0"},
	}
	m.addGuests()
	for i := range guests {
		m.pairs = append(m.pairs, pair{guestName(i + 1), outsideName, lanOutside, true})
	}
	m.pairs = append(m.pairs, pair{hostName, outsideName, lanOutside, true})
	for i := range guests {
		m.pairs = append(m.pairs, pair{guestName(i + 1), hostName, hostAddr, false})
	}
	return m
}

func hostOnly() model {
	m := model{
		mode: config.HostOnly,
		says: "the guests reach each other and the host, and nothing beyond it, though this host has ip_forward=1.",
		toml: fmt.Sprintf(`[network.lab]
mode    = "host-only"
address = "%s/%d"

[[port]]
name    = "guest*"
network = "lab"
`, hostAddr, lan),
		ports: []string{"lab"},
		drops: "no_route: packets that would have left the network, or entered it, by way of the host.",
	}
	m.addGuests()
	for i := range guests {
		m.pairs = append(m.pairs, pair{guestName(i + 1), hostName, hostAddr, true})
	}
	m.pairs = append(m.pairs, pair{hostName, outsideName, farOutside, true})
	for i := range guests {
		m.pairs = append(m.pairs, pair{guestName(i + 1), outsideName, farOutside, false})
	}
	for i := range guests {
		m.pairs = append(m.pairs, pair{outsideName, guestName(i + 1), guestAddr(i + 1), false})
	}
	return m
}

func isolated() model {
	m := model{
		mode: config.Isolated,
		says: "the guests reach each other; the host, though it has an address and routes for them, gets nothing.",
		toml: `[network.vault]
mode = "isolated"

[[port]]
name    = "guest*"
network = "vault"
`,
	}
	m.addGuests()
	for i := range guests {
		m.pairs = append(m.pairs, pair{guestName(i + 1), hostName, hostAddr, false})
	}
	return m
}

func routed() model {
	m := model{
		mode:  config.Routed,
		says:  "the guests' network is behind the host, and the LAN reaches it, addresses kept.",
		toml:  gatewayTOML(config.Routed, "dmz"),
		ports: []string{"eth0", "dmz"},
	}
	m.addGateway()
	for i := range guests {
		m.pairs = append(m.pairs, pair{outsideName, guestName(i + 1), guestAddr(i + 1), true})
	}
	return m
}

func nat() model {
	m := model{
		mode:  config.NAT,
		says:  "the guests reach out with the address of the host's NIC, and nobody outside reaches them, though it knows the way.",
		toml:  gatewayTOML(config.NAT, "nat0"),
		ports: []string{"eth0", "nat0"},
		drops: "no_route: packets from outside to a guest's own address.",
	}
	m.addGateway()
	for i := range guests {
		m.pairs = append(m.pairs, pair{outsideName, guestName(i + 1), guestAddr(i + 1), false})
	}
	return m
}

func gatewayTOML(mode config.Mode, name string) string {
	return fmt.Sprintf(`[network.%s]
mode    = "%s"
uplink  = "eth0"
address = "%s/%d"

[[port]]
name    = "guest*"
network = "%[1]s"
`, name, mode, hostAddr, lan)
}

// addGateway adds what a network with a gateway promises: guests reach each other,
// the host and the outside.
func (m *model) addGateway() {
	m.addGuests()
	for i := range guests {
		m.pairs = append(m.pairs, pair{guestName(i + 1), hostName, hostAddr, true})
	}
	for i := range guests {
		m.pairs = append(m.pairs, pair{guestName(i + 1), outsideName, farOutside, true})
	}
	m.pairs = append(m.pairs, pair{hostName, outsideName, farOutside, true})
}

// addGuests adds what all modes promise: every two guests talk.
func (m *model) addGuests() {
	for i := 1; i <= guests; i++ {
		m.ports = append(m.ports, guestName(i))
		for j := i + 1; j <= guests; j++ {
			m.pairs = append(m.pairs, pair{guestName(i), guestName(j), guestAddr(j), true})
		}
	}
}

package dataplane

import (
	"net/netip"
	"testing"

	"gxswitch/internal/frame"
	"gxswitch/internal/gateway"
)

// A NIC may be a bridged network's uplink and several gateways'. Each gets its own.
func TestGatewaysShareANIC(t *testing.T) {
	l := newGatewayLab(t, true)
	l.network(NetworkConfig{Name: "gw2", HostOnly: true, Gateway: true})
	l.attach(PortConfig{Name: "db", Network: "gw2", MTU: 1500, Up: true})
	l.attach(PortConfig{Name: "leg2", Network: "gw2", Role: Host, MTU: 1500, Up: true, Local: mac(t, leg2MAC)})
	l.share(PortConfig{Name: "nic of gw2", Network: "gw2", Role: Uplink, MTU: 1500, Up: true, Local: mac(t, nicMAC)}, "nic")
	l.share(PortConfig{Name: "nic of n", Network: "n", Role: Uplink, MTU: 1500, Up: true, Local: mac(t, nicMAC)}, "nic")
	l.attach(PortConfig{Name: "bridged", Network: "n", MTU: 1500, Up: true})
	c := l.config
	c.NAT, c.Guests, c.ProxyARP = nil, []netip.Prefix{netip.MustParsePrefix("10.30.0.0/24")}, true
	c.Link[gateway.Inside] = gateway.Link{MAC: mac(t, leg2MAC), MTU: 1500, Addr: netip.MustParseAddr("10.30.0.1")}
	c.Neighbours[gateway.Inside] = gateway.NewNeighbours(map[netip.Addr]frame.MAC{netip.MustParseAddr("10.30.0.5"): mac(t, web2MAC)})
	l.setGateway("gw2", c)

	l.expectPacket("to the second network", "nic", udpFrame(t, routerMAC, nicMAC, farIP, "10.30.0.5", 5000, 6000, 60), "db",
		"02:00:00:00:00:f2 > 02:00:00:00:00:12 198.51.100.7 > 10.30.0.5 ttl 59")
	l.expectPacket("to the host", "nic", udpFrame(t, routerMAC, nicMAC, farIP, hostIP, 5000, 80, 60), "", "nothing")
	if st := l.stats("nic of n"); st.Consumed != 1 {
		t.Errorf("nic of n: %d consumed, want the host's one", st.Consumed)
	}
	l.send("nic", all+routerMAC+payload)
	l.expect("a broadcast", all+routerMAC+payload, "bridged")
	l.send("bridged", all+lanMAC+payload)
	l.expect("a bridged guest's", all+lanMAC+payload, "nic")
	l.checkSums()
}

// Where the host is a station of the bridged network on the NIC (takeover), that
// network's guests reach a gateway's, and the other way round.
func TestGatewayBehindTakenOverNIC(t *testing.T) {
	l := newGatewayLab(t, false)
	l.share(PortConfig{Name: "nic of n", Network: "n", Role: Uplink, MTU: 1500, Up: true}, "nic")
	l.attach(PortConfig{Name: "n's leg", Network: "n", Role: Host, MTU: 1500, Up: true, Local: mac(t, nicMAC)})
	l.attach(PortConfig{Name: "bridged", Network: "n", MTU: 1500, Up: true})
	l.inject("bridged", nil, unhex(t, all+lanMAC+payload), 1)
	l.settle()
	l.forget()

	l.expectPacket("from a bridged guest", "bridged", udpFrame(t, lanMAC, nicMAC, lanIP, web1IP, 5000, 6000, 64), "web1",
		"02:00:00:00:00:f1 > 02:00:00:00:00:11 192.0.2.77 > 10.20.0.10 ttl 63")
	l.expectPacket("to a bridged guest", "web1", udpFrame(t, web1MAC, legMAC, web1IP, lanIP, 5000, 6000, 64), "bridged",
		"02:00:00:00:00:e0 > 02:00:00:00:00:ab 10.20.0.10 > 192.0.2.77 ttl 63")
	l.expectPacket("a bridged guest asks", "bridged", arpFrame(t, lanMAC, lanIP, web1IP), "bridged",
		"02:00:00:00:00:e0 > 02:00:00:00:00:ab arp 10.20.0.10 is at 02:00:00:00:00:e0")
	l.expectPacket("to the host", "nic", udpFrame(t, routerMAC, nicMAC, farIP, hostIP, 5000, 80, 60), "n's leg",
		"02:00:00:00:00:aa > 02:00:00:00:00:e0 198.51.100.7 > 192.0.2.20 ttl 60")
	l.checkSums()
}

// Package daemon brings reality to what the configuration and the command line
// want: it watches the host's links, makes and removes networks, attaches and
// detaches ports, and puts back what it changed when they go.
//
//	daemon.go    start, serve, stop
//	manager.go   what is wanted, and what there is
//	network.go   networks come, change and go
//	services.go  DHCP and DNS for guests, on the host's legs
//	pins.go      the addresses that ports are told, for both
//	port.go      interfaces become ports and cease to be
//	takeover.go  the uplink's addresses move to the host leg and back
//	reload.go    from one configuration to the next
//	api.go       the control API's methods
//	state.go     what must outlive a crash
//	hotplug*.go  NICs of Xen domains: what the hotplug script says
//	claim.go     what another daemon must leave alone
//
// Everything about networks and ports happens under one lock, in the order of
// events; no frame ever waits for it. The journal (state.go) is written before
// an interface is touched, so that the next daemon can restore it whatever
// happens to this one.
package daemon

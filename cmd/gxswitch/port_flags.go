package main

import (
	"net/netip"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gxswitch/internal/control"
	"gxswitch/internal/filter"
	"gxswitch/internal/frame"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// portGrammar is in the help of the commands that take portFlags.
const portGrammar = `
VLANS are terms of xl's vlan= with "/" between them: 10p (untagged frames are
VLAN 10), 20 (tagged), 20u (untagged outwards), 30-39, 100+10x4 (100, 110, …
140). A number alone is an access port's. RATE is xl's rate=: 100Mb/s or 1GB/s,
b for bits and B for bytes, with @20ms for the interval (50ms if not given).`

// portFlags are the flags that add and set share.
type portFlags struct {
	network   string
	vlan      *value[vlan.Set]
	rateFrom  *value[shaping.Limit]
	rateTo    *value[shaping.Limit]
	mac       *value[frame.MAC]
	ip        *value[[]netip.Addr]
	antispoof *value[filter.Antispoof]
	isolated  *value[bool]
	storm     *value[filter.StormRate]
	macLimit  *value[int]
	raGuard   *value[control.Guard]
	dhcpGuard *value[control.Guard]
	bpduGuard *value[control.Guard]
	label     *value[string]
	mtu       *value[int]
}

// portFlag is one of them, as the command line has it.
type portFlag struct {
	name  string
	value pflag.Value
	usage string
	words []string // for completion
}

// all are the flags but --network, which is a name.
func (f *portFlags) all() []portFlag {
	return []portFlag{
		{"vlan", f.vlan, "the VLANs it carries (default 1p/2-4094)", nil},
		{"rate-from", f.rateFrom, "limit from the guest to the network, or none", nil},
		{"rate-to", f.rateTo, "limit from the network to the guest, or none", nil},
		{"mac", f.mac, "the guest's address", nil},
		{"ip", f.ip, "the guest's IP addresses, with commas", nil},
		{"antispoof", f.antispoof, "hold the guest to its addresses: off, mac or mac+ip", []string{"off", "mac", "mac+ip"}},
		{"isolated", f.isolated, "it reaches no other isolated port; or --isolated=false", []string{"true", "false"}},
		{"storm", f.storm, "limit to broadcast, to multicast and to unknown unicast, as in 2000pps, or none", nil},
		{"mac-limit", f.macLimit, "how many addresses may be behind it; 0 for no limit", nil},
		{"ra-guard", f.raGuard, "no router advertisements from it: on, off or auto (on with antispoof)", guardWords()},
		{"dhcp-guard", f.dhcpGuard, "no DHCP server behind it: on, off or auto (on with antispoof)", guardWords()},
		{"bpdu-guard", f.bpduGuard, "no spanning tree from it: on, off or auto (on with antispoof)", guardWords()},
		{"label", f.label, "what people call it", nil},
		{"mtu", f.mtu, "largest packet (default: left as it is)", nil},
	}
}

func (f *portFlags) names() []string {
	var names []string
	for _, flag := range f.all() {
		names = append(names, flag.name)
	}
	return names
}

func (a *app) addPortFlags(cmd *cobra.Command) *portFlags {
	f := &portFlags{
		vlan: newVLANs(), rateFrom: newRate(), rateTo: newRate(),
		mac: newGuestMAC(), ip: newIPs(), antispoof: newAntispoof(), isolated: newSwitch(),
		storm: newStorm(), macLimit: newMACLimit(),
		raGuard: newGuard(), dhcpGuard: newGuard(), bpduGuard: newGuard(),
		label: newLabel(), mtu: newMTU(),
	}
	cmd.Flags().StringVar(&f.network, "network", "", "the `NETWORK` it is a member of")
	completeBy(cmd, "network", a.networkNames())
	for _, flag := range f.all() {
		cmd.Flags().Var(flag.value, flag.name, flag.usage)
		complete(cmd, flag.name, flag.words...)
	}
	cmd.Flags().Lookup("isolated").NoOptDefVal = "true"
	return f
}

func (f *portFlags) spec(name string) control.PortSpec {
	return control.PortSpec{
		Name: name, Network: f.network, VLAN: f.vlan.given,
		RateFrom: f.rateFrom.given, RateTo: f.rateTo.given,
		MAC: f.mac.given, IP: f.ip.given, Antispoof: f.antispoof.given, Isolated: f.isolated.given,
		Storm: f.storm.given, MACLimit: f.macLimit.given,
		RAGuard: f.raGuard.given, DHCPGuard: f.dhcpGuard.given, BPDUGuard: f.bpduGuard.given,
		Label: f.label.given, MTU: f.mtu.given,
	}
}

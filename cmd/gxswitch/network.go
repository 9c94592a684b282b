package main

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

func newNetworkCommand(a *app) *cobra.Command {
	return newGroup("network", "List, make and change networks",
		`A network is one broadcast domain with one mode: bridged (joined to the LAN of
its uplink), host-only (guests and the host), isolated (guests alone), routed
(the host is the gateway of guests whose addresses the LAN knows) or nat (guests
share the uplink's address).`,
		`  gxswitch network list
  gxswitch network add lab --mode host-only --address 192.168.60.1/24`,
		newNetworkList(a), newNetworkShow(a), newNetworkAdd(a), newNetworkSet(a), newNetworkDel(a))
}

func newNetworkList(a *app) *cobra.Command {
	return a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the networks",
		Example: `  gxswitch network list
  gxswitch network list -j | jq -r '.[].network'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := a.client()
			defer client.Close()
			networks, err := client.Networks(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			for _, n := range networks {
				rows = append(rows, []string{n.Name, n.Mode, n.Uplink, n.Address, strconv.Itoa(n.MTU),
					strconv.Itoa(n.Ports), strconv.Itoa(n.FDBEntries), n.Problem})
			}
			header := []string{"NETWORK", "MODE", "UPLINK", "ADDRESS", "MTU", "PORTS", "FDB", "PROBLEM"}
			return a.printTable(networks, header, rows)
		},
	})
}

func newNetworkShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NETWORK",
		Short: "Show everything about one network",
		Example: `  gxswitch network show xenbr0
  gxswitch network show xenbr0 -j`,
		Args:              exactly("NETWORK"),
		ValidArgsFunction: once(a.networkNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			n, err := client.Network(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(n, func(b *strings.Builder) {
				all := []field{
					{"network", n.Name},
					{"mode", n.Mode},
					{"uplink", n.Uplink},
					{"uplink_vlan", numberOrNone(n.UplinkVLAN)},
					{"vlan", n.VLAN},
					{"rate_up", rateText(n.RateUp, nil)},
					{"rate_down", rateText(n.RateDown, nil)},
					{"address", n.Address},
					{"mtu", n.MTU},
					{"takeover", n.Takeover},
					{"ports", n.Ports},
					{"fdb_entries", n.FDBEntries},
					{"fdb_limit", n.FDBLimit},
					{"ageing", strconv.FormatFloat(n.AgeingS, 'f', -1, 64) + "s"},
					{"source", n.Source},
					{"dhcp", dhcpText(n.DHCP)},
					{"dns", dnsText(n.DNS)},
				}
				switch config.Mode(n.Mode) {
				case config.Routed:
					all = append(all, field{"proxy_arp", n.ProxyARP})
				case config.NAT:
					all = append(all, field{"nat_address", n.NATAddress})
				}
				if n.Problem != "" {
					all = append(all, field{"problem", n.Problem})
				}
				fields(b, all)
			})
		},
	}
}

// networkFlags are the flags that add and set share.
type networkFlags struct {
	mode       *value[string]
	uplink     string
	uplinkVLAN *value[int]
	takeover   *value[bool]
	vlan       *value[vlan.Set]
	address    *value[string]
	mtu        *value[int]
	ageing     *value[control.Duration]
	fdbLimit   *value[int]
	proxyARP   bool
	natAddress *value[string]
	rateUp     *value[shaping.Limit]
	rateDown   *value[shaping.Limit]
	services   *serviceFlags
}

func addNetworkFlags(cmd *cobra.Command) *networkFlags {
	f := &networkFlags{mode: newMode(), uplinkVLAN: newUplinkVLAN(), takeover: newSwitch(), vlan: newVLANs(), address: newAddress(), mtu: newMTU(),
		ageing: newAgeing(), fdbLimit: newFDBLimit(), natAddress: newNATAddress(), rateUp: newRate(), rateDown: newRate()}
	flags := cmd.Flags()
	flags.Var(f.mode, "mode", "bridged, host-only, isolated, routed or nat")
	flags.StringVar(&f.uplink, "uplink", "", "the NIC (`IF`) of a bridged, routed or nat network")
	flags.Var(f.uplinkVLAN, "uplink-vlan", "the one VLAN of the NIC that the network is, without its tag; 0 for none")
	flags.Var(f.takeover, "takeover", "the host interface takes the NIC's MAC, addresses and routes; or --takeover=false")
	flags.Lookup("takeover").NoOptDefVal = "true"
	flags.Var(f.vlan, "vlan", "the VLANs the uplink carries, as in 10p/20-29 (default 1p/2-4094)")
	flags.Var(f.address, "address", "the host's own address in the network, as in 192.168.60.1/24; guests of routed and nat networks have it for their gateway")
	flags.BoolVar(&f.proxyARP, "proxy-arp", true, "answer ARP for the guests of a routed network on its uplink")
	flags.Var(f.natAddress, "nat-address", "what guests of a nat network have outside, or none (default: the uplink's address)")
	flags.Var(f.mtu, "mtu", "largest packet (default: the uplink's, else 1500)")
	flags.Var(f.ageing, "ageing", "how long an address is remembered (default 300s)")
	flags.Var(f.fdbLimit, "fdb-limit", "how many addresses are remembered (default 8192)")
	flags.Var(f.rateUp, "rate-up", "limit of all guests together, out of the network, as in 1Gb/s, or none")
	flags.Var(f.rateDown, "rate-down", "limit of all guests together, into the network, or none")
	complete(cmd, "mode", "bridged", "host-only", "isolated", "routed", "nat")
	complete(cmd, "takeover", "true", "false")
	for _, free := range []string{"nat-address", "uplink-vlan", "vlan", "address", "mtu", "ageing", "fdb-limit", "rate-up", "rate-down"} {
		complete(cmd, free)
	}
	f.services = addServiceFlags(cmd)
	return f
}

func (f *networkFlags) spec(cmd *cobra.Command, name string) control.NetworkSpec {
	spec := control.NetworkSpec{Name: name, Mode: f.mode.text, Uplink: f.uplink, UplinkVLAN: f.uplinkVLAN.given,
		Takeover: f.takeover.given, VLAN: f.vlan.given, Address: f.address.given, MTU: f.mtu.given, Ageing: f.ageing.given, FDBLimit: f.fdbLimit.given,
		NATAddress: f.natAddress.given, RateUp: f.rateUp.given, RateDown: f.rateDown.given}
	if cmd.Flags().Changed("proxy-arp") {
		spec.ProxyARP = &f.proxyARP
	}
	f.services.spec(&spec)
	return spec
}

// check holds a whole new network to the configuration's rules.
func (f *networkFlags) check(name string) error {
	n := config.NewNetwork(name, config.Mode(f.mode.text))
	n.Uplink, n.MTU = f.uplink, f.mtu.or(0)
	n.Ageing = time.Duration(f.ageing.or(control.Duration(n.Ageing)))
	n.FDBLimit = f.fdbLimit.or(n.FDBLimit)
	n.UplinkVLAN, n.VLAN = uint16(f.uplinkVLAN.or(0)), f.vlan.or(vlan.Set{})
	n.Takeover = f.takeover.or(false)
	if a := f.natAddress.or(""); a != "" {
		n.NATAddress = netip.MustParseAddr(a) // the flag has been parsed
	}
	n.RateUp, n.RateDown = f.rateUp.or(shaping.Limit{}), f.rateDown.or(shaping.Limit{})
	if s := f.address.or(""); s != "" {
		p, err := config.ParseAddress(s)
		if err != nil {
			return err
		}
		n.Address = p
	}
	f.services.fill(&n)
	return n.Validate()
}

func newNetworkAdd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NETWORK --mode MODE",
		Short: "Make a network",
		Long: `Makes a network. One that is there with the same settings is left as it is; one
with other settings is an error. A [network.NAME] table in the configuration
makes one wherever that configuration is used.`,
		Example: `  gxswitch network add xenbr0 --mode bridged --uplink eth0
  gxswitch network add lab --mode host-only --address 192.168.60.1/24
  gxswitch network add vault --mode isolated
  gxswitch network add dmz --mode routed --uplink eth0 --address 203.0.113.17/28
  gxswitch network add nat0 --mode nat --uplink eth0 --address 10.20.0.1/24
  gxswitch network add br0 --mode bridged --uplink eth1 --uplink-vlan 4094
  gxswitch network add xenbr0 --mode bridged --uplink eth0 --vlan 1p/10-19
  gxswitch network add xenbr0 --mode bridged --uplink eth0 --takeover
  gxswitch network add lab2 --mode host-only --address 10.0.0.1/24 --dhcp --dns`,
		Args:              exactly("NETWORK"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := addNetworkFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := require(cmd, "mode"); err != nil {
			return err
		}
		if err := notEmpty(cmd, "uplink", "address"); err != nil {
			return err
		}
		if err := f.services.check(cmd); err != nil {
			return err
		}
		if config.Mode(f.mode.text).NeedsUplink() && f.uplink == "" {
			return usagef(cmd, "missing --uplink: a %s network is joined to a NIC", f.mode.text)
		}
		if err := f.check(args[0]); err != nil {
			return wrongWherever(cmd, err)
		}
		client := a.client()
		defer client.Close()
		_, err := client.AddNetwork(cmd.Context(), f.spec(cmd, args[0]))
		return err
	}
	return cmd
}

func newNetworkSet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NETWORK",
		Short: "Change a network while it works",
		Long: `Changes what the flags say and nothing else; no port is detached. "none" lifts a
limit, and --uplink-vlan 0 takes the VLAN back. Leases outlive a new range until
they are to be renewed.`,
		Example: `  gxswitch network set lab --ageing 60s
  gxswitch network set xenbr0 --rate-up 1Gb/s --rate-down none
  gxswitch network set br0 --uplink-vlan 4093
  gxswitch network set xenbr0 --takeover=false
  gxswitch network set lab --address 192.168.61.1/24 --mtu 9000
  gxswitch network set nat0 --nat-address 203.0.113.7
  gxswitch network set dmz --proxy-arp=false
  gxswitch network set lab --dhcp-range 192.168.61.100-192.168.61.199
  gxswitch network set lab --dns-domain xen --dns-upstream 192.0.2.53,system
  gxswitch network set lab --dhcp=false --dns=false`,
		Args:              exactly("NETWORK"),
		ValidArgsFunction: once(a.networkNames()),
	}
	f := addNetworkFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := anyOf(cmd, append([]string{"mode", "proxy-arp", "nat-address", "uplink", "uplink-vlan", "takeover", "vlan", "address", "mtu", "ageing",
			"fdb-limit", "rate-up", "rate-down"}, serviceFlagNames()...)...); err != nil {
			return err
		}
		if err := f.services.check(cmd); err != nil {
			return err
		}
		if err := notEmpty(cmd, "uplink", "address"); err != nil {
			return err
		}
		if f.uplinkVLAN.or(0) != 0 && f.vlan.given != nil {
			return usagef(cmd, "--uplink-vlan and --vlan: one of them alone can hold")
		}
		client := a.client()
		defer client.Close()
		_, err := client.SetNetwork(cmd.Context(), f.spec(cmd, args[0]))
		return err
	}
	return cmd
}

func newNetworkDel(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "del NETWORK",
		Short:             "Delete a network and detach its ports",
		Example:           "  gxswitch network del lab",
		Args:              exactly("NETWORK"),
		ValidArgsFunction: once(a.networkNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			return client.DelNetwork(cmd.Context(), args[0])
		},
	}
}

package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
	"gxswitch/internal/frame"
)

func newPortCommand(a *app) *cobra.Command {
	return newGroup("port", "List, attach and change ports",
		`A port is an interface that is a member of a network: a guest's (vif, tap,
veth), an uplink (a NIC) or the host's own.`,
		`  gxswitch port list --network xenbr0
  gxswitch port add vif1.0 --network xenbr0 --vlan 10 --rate-from 100Mb/s`,
		newPortList(a), newPortShow(a), newPortAdd(a), newPortSet(a), newPortDel(a))
}

func newPortList(a *app) *cobra.Command {
	var network string
	cmd := a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the ports",
		Example: `  gxswitch port list
  gxswitch port list --network xenbr0 -j`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			if network != "" {
				if _, err := client.Network(cmd.Context(), network); err != nil {
					return err
				}
			}
			all, err := client.Ports(cmd.Context())
			if err != nil {
				return err
			}
			ports := []control.Port{}
			var rows [][]string
			for _, p := range all {
				if network == "" || p.Network == network {
					ports = append(ports, p)
					rows = append(rows, []string{p.Name, p.Network, p.Role, p.State, macText(p.MAC), strconv.Itoa(p.MTU), p.VLAN, p.Engine, p.Label})
				}
			}
			return a.printTable(ports, []string{"PORT", "NETWORK", "ROLE", "STATE", "MAC", "MTU", "VLAN", "ENGINE", "LABEL"}, rows)
		},
	})
	cmd.Flags().StringVar(&network, "network", "", "only those of `NETWORK`")
	completeBy(cmd, "network", a.networkNames())
	return cmd
}

// macText is the address, "" if there is none.
func macText(m frame.MAC) string {
	if m.IsZero() {
		return ""
	}
	return m.String()
}

func newPortAdd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add IF --network NETWORK",
		Short: "Make an interface a port",
		Long: `Attaches an interface that exists to a network. It stays attached, over restarts
of the daemon too, until it is deleted or the interface goes. A port that is
there with the same settings is left as it is; with others it is an error.
` + portGrammar,
		Example: `  gxswitch port add vif1.0 --network xenbr0
  gxswitch port add vif1.0 --network xenbr0 --mac 00:16:3e:00:00:05 --label web1
  gxswitch port add vif1.0 --network xenbr0 --vlan 10p/20-29 --rate-from 100Mb/s
  gxswitch port add vif1.0 --network xenbr0 --antispoof mac+ip --ip 10.0.0.5`,
		Args: exactly("IF"),
	}
	f := a.addPortFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := require(cmd, "network"); err != nil {
			return err
		}
		if err := notEmpty(cmd, "mac", "ip"); err != nil {
			return err
		}
		client := a.client()
		defer client.Close()
		_, err := client.AddPort(cmd.Context(), f.spec(args[0]))
		return err
	}
	return cmd
}

func newPortSet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set PORT",
		Short: "Change a port while it works",
		Long: `Changes what the flags say and nothing else, without detaching the port. An
empty --mac, --ip or --label takes the old one back, "none" lifts a limit.
` + portGrammar,
		Example: `  gxswitch port set vif1.0 --label web1
  gxswitch port set vif1.0 --mac 00:16:3e:00:00:05 --mtu 9000
  gxswitch port set vif1.0 --vlan 10p/20/100+10x4
  gxswitch port set vif1.0 --rate-from 100Mb/s@20ms --rate-to none
  gxswitch port set vif1.0 --antispoof mac+ip --ip 10.0.0.5,fd00::5
  gxswitch port set vif1.0 --isolated=false --storm 2000pps --mac-limit 16
  gxswitch port set vif1.0 --ra-guard on --dhcp-guard off --bpdu-guard auto`,
		Args:              exactly("PORT"),
		ValidArgsFunction: once(a.portNames()),
	}
	f := a.addPortFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := anyOf(cmd, append([]string{"network"}, f.names()...)...); err != nil {
			return err
		}
		if err := notEmpty(cmd, "network"); err != nil {
			return err
		}
		client := a.client()
		defer client.Close()
		_, err := client.SetPort(cmd.Context(), f.spec(args[0]))
		return err
	}
	return cmd
}

func newPortDel(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "del PORT",
		Short:             "Detach a port",
		Long:              `Detaches a port. Its interface stays, and belongs to nobody.`,
		Example:           "  gxswitch port del vif1.0",
		Args:              exactly("PORT"),
		ValidArgsFunction: once(a.portNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			return client.DelPort(cmd.Context(), args[0])
		},
	}
}

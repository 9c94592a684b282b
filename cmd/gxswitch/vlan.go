package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func newVLANCommand(a *app) *cobra.Command {
	return newGroup("vlan", "List who carries which VLAN",
		`A port carries the VLANs that its --vlan says, or the uplink's of its network.`,
		`  gxswitch vlan list
  gxswitch port set vif1.0 --vlan 10p/20`,
		newVLANList(a))
}

func newVLANList(a *app) *cobra.Command {
	var network string
	cmd := a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the VLANs and their ports",
		Long: `Lists the VLANs of each network, or of the one, with the ports that they leave
without a tag and those that they leave with one, what has come in, and how many
addresses the forwarding database has.`,
		Example: `  gxswitch vlan list
  gxswitch vlan list --network xenbr0 -j`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			vlans, err := client.VLANs(cmd.Context(), network)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, v := range vlans {
				rows = append(rows, []string{v.Network, strconv.Itoa(v.VLAN), strings.Join(v.Untagged, ","), strings.Join(v.Tagged, ","),
					count(v.RxPackets), count(v.RxBytes), strconv.Itoa(v.FDBEntries)})
			}
			return a.printTable(vlans, []string{"NETWORK", "VLAN", "UNTAGGED", "TAGGED", "RX_PACKETS", "RX_BYTES", "FDB"}, rows)
		},
	})
	networkFlag(a, cmd, &network)
	return cmd
}

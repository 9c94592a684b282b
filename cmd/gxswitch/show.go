package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
)

// shown is a network with its ports, as show -j has it.
type shown struct {
	control.Network
	Members []control.Port `json:"members"`
}

func newShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show [NETWORK]",
		Short: "Show the networks and their ports as a tree",
		Long: `Shows each network, or the one, with its mode, uplink and address, and below it
its ports with role, state and label. With -j each network has its ports as
"members".`,
		Example: `  gxswitch show
  gxswitch show xenbr0 -j`,
		Args:              atMost("NETWORK"),
		ValidArgsFunction: once(a.networkNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			networks := make([]control.Network, 1)
			var err error
			if len(args) == 1 {
				networks[0], err = client.Network(cmd.Context(), args[0])
			} else {
				networks, err = client.Networks(cmd.Context())
			}
			if err != nil {
				return err
			}
			ports, err := client.Ports(cmd.Context())
			if err != nil {
				return err
			}
			tree := make([]shown, len(networks))
			for i, n := range networks {
				tree[i] = shown{n, []control.Port{}}
				for _, p := range ports {
					if p.Network == n.Name {
						tree[i].Members = append(tree[i].Members, p)
					}
				}
			}
			return a.print(tree, func(b *strings.Builder) { printTree(b, tree) })
		},
	}
}

// printTree prints, for each network,
//
//	xenbr0: bridged, uplink eth0, mtu 1500
//	    eth0    uplink  up
//	    vif1.0  guest   up  web1
func printTree(b *strings.Builder, tree []shown) {
	for _, n := range tree {
		about := []string{n.Mode}
		if n.Uplink != "" {
			about = append(about, "uplink "+n.Uplink)
		}
		if n.Takeover {
			about = append(about, "takeover")
		}
		if n.UplinkVLAN != 0 {
			about = append(about, fmt.Sprintf("uplink vlan %d", n.UplinkVLAN))
		}
		if n.Address != "" {
			about = append(about, "address "+n.Address)
		}
		if n.MTU != 0 {
			about = append(about, fmt.Sprintf("mtu %d", n.MTU))
		}
		fmt.Fprintf(b, "%s: %s\n", printable(n.Name), printable(strings.Join(about, ", ")))

		var lines [][]string
		for _, p := range n.Members {
			cells := []string{p.Name, p.Role, p.State}
			if p.Label != "" {
				cells = append(cells, p.Label)
			}
			if p.Problem != "" {
				cells = append(cells, "("+p.Problem+")")
			}
			for i := range cells {
				cells[i] = printable(cells[i])
			}
			lines = append(lines, cells)
		}
		columns(b, "    ", lines)
	}
}

package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func newNATCommand(a *app) *cobra.Command {
	return newGroup("nat", "List and end the sessions of NAT networks",
		`A session is a connection of a guest to the outside, or from outside by a
forward. It has a port of the uplink's address as long as packets pass.`,
		`  gxswitch nat list --network nat0
  gxswitch nat flush --network nat0`,
		newNATList(a), newNATFlush(a))
}

func newNATList(a *app) *cobra.Command {
	var network string
	cmd := a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the sessions",
		Long: `Lists the sessions with the guest's address, the address and port that the
remote sees, and how many seconds ago the last packet passed. Of icmp the port
is the identifier of the echo request.`,
		Example: `  gxswitch nat list
  gxswitch nat list --network nat0 -j | jq '.[] | select(.proto == "tcp")'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			sessions, err := client.Sessions(cmd.Context(), network)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, s := range sessions {
				rows = append(rows, []string{s.Network, s.Proto, s.Guest, s.External, s.Remote, s.State, strconv.FormatInt(s.AgeS, 10)})
			}
			return a.printTable(sessions, []string{"NETWORK", "PROTO", "GUEST", "EXTERNAL", "REMOTE", "STATE", "AGE"}, rows)
		},
	})
	networkFlag(a, cmd, &network)
	return cmd
}

func newNATFlush(a *app) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "flush",
		Short: "End sessions",
		Long: `Ends all sessions, or those of a network. Connections that are open break; new
ones open at once.`,
		Example: `  gxswitch nat flush --network nat0`,
		Args:    exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			flushed, err := client.FlushNAT(cmd.Context(), network)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d sessions ended\n", flushed.Entries)
			return err
		},
	}
	networkFlag(a, cmd, &network)
	return cmd
}

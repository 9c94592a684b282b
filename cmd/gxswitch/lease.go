package main

import (
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
)

func newLeaseCommand(a *app) *cobra.Command {
	return newGroup("lease", "List and end DHCP leases",
		`A lease is an address that a network's DHCP server gave a guest, until it
expires. gxswitch network set NETWORK --dhcp-range A-B makes a network have one.`,
		`  gxswitch lease list --network lab
  gxswitch lease del --network lab 00:16:3e:00:00:05`,
		newLeaseList(a), newLeaseDel(a))
}

func newLeaseList(a *app) *cobra.Command {
	var network string
	cmd := a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the leases",
		Long: `Lists the leases that hold, by network and address. HOSTNAME is what DNS calls
the guest, EXPIRES the local time; with -j it is RFC 3339.`,
		Example: `  gxswitch lease list
  gxswitch lease list --network lab -j | jq -r '.[].ip'`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			leases, err := client.Leases(cmd.Context(), network)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, l := range leases {
				rows = append(rows, []string{l.Network, l.MAC.String(), l.IP, l.Hostname, l.Expires.Local().Format(time.DateTime), l.Port})
			}
			return a.printTable(leases, []string{"NETWORK", "MAC", "IP", "HOSTNAME", "EXPIRES", "PORT"}, rows)
		},
	})
	cmd.Flags().StringVar(&network, "network", "", "only those of `NETWORK`")
	completeBy(cmd, "network", a.networkNames())
	return cmd
}

func newLeaseDel(a *app) *cobra.Command {
	spec := control.LeaseSpec{}
	cmd := &cobra.Command{
		Use:   "del MAC --network NETWORK",
		Short: "End a lease",
		Long: `Ends the lease and forgets the guest. The guest does not know of it until it
wants to renew, and may use the address until then: end the leases of guests
that are gone.`,
		Example:           "  gxswitch lease del --network lab 00:16:3e:00:00:05",
		Args:              exactly("MAC"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := require(cmd, "network"); err != nil {
				return err
			}
			if spec.MAC, err = stationArg(cmd, args[0]); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			return client.DelLease(cmd.Context(), spec)
		},
	}
	cmd.Flags().StringVar(&spec.Network, "network", "", "the `NETWORK` it is of")
	completeBy(cmd, "network", a.networkNames())
	return cmd
}

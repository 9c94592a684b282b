package main

import (
	"github.com/spf13/cobra"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/nat"
)

func newForwardCommand(a *app) *cobra.Command {
	return newGroup("forward", "List, make and remove port forwards",
		`A forward gives what comes for a port of a NAT network's external address to one
guest: from outside, and from other guests too.`,
		`  gxswitch forward add --network nat0 --listen tcp/8080 --to 10.20.0.10:80
  gxswitch forward list`,
		newForwardList(a), newForwardAdd(a), newForwardDel(a))
}

func newForwardList(a *app) *cobra.Command {
	var network string
	cmd := a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the forwards",
		Example: `  gxswitch forward list
  gxswitch forward list --network nat0 -j`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			forwards, err := client.Forwards(cmd.Context(), network)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, f := range forwards {
				rows = append(rows, []string{f.Network, f.Listen, f.To, f.Source})
			}
			return a.printTable(forwards, []string{"NETWORK", "LISTEN", "TO", "SOURCE"}, rows)
		},
	})
	networkFlag(a, cmd, &network)
	return cmd
}

func newForwardAdd(a *app) *cobra.Command {
	var spec control.ForwardSpec
	listen, to := newListen(), newTarget()
	cmd := &cobra.Command{
		Use:   "add --network NETWORK --listen PROTO/PORT[-PORT] --to ADDRESS[:PORT]",
		Short: "Make a forward",
		Long: `Makes a forward at once. It outlives the daemon's restart; in a configuration
a [[network.NAME.forward]] table makes one. Without a port the guest's is the
same. Of a range the first port goes to the guest's, and the others to those
that follow. A forward goes before what the host itself serves at that port.`,
		Example: `  gxswitch forward add --network nat0 --listen tcp/8080 --to 10.20.0.10:80
  gxswitch forward add --network nat0 --listen tcp/8443 --to web1:443
  gxswitch forward add --network nat0 --listen udp/5000-5010 --to 10.20.0.11`,
		Args: exactly(),
	}
	cmd.Flags().Var(listen, "listen", "protocol and port of the external address, as in tcp/8080")
	cmd.Flags().Var(to, "to", "the guest's address or name, and port")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "network", "listen", "to"); err != nil {
			return err
		}
		if err := notEmpty(cmd, "network"); err != nil {
			return err
		}
		spec.Listen, spec.To = listen.text, to.text
		client := a.client()
		defer client.Close()
		return client.AddForward(cmd.Context(), spec)
	}
	networkFlagFor(a, cmd, &spec.Network, "the `NETWORK` whose external address it is")
	complete(cmd, "listen")
	complete(cmd, "to")
	return cmd
}

func newForwardDel(a *app) *cobra.Command {
	var spec control.ForwardSpec
	listen := newListen()
	cmd := &cobra.Command{
		Use:   "del --network NETWORK --listen PROTO/PORT[-PORT]",
		Short: "Remove a forward, and end its sessions",
		Long: `Removes a forward and ends its sessions. One that the configuration has is back
at the next reload.`,
		Example: `  gxswitch forward del --network nat0 --listen tcp/8080
  gxswitch forward del --network nat0 --listen udp/5000-5010`,
		Args: exactly(),
	}
	cmd.Flags().Var(listen, "listen", "as it was added")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := require(cmd, "network", "listen"); err != nil {
			return err
		}
		if err := notEmpty(cmd, "network"); err != nil {
			return err
		}
		spec.Listen = listen.text
		client := a.client()
		defer client.Close()
		return client.DelForward(cmd.Context(), spec)
	}
	networkFlagFor(a, cmd, &spec.Network, "the `NETWORK` whose external address it is")
	complete(cmd, "listen")
	return cmd
}

func newListen() *value[nat.Listen] {
	return &value[nat.Listen]{kind: "PROTO/PORT", parse: nat.ParseListen}
}

func newTarget() *value[config.Target] {
	return &value[config.Target]{kind: "ADDRESS[:PORT]", parse: config.ParseTarget}
}

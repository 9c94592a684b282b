package main

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
)

func newFDBCommand(a *app) *cobra.Command {
	return newGroup("fdb", "List and change the forwarding database",
		`The forwarding database says behind which port each address is. The switch
learns it from the frames it sees, per VLAN, and forgets what it has not seen
for a while. A static entry stays.`,
		`  gxswitch fdb list --network xenbr0
  gxswitch fdb add 00:16:3e:00:00:05 --port vif1.0`,
		newFDBList(a), newFDBAdd(a), newFDBDel(a), newFDBFlush(a))
}

// filterFlags are --network and --port of a command about several entries.
func (a *app) filterFlags(cmd *cobra.Command, network, port *string) {
	cmd.Flags().StringVar(network, "network", "", "only those of `NETWORK`")
	cmd.Flags().StringVar(port, "port", "", "only those behind `PORT`")
	completeBy(cmd, "network", a.networkNames())
	completeBy(cmd, "port", a.portNames())
}

func newFDBList(a *app) *cobra.Command {
	var network, port string
	cmd := a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the entries",
		Long: `Lists the entries. AGE is the time since the address was last seen. Kinds are
dynamic (learnt), static (added) and local (the host's own).`,
		Example: `  gxswitch fdb list
  gxswitch fdb list --port vif1.0 --no-header`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network", "port"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			entries, err := client.FDB(cmd.Context(), network, port)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, e := range entries {
				age := ""
				if e.Kind == "dynamic" {
					age = (time.Duration(e.AgeS) * time.Second).String()
				}
				rows = append(rows, []string{e.Network, strconv.Itoa(e.VLAN), e.MAC.String(), e.Port, age, e.Kind})
			}
			return a.printTable(entries, []string{"NETWORK", "VLAN", "MAC", "PORT", "AGE", "KIND"}, rows)
		},
	})
	a.filterFlags(cmd, &network, &port)
	return cmd
}

// stationArg reads the MAC argument of add and del.
func stationArg(cmd *cobra.Command, s string) (frame.MAC, error) {
	m, err := parseStation(s)
	if e, ok := errors.AsType[*config.Error](err); ok {
		return m, first(e.Hint, usagef(cmd, "%s", e.Msg))
	}
	if err != nil {
		return m, usagef(cmd, "%v", err)
	}
	return m, nil
}

func newFDBAdd(a *app) *cobra.Command {
	vlan := newVLAN()
	spec := control.FDBSpec{}
	cmd := &cobra.Command{
		Use:   "add MAC --port PORT",
		Short: "Add a static entry",
		Long: `Says that an address is behind a port, for good: the entry neither ages nor
follows the address elsewhere. It outlives the daemon, and goes with its port.`,
		Example: `  gxswitch fdb add 00:16:3e:00:00:05 --port vif1.0
  gxswitch fdb add 00:16:3e:00:00:05 --port vif1.0 --vlan 20`,
		Args:              exactly("MAC"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := require(cmd, "port"); err != nil {
				return err
			}
			if spec.MAC, err = stationArg(cmd, args[0]); err != nil {
				return err
			}
			spec.VLAN = vlan.or(0)
			client := a.client()
			defer client.Close()
			return client.AddFDB(cmd.Context(), spec)
		},
	}
	cmd.Flags().StringVar(&spec.Port, "port", "", "the `PORT` it is behind")
	cmd.Flags().Var(vlan, "vlan", "1 to 4094 (default 1)")
	completeBy(cmd, "port", a.portNames())
	complete(cmd, "vlan")
	return cmd
}

func newFDBDel(a *app) *cobra.Command {
	vlan := newVLAN()
	spec := control.FDBSpec{}
	cmd := &cobra.Command{
		Use:   "del MAC --network NETWORK",
		Short: "Delete an entry",
		Example: `  gxswitch fdb del 00:16:3e:00:00:05 --network xenbr0
  gxswitch fdb del 00:16:3e:00:00:05 --network xenbr0 --vlan 20`,
		Args:              exactly("MAC"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := require(cmd, "network"); err != nil {
				return err
			}
			if spec.MAC, err = stationArg(cmd, args[0]); err != nil {
				return err
			}
			spec.VLAN = vlan.or(0)
			client := a.client()
			defer client.Close()
			return client.DelFDB(cmd.Context(), spec)
		},
	}
	cmd.Flags().StringVar(&spec.Network, "network", "", "the `NETWORK` it is in")
	cmd.Flags().Var(vlan, "vlan", "1 to 4094 (default 1)")
	completeBy(cmd, "network", a.networkNames())
	complete(cmd, "vlan")
	return cmd
}

func newFDBFlush(a *app) *cobra.Command {
	var network, port string
	cmd := &cobra.Command{
		Use:   "flush",
		Short: "Forget what was learnt",
		Long:  `Deletes the dynamic entries; the switch learns them anew. Static ones stay.`,
		Example: `  gxswitch fdb flush
  gxswitch fdb flush --port vif1.0`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network", "port"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			f, err := client.FlushFDB(cmd.Context(), network, port)
			if err != nil {
				return err
			}
			return a.print(f, func(*strings.Builder) {})
		},
	}
	a.filterFlags(cmd, &network, &port)
	return cmd
}

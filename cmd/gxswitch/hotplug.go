package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gxswitch/internal/hotplug"
)

func newHotplugCommand(a *app) *cobra.Command {
	actions := []string{"online", "offline", "add", "remove"}
	return &cobra.Command{
		Use:   "hotplug online|offline|add|remove [type_if=vif|tap]",
		Short: "Attach or detach a domain's NIC, as xl's hotplug script",
		Long: `What /etc/xen/scripts/vif-gxswitch runs when xl says that a domain's vif came
(online) or goes (offline), or the tap of its emulated NIC (add, remove). It
reads xenstore, has the daemon name the interface, set its MTU and attach it,
and writes "connected" to hotplug-status, or why not to hotplug-error.

The environment says which vif: XENBUS_PATH=backend/vif/DOMID/DEVID, and for a
tap INTERFACE=vifDOMID.DEVID-emu. XENSTORED_PATH is xenstored's socket.

online and add exit 0 or 1, offline and remove always 0. No call takes longer
than five seconds.`,
		Example: `  XENBUS_PATH=backend/vif/3/0 vif=vif3.0 gxswitch hotplug online type_if=vif
  INTERFACE=vif3.0-emu gxswitch hotplug add type_if=tap
  XENBUS_PATH=backend/vif/3/0 gxswitch hotplug offline`,
		ValidArgsFunction: once(cobra.FixedCompletions(actions, cobra.ShellCompDirectiveNoFileComp)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef(cmd, "missing online, offline, add or remove")
			}
			client := a.client()
			defer client.Close()
			return hotplug.Run(cmd.Context(), hotplug.Options{
				Args: args, Getenv: os.Getenv, Daemon: client,
				Warn: func(err error) { a.warn(err) },
			})
		},
	}
}

// warn prints what went wrong where nothing fails for it.
func (a *app) warn(err error) {
	e := problems(err)[0]
	fmt.Fprintf(a.stderr, "gxswitch: warning: %s\n", printable(e.Message))
	if e.Hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable(e.Hint))
	}
}

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gxswitch/internal/hotplug"
)

// What the script is asked to do; package xen has what each means.
func hotplugActions() []string { return []string{"online", "offline", "add", "remove"} }

func newHotplugCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "hotplug online|offline|add|remove [type_if=vif|tap]",
		Short: "Attach or detach a domain's NIC, as xl's hotplug script",
		Long: `What /etc/xen/scripts/vif-gxswitch runs when xl says that a domain's vif came
(online) or goes (offline), or the tap of its emulated NIC (add, remove). It
reads xenstore, has the daemon name the interface, set its MTU and attach it,
and writes "connected" to hotplug-status, or why not to hotplug-error.

The environment says which vif: XENBUS_PATH=backend/vif/DOMID/DEVID, and for a
tap INTERFACE=vifDOMID.DEVID-emu. XENSTORED_PATH is xenstored's socket.

online and add exit 0 or 1, offline and remove always 0, and what is none of the
four 2. No call takes longer than five seconds.`,
		Example: `  XENBUS_PATH=backend/vif/3/0 vif=vif3.0 gxswitch hotplug online type_if=vif
  INTERFACE=vif3.0-emu gxswitch hotplug add type_if=tap
  XENBUS_PATH=backend/vif/3/0 gxswitch hotplug offline`,
		Args:              hotplugArgs,
		ValidArgsFunction: once(cobra.FixedCompletions(hotplugActions(), cobra.ShellCompDirectiveNoFileComp)),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			return hotplug.Run(cmd.Context(), hotplug.Options{
				Args: args, Getenv: os.Getenv, Daemon: client,
				Warn: func(err error) { a.warn(err) },
			})
		},
	}
}

// hotplugArgs wants one action. An argument with an equals sign sets a variable,
// wherever it stands, as in vif-common.sh.
func hotplugArgs(cmd *cobra.Command, args []string) error {
	words := slices.DeleteFunc(slices.Clone(args), func(s string) bool { return strings.Contains(s, "=") })
	if err := exactly("online, offline, add or remove")(cmd, words); err != nil {
		return err
	}
	if !slices.Contains(hotplugActions(), words[0]) {
		return first("xl calls this script by itself: name it in script= of the domain's vif",
			usagef(cmd, "no such action: %q: want online, offline, add or remove", words[0]))
	}
	return nil
}

// warn prints what went wrong where nothing fails for it.
func (a *app) warn(err error) {
	e := problems(err)[0]
	fmt.Fprintf(a.stderr, "gxswitch: warning: %s\n", printable(e.Message))
	if e.Hint != "" {
		fmt.Fprintf(a.stderr, "hint: %s\n", printable(e.Hint))
	}
}

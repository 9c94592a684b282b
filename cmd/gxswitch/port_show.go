package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
	"gxswitch/shaping"
)

func newPortShow(a *app) *cobra.Command {
	var network string
	cmd := &cobra.Command{
		Use:   "show PORT",
		Short: "Show everything about one port",
		Long: `Shows what a port is, what it is held to, and what its limits have done. An
uplink that several networks share is a port of each: without --network all are
shown, with -j as an array.`,
		Example: `  gxswitch port show vif1.0
  gxswitch port show vif1.0 -j | jq -r .state
  gxswitch port show eth1 --network br10`,
		Args:              exactly("PORT"),
		ValidArgsFunction: once(a.portNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			ports, err := portsNamed(cmd, client, args[0], network)
			if err != nil {
				return err
			}
			var v any = ports
			if len(ports) == 1 {
				v = ports[0]
			}
			return a.print(v, func(b *strings.Builder) {
				for i, p := range ports {
					if i > 0 {
						b.WriteByte('\n')
					}
					fields(b, portFields(p))
				}
			})
		},
	}
	cmd.Flags().StringVar(&network, "network", "", "of a shared uplink, the port of `NETWORK`")
	completeBy(cmd, "network", a.networkNames())
	return cmd
}

// portsNamed are the ports of a name, at least one.
func portsNamed(cmd *cobra.Command, client *control.Client, name, network string) ([]control.Port, error) {
	p, err := client.Port(cmd.Context(), name)
	if err != nil {
		return nil, err
	}
	ports := []control.Port{p}
	if p.Role == "uplink" {
		all, err := client.Ports(cmd.Context())
		if err != nil {
			return nil, err
		}
		for _, other := range all {
			if other.Name == name && other.Network != p.Network {
				ports = append(ports, other)
			}
		}
	}
	if network == "" {
		return ports, nil
	}
	for _, p := range ports {
		if p.Network == network {
			return []control.Port{p}, nil
		}
	}
	if _, err := client.Network(cmd.Context(), network); err != nil {
		return nil, err
	}
	return nil, control.Errorf(control.CodeNotFound, "port %s is not in network %s", name, network).
		WithHint("gxswitch port list shows where it is")
}

func portFields(p control.Port) []field {
	all := []field{
		{"port", p.Name},
		{"network", p.Network},
		{"role", p.Role},
		{"state", p.State},
		{"ifindex", p.IfIndex},
		{"mac", macText(p.MAC)},
		{"mtu", p.MTU},
		{"vlan", p.VLAN},
		{"rate_from", rateText(p.RateFrom, p.ShaperFrom)},
		{"rate_from_by", p.RateFromBy},
		{"rate_to", rateText(p.RateTo, p.ShaperTo)},
		{"ip", strings.Join(p.IP, ",")},
		{"learned_mac", macText(p.LearnedMAC)},
		{"learned_ip", strings.Join(p.LearnedIP, ",")},
		{"antispoof", p.AntiSpoof},
		{"ra_guard", p.RAGuard},
		{"dhcp_guard", p.DHCPGuard},
		{"bpdu_guard", p.BPDUGuard},
		{"storm", p.Storm},
		{"mac_limit", numberOrNone(p.MACLimit)},
		{"isolated", p.Isolated},
		{"label", p.Label},
		{"engine", withReason(p.Engine, p.EngineReason)},
		{"source", p.Source},
	}
	if p.Xen != nil {
		all = append(all, field{"xen", xenText(p.Xen)})
	}
	if p.Problem != "" {
		all = append(all, field{"problem", p.Problem})
	}
	return all
}

// withReason is an engine, and why it is that one.
func withReason(engine, why string) string {
	if why == "" {
		return engine
	}
	return engine + " (" + why + ")"
}

// xenText is the virtual NIC that the port is of.
func xenText(x *control.XenNIC) string {
	nic := fmt.Sprintf("domain %s, id %d, vif %d, uuid %s", x.Domain, x.DomID, x.DevID, x.UUID)
	if x.Tap {
		nic += ", emulated"
	}
	return nic
}

// rateText is a limit in xl's words, what they come to, and what the shaper has
// done, if it is one of gxswitch's own.
func rateText(rate string, s *control.Shaper) string {
	if s != nil {
		return fmt.Sprintf("%s (%d bytes each %s; passed %d packets, %d bytes; dropped %d, %d bytes; queued %d, %d bytes; throttled %s)",
			rate, s.CreditBytes, time.Duration(s.IntervalUS)*time.Microsecond, s.PassedPackets, s.PassedBytes,
			s.DroppedPackets, s.DroppedBytes, s.QueuedPackets, s.QueuedBytes, time.Duration(s.ThrottledMS)*time.Millisecond)
	}
	if l, err := shaping.ParseLimit(rate); err == nil && !l.IsZero() {
		return fmt.Sprintf("%s (%d bytes each %s)", rate, l.Credit(), l.Interval())
	}
	return rate
}

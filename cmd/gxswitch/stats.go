package main

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
)

func newStatsCommand(a *app) *cobra.Command {
	interval := newInterval()
	cmd := a.tableFlags(&cobra.Command{
		Use:   "stats [PORT…]",
		Short: "Print the ports' counters, or their rates",
		Long: `Prints what each port has received (rx: what came from it), sent (tx: what was
handed to it) and dropped, with the reasons. What the interface itself dropped
after that, as a tap that nobody reads does, is device_dropped. With -i it
prints rates instead, per second, after each interval until ^C; with -j too, one
JSON value a line. The counters of networks are in the JSON form.`,
		Example: `  gxswitch stats
  gxswitch stats vif1.0 vif2.0 -i 1s
  gxswitch stats -j | jq '.ports[] | select(.rx_dropped > 0)'`,
		ValidArgsFunction: a.portNames(),
		Args: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "") {
				return usagef(cmd, "PORT is empty")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client := a.client()
			defer client.Close()
			if interval.given != nil {
				return a.rates(cmd.Context(), client, args, *interval.given)
			}
			stats, err := client.Stats(cmd.Context(), args)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, p := range stats.Ports {
				rows = append(rows, []string{p.Port, p.Network, count(p.RxPackets), count(p.RxBytes), count(p.RxDropped),
					count(p.TxPackets), count(p.TxBytes), count(p.TxDropped), reasons(p)})
			}
			return a.printTable(stats, []string{"PORT", "NETWORK", "RX_PACKETS", "RX_BYTES", "RX_DROPPED",
				"TX_PACKETS", "TX_BYTES", "TX_DROPPED", "DROPS"}, rows)
		},
	})
	cmd.Flags().VarP(interval, "interval", "i", "print rates, each `TIME`, as in 1s")
	complete(cmd, "interval")
	return cmd
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }

// reasons is "malformed=2,mtu=1".
func reasons(p control.PortStats) string {
	var all []string
	for _, reason := range slices.Sorted(maps.Keys(p.Drops)) {
		if p.Drops[reason] > 0 {
			all = append(all, reason+"="+count(p.Drops[reason]))
		}
	}
	if p.DeviceDropped > 0 {
		all = append(all, "device_dropped="+count(p.DeviceDropped))
	}
	return strings.Join(all, ",")
}

// rate is what went on at one port, per second.
type rate struct {
	Port    string  `json:"port"`
	Network string  `json:"network"`
	RxPPS   float64 `json:"rx_pps"`
	RxBPS   float64 `json:"rx_bps"` // bits
	RxDrops float64 `json:"rx_dropped_pps"`
	TxPPS   float64 `json:"tx_pps"`
	TxBPS   float64 `json:"tx_bps"`
	TxDrops float64 `json:"tx_dropped_pps"`
}

// rates prints the rates after each interval, until ctx is done or something
// fails.
func (a *app) rates(ctx context.Context, client *control.Client, ports []string, interval time.Duration) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var before control.Stats
	var then time.Time
	for round := 0; ; round++ {
		now, err := client.Stats(ctx, ports)
		at := time.Now()
		if ctx.Err() != nil {
			return nil // ^C is how this ends
		}
		if err != nil {
			return err
		}
		if round > 0 {
			elapsed := at.Sub(then).Seconds()
			if err := a.printRates(difference(before, now, elapsed), elapsed, round > 1); err != nil {
				return err
			}
		}
		before, then = now, at
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// difference is what happened between two readings. A port that is new, or
// whose counters began anew because it was attached again, has no rate yet.
func difference(before, now control.Stats, elapsed float64) []rate {
	type port struct{ name, network string } // an uplink may be in several networks
	old := make(map[port]control.PortStats)
	for _, p := range before.Ports {
		old[port{p.Port, p.Network}] = p
	}
	all := []rate{}
	for _, p := range now.Ports {
		o, ok := old[port{p.Port, p.Network}]
		if !ok || p.RxPackets < o.RxPackets || p.TxPackets < o.TxPackets ||
			p.RxBytes < o.RxBytes || p.TxBytes < o.TxBytes || p.RxDropped < o.RxDropped || p.TxDropped < o.TxDropped {
			continue
		}
		all = append(all, rate{
			Port: p.Port, Network: p.Network,
			RxPPS:   float64(p.RxPackets-o.RxPackets) / elapsed,
			RxBPS:   float64(p.RxBytes-o.RxBytes) * 8 / elapsed,
			RxDrops: float64(p.RxDropped-o.RxDropped) / elapsed,
			TxPPS:   float64(p.TxPackets-o.TxPackets) / elapsed,
			TxBPS:   float64(p.TxBytes-o.TxBytes) * 8 / elapsed,
			TxDrops: float64(p.TxDropped-o.TxDropped) / elapsed,
		})
	}
	return all
}

// printRates prints one round at once: who reads a pipe sees it as it happens.
func (a *app) printRates(all []rate, elapsed float64, again bool) error {
	if a.json {
		v := map[string]any{"interval_s": elapsed, "ports": all}
		if err := writeJSON(a.out, v, ""); err != nil {
			return err
		}
		return a.out.Flush()
	}
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{r.Port, r.Network, si(r.RxPPS), si(r.RxBPS), si(r.RxDrops), si(r.TxPPS), si(r.TxBPS), si(r.TxDrops)})
	}
	var b strings.Builder
	if again && !a.noHeader {
		b.WriteByte('\n')
	}
	a.table(&b, []string{"PORT", "NETWORK", "RX_PPS", "RX_BIT/S", "RX_DROP/S", "TX_PPS", "TX_BIT/S", "TX_DROP/S"}, rows)
	if _, err := a.out.WriteString(b.String()); err != nil {
		return err
	}
	return a.out.Flush()
}

// si is a number in four characters or so: 0, 812, 1.20k, 36.1M.
func si(v float64) string {
	prefix := ""
	for _, p := range []string{"k", "M", "G", "T"} {
		if v < 999.5 {
			break
		}
		v /= 1000
		prefix = p
	}
	switch {
	case prefix == "" || v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64) + prefix
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64) + prefix
	default:
		return strconv.FormatFloat(v, 'f', 2, 64) + prefix
	}
}

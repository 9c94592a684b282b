package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gxswitch/internal/control"
)

func newDNSCommand(a *app) *cobra.Command {
	return newGroup("dns", "List and ask for names",
		`A network's DNS server knows the names of its guests, and asks others for the
rest. gxswitch network set NETWORK --dns-domain xen makes a network have one.`,
		`  gxswitch dns list --network lab
  gxswitch dns query web1.xen`,
		newDNSList(a), newDNSQuery(a))
}

func newDNSList(a *app) *cobra.Command {
	var network string
	cmd := a.tableFlags(&cobra.Command{
		Use:   "list",
		Short: "List the names that the servers know by themselves",
		Long: `Lists the names. Sources are gateway (the host itself), host (a host of the
configuration) and lease (a guest that asked for the name by DHCP).`,
		Example: `  gxswitch dns list
  gxswitch dns list --network lab -j`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "network"); err != nil {
				return err
			}
			client := a.client()
			defer client.Close()
			names, err := client.DNSNames(cmd.Context(), network)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, n := range names {
				rows = append(rows, []string{n.Network, n.Name, strings.Join(n.IP, ","), n.Source})
			}
			return a.printTable(names, []string{"NETWORK", "NAME", "IP", "SOURCE"}, rows)
		},
	})
	cmd.Flags().StringVar(&network, "network", "", "only those of `NETWORK`")
	completeBy(cmd, "network", a.networkNames())
	return cmd
}

func newDNSQuery(a *app) *cobra.Command {
	query := control.DNSQuery{}
	cmd := a.tableFlags(&cobra.Command{
		Use:   "query NAME",
		Short: "Ask a network's DNS server",
		Long: `Asks as a guest would, for an address without --type, or for the name of an
address. That there is no such name is exit status 4. Where several networks
have a DNS server --network says which one to ask.`,
		Example: `  gxswitch dns query web1.xen
  gxswitch dns query 192.168.60.100
  gxswitch dns query example.org --type MX --network lab`,
		Args:              exactly("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "network", "type"); err != nil {
				return err
			}
			query.Name = args[0]
			client := a.client()
			defer client.Close()
			answer, err := client.QueryDNS(cmd.Context(), query)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, r := range answer.Answers {
				rows = append(rows, []string{r.Name, fmt.Sprint(r.TTLS), r.Type, r.Value})
			}
			return a.printTable(answer, []string{"NAME", "TTL", "TYPE", "VALUE"}, rows)
		},
	})
	cmd.Flags().StringVar(&query.Network, "network", "", "whose server to ask: that of `NETWORK`")
	cmd.Flags().StringVar(&query.Type, "type", "", "the `TYPE` of record (default A, or PTR of an address)")
	completeBy(cmd, "network", a.networkNames())
	complete(cmd, "type", "A", "AAAA", "PTR", "CNAME", "MX", "NS", "SOA", "SRV", "TXT")
	return cmd
}

package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/filter"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// The flags below speak the grammars of the packages that the values are of.

func newVLANs() *value[vlan.Set] { return &value[vlan.Set]{kind: "VLANS", parse: vlan.Parse} }

func newRate() *value[shaping.Limit] {
	return &value[shaping.Limit]{kind: "RATE", parse: shaping.ParseLimit}
}

func newStorm() *value[filter.StormRate] {
	return &value[filter.StormRate]{kind: "PPS", parse: filter.ParseStormRate}
}

func newAntispoof() *value[filter.Antispoof] {
	return &value[filter.Antispoof]{kind: "MODE", parse: filter.ParseAntispoof}
}

// newUplinkVLAN reads one VLAN; 0 is none.
func newUplinkVLAN() *value[int] {
	return &value[int]{kind: "VLAN", parse: func(s string) (int, error) {
		n, err := wholeNumber(s)
		if err == nil && (n < 0 || n > vlan.MaxVID) {
			err = fmt.Errorf("%d is out of range: %d to %d, or 0 for none", n, vlan.MinVID, vlan.MaxVID)
		}
		return n, err
	}}
}

// newIPs reads addresses with commas between them. "" is "not told", to take
// the old ones back.
func newIPs() *value[[]netip.Addr] {
	return &value[[]netip.Addr]{kind: "IPS", parse: func(s string) ([]netip.Addr, error) {
		all := []netip.Addr{}
		if s == "" {
			return all, nil
		}
		for text := range strings.SplitSeq(s, ",") {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("%q is not an IP address, as in 10.0.0.5 or fd00::5", text)
			}
			all = append(all, a)
		}
		return all, checkPort(config.Port{IP: all})
	}}
}

func newMACLimit() *value[int] {
	return &value[int]{kind: "MACS", parse: func(s string) (int, error) {
		n, err := wholeNumber(s)
		if err == nil {
			err = checkPort(config.Port{MACLimit: n})
		}
		return n, err
	}}
}

// guardWords are what a guard's flag takes.
func guardWords() []string { return []string{"on", "off", "auto"} }

func newGuard() *value[control.Guard] {
	word := newChoice("", "", guardWords()...)
	return &value[control.Guard]{kind: "WHEN", parse: func(s string) (control.Guard, error) {
		s, err := word.parse(s)
		if s == "auto" {
			return control.GuardAuto, err
		}
		return control.Guard(s), err
	}}
}

// newSwitch is true or false. The kind is pflag's for a flag without value.
func newSwitch() *value[bool] {
	return &value[bool]{kind: "bool", parse: func(s string) (bool, error) {
		on, err := strconv.ParseBool(s)
		if err != nil {
			err = fmt.Errorf("%q is neither true nor false", s)
		}
		return on, err
	}}
}

// networkFlag is --network of commands about one network or all.
func networkFlag(a *app, cmd *cobra.Command, network *string) {
	networkFlagFor(a, cmd, network, "only those of `NETWORK`")
}

func networkFlagFor(a *app, cmd *cobra.Command, network *string, usage string) {
	cmd.Flags().StringVar(network, "network", "", usage)
	completeBy(cmd, "network", a.networkNames())
}

// newNATAddress reads an IPv4 address; none is the uplink's, and "" too.
func newNATAddress() *value[string] {
	return &value[string]{kind: "ADDRESS", parse: func(s string) (string, error) {
		if s == "" || s == "none" {
			return "", nil
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return "", fmt.Errorf("%q is not an IPv4 address, as in 203.0.113.7, or none", s)
		}
		return s, checkNetwork(func(c *config.Network) {
			c.Mode, c.Uplink, c.Address, c.NATAddress = config.NAT, "uplink", netip.MustParsePrefix("10.20.0.1/24"), a
		})
	}}
}

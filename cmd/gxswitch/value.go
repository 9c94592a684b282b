package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/frame"
)

// value is a flag whose text is parsed and checked when it is read. It
// implements pflag.Value.
type value[T any] struct {
	kind  string // what help calls it
	parse func(string) (T, error)
	text  string
	given *T // nil: the flag was not given
}

func (v *value[T]) String() string { return v.text }
func (v *value[T]) Type() string   { return v.kind }

func (v *value[T]) Set(s string) error {
	parsed, err := v.parse(s)
	if err != nil {
		return err
	}
	v.text, v.given = s, &parsed
	return nil
}

// or is the flag's value, or def where it was not given.
func (v *value[T]) or(def T) T {
	if v.given == nil {
		return def
	}
	return *v.given
}

// The checks of values below are the configuration's: what a file may not say,
// a flag may not either.

func checkPort(p config.Port) error {
	p.Name, p.Network = "port", "network"
	return p.Validate()
}

func checkNetwork(set func(*config.Network)) error {
	n := config.NewNetwork("network", config.HostOnly)
	set(&n)
	return n.Validate()
}

func newMTU() *value[int] {
	return &value[int]{kind: "BYTES", parse: func(s string) (int, error) {
		n, err := wholeNumber(s)
		if err == nil && n == 0 {
			err = errors.New("0 is out of range")
		}
		if err == nil {
			err = checkPort(config.Port{MTU: n})
		}
		return n, err
	}}
}

func newFDBLimit() *value[int] {
	return &value[int]{kind: "ENTRIES", parse: func(s string) (int, error) {
		n, err := wholeNumber(s)
		if err == nil {
			err = checkNetwork(func(c *config.Network) { c.FDBLimit = n })
		}
		return n, err
	}}
}

func newAgeing() *value[control.Duration] {
	return &value[control.Duration]{kind: "TIME", parse: func(s string) (control.Duration, error) {
		var d control.Duration
		err := d.UnmarshalText([]byte(s))
		if err == nil {
			err = checkNetwork(func(c *config.Network) { c.Ageing = time.Duration(d) })
		}
		return d, err
	}}
}

// newAddress reads an address with a prefix length. "" is for notEmpty to
// refuse.
func newAddress() *value[string] {
	return &value[string]{kind: "CIDR", parse: func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		p, err := config.ParseAddress(s)
		if err == nil {
			err = checkNetwork(func(c *config.Network) { c.Address = p })
		}
		return s, err
	}}
}

func newMode() *value[string] {
	return &value[string]{kind: "MODE", parse: func(s string) (string, error) {
		err := checkNetwork(func(c *config.Network) {
			c.Mode, c.Uplink, c.Address = config.Mode(s), "", netip.Prefix{}
			if c.Mode.NeedsUplink() {
				c.Uplink = "uplink"
			}
			if c.Mode == config.NAT {
				c.Address = netip.MustParsePrefix("10.20.0.1/24")
			}
		})
		return s, err
	}}
}

// newGuestMAC reads a guest's address. "" is "not told", to take one back.
func newGuestMAC() *value[frame.MAC] {
	return &value[frame.MAC]{kind: "MAC", parse: func(s string) (frame.MAC, error) {
		if s == "" {
			return frame.MAC{}, nil
		}
		return parseStation(s)
	}}
}

// parseStation reads the address of one station.
func parseStation(s string) (frame.MAC, error) {
	m, err := frame.ParseMAC(s)
	switch {
	case err != nil:
		return m, err
	case m.IsZero():
		return m, fmt.Errorf("%s is the null address, not a station's", m)
	}
	return m, checkPort(config.Port{MAC: m})
}

func newLabel() *value[string] {
	return &value[string]{kind: "TEXT", parse: func(s string) (string, error) {
		return s, checkPort(config.Port{Label: s})
	}}
}

func newVLAN() *value[int] {
	return &value[int]{kind: "VLAN", parse: func(s string) (int, error) {
		n, err := wholeNumber(s)
		if err == nil && (n < 1 || n > 4094) {
			err = fmt.Errorf("%d is out of range: 1 to 4094", n)
		}
		return n, err
	}}
}

// newInterval reads a time; a bare number is seconds, as ping has it.
func newInterval() *value[time.Duration] {
	return &value[time.Duration]{kind: "TIME", parse: func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if secs, numErr := strconv.ParseFloat(s, 64); numErr == nil {
			d, err = time.Duration(secs*float64(time.Second)), nil
		}
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is not a time, as in 1s or 500ms", s)
		case d < 100*time.Millisecond || d > 24*time.Hour:
			return 0, fmt.Errorf("%s is out of range: 100ms to 24h", s)
		}
		return d, nil
	}}
}

// newChoice is one of several words.
func newChoice(kind, def string, words ...string) *value[string] {
	return &value[string]{kind: kind, text: def, parse: func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		return "", fmt.Errorf("%q is not one of %s", s, strings.Join(words, ", "))
	}}
}

func wholeNumber(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number in range", s)
	}
	return int(n), nil
}

// outputFlag is -o table|json. It shares its variable with -j.
type outputFlag struct{ json *bool }

func (o *outputFlag) String() string { return "" }
func (o *outputFlag) Type() string   { return "FORMAT" }

func (o *outputFlag) Set(s string) error {
	if s != "table" && s != "json" {
		return fmt.Errorf("%q is not one of table, json", s)
	}
	*o.json = s == "json"
	return nil
}

package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
	"gxswitch/internal/filter"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// usagef says that cmd was used wrongly.
func usagef(cmd *cobra.Command, format string, args ...any) *control.Error {
	return control.Errorf(control.CodeUsage, format, args...).WithHint("see %s --help", cmd.CommandPath())
}

// first puts a hint before the one to --help.
func first(hint string, e *control.Error) *control.Error {
	if hint == "" {
		return e
	}
	if !strings.HasSuffix(hint, "?") {
		hint += ";"
	}
	return e.WithHint("%s %s", hint, e.Hint)
}

// flagError names the flag that was wrong, and what was wrong with it.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return usagef(cmd, "%v", err)
	}
	flag, cause := invalid.GetFlag().Name, invalid.Unwrap()
	if e, ok := errors.AsType[*config.Error](cause); ok {
		return first(e.Hint, usagef(cmd, "--%s: %s", flag, e.Msg))
	}
	// These two begin with the flag's word themselves.
	if e, ok := errors.AsType[*vlan.Error](cause); ok {
		return first(e.Hint, usagef(cmd, "%v", e))
	}
	if e, ok := errors.AsType[*filter.Error](cause); ok {
		return first(e.Hint, usagef(cmd, "%v", e))
	}
	if e, ok := errors.AsType[*shaping.Error](cause); ok {
		return first(e.Hint, usagef(cmd, "--%s: %v", flag, e))
	}
	return usagef(cmd, "--%s: %v", flag, cause)
}

// noSuchCommand is the Args of a command that takes subcommands only.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := usagef(cmd, "%s has no command %q", cmd.CommandPath(), args[0])
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 && args[0] != "" {
		return first("did you mean "+strings.Join(near, " or ")+"?", e)
	}
	return e
}

// names lists a command's subcommands.
func names(cmd *cobra.Command) string {
	var all []string
	for _, sub := range cmd.Commands() {
		all = append(all, sub.Name())
	}
	return strings.Join(all, ", ")
}

// exactly wants one argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return between(len(names), names...)
}

// atMost wants an argument for each name or for the first few.
func atMost(names ...string) cobra.PositionalArgs { return between(0, names...) }

func between(least int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least {
			return usagef(cmd, "missing %s", names[len(args)])
		}
		if len(args) > len(names) {
			return usagef(cmd, "unexpected argument %q", args[len(names)])
		}
		for i, arg := range args {
			if arg == "" {
				return usagef(cmd, "%s is empty", names[i])
			}
		}
		return nil
	}
}

// require fails unless each of the flags was given, and not as "".
func require(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if !cmd.Flags().Changed(name) {
			return usagef(cmd, "missing --%s", name)
		}
	}
	return notEmpty(cmd, flags...)
}

// notEmpty fails for a flag that was given as "": a shell variable that isn't
// set would make a filter of one thing a filter of all.
func notEmpty(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "" {
			return usagef(cmd, "--%s is empty", name)
		}
	}
	return nil
}

// anyOf fails unless one of the flags at least was given.
func anyOf(cmd *cobra.Command, flags ...string) error {
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			return nil
		}
	}
	return usagef(cmd, "nothing to set: give one of --%s", strings.Join(flags, " --"))
}

// wrongWherever turns what the configuration's own rules say of an object from
// the command line into wrong usage, of a flag if it was one. The hint about a
// key speaks TOML, so it stays behind.
func wrongWherever(cmd *cobra.Command, err error) error {
	e, ok := errors.AsType[*config.Error](err)
	if !ok {
		return err
	}
	parts := strings.Split(strings.ReplaceAll(e.Key, "_", "-"), ".")
	flag := parts[len(parts)-1]
	// A table in a network's has flags with its name before: network.lab.dhcp.range.
	if n := len(parts); n > 3 && cmd.Flags().Lookup(parts[n-2]+"-"+flag) != nil {
		flag = parts[n-2] + "-" + flag
	}
	if cmd.Flags().Lookup(flag) != nil {
		return usagef(cmd, "--%s: %s", flag, e.Msg)
	}
	return first(e.Hint, usagef(cmd, "%s: %s", e.Key, e.Msg))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"gxswitch/internal/config"
	"gxswitch/internal/control"
)

// report prints err on standard error: for people, a line for each problem and
// its hint; as JSON, the object that the API would have sent. Where there are
// several problems the first leads and "problems" has them all.
func (a *app) report(err error, asJSON bool) {
	all := problems(err)
	if asJSON {
		answer := map[string]any{"error": all[0]}
		if len(all) > 1 {
			answer["problems"] = all
		}
		_ = writeJSON(a.stderr, answer, "")
		return
	}
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "gxswitch: error: %s\n", printable(e.Message))
		if e.Hint != "" {
			fmt.Fprintf(&b, "hint: %s\n", printable(e.Hint))
		}
	}
	_, _ = io.WriteString(a.stderr, b.String()) // where else to complain?
}

// problems takes err apart into Errors, at least one.
func problems(err error) []*control.Error {
	if list, ok := errors.AsType[config.Errors](err); ok && len(list) > 0 {
		var all []*control.Error
		for _, e := range list {
			all = append(all, &control.Error{Code: control.CodeRefused, Message: e.Error(), Hint: e.Hint})
		}
		return all
	}
	e := &control.Error{Code: control.CodeRefused, Message: err.Error()}
	if inner, ok := errors.AsType[*control.Error](err); ok {
		e.Code, e.Hint = inner.Code, inner.Hint
	}
	if errors.Is(err, context.Canceled) {
		e.Message = "interrupted"
	}
	return []*control.Error{e}
}

// exitStatus is what a script sees of err.
func exitStatus(err error) int {
	switch problems(err)[0].Code {
	case control.CodeUsage:
		return 2
	case control.CodeNoDaemon:
		return 3
	case control.CodeNotFound:
		return 4
	default:
		return 1
	}
}

// asksForJSON looks for -j and its like in a command line that could not be
// parsed to its end.
func asksForJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	for i, arg := range args {
		switch {
		case arg == "-j", arg == "--json", arg == "-ojson", arg == "-o=json", arg == "--output=json":
			return true
		case (arg == "-o" || arg == "--output") && strings.Join(args[i+1:min(i+2, len(args))], "") == "json":
			return true
		}
	}
	return false
}

package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"gxswitch/internal/filter"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// grammar is a text in quotes that another package reads. What its String says
// is what parse takes.
type grammar[V fmt.Stringer] struct {
	parse   func(string) (V, error)
	example string // of a text, for who wrote no text
}

func vlans() grammar[vlan.Set] { return grammar[vlan.Set]{vlan.Parse, "10p/20"} }

func rate() grammar[shaping.Limit] { return grammar[shaping.Limit]{shaping.ParseLimit, "100Mb/s"} }

func storm() grammar[filter.StormRate] {
	return grammar[filter.StormRate]{filter.ParseStormRate, "2000pps"}
}

func antispoof() grammar[filter.Antispoof] {
	return grammar[filter.Antispoof]{filter.ParseAntispoof, "mac"}
}

func (k grammar[V]) read(n *node) (V, *Error) {
	var zero V
	if n.kind == unstable.String {
		v, err := k.parse(n.text)
		return v, explained(err)
	}
	_, e := text[string]{}.read(n)
	// The number 10 may be a VLAN, but 100 is no rate.
	if _, err := k.parse(n.text); err != nil || e.Hint == "" {
		e = e.hint("as in %s", quote(k.example))
	}
	return zero, e
}

// check is for what did not come by read.
func (k grammar[V]) check(v V) *Error {
	_, err := k.parse(v.String())
	return explained(err)
}

func (grammar[V]) show(v V) string { return tomlString(v.String()) }

// explained is what another package has against a text: where in it, what, and
// what to do. The key has said which kind of text it is.
func explained(err error) *Error {
	if err == nil {
		return nil
	}
	e := problem("%v", err)
	if err, ok := errors.AsType[*vlan.Error](err); ok {
		e.Msg, e.Hint = strings.TrimPrefix(e.Msg, "vlan "), err.Hint
	}
	if err, ok := errors.AsType[*filter.Error](err); ok {
		e.Msg, e.Hint = strings.TrimPrefix(e.Msg, err.What+" "), err.Hint
	}
	if err, ok := errors.AsType[*shaping.Error](err); ok {
		e.Hint = err.Hint
	}
	return e
}

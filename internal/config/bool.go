package config

import (
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// boolean is true or false.
type boolean struct{}

func (boolean) read(n *node) (bool, *Error) {
	if n.kind == unstable.Bool {
		return n.text == "true", nil
	}
	e := problem("want true or false, not %s", describe(n))
	switch strings.ToLower(n.text) {
	case "true", "on", "yes", "1":
		e = e.hint("write true, without quotes")
	case "false", "off", "no", "0":
		e = e.hint("write false, without quotes")
	}
	return false, e
}

func (boolean) check(bool) *Error { return nil }

func (boolean) show(b bool) string { return strconv.FormatBool(b) }

// toggle is a boolean where leaving the key out is a third answer.
type toggle struct{}

func (toggle) read(n *node) (Toggle, *Error) {
	b, e := boolean{}.read(n)
	if b {
		return On, e
	}
	return Off, e
}

func (toggle) check(t Toggle) *Error {
	if t > Off {
		return problem("%d is neither on nor off", t)
	}
	return nil
}

// show leaves Unset out: no text means it.
func (toggle) show(t Toggle) string {
	if t == Unset {
		return ""
	}
	return strconv.FormatBool(t == On)
}

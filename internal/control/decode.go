package control

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"gxswitch/internal/filter"
	"gxswitch/internal/vlan"
	"gxswitch/shaping"
)

// decode reads a request's body strictly: one JSON object with known keys of
// the right types and nothing after it. A key that is misspelt and passed over
// would change something else than what was asked for.
func decode[T any](body []byte) (T, error) {
	var v, zero T
	if body = bytes.TrimSpace(body); len(body) == 0 || body[0] != '{' {
		return zero, Errorf(CodeUsage, "body: want a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return zero, bodyError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return zero, Errorf(CodeUsage, "body: want one JSON object and nothing after it")
	}
	return v, nil
}

// noBody refuses a body where none has a meaning: a filter sent there, and
// passed over, would make a flush of one port a flush of all.
func noBody(q *request) error {
	if len(bytes.TrimSpace(q.body)) == 0 {
		return nil
	}
	_, err := decode[struct{}](q.body)
	return err
}

// bodyError says in the API's words what encoding/json found.
func bodyError(err error) error {
	var typ *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &typ):
		return Errorf(CodeUsage, "%s: want %s, got %s", typ.Field, kindWord(typ.Type), typ.Value)
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return Errorf(CodeUsage, "body is not JSON: %v", err)
	}
	msg := strings.TrimPrefix(err.Error(), "json: ")
	if key, ok := strings.CutPrefix(msg, "unknown field "); ok {
		return Errorf(CodeUsage, "body: unknown key %s", key)
	}
	e := Errorf(CodeUsage, "body: %s", msg)
	e.Hint = mend(err)
	return e
}

// mend is the hint of a text that is none of its type.
func mend(err error) string {
	if e, ok := errors.AsType[*vlan.Error](err); ok {
		return e.Hint
	}
	if e, ok := errors.AsType[*shaping.Error](err); ok {
		return e.Hint
	}
	if e, ok := errors.AsType[*filter.Error](err); ok {
		return e.Hint
	}
	return ""
}

func kindWord(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "an array"
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct:
		return "an object"
	default:
		return "a string" // strings, and the types that travel as text
	}
}

// readParams reads a request's parameters: those e has and no others, each with
// a value, and once unless e takes many.
func readParams(e endpoint, rawQuery string) (url.Values, error) {
	params, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, Errorf(CodeUsage, "query: %v", err)
	}
	for key, values := range params {
		switch {
		case !slices.Contains(e.params, key):
			return nil, Errorf(CodeUsage, "query: unknown parameter %q", key)
		case slices.Contains(values, ""):
			return nil, Errorf(CodeUsage, "query: %s has no value", key)
		case len(values) > 1 && !e.many:
			return nil, Errorf(CodeUsage, "query: %s comes more than once", key)
		}
	}
	return params, nil
}

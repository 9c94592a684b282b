package control

import (
	"fmt"
	"net/http"
)

// Code says what kind of failure an Error is. It decides the HTTP status and
// the exit status of the command line.
type Code string

// The codes, with their HTTP and exit statuses. A path that the API does not
// have is also CodeNotFound; a wrong method (405) and a body that is too long
// (413) are CodeUsage.
const (
	CodeUsage    Code = "usage"     // 400, exit 2: wrong wherever it is sent
	CodeDenied   Code = "denied"    // 403, exit 1: the peer may not
	CodeNotFound Code = "not_found" // 404, exit 4: no such network, port, entry
	CodeConflict Code = "conflict"  // 409, exit 1: exists with other settings
	CodeRefused  Code = "refused"   // 422, exit 1: can't be done as things are
	CodeInternal Code = "internal"  // 500, exit 1
	CodeNoDaemon Code = "no_daemon" // exit 3: nobody answers; only a Client says so
)

// ErrNoDaemon matches, with errors.Is, every Error that says that no daemon
// answers.
var ErrNoDaemon = &Error{Code: CodeNoDaemon}

// HTTPStatus is the code's status on the wire.
func (c Code) HTTPStatus() int {
	switch c {
	case CodeUsage:
		return http.StatusBadRequest
	case CodeDenied:
		return http.StatusForbidden
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict:
		return http.StatusConflict
	case CodeRefused:
		return http.StatusUnprocessableEntity
	default:
		return http.StatusInternalServerError
	}
}

// Error is a failure with a mend. It travels as {"error":{code,message,hint}}.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`        // what, with the name of the object
	Hint    string `json:"hint,omitempty"` // what to do
}

func (e *Error) Error() string { return e.Message }

// Is implements errors.Is for an Error that is a code alone, like ErrNoDaemon.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && *t == Error{Code: e.Code}
}

// Errorf makes an Error without a hint.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// WithHint returns e with what to do about it.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

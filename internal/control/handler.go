package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// handler answers the API's requests, one like the other:
//
//	may the peer? → route → read the body → call the Switch → write the answer
//
// Every answer it gives is JSON; only what is not HTTP at all gets net/http's
// own plain 400.
type handler struct {
	sw     Switch
	socket *socket
	log    *slog.Logger
	mux    *http.ServeMux
	calls  gate
}

// endpoint is one method of one path. Its function decodes the request and
// calls the Switch; a nil answer is 204 No Content.
type endpoint struct {
	call   string   // what the log says of it: "add port"; "" for one that only reads
	params []string // the query parameters it takes
	many   bool     // each of them several times
	serve  func(*request) (any, error)
}

// request is a request whose body, bounded, has arrived.
type request struct {
	*http.Request
	params url.Values
	body   []byte
	object string // what a changing call is about, for the log
}

func newHandler(sw Switch, s *socket, log *slog.Logger) *handler {
	h := &handler{sw: sw, socket: s, log: log, mux: http.NewServeMux()}
	for pattern, methods := range routes(sw) {
		h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { h.dispatch(w, r, methods) })
	}
	h.mux.HandleFunc("/", noSuchPath)
	return h
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	defer c.completed()
	defer h.recover(w, r, c.peer)
	if !h.socket.allows(c.peer) {
		h.log.Warn("control call denied", "uid", c.peer.uid, "pid", c.peer.pid, "method", r.Method, "path", r.URL.Path)
		e := Errorf(CodeDenied, "uid %d may not use %s", c.peer.uid, h.socket.path).WithHint("%s", howToGetIn(h.socket.group))
		writeError(w, e.Code.HTTPStatus(), e)
		return
	}
	// The mux would redirect to a tidier path, in HTML.
	if p := r.URL.EscapedPath(); !strings.HasPrefix(p, "/") || path.Clean(p) != p {
		noSuchPath(w, r)
		return
	}
	h.mux.ServeHTTP(w, r)
}

func noSuchPath(w http.ResponseWriter, r *http.Request) {
	writeError(w, http.StatusNotFound, Errorf(CodeNotFound, "no such path in the API: %s", r.URL.Path))
}

// howToGetIn is the hint for somebody whom the socket refuses.
func howToGetIn(group string) string {
	if group == "" {
		return "run this as root: the socket is open to no group"
	}
	return fmt.Sprintf("run this as root, or join the group %q (usermod -aG %s USER) and log in again", group, group)
}

// recover turns a panic into an answer. The daemon moves other people's
// frames: one bad call must not stop them.
func (h *handler) recover(w http.ResponseWriter, r *http.Request, p peer) {
	v := recover()
	if v == nil {
		return
	}
	h.log.Error("control call panicked", "method", r.Method, "path", r.URL.Path, "uid", p.uid, "pid", p.pid,
		"panic", v, "stack", string(debug.Stack()))
	writeError(w, http.StatusInternalServerError,
		Errorf(CodeInternal, "%s %s failed inside the daemon", r.Method, r.URL.Path).
			WithHint("its log says where; this is a bug worth reporting"))
}

// dispatch serves the request's method, if the path has it.
func (h *handler) dispatch(w http.ResponseWriter, r *http.Request, methods map[string]endpoint) {
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	e, ok := methods[method]
	if !ok {
		allowed := strings.Join(slices.Sorted(maps.Keys(methods)), ", ")
		w.Header().Set("Allow", allowed)
		writeError(w, http.StatusMethodNotAllowed,
			Errorf(CodeUsage, "%s: method %s is not for this path", r.URL.Path, r.Method).WithHint("it has %s", allowed))
		return
	}
	body, err := readBody(w, r)
	if err != nil {
		return
	}
	var answer any
	params, err := readParams(e, r.URL.RawQuery)
	if err == nil {
		answer, err = h.call(e, &request{Request: r, params: params, body: body})
	}
	if err != nil {
		e := asError(err)
		writeError(w, e.Code.HTTPStatus(), e)
		return
	}
	if answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// call runs e, spared by the connection bound and let through by the gate, and
// logs it with its peer if it changes something.
func (h *handler) call(e endpoint, q *request) (any, error) {
	if !h.calls.enter() {
		return nil, Errorf(CodeRefused, "the daemon is stopping")
	}
	defer h.calls.leave()
	c := q.Context().Value(connKey{}).(*conn)
	c.work(true)
	defer c.work(false)
	answer, err := e.serve(q)
	if e.call != "" {
		attrs := []any{"call", e.call, "object", q.object, "uid", c.peer.uid, "pid", c.peer.pid}
		if err != nil {
			h.log.Warn("control call failed", append(attrs, "err", err)...)
		} else {
			h.log.Info("control call", attrs...)
		}
	}
	return answer, err
}

// asError is err with the code and hint of the Error in it, and all of its text.
func asError(err error) *Error {
	e := &Error{Code: CodeInternal, Message: err.Error()}
	var inner *Error
	if errors.As(err, &inner) {
		e.Code, e.Hint = inner.Code, inner.Hint
	}
	return e
}

// readBody reads the body, or answers for it: 413 beyond the bound. What is
// too long is read on for a moment, since a peer that is still writing when
// the connection closes never gets to see the answer.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength <= maxBody {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			writeError(w, http.StatusBadRequest, Errorf(CodeUsage, "body did not arrive: %v", err))
			return nil, err
		}
		if len(body) <= maxBody {
			return body, nil
		}
	}
	w.Header().Set("Connection", "close")
	err := Errorf(CodeUsage, "body is longer than %d bytes", maxBody)
	writeError(w, http.StatusRequestEntityTooLarge, err)
	ctl := http.NewResponseController(w)
	if r.Header.Get("Expect") == "" && ctl.EnableFullDuplex() == nil && ctl.Flush() == nil {
		_ = ctl.SetReadDeadline(time.Now().Add(closeGrace))
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return nil, err
}

func writeError(w http.ResponseWriter, status int, e *Error) {
	writeJSON(w, status, map[string]*Error{"error": e})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("answer of type %T is not JSON: %v", v, err))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(buf.Len()))
	w.WriteHeader(status)
	w.Write(buf.Bytes())
}

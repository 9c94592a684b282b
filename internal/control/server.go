package control

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// What one peer may cost the daemon. Peers are root and the group's members,
// so this is about mistakes and runaway scripts more than about attacks.
const (
	maxConns       = 256
	maxBody        = 1 << 20
	maxHeader      = 8 << 10
	headerTimeout  = 5 * time.Second
	requestTimeout = 10 * time.Second // header and body
	writeTimeout   = 60 * time.Second // the call and the answer; a reload may take its time
	idleTimeout    = 60 * time.Second
	closeGrace     = 2 * time.Second
)

// ServerOptions say where a Server listens and for whom.
type ServerOptions struct {
	Socket string // path
	Group  string // whose members may use it besides root, "" for none
	Log    *slog.Logger
}

// Server serves a Switch on a unix socket.
//
// Listen comes first and takes the socket's lock, so that a second daemon
// stops before it has touched anything. Peers that connect from then on wait
// in the socket's queue until Serve answers them.
type Server struct {
	socket *socket
	log    *slog.Logger
}

// Listen opens the socket. It fails with a CodeRefused Error where another
// daemon has it.
func Listen(o ServerOptions) (*Server, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := openSocket(o.Socket, o.Group, log)
	if err != nil {
		return nil, err
	}
	return &Server{socket: s, log: log}, nil
}

// Serve answers calls to sw until ctx is done. Calls
// that have begun get two seconds to be answered. No method of sw runs any
// more when Serve returns. Serve may be called once.
func (s *Server) Serve(ctx context.Context, sw Switch) error {
	h := newHandler(sw, s.socket, s.log)
	srv := &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  requestTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c.(*conn))
		},
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(newBound(s.socket.listener, maxConns, s.log)) }()

	var failure error
	select {
	case err := <-served:
		failure = fmt.Errorf("serve control socket %s: %w", s.socket.path, err)
		srv.Close()
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		if srv.Shutdown(grace) != nil {
			srv.Close() // slow peers; nothing is lost by cutting them off
		}
		cancel()
		<-served
	}
	h.calls.close()
	return failure
}

// Close removes the socket and releases its lock. It comes last: who finds the
// lock free finds nothing that this daemon still has to put back.
func (s *Server) Close() error { return s.socket.close() }

// connKey is the context key under which a request finds its *conn.
type connKey struct{}

// gate lets calls through until it is closed, and closing waits for those
// that are inside.
type gate struct {
	mu     sync.RWMutex // held for reading during a call
	closed bool         // guarded by mu
}

func (g *gate) enter() bool {
	g.mu.RLock()
	if g.closed {
		g.mu.RUnlock()
		return false
	}
	return true
}

func (g *gate) leave() { g.mu.RUnlock() }

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
}

package xentest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Server is a xenstored.
type Server struct {
	path     string
	listener net.Listener
	done     chan struct{}  // closed by Close
	serving  sync.WaitGroup // the goroutines of listener and connections

	mu     sync.Mutex // guards all below
	conns  map[net.Conn]bool
	tree   tree
	change uint64 // how often the tree was changed
	lastTx uint32
	writes []Write
	fault  Fault
	after  int // answers until fault
}

// Write is a key that a client wrote.
type Write struct{ Path, Value string }

// New starts a server on a socket of its own, until the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	// A test's TempDir may be too long for a socket's address (unix(7)).
	dir, err := os.MkdirTemp("", "xentest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := Listen(filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen starts a server on a socket that it makes at path.
func Listen(path string) (*Server, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	s := &Server{path: path, listener: l, done: make(chan struct{}), conns: map[net.Conn]bool{}, tree: newTree()}
	s.serving.Go(s.accept)
	return s, nil
}

// Path is that of the socket.
func (s *Server) Path() string { return s.path }

// Close ends the server and all connections, and removes the socket.
func (s *Server) Close() {
	s.mu.Lock()
	select {
	case <-s.done:
	default:
		close(s.done)
	}
	_ = s.listener.Close()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
}

// HangUp ends all connections, as a xenstored does that starts again. Clients
// may connect anew.
func (s *Server) HangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// Set writes a key and makes those above it. Any path and value will do, also
// such as no client could write.
func (s *Server) Set(path, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree.set(path, value)
	s.change++
}

// Remove removes a key and those below it.
func (s *Server) Remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree.remove(path)
	s.change++
}

// Value is that of a key, "" also where there is none.
func (s *Server) Value(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree[path]
}

// Exists reports whether there is such a key.
func (s *Server) Exists(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.tree[path]
	return ok
}

// Writes returns what clients have written, in order. What a transaction wrote
// is there once it is committed.
func (s *Server) Writes() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Write(nil), s.writes...)
}

func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				panic(err) // a test's server, out of descriptors
			}
			return
		}
		s.mu.Lock()
		select {
		case <-s.done:
			_ = c.Close()
		default:
			s.conns[c] = true
			s.serving.Go(func() { s.serve(c) })
		}
		s.mu.Unlock()
	}
}

func (s *Server) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	t := talk{server: s, open: map[uint32]*transaction{}}
	for {
		m, err := readMessage(c)
		if err != nil {
			return
		}
		answer := t.answer(m)
		if s.send(c, m, answer) != nil {
			return
		}
	}
}

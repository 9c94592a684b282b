package dhcpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
)

// Server serves one network. Start makes one, Close ends it.
type Server struct {
	file string
	log  *slog.Logger
	sock *sockets
	sw   Switch

	mu     sync.Mutex // guards what follows
	core   *core
	events []lease.Event // that commits has not seen

	wake   chan struct{} // for run: something is due earlier
	commit chan struct{} // for commits: events, and perhaps acks
	saved  chan struct{} // for syncs
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Start opens the interface and serves. Leases of the file that still hold are
// told by Switch.Changed as if they had just been given, before Start returns.
func Start(c Config, sw Switch, log *slog.Logger) (*Server, error) {
	s, err := start(c, sw, log)
	if err != nil {
		return nil, fmt.Errorf("DHCP server of network %s: %w", c.Network, err)
	}
	return s, nil
}

func start(c Config, sw Switch, log *slog.Logger) (*Server, error) {
	sock, err := open(c.Interface)
	if err != nil {
		return nil, err
	}
	s := &Server{
		file: c.File, log: log.With("network", c.Network), sock: sock, sw: sw,
		wake: make(chan struct{}, 1), commit: make(chan struct{}, 1), saved: make(chan struct{}, 1),
	}
	if s.core, err = newCore(c, sw, log, sock.mac, s.send); err == nil {
		err = s.restore()
	}
	if err != nil {
		sock.close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, f := range []func(){
		func() { s.read(ctx, sock.dhcp, s.core.receive) },
		func() { s.read(ctx, sock.arp, s.core.answered) },
		func() { s.run(ctx) },
		func() { s.commits(ctx) },
		s.syncs,
	} {
		s.done.Go(f)
	}
	return s, nil
}

// restore takes the file's leases. A damaged file is no reason not to serve.
func (s *Server) restore() error {
	text, err := load(s.file)
	if err != nil || text == nil {
		return err
	}
	if err := s.core.table.Decode(text, time.Now()); err != nil {
		s.log.Error("the file of DHCP leases is damaged and set aside; addresses in use are found by probing", "file", s.file, "err", err)
		return setAside(s.file)
	}
	s.tell(s.core.table.Events())
	return nil
}

// Close ends the server. What clients were told stays in the file.
func (s *Server) Close() error {
	s.cancel()
	s.sock.close()
	s.done.Wait()
	return nil
}

// Configure changes what the server does; the network, the interface and the
// file stay what they are.
func (s *Server) Configure(c Config) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.core.configure(c); err != nil {
		return fmt.Errorf("DHCP server of network %s: %w", c.Network, err)
	}
	s.settle()
	return nil
}

// Table is the server's, for DNS to read.
func (s *Server) Table() *lease.Table { return s.core.table }

// Leases are those that hold, by address.
func (s *Server) Leases() []lease.Lease { return s.core.table.List(time.Now()) }

// Delete ends a station's lease. The station does not know of it until it wants
// to renew.
func (s *Server) Delete(mac frame.MAC) (lease.Lease, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.core.table.Delete(mac, time.Now())
	s.settle()
	return l, ok
}

// settle hands on what a step has brought about. The caller has the lock.
func (s *Server) settle() {
	s.events = append(s.events, s.core.table.Events()...)
	if len(s.events) > 0 || len(s.core.acks) > 0 {
		nudge(s.commit)
	}
	nudge(s.wake)
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// read hands a socket's frames to f, until ctx ends.
func (s *Server) read(ctx context.Context, from net.PacketConn, f func([]byte, time.Time)) {
	b := make([]byte, maxFrame)
	for failures := 0; ; {
		n, _, err := from.ReadFrom(b)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			// The interface going down is told once, and it may come back.
			if failures++; failures == maxFailures {
				s.log.Error("DHCP can no longer be received", "err", err)
				return
			}
			continue
		}
		s.mu.Lock()
		f(b[:n], time.Now())
		s.settle()
		s.mu.Unlock()
	}
}

const maxFailures = 100

// run does what is due.
func (s *Server) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		now := time.Now()
		next := s.core.tick(now)
		s.events = append(s.events, s.core.table.Events()...)
		if len(s.events) > 0 {
			nudge(s.commit)
		}
		s.mu.Unlock()
		if next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(max(next.Sub(now), time.Millisecond))
		}
	}
}

// commits brings leases into the file, tells of them, and then answers their
// clients. What comes while it does is the next round's.
func (s *Server) commits(ctx context.Context) {
	defer close(s.saved)
	for ended := false; !ended; {
		select {
		case <-s.commit:
		case <-ctx.Done():
			ended = true // with one more round, for what was said already
		}
		s.mu.Lock()
		events, acks := s.events, s.core.acks
		s.events, s.core.acks = nil, nil
		s.mu.Unlock()
		if len(events) > 0 {
			s.save()
			s.tell(events)
		}
		for _, b := range acks {
			s.send(b)
		}
		if len(events) > 0 {
			nudge(s.saved)
		}
	}
}

// syncs brings the file to the disk, as often as the disk can.
func (s *Server) syncs() {
	for range s.saved {
		if err := syncFile(s.file); err != nil {
			s.log.Warn("DHCP leases", "err", err)
		}
	}
}

func (s *Server) save() {
	text, err := s.core.table.Encode()
	if err == nil {
		err = save(s.file, text)
	}
	if err != nil {
		s.log.Error("DHCP leases can't be saved, a restart would forget them", "err", err)
	}
}

func (s *Server) tell(events []lease.Event) {
	for _, e := range events {
		if e.Kind != lease.Renewed {
			s.log.Info("DHCP lease "+e.Kind.String(), "ip", e.Lease.Addr, "mac", e.Lease.MAC, "hostname", e.Lease.Hostname, "port", e.Lease.Port)
		}
		if s.sw.Changed != nil {
			s.sw.Changed(e)
		}
	}
}

func (s *Server) send(b []byte) {
	if err := s.sock.send(b); err != nil && !errors.Is(err, net.ErrClosed) {
		s.log.Debug("send DHCP", "err", err)
	}
}

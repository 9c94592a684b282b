package dnsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Server serves one network. Start makes one, Close ends it.
type Server struct {
	log   *slog.Logger
	names Names
	view  atomic.Pointer[view]
	cache *cache
	up    *upstreams
	limit *limit
	own   own

	servers  []*dns.Server
	ctx      context.Context
	cancel   context.CancelFunc
	serving  sync.WaitGroup
	forwards sync.WaitGroup

	mu      sync.Mutex // guards what follows
	flights map[question]*flight
	said    map[string]time.Time // warnings, so that guests can't fill the log
}

// Start opens the sockets and serves.
func Start(c Config, names Names, log *slog.Logger) (*Server, error) {
	s, err := newServer(c, names, log)
	if err == nil {
		err = s.start()
	}
	if err != nil {
		return nil, fmt.Errorf("DNS server of network %s: %w", c.Network, err)
	}
	return s, nil
}

// newServer is a Server without sockets.
func newServer(c Config, names Names, log *slog.Logger) (*Server, error) {
	v, err := newView(c)
	if err != nil {
		return nil, err
	}
	log = log.With("network", c.Network)
	s := &Server{
		log: log, names: names, cache: newCache(),
		up:      &upstreams{log: log, failed: map[netip.AddrPort]time.Time{}},
		limit:   newLimit(maxForwards, maxForwardsOfASource),
		flights: map[question]*flight{},
		said:    map[string]time.Time{},
	}
	s.view.Store(v)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func (s *Server) start() error {
	endpoints, err := open(s.view.Load(), s.inside, newLimit(maxConns, maxConnsOfASource))
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		s.run(&dns.Server{PacketConn: e.udp, Handler: dns.HandlerFunc(s.serve), UDPSize: dns.DefaultMsgSize})
		s.run(&dns.Server{Listener: e.tcp, Handler: dns.HandlerFunc(s.serve)})
	}
	return nil
}

// run returns once the library's server can be shut down.
func (s *Server) run(d *dns.Server) {
	started := make(chan struct{})
	d.NotifyStartedFunc = func() { close(started) }
	s.servers = append(s.servers, d)
	s.serving.Go(func() {
		if err := d.ActivateAndServe(); err != nil && s.ctx.Err() == nil {
			s.log.Error("DNS is no longer served", "err", err)
		}
	})
	<-started
}

// Close ends the server. Questions on their way get no answer.
func (s *Server) Close() error {
	s.cancel()
	var errs []error
	for _, d := range s.servers {
		errs = append(errs, d.Shutdown())
	}
	s.serving.Wait()
	s.forwards.Wait()
	return errors.Join(errs...)
}

// Configure changes what the server does, but for the interface and the
// addresses, for which it must be started anew.
func (s *Server) Configure(c Config) error {
	v, err := newView(c)
	if err != nil {
		return fmt.Errorf("DNS server of network %s: %w", c.Network, err)
	}
	old := s.view.Swap(v)
	if !slices.Equal(old.Upstream, v.Upstream) || !slices.Equal(old.rebindOK, v.rebindOK) {
		s.cache.clear()
	}
	return nil
}

// inside reports whether it is a guest, or the host, who asks from the address.
func (s *Server) inside(src netip.Addr) bool {
	return s.view.Load().guest(src) || src.Is6() && src.IsLinkLocalUnicast() || s.own.has(src, time.Now())
}

// serve answers one question.
func (s *Server) serve(w dns.ResponseWriter, q *dns.Msg) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("DNS question", "panic", p)
		}
	}()
	v, src := s.view.Load(), source(w.RemoteAddr())
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	if m := s.answer(v, q, src, udp); m != nil {
		if err := w.WriteMsg(m); err != nil {
			s.log.Debug("DNS answer", "to", src, "err", err)
		}
	}
}

// answer makes the answer for one transport, nil for none.
func (s *Server) answer(v *view, q *dns.Msg, src netip.Addr, udp bool) *dns.Msg {
	m := s.find(v, q, src)
	if m == nil {
		m = failure(q, dns.RcodeServerFailure)
	}
	m.RecursionAvailable, m.AuthenticatedData, m.Compress = true, false, true
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(datagram, opt.Do())
		if opt.Version() != 0 {
			m.Rcode = dns.RcodeBadVers
		}
		size = min(int(opt.UDPSize()), datagram)
	} else if m.Rcode > 15 {
		m.Rcode = dns.RcodeServerFailure // nothing could carry the rest of it
	}
	if !udp {
		size = dns.MaxMsgSize
	}
	m.Truncate(size)
	m.Compress = true
	return m
}

// find finds the answer by itself or upstream.
func (s *Server) find(v *view, q *dns.Msg, src netip.Addr) *dns.Msg {
	if q.Opcode != dns.OpcodeQuery {
		return failure(q, dns.RcodeNotImplemented)
	}
	if len(q.Question) != 1 {
		return failure(q, dns.RcodeFormatError)
	}
	if opt := q.IsEdns0(); opt != nil && opt.Version() != 0 {
		return failure(q, dns.RcodeSuccess) // see answer
	}
	asked := q.Question[0]
	if asked.Qclass != dns.ClassINET {
		return failure(q, dns.RcodeRefused)
	}
	switch asked.Qtype {
	case dns.TypeANY:
		m := answer(q)
		m.Authoritative = false
		m.Answer = []dns.RR{&dns.HINFO{Hdr: header(q, dns.TypeHINFO), Cpu: "RFC8482"}}
		return m
	case dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB, dns.TypeTKEY, dns.TypeTSIG, dns.TypeOPT, dns.TypeNone, dns.TypeReserved:
		return failure(q, dns.RcodeRefused)
	}
	name := dns.CanonicalName(asked.Name)
	if m := s.local(v, q, name); m != nil {
		return m
	}
	return s.forward(v, q, name, src)
}

// warn logs, each kind of message once a minute.
func (s *Server) warn(msg string, args ...any) {
	s.mu.Lock()
	now := time.Now()
	last, ok := s.said[msg]
	if ok && now.Sub(last) < time.Minute {
		s.mu.Unlock()
		return
	}
	s.said[msg] = now
	s.mu.Unlock()
	s.log.Warn(msg, args...)
}

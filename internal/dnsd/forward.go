package dnsd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// What is silent is asked once more, as one datagram may be lost; and a client
	// hears before it gives up, mostly after 5 s (resolv.conf(5)).
	tryTimeout     = 1500 * time.Millisecond
	rounds         = 2
	forwardTimeout = 4500 * time.Millisecond

	// datagram is the size that passes unfragmented (RFC 9715, 3).
	datagram = 1232

	maxForwards          = 1024 // questions on their way, those that wait for another's included
	maxForwardsOfASource = 64
)

// flight is a question on its way. Whoever asks the same meanwhile waits for it.
type flight struct {
	done chan struct{}
	msg  *dns.Msg // nil if nobody answered; to be copied, once done is closed
}

// forward finds the upstream's answer to q, perhaps in the cache. nil means that
// too many questions are on their way.
func (s *Server) forward(v *view, q *dns.Msg, name string, src netip.Addr) *dns.Msg {
	if !q.RecursionDesired || !v.system && len(v.static) == 0 {
		return failure(q, dns.RcodeRefused)
	}
	key := question{name: name, kind: q.Question[0].Qtype, cd: q.CheckingDisabled}
	if opt := q.IsEdns0(); opt != nil {
		key.do = opt.Do()
	}
	if m := s.cache.get(key, time.Now()); m != nil {
		return reply(q, m)
	}
	if !s.limit.enter(src) {
		return nil
	}
	defer s.limit.leave(src)
	f := s.join(v, key)
	select {
	case <-f.done:
	case <-s.ctx.Done():
	}
	select {
	case <-f.done:
		if f.msg != nil {
			return reply(q, f.msg.Copy())
		}
	default:
	}
	return failure(q, dns.RcodeServerFailure)
}

// reply makes the upstream's answer one to q. Its question has q's own letters:
// some clients check the case.
func reply(q, m *dns.Msg) *dns.Msg {
	r := new(dns.Msg).SetReply(q)
	r.Rcode, r.Truncated, r.RecursionAvailable = m.Rcode, m.Truncated, true
	r.Answer, r.Ns, r.Extra = m.Answer, m.Ns, m.Extra
	return r
}

// join is the flight of a question, which begins if there is none.
func (s *Server) join(v *view, key question) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.flights[key]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	s.flights[key] = f
	s.forwards.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.log.Error("DNS answer", "panic", p)
			}
			s.mu.Lock()
			delete(s.flights, key)
			s.mu.Unlock()
			close(f.done)
		}()
		ctx, cancel := context.WithTimeout(s.ctx, forwardTimeout)
		defer cancel()
		f.msg = s.resolve(ctx, v, key)
	})
	return f
}

// resolve asks the upstreams and remembers what they say.
func (s *Server) resolve(ctx context.Context, v *view, key question) *dns.Msg {
	m, err := s.ask(ctx, v, key)
	if err != nil {
		s.warn("DNS servers do not answer", "name", key.name, "err", err)
	}
	if m == nil {
		if s.ctx.Err() == nil {
			m = new(dns.Msg)
			m.Rcode = dns.RcodeServerFailure
			s.cache.put(key, m, time.Now())
		}
		return nil
	}
	// What belongs to the transport, and to this hop alone.
	m.Extra = withoutOPT(m.Extra)
	if !v.mayLeadInside(key.name) && strip(m) {
		s.warn("an answer that leads to a private address was withheld (DNS rebinding)", "name", key.name)
	}
	s.cache.put(key, m, time.Now())
	return m
}

func (v *view) mayLeadInside(name string) bool {
	for _, d := range v.rebindOK {
		if under(name, d) {
			return true
		}
	}
	return false
}

func withoutOPT(all []dns.RR) []dns.RR {
	var kept []dns.RR
	for _, rr := range all {
		if t := rr.Header().Rrtype; t != dns.TypeOPT && t != dns.TypeTSIG && t != dns.TypeSIG {
			kept = append(kept, rr)
		}
	}
	return kept
}

var errNoServers = errors.New("the host has none")

// ask asks one upstream after the other, and those that were silent once more. An
// answer that is a failure of the server's is kept for the case that no other has a
// better one.
func (s *Server) ask(ctx context.Context, v *view, key question) (*dns.Msg, error) {
	servers := s.up.list(v, time.Now())
	if len(servers) == 0 {
		return nil, errNoServers
	}
	var worse *dns.Msg
	var errs []error
	for range rounds {
		var silent []netip.AddrPort
		for _, server := range servers {
			m, err := exchange(ctx, server, key)
			if ctx.Err() != nil {
				return worse, errors.Join(append(errs, ctx.Err())...)
			}
			s.up.report(server, err == nil, time.Now())
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("%s: %w", server, err))
				if errors.Is(err, os.ErrDeadlineExceeded) {
					silent = append(silent, server)
				}
			case m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError:
				return m, nil
			case worse == nil:
				worse = m
			}
		}
		if servers = silent; worse != nil {
			break
		}
	}
	if worse != nil {
		return worse, nil
	}
	return nil, errors.Join(errs...)
}

var errOther = errors.New("an answer to another question")

// exchange asks one server, over TCP where the answer is too long for UDP, and
// without EDNS where it does not know that.
func exchange(ctx context.Context, server netip.AddrPort, key question) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(key.name, key.kind)
	q.CheckingDisabled = key.cd
	q.SetEdns0(datagram, key.do)
	m, err := transfer(ctx, "udp", server, q)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) {
		q.Extra = nil
		m, err = transfer(ctx, "udp", server, q)
	}
	if err == nil && m.Truncated {
		if whole, err := transfer(ctx, "tcp", server, q); err == nil {
			return whole, nil
		}
	}
	return m, err
}

func transfer(ctx context.Context, network string, server netip.AddrPort, q *dns.Msg) (*dns.Msg, error) {
	q.Id = dns.Id()
	c := dns.Client{Net: network, Timeout: tryTimeout, UDPSize: dns.DefaultMsgSize}
	m, _, err := c.ExchangeContext(ctx, q, server.String())
	if err != nil {
		return nil, err
	}
	asked := q.Question[0]
	if !m.Response || len(m.Question) != 1 || m.Question[0].Qtype != asked.Qtype ||
		m.Question[0].Qclass != asked.Qclass || !strings.EqualFold(m.Question[0].Name, asked.Name) {
		return nil, errOther
	}
	return m, nil
}

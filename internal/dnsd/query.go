package dnsd

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// Answer is what a question brought.
type Answer struct {
	Name    string // that was asked for, with the last dot
	Type    string // likewise: A, PTR, …
	Code    string // NOERROR, NXDOMAIN, SERVFAIL, …
	Records []Record
}

// Record is one of an answer's. The value is as in a zone file.
type Record struct {
	Name       string
	TTLSeconds uint32
	Type       string
	Value      string
}

// Query asks as the host would over TCP. Without a type it is A, or PTR if the
// name is an address. The error is about the question.
func (s *Server) Query(name, kind string) (Answer, error) {
	q, err := parseQuestion(name, kind)
	if err != nil {
		return Answer{}, err
	}
	asked := q.Question[0]
	m := s.answer(s.view.Load(), q, loopback[0], false)
	a := Answer{Name: asked.Name, Type: dns.TypeToString[asked.Qtype], Code: dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		h := rr.Header()
		a.Records = append(a.Records, Record{Name: h.Name, TTLSeconds: h.Ttl, Type: dns.Type(h.Rrtype).String(),
			Value: strings.TrimPrefix(rr.String(), h.String())})
	}
	return a, nil
}

// parseQuestion makes the question for a name of a type.
func parseQuestion(name, kind string) (*dns.Msg, error) {
	if a, err := netip.ParseAddr(name); err == nil && (kind == "" || strings.EqualFold(kind, "PTR")) {
		if name, err = dns.ReverseAddr(a.WithZone("").String()); err != nil {
			return nil, err
		}
		kind = "PTR"
	}
	if kind == "" {
		kind = "A"
	}
	t, ok := dns.StringToType[strings.ToUpper(kind)]
	if !ok {
		return nil, fmt.Errorf("type %q: want one as A, AAAA, PTR, MX or TXT", kind)
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, fmt.Errorf("%q is no domain name", name)
	}
	return new(dns.Msg).SetQuestion(dns.Fqdn(name), t), nil
}

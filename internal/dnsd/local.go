package dnsd

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// A lease can end and be another's at any time, so its name is not remembered
// for long; that there is no such name, for even less.
const (
	localTTL    = 10 // seconds
	negativeTTL = 5  // seconds
)

// local answers what this server knows itself, or returns nil. The name is
// canonical.
func (s *Server) local(v *view, q *dns.Msg, name string) *dns.Msg {
	asked := q.Question[0]
	switch {
	case under(name, "localhost."):
		return addresses(q, loopback)
	case v.domain != "" && under(name, v.domain):
		return s.station(v, q, name)
	case asked.Qtype == dns.TypeA || asked.Qtype == dns.TypeAAAA:
		label := strings.TrimSuffix(name, ".")
		if label == "" || strings.Contains(label, ".") {
			break
		}
		if addrs, ok := s.names.Addrs(label); ok {
			return addresses(q, addrs)
		}
		return failure(q, dns.RcodeNameError) // no top-level domain has addresses
	}
	if a, ok := reversed(name); ok {
		return s.reverse(v, q, a)
	}
	return nil
}

var loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// station answers below the domain.
func (s *Server) station(v *view, q *dns.Msg, name string) *dns.Msg {
	if name == v.domain {
		m := answer(q)
		if t := q.Question[0].Qtype; t == dns.TypeSOA {
			m.Answer = []dns.RR{v.soa()}
		} else {
			m.Ns = []dns.RR{v.soa()}
		}
		return m
	}
	addrs, ok := s.names.Addrs(strings.TrimSuffix(name, "."+v.domain))
	if !ok {
		m := failure(q, dns.RcodeNameError)
		m.Authoritative, m.Ns = true, []dns.RR{v.soa()}
		return m
	}
	m := addresses(q, addrs)
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{v.soa()}
	}
	return m
}

// reverse answers for an address, or returns nil where others may know.
func (s *Server) reverse(v *view, q *dns.Msg, a netip.Addr) *dns.Msg {
	name := s.names.NameOf(a)
	switch {
	case name != "" && v.domain != "":
		name += "." + v.domain
	case name != "":
		name += "."
	case a.IsLoopback():
		name = "localhost."
	case a.IsPrivate() && v.guest(a):
		return failure(q, dns.RcodeNameError) // nobody else can know (RFC 6303)
	default:
		return nil
	}
	m := answer(q)
	if q.Question[0].Qtype == dns.TypePTR {
		m.Answer = []dns.RR{&dns.PTR{Hdr: header(q, dns.TypePTR), Ptr: name}}
	}
	return m
}

// guest reports whether the address is one that guests may have.
func (v *view) guest(a netip.Addr) bool {
	for _, p := range v.Sources {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// reversed is the address that a name of in-addr.arpa or ip6.arpa stands for.
func reversed(name string) (netip.Addr, bool) {
	if digits, ok := strings.CutSuffix(name, ".in-addr.arpa."); ok {
		p := strings.Split(digits, ".")
		if len(p) != 4 {
			return netip.Addr{}, false
		}
		a, err := netip.ParseAddr(p[3] + "." + p[2] + "." + p[1] + "." + p[0])
		return a, err == nil
	}
	digits, ok := strings.CutSuffix(name, ".ip6.arpa.")
	if !ok || len(digits) != 63 {
		return netip.Addr{}, false
	}
	var b strings.Builder
	for i := 62; i >= 0; i -= 2 {
		b.WriteByte(digits[i])
		if i > 0 && digits[i-1] != '.' {
			return netip.Addr{}, false
		}
		if i%8 == 0 && i > 0 {
			b.WriteByte(':')
		}
	}
	a, err := netip.ParseAddr(b.String())
	return a, err == nil
}

// addresses answers with those of the type that is asked for.
func addresses(q *dns.Msg, addrs []netip.Addr) *dns.Msg {
	m := answer(q)
	t := q.Question[0].Qtype
	for _, a := range addrs {
		switch {
		case a.Is4() && t == dns.TypeA:
			m.Answer = append(m.Answer, &dns.A{Hdr: header(q, t), A: a.AsSlice()})
		case a.Is6() && t == dns.TypeAAAA:
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(q, t), AAAA: a.AsSlice()})
		}
	}
	return m
}

func answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	return m
}

func failure(q *dns.Msg, rcode int) *dns.Msg { return new(dns.Msg).SetRcode(q, rcode) }

func header(q *dns.Msg, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.Question[0].Name, Rrtype: t, Class: dns.ClassINET, Ttl: localTTL}
}

// soa is what makes the absence of a name known for a while (RFC 2308, 3).
func (v *view) soa() dns.RR {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: v.domain, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negativeTTL},
		Ns:  v.domain, Mbox: "hostmaster." + v.domain,
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}
}

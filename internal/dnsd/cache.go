package dnsd

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// question is what an answer is remembered by. The name is canonical.
type question struct {
	name   string
	kind   uint16
	do, cd bool // with DNSSEC's records; without validation upstream
}

const (
	cacheBytes = 8 << 20
	entryBytes = 256 // what an entry costs besides its texts, about
	maxTTL     = 24 * time.Hour
	// failureTTL is how long it is remembered that nobody could answer (RFC 9520).
	failureTTL = 2 * time.Second
)

// cache remembers answers, those that were used last, up to so many bytes.
type cache struct {
	mu    sync.Mutex // guards what follows
	by    map[question]*list.Element
	used  *list.List // of *cached, the latest first
	bytes int
}

type cached struct {
	question
	wire         []byte
	from, expiry time.Time
}

func (c *cached) size() int { return len(c.wire) + len(c.name) + entryBytes }

func newCache() *cache {
	return &cache{by: map[question]*list.Element{}, used: list.New()}
}

// get returns an answer as it is now: its TTLs have run since.
func (c *cache) get(q question, now time.Time) *dns.Msg {
	c.mu.Lock()
	e := c.by[q]
	if e == nil {
		c.mu.Unlock()
		return nil
	}
	v := e.Value.(*cached)
	if !now.Before(v.expiry) {
		c.remove(e)
		c.mu.Unlock()
		return nil
	}
	c.used.MoveToFront(e)
	c.mu.Unlock()

	m := new(dns.Msg)
	if m.Unpack(v.wire) != nil {
		return nil
	}
	age := uint32(now.Sub(v.from) / time.Second)
	for _, s := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range s {
			h := rr.Header()
			h.Ttl -= min(age, h.Ttl)
		}
	}
	return m
}

func (c *cache) put(q question, m *dns.Msg, now time.Time) {
	ttl := lifetime(m)
	if ttl <= 0 || m.Truncated {
		return
	}
	m.Compress = true
	wire, err := m.Pack()
	if err != nil {
		return
	}
	v := &cached{q, wire, now, now.Add(ttl)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.by[q]; e != nil {
		c.remove(e)
	}
	c.by[q] = c.used.PushFront(v)
	for c.bytes += v.size(); c.bytes > cacheBytes; {
		c.remove(c.used.Back())
	}
}

func (c *cache) remove(e *list.Element) {
	v := c.used.Remove(e).(*cached)
	delete(c.by, v.question)
	c.bytes -= v.size()
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.by)
	c.used.Init()
	c.bytes = 0
}

// lifetime is how long an answer may be remembered. That there is no such name
// or record holds as long as the SOA says (RFC 2308, 5), and without one not at
// all.
func lifetime(m *dns.Msg) time.Duration {
	if m.Rcode == dns.RcodeServerFailure {
		return failureTTL
	}
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return 0
	}
	ttl, negative := uint32(maxTTL/time.Second), len(m.Answer) == 0
	for _, s := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range s {
			if rr.Header().Rrtype == dns.TypeOPT {
				continue // its TTL is none
			}
			ttl = min(ttl, rr.Header().Ttl)
			if soa, ok := rr.(*dns.SOA); ok && negative {
				ttl = min(ttl, soa.Minttl)
			}
		}
	}
	if negative && !hasSOA(m) {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

func hasSOA(m *dns.Msg) bool {
	for _, rr := range m.Ns {
		if rr.Header().Rrtype == dns.TypeSOA {
			return true
		}
	}
	return false
}

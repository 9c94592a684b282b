package dhcpd

import "time"

// A port's messages: a client sends two for a lease and a few more when nobody
// answers, so sixteen of them that start together are within the burst.
const (
	messagesPerSecond = 20
	messageBurst      = 64
)

// rates are token buckets by port.
type rates map[string]*bucket

type bucket struct {
	tokens float64
	last   time.Time
}

// maxBuckets is when full ones are thrown out: a full bucket is as good as none.
const maxBuckets = 1024

func (r rates) allow(port string, now time.Time) bool {
	b := r[port]
	if b == nil {
		if len(r) >= maxBuckets {
			r.prune(now)
		}
		b = &bucket{tokens: messageBurst, last: now}
		r[port] = b
	}
	b.fill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.last); d > 0 {
		b.tokens = min(messageBurst, b.tokens+d.Seconds()*messagesPerSecond)
	}
	b.last = now
}

func (r rates) prune(now time.Time) {
	for port, b := range r {
		if b.fill(now); b.tokens == messageBurst {
			delete(r, port)
		}
	}
}

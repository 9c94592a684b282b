package fdb

import "time"

// SetLimit changes the limit, to DefaultLimit where n is not positive and to
// MaxLimit at most. What is too much goes, as if newcomers had come; static and
// local entries stay also where they alone are too many.
func (t *Table) SetLimit(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = limitFrom(n)
	for t.len > t.limit && len(t.bySize) > 0 && t.ports[t.bySize[0]].dynamic.n > 0 {
		t.evict(t.bySize[0])
	}
	buckets := minBuckets
	for buckets*entriesPerBucket < max(t.limit, t.len) {
		buckets *= 2
	}
	if buckets < len(t.index.Load().buckets) {
		t.rebuild(buckets)
	}
}

// SetPortLimit bounds the dynamic entries of one port, besides the limit of the
// table. What is too much goes. 0 lifts the bound.
func (t *Table) SetPortLimit(p PortID, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.port(p)
	r.limit = max(n, 0)
	for r.limit > 0 && r.dynamic.n > r.limit {
		t.evict(p)
	}
}

// SetAgeing changes the ageing time, to DefaultAgeing where d is not positive.
// It is rounded up to full seconds, and takes effect with the next Age.
func (t *Table) SetAgeing(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ageing = ageingFrom(d)
}

// Limit is the number of entries that the table may hold.
func (t *Table) Limit() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}

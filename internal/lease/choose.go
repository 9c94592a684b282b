package lease

import (
	"net/netip"
	"time"
)

// choose finds the address for the client, see the package's documentation.
func (t *Table) choose(c *Client, now time.Time) (netip.Addr, error) {
	if c.Fixed.IsValid() {
		if !t.free(c.Fixed, c) {
			return netip.Addr{}, ErrExhausted
		}
		return c.Fixed, nil
	}
	if a := t.reserved(c); a.IsValid() && t.free(a, c) {
		return a, nil
	}
	if e := t.held[c.MAC]; e != nil && t.view.pooled(e.addr, c) && t.free(e.addr, c) && t.room(e.addr, c) {
		return e.addr, nil
	}
	if e := t.offers[c.MAC]; e != nil && t.view.pooled(e.addr, c) {
		return e.addr, nil
	}
	if !c.Unlimited && t.ports[c.Port] >= t.view.PerPort {
		return netip.Addr{}, ErrLimit
	}
	if c.Requested.IsValid() && t.view.pooled(c.Requested, c) && t.free(c.Requested, c) {
		return c.Requested, nil
	}
	return t.fromRange(c, now)
}

// fromRange goes once through the range. That it found nothing stays true until
// something ends, so that a crowd before an exhausted range costs little.
func (t *Table) fromRange(c *Client, now time.Time) (netip.Addr, error) {
	if t.view.size == 0 || now.Before(t.full) {
		return netip.Addr{}, ErrExhausted
	}
	first, start := number(t.view.First), hash(c.MAC)%max(t.view.size, 1)
	var oldest *entry
	for i := range t.view.size {
		a := addr(first + (start+i)%t.view.size)
		e := t.byAddr[a]
		switch {
		case e != nil && e.state != past || !t.view.pooled(a, c):
		case e == nil:
			return a, nil
		case oldest == nil || e.until.Before(oldest.until):
			oldest = e
		}
	}
	if oldest != nil {
		return oldest.addr, nil
	}
	// What is pinned to ports may change at any time.
	t.full = now.Add(time.Second)
	return netip.Addr{}, ErrExhausted
}

// hash is FNV-1a, 32 bits.
func hash(b [6]byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// reserved is the address of the client's reservation, if it has one.
func (t *Table) reserved(c *Client) netip.Addr {
	if h := t.view.byMAC[c.MAC]; h != nil {
		return h.addr4()
	}
	return netip.Addr{}
}

// configured reports whether the address is the client's by configuration.
func (t *Table) configured(a netip.Addr, c *Client) bool {
	return a == c.Fixed || !c.Fixed.IsValid() && a == t.reserved(c)
}

// free reports whether nobody else has the address. What the configuration gives
// to a client is never blocked for it, and what it gives to a port, another
// station behind that port, or behind one that is no more, can't hold back.
func (t *Table) free(a netip.Addr, c *Client) bool {
	e := t.byAddr[a]
	switch {
	case t.view.never[a]:
		return false
	case e == nil || e.state == past:
		return true
	case e.state == blocked:
		return t.configured(a, c)
	case e.mac == c.MAC:
		return true
	}
	return a == c.Fixed && c.Port != "" && (e.port == c.Port || e.port != "" && t.view.gone(e.port))
}

// permits reports whether the client may have the address now.
func (t *Table) permits(a netip.Addr, c *Client) bool {
	if !t.free(a, c) {
		return false
	}
	if c.Fixed.IsValid() {
		return a == c.Fixed
	}
	if r := t.reserved(c); r.IsValid() && t.free(r, c) {
		return a == r
	}
	return t.view.pooled(a, c)
}

// room reports whether the client's port may hold one more address, unless it
// is one that the client holds already.
func (t *Table) room(a netip.Addr, c *Client) bool {
	if c.Unlimited || t.configured(a, c) || t.ports[c.Port] < t.view.PerPort {
		return true
	}
	for _, e := range []*entry{t.held[c.MAC], t.offers[c.MAC]} {
		if e != nil && e.counted && e.port == c.Port {
			return true
		}
	}
	return false
}

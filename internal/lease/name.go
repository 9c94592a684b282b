package lease

import (
	"net/netip"
	"slices"
	"strings"

	"gxswitch/internal/frame"
)

// nobodys are names that programs look up in the local domain and obey: proxy
// discovery (CERT VU#598349), ISATAP routers (RFC 5214, 8.3.2), and the machine
// itself (RFC 6761, 6.3).
var nobodys = [...]string{"wpad", "isatap", "localhost"}

// Label makes a host name (RFC 1123, 2.1) of what a client calls itself: its
// first label in lower case, every other character a hyphen, at most 63 of them.
// "" is left of a name that has nothing to keep.
func Label(s string) string {
	s, _, _ = strings.Cut(s, ".")
	b := make([]byte, 0, 63)
	for i := 0; i < len(s) && len(b) < cap(b); i++ {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		default:
			c = '-'
		}
		b = append(b, c)
	}
	return strings.Trim(string(b), "-")
}

// nameFor is the name that the client gets with its lease.
func (t *Table) nameFor(c *Client, had string) string {
	if h := t.view.byMAC[c.MAC]; h != nil && h.Name != "" {
		return h.Name
	}
	want := Label(c.Hostname)
	if c.Hostname == "" {
		want = had // it may say its name only once
	}
	if want == "" || slices.Contains(nobodys[:], want) || t.view.byName[want] != nil {
		return ""
	}
	if owner, ok := t.names[want]; ok && owner != c.MAC {
		return ""
	}
	return want
}

// Addrs are the addresses of a name, one label in lower case. ok is false where
// there is no such name; a name may be without an address.
func (t *Table) Addrs(name string) (addrs []netip.Addr, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h := t.view.byName[name]; h != nil {
		addrs = slices.Clone(h.Addrs)
		if e := t.held[h.MAC]; e != nil && !h.MAC.IsZero() && e.state == bound && !slices.Contains(addrs, e.addr) {
			addrs = append(addrs, e.addr)
		}
		return addrs, true
	}
	mac, ok := t.names[name]
	if !ok {
		return nil, false
	}
	return []netip.Addr{t.held[mac].addr}, true
}

// NameOf is the name that an address bears, "" for none.
func (t *Table) NameOf(a netip.Addr) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, h := range t.view.Self {
		if slices.Contains(h.Addrs, a) {
			return h.Name
		}
	}
	if e := t.byAddr[a]; e != nil && e.state == bound {
		return e.name
	}
	if h := t.view.byAddr[a]; h != nil {
		return h.Name
	}
	return ""
}

// rename gives the lease its name, or takes it away with "".
func (t *Table) rename(e *entry, name string) {
	if mac, ok := t.names[e.name]; ok && mac == e.mac {
		delete(t.names, e.name)
	}
	e.name = name
	if name != "" && t.view.byName[name] == nil {
		t.names[name] = e.mac
	}
}

// reviewNames settles the names of live leases after a new configuration.
func (t *Table) reviewNames() {
	t.names = map[string]frame.MAC{}
	for _, e := range t.sorted() {
		if e.state != bound {
			continue
		}
		name := e.name
		e.name = ""
		t.rename(e, t.nameFor(&Client{MAC: e.mac}, name))
	}
}

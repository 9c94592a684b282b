package nat

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// ErrExists means that a forward has one of the ports already.
var ErrExists = errors.New("port is forwarded already")

// Protocol is an IP protocol number.
type Protocol uint8

// The protocols that have sessions.
const (
	ICMP Protocol = protoICMP
	TCP  Protocol = protoTCP
	UDP  Protocol = protoUDP
)

func (p Protocol) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return strconv.Itoa(int(p))
}

// Listen is the ports of the external address that a forward takes, First to
// Last, which both belong to it.
type Listen struct {
	Protocol    Protocol
	First, Last uint16
}

// ParseListen reads tcp/8080, udp/5000-5010 and the like.
func ParseListen(s string) (Listen, error) {
	proto, ports, _ := strings.Cut(s, "/")
	l := Listen{Protocol: TCP}
	if proto == "udp" {
		l.Protocol = UDP
	} else if proto != "tcp" {
		return Listen{}, fmt.Errorf("forward %q: %q is no protocol: want tcp/PORT or udp/PORT, as in tcp/8080", s, proto)
	}
	first, last, isRange := strings.Cut(ports, "-")
	var err error
	if l.First, err = parsePort(first); err != nil {
		return Listen{}, fmt.Errorf("forward %q: %w", s, err)
	}
	l.Last = l.First
	if isRange {
		if l.Last, err = parsePort(last); err != nil {
			return Listen{}, fmt.Errorf("forward %q: %w", s, err)
		}
	}
	if l.Last < l.First {
		return Listen{}, fmt.Errorf("forward %q: write the lower port first, %d-%d", s, l.Last, l.First)
	}
	return l, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("%q is no port: want 1 to 65535", s)
	}
	return uint16(n), nil
}

// String is l as ParseListen reads it.
func (l Listen) String() string {
	if l.First == l.Last {
		return fmt.Sprintf("%v/%d", l.Protocol, l.First)
	}
	return fmt.Sprintf("%v/%d-%d", l.Protocol, l.First, l.Last)
}

// Overlaps reports whether the two share a port.
func (l Listen) Overlaps(m Listen) bool {
	return l.Protocol == m.Protocol && l.First <= m.Last && m.First <= l.Last
}

func (l Listen) has(proto uint8, port uint16) bool {
	return uint8(l.Protocol) == proto && l.First <= port && port <= l.Last
}

// Forward leads what comes for ports of the external address to a guest: First to
// To's port, and the others to those that follow it.
type Forward struct {
	Listen
	To netip.AddrPort // port 0: the same as First
}

// forward is a Forward as packets see it.
type forward struct {
	Forward
	to    uint32
	owner uint32 // of the sessions that come by it
}

// target is where a packet to that port of the external address goes.
func (f *forward) target(port uint16) (to uint32, toPort uint16) {
	return f.to, f.To.Port() + (port - f.First)
}

// forwards are all of them, never changed: a new forward makes new forwards.
type forwards struct {
	byPort   []forward // by protocol and port
	byTarget []forward // by target address
}

func newForwards(l []forward) *forwards {
	byPort := slices.SortedFunc(slices.Values(l), func(a, b forward) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	byTarget := slices.SortedStableFunc(slices.Values(byPort), func(a, b forward) int { return cmp.Compare(a.to, b.to) })
	return &forwards{byPort, byTarget}
}

// at returns the forward that takes a port of the external address, or nil.
func (fs *forwards) at(proto uint8, port uint16) *forward {
	l := fs.byPort
	if len(l) == 0 {
		return nil
	}
	i := sort.Search(len(l), func(i int) bool {
		return uint8(l[i].Protocol) > proto || uint8(l[i].Protocol) == proto && l[i].Last >= port
	})
	if i < len(l) && l[i].has(proto, port) {
		return &l[i]
	}
	return nil
}

// serving returns the first forward that leads to a guest's port, or nil.
func (fs *forwards) serving(proto uint8, guest uint32, port uint16) *forward {
	l := fs.byTarget
	for i := sort.Search(len(l), func(i int) bool { return l[i].to >= guest }); i < len(l) && l[i].to == guest; i++ {
		f := &l[i]
		if uint8(f.Protocol) == proto && port >= f.To.Port() && port-f.To.Port() <= f.Last-f.First {
			return f
		}
	}
	return nil
}

// AddForward begins a forward. One that exists with the same target stays as it
// is; ErrExists is about one that shares a port and has another.
func (t *Table) AddForward(f Forward) error {
	if f.To.Port() == 0 {
		f.To = netip.AddrPortFrom(f.To.Addr(), f.First)
	}
	to := addressFrom(f.To.Addr())
	switch {
	case f.Protocol != TCP && f.Protocol != UDP || f.First == 0 || f.Last < f.First:
		return fmt.Errorf("forward %v: want TCP or UDP ports, the lower one first", f.Listen)
	case !t.isInside(to) || to == t.gateway:
		return fmt.Errorf("forward %v to %v: want a guest's address in %v", f.Listen, f.To, t.Network())
	case int(f.To.Port())+int(f.Last-f.First) > 65535:
		return fmt.Errorf("forward %v to %v: ends beyond port 65535: want a lower port there", f.Listen, f.To)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.forwards.Load().byPort
	for i := range l {
		if l[i].Forward == f {
			return nil
		}
		if l[i].Overlaps(f.Listen) {
			return fmt.Errorf("forward %v to %v: %v goes to %v: %w", f.Listen, f.To, l[i].Listen, l[i].To, ErrExists)
		}
	}
	t.forwards.Store(newForwards(append(slices.Clone(l), forward{f, to, t.newOwner()})))
	t.version.Add(1)
	return nil
}

// DeleteForward ends a forward and the sessions of its ports, and reports whether
// there was one of exactly these.
func (t *Table) DeleteForward(ports Listen) bool {
	t.mu.Lock()
	l := t.forwards.Load().byPort
	i := slices.IndexFunc(l, func(f forward) bool { return f.Listen == ports })
	if i < 0 {
		t.mu.Unlock()
		return false
	}
	owner := l[i].owner
	t.forwards.Store(newForwards(slices.Delete(slices.Clone(l), i, i+1)))
	t.version.Add(1)
	t.mu.Unlock()

	t.removeIf(func(s *slot) bool {
		k := s.keys[opener].load()
		if r := s.keys[other].load(); r.from() == outside {
			k = r // the guest began, from the forward's port
		}
		return ports.has(k.proto(), k.dport())
	})
	t.fragments.forget()
	t.mu.Lock()
	t.spare = append(t.spare, owner)
	t.mu.Unlock()
	return true
}

// Forwards lists the forwards by protocol and port.
func (t *Table) Forwards() []Forward {
	l := t.forwards.Load().byPort
	fs := make([]Forward, len(l))
	for i := range l {
		fs[i] = l[i].Forward
	}
	return fs
}

package dnsd

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// limit counts what is under way, in all and by source.
type limit struct {
	all, each int

	mu sync.Mutex // guards what follows
	n  int
	by map[netip.Addr]int
}

func newLimit(all, each int) *limit { return &limit{all: all, each: each, by: map[netip.Addr]int{}} }

func (l *limit) enter(src netip.Addr) bool {
	src = station(src)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= l.all || l.by[src] >= l.each {
		return false
	}
	l.n++
	l.by[src]++
	return true
}

func (l *limit) leave(src netip.Addr) {
	src = station(src)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n--
	if l.by[src]--; l.by[src] == 0 {
		delete(l.by, src)
	}
}

// station is whom an address counts for: a guest makes as many IPv6 addresses of
// its /64 as it likes.
func station(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64)
		return p.Addr()
	}
	return a
}

const (
	maxConns          = 128
	maxConnsOfASource = 16
	writeTimeout      = 5 * time.Second
)

// packets has no questions but from inside, not even malformed ones.
type packets struct {
	net.PacketConn
	inside func(netip.Addr) bool
}

func (p packets) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.PacketConn.ReadFrom(b)
		if err != nil || p.inside(source(from)) {
			return n, from, err
		}
	}
}

// listener bounds the connections that it accepts, all of them from inside.
type listener struct {
	net.Listener
	inside func(netip.Addr) bool
	limit  *limit
}

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		src := source(c.RemoteAddr())
		if l.inside(src) && l.limit.enter(src) {
			return &conn{Conn: c, leave: sync.OnceFunc(func() { l.limit.leave(src) })}, nil
		}
		c.Close()
	}
}

// conn is one that counts until it is closed, and whose reader must read.
type conn struct {
	net.Conn
	leave func()
}

func (c *conn) Write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// source is whose address it is, the zero Addr if nobody's.
func source(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

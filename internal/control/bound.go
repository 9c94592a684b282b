package control

import (
	"container/list"
	"log/slog"
	"net"
	"sync"
)

// bound is a listener that holds at most limit connections. When one more
// comes, another is closed for it: the one that has gone longest without
// completing a request, among those of the process that holds the most. So a
// process that opens connections and dawdles loses its own, and everybody
// else is served at once however many it opens. A connection whose call the
// switch is working on is spared as long as there is another.
type bound struct {
	*net.UnixListener
	limit int
	log   *slog.Logger

	mu    sync.Mutex
	conns *list.List // of *conn, longest without a completed request first; guarded by mu
}

// conn is one connection of a bound.
type conn struct {
	*net.UnixConn
	peer  peer
	bound *bound

	place   *list.Element // in bound.conns, nil once closed; guarded by bound.mu
	working bool          // the switch is at this connection's call; guarded by bound.mu
}

func newBound(l *net.UnixListener, limit int, log *slog.Logger) *bound {
	return &bound{UnixListener: l, limit: limit, log: log, conns: list.New()}
}

// Accept implements net.Listener.
func (b *bound) Accept() (net.Conn, error) {
	for {
		u, err := b.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(u)
		if err != nil {
			b.log.Warn("control connection refused", "err", err)
			u.Close()
			continue
		}
		c := &conn{UnixConn: u, peer: p, bound: b}
		if v := b.insert(c); v != nil {
			b.log.Debug("control connection closed for a newcomer", "pid", v.peer.pid, "uid", v.peer.uid)
			v.Close()
		}
		return c, nil
	}
}

// insert adds c and returns the connection to close for it, if any. The victim
// is out of the list at once, so that the bound holds without waiting for it.
func (b *bound) insert(c *conn) *conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	var v *conn
	if b.conns.Len() >= b.limit {
		v = b.victim()
		b.remove(v)
	}
	c.place = b.conns.PushBack(c)
	return v
}

// victim picks the connection to close. The caller holds mu.
func (b *bound) victim() *conn {
	held := make(map[int32]int)
	for e := b.conns.Front(); e != nil; e = e.Next() {
		held[e.Value.(*conn).peer.pid]++
	}
	var v *conn
	for e := b.conns.Front(); e != nil; e = e.Next() {
		c := e.Value.(*conn)
		if !c.working && (v == nil || held[c.peer.pid] > held[v.peer.pid]) {
			v = c
		}
	}
	if v == nil {
		v = b.conns.Front().Value.(*conn)
	}
	return v
}

// remove takes c out of the list. The caller holds mu.
func (b *bound) remove(c *conn) {
	if c.place != nil {
		b.conns.Remove(c.place)
		c.place = nil
	}
}

// work tells the bound that the switch is at c's call, or has done with it.
func (c *conn) work(on bool) {
	c.bound.mu.Lock()
	defer c.bound.mu.Unlock()
	c.working = on
}

// completed tells the bound that c has had an answer.
func (c *conn) completed() {
	c.bound.mu.Lock()
	defer c.bound.mu.Unlock()
	if c.place != nil {
		c.bound.conns.MoveToBack(c.place)
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.bound.mu.Lock()
	c.bound.remove(c)
	c.bound.mu.Unlock()
	return c.UnixConn.Close()
}

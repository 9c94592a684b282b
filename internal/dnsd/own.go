package dnsd

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// own are the host's addresses, as of a second ago at most.
type own struct {
	mu     sync.Mutex // guards what follows
	addrs  map[netip.Addr]bool
	looked time.Time
}

func (o *own) has(a netip.Addr, now time.Time) bool {
	if a.IsLoopback() {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.looked.IsZero() || now.Sub(o.looked) >= rereadInterval {
		o.look()
		o.looked = now
	}
	return o.addrs[a]
}

// look is without effect where it fails.
func (o *own) look() {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return
	}
	o.addrs = map[netip.Addr]bool{}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			o.addrs[p.Addr()] = true
		}
	}
}

package dnsd

import (
	"bufio"
	"bytes"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	rereadInterval = time.Second
	// badTime is for how long a server that failed is asked last.
	badTime = 10 * time.Second
	// maxServers is more than resolv.conf(5) has; each may take its timeout.
	maxServers = 8
)

// upstreams are the servers that questions go to.
type upstreams struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	file   string
	system []netip.AddrPort
	looked time.Time
	failed map[netip.AddrPort]time.Time
}

// list is who to ask, in order.
func (u *upstreams) list(v *view, now time.Time) []netip.AddrPort {
	u.mu.Lock()
	defer u.mu.Unlock()
	servers := slices.Clone(v.static)
	if v.system {
		if u.file != v.ResolvConf || u.looked.IsZero() || now.Sub(u.looked) >= rereadInterval {
			u.reread(v.ResolvConf)
			u.file, u.looked = v.ResolvConf, now
		}
		servers = append(servers, u.system...)
	}
	var good, bad []netip.AddrPort
	for _, s := range servers {
		switch {
		case s.Port() == port && slices.Contains(v.Addrs, s.Addr()) || slices.Contains(good, s) || slices.Contains(bad, s):
			// This server, or one twice.
		case now.Sub(u.failed[s]) < badTime:
			bad = append(bad, s)
		default:
			good = append(good, s)
		}
	}
	all := append(good, bad...)
	return all[:min(len(all), maxServers)]
}

// reread takes what the file says now. While it can't be read, what it said.
func (u *upstreams) reread(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		if file != u.file {
			u.log.Warn("DNS servers of the host", "err", err)
		}
		return
	}
	if now := parseResolvConf(text); !slices.Equal(now, u.system) {
		u.log.Info("DNS goes to the host's servers", "servers", now)
		u.system = now
	}
}

// parseResolvConf reads the servers of resolv.conf(5). Without any, that is the
// machine itself.
func parseResolvConf(text []byte) []netip.AddrPort {
	var all []netip.AddrPort
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil {
			all = append(all, netip.AddrPortFrom(a, port))
		}
	}
	if all == nil {
		all = []netip.AddrPort{netip.AddrPortFrom(loopback[0], port)}
	}
	return all
}

func (u *upstreams) report(s netip.AddrPort, good bool, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if good {
		delete(u.failed, s)
		return
	}
	if len(u.failed) > 4*maxServers {
		clear(u.failed) // of many earlier files
	}
	u.failed[s] = now
}

package dhcpd

import (
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"gxswitch/internal/frame"
	"gxswitch/internal/lease"
)

// core is the server without sockets, files and a clock. The Server's lock
// guards it.
type core struct {
	cfg    Config
	sw     Switch
	log    *slog.Logger
	mac    frame.MAC // the leg's
	table  *lease.Table
	probes map[netip.Addr]*probe
	rates  rates
	said   map[string]time.Time // warnings, so that guests can't fill the log

	send func([]byte) // a frame, at once
	acks [][]byte     // frames to be sent once the table is in the file
}

// probe is an offer that waits for what ARP says.
type probe struct {
	req  request
	to   lease.Client
	met  int // addresses in use, before this one
	sent int
	next time.Time
}

const (
	probeCount    = 2
	probeInterval = 100 * time.Millisecond
	// maxProbes keeps a crowd from turning each message into two broadcasts.
	maxProbes = 1024
	// maxTries is how many addresses in use one DISCOVER may meet.
	maxTries = 4
)

func newCore(c Config, sw Switch, log *slog.Logger, mac frame.MAC, send func([]byte)) (*core, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t, err := lease.New(rules(c, sw))
	if err != nil {
		return nil, err
	}
	return &core{
		cfg: c, sw: sw, log: log, mac: mac, table: t, send: send,
		probes: map[netip.Addr]*probe{},
		rates:  rates{},
		said:   map[string]time.Time{},
	}, nil
}

func (k *core) configure(c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := k.table.Configure(rules(c, k.sw)); err != nil {
		return err
	}
	k.cfg = c
	return nil
}

// rules are the table's.
func rules(c Config, sw Switch) lease.Config {
	l := c.Leases
	l.PinnedTo, l.Gone = sw.PinnedTo, sw.Gone
	l.Never = append(slices.Clone(l.Never), c.Server)
	return l
}

// port is where a station is.
func (k *core) port(mac frame.MAC) Port {
	if k.sw.PortOf == nil {
		return Port{Unlimited: true}
	}
	return k.sw.PortOf(mac)
}

// receive takes a frame off the packet socket.
func (k *core) receive(b []byte, now time.Time) {
	d, ok := parseUDP(b)
	if !ok || d.dstMAC != k.mac && d.dstMAC != frame.Broadcast {
		return
	}
	// A broadcast to the subnet is to everybody as well.
	if d.dst != k.cfg.Server && d.dstMAC != frame.Broadcast {
		return
	}
	p := k.port(d.srcMAC)
	if !p.Unlimited && !k.rates.allow(p.Name, now) {
		k.warn(now, "a guest sends more DHCP messages than are answered", "port", p.Name, "mac", d.srcMAC)
		return
	}
	r, ok := parseRequest(d)
	if !ok {
		return
	}
	c := lease.Client{
		MAC: r.mac, Port: p.Name, Unlimited: p.Unlimited, Fixed: p.Addr,
		Requested: r.requested, Hostname: r.hostname, Time: r.time,
	}
	switch r.kind {
	case dhcpv4.MessageTypeDiscover:
		k.discover(r, c, now)
	case dhcpv4.MessageTypeRequest:
		k.request(r, c, now)
	case dhcpv4.MessageTypeDecline:
		if r.server == k.cfg.Server && k.table.Decline(c, r.requested, now) {
			k.warn(now, "a DHCP client found its address in use", "ip", r.requested, "mac", r.mac, "port", p.Name)
		}
	case dhcpv4.MessageTypeRelease:
		if (r.server == k.cfg.Server || !r.server.IsValid()) && r.src == r.ciaddr {
			k.table.Release(r.mac, r.ciaddr, now)
		}
	case dhcpv4.MessageTypeInform:
		k.inform(r)
	}
}

func (k *core) discover(r request, c lease.Client, now time.Time) {
	a, doubtful, err := k.table.Offer(c, now)
	if err != nil {
		k.refused(r, c, err, now)
		return
	}
	if p := k.probes[a]; p != nil {
		if p.to.MAC == c.MAC {
			p.req = r // it asks again, perhaps with another transaction
			return
		}
		delete(k.probes, a) // its offer has ended
	}
	if !doubtful {
		k.reply(r, dhcpv4.MessageTypeOffer, k.offered(a, &c))
		return
	}
	if len(k.probes) >= maxProbes {
		k.table.Withdraw(c.MAC)
		k.warn(now, "more DHCP clients ask at once than are answered", "mac", c.MAC)
		return
	}
	p := &probe{req: r, to: c}
	k.probes[a] = p
	k.ask(a, p, now)
}

// offered is the lease that the client would get.
func (k *core) offered(a netip.Addr, c *lease.Client) lease.Lease {
	return lease.Lease{MAC: c.MAC, Addr: a, Expires: time.Time{}.Add(k.table.Time(c.Time))}
}

func (k *core) refused(r request, c lease.Client, err error, now time.Time) {
	switch {
	case errors.Is(err, lease.ErrExhausted):
		k.warn(now, "no address is free for a DHCP client", "mac", r.mac, "port", c.Port)
	case errors.Is(err, lease.ErrLimit):
		k.warn(now, "a port has as many DHCP addresses as it may", "mac", r.mac, "port", c.Port)
	}
}

// ask sends a probe, and notes when to look again.
func (k *core) ask(a netip.Addr, p *probe, now time.Time) {
	k.send(buildProbe(k.mac, a))
	p.sent++
	p.next = now.Add(probeInterval)
}

// answered takes an ARP reply off the packet socket.
func (k *core) answered(b []byte, now time.Time) {
	by, a, ok := parseReply(b)
	p := k.probes[a]
	// The client itself may have the address already. What answers in the name
	// of the leg is no station.
	if !ok || p == nil || by == p.to.MAC || by == k.mac {
		return
	}
	at := k.port(by)
	if !k.table.Conflict(a, lease.Client{MAC: by, Port: at.Name, Unlimited: at.Unlimited}, now) {
		k.warn(now, "a guest answers for too many addresses and is not believed", "ip", a, "mac", by, "port", at.Name)
		return
	}
	k.warn(now, "an address is in use without a lease", "ip", a, "mac", by, "port", at.Name)
	delete(k.probes, a)
	if p.to.Requested == a {
		p.to.Requested = netip.Addr{}
	}
	next, doubtful, err := k.table.Offer(p.to, now)
	if err != nil || !doubtful || k.probes[next] != nil || p.met+1 == maxTries {
		return // the client asks again
	}
	q := &probe{req: p.req, to: p.to, met: p.met + 1}
	k.probes[next] = q
	k.ask(next, q, now)
}

// tick does what is due, and says when to come again; zero if never.
func (k *core) tick(now time.Time) time.Time {
	next := k.table.Expire(now)
	for a, p := range k.probes {
		if !now.Before(p.next) {
			if p.sent < probeCount {
				k.ask(a, p, now)
			} else {
				delete(k.probes, a)
				k.conclude(a, p, now)
				continue
			}
		}
		if next.IsZero() || p.next.Before(next) {
			next = p.next
		}
	}
	return next
}

// conclude offers an address that nobody answered for, if it still is the
// client's.
func (k *core) conclude(a netip.Addr, p *probe, now time.Time) {
	p.to.Requested = a
	if still, _, err := k.table.Offer(p.to, now); err == nil && still == a {
		k.reply(p.req, dhcpv4.MessageTypeOffer, k.offered(a, &p.to))
	}
}

func (k *core) request(r request, c lease.Client, now time.Time) {
	a := r.requested
	switch {
	case r.server.IsValid() && r.server != k.cfg.Server:
		k.table.Withdraw(r.mac)
		return
	case !a.IsValid():
		a = r.ciaddr // renewing or rebinding
	}
	if !a.IsValid() {
		return
	}
	// Rebinding and rebooting clients ask every server there is. One that has
	// selected this server was made an offer by it, perhaps before a restart.
	claim := !k.cfg.Shared || r.server == k.cfg.Server
	l, err := k.table.Bind(c, a, claim, now)
	switch {
	case err == nil:
		delete(k.probes, a)
		l.Expires = time.Time{}.Add(l.Expires.Sub(now))
		k.reply(r, dhcpv4.MessageTypeAck, l)
	case errors.Is(err, lease.ErrRefused) && (!k.cfg.Shared || r.server == k.cfg.Server || k.known(r.mac, now)):
		k.reply(r, dhcpv4.MessageTypeNak, lease.Lease{})
	default:
		k.refused(r, c, err, now)
	}
}

// known reports whether the station has a lease of this server.
func (k *core) known(mac frame.MAC, now time.Time) bool {
	_, ok := k.table.Lookup(mac, now)
	return ok
}

// inform tells a station that has an address of its own what else there is.
func (k *core) inform(r request) {
	if !r.ciaddr.IsValid() || r.src != r.ciaddr || !k.table.Contains(r.ciaddr) {
		return
	}
	k.reply(r, dhcpv4.MessageTypeAck, lease.Lease{})
}

// warn logs, each kind of message once a minute.
func (k *core) warn(now time.Time, msg string, args ...any) {
	if last, ok := k.said[msg]; ok && now.Sub(last) < time.Minute {
		return
	}
	k.said[msg] = now
	k.log.Warn(msg, append([]any{"network", k.cfg.Network}, args...)...)
}

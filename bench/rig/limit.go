package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"

	"gxswitch/internal/control"
	"gxswitch/internal/host"
	"gxswitch/shaping"
)

// Limit is what a guest's port is held to, in one direction.
type Limit struct {
	BitsPerSecond uint64 // 0: no limit
	From          bool   // what comes from the guest; else what goes to it
}

// limitInterval is the time whose worth of bytes every arm lets pass at once
// after a pause: the interval that xl, and so gxswitch, takes if none is named.
const limitInterval = shaping.DefaultInterval

// tbfLatency is how long a frame may wait in tbf's queue before it is dropped:
// as long as in gxswitch's, which holds 50 ms of the rate.
const tbfLatency = 50 * time.Millisecond

// ErrNoLimit says that the arm has no such limit that the bench could set.
var ErrNoLimit = errors.New("it can't limit that")

// Limit sets a limit at the port of the guest's end e, or takes it away, while
// frames pass. The error is ErrNoLimit where the arm has none in that direction.
func (s *Session) Limit(ctx context.Context, e Endpoint, l Limit) error {
	err := ErrNoLimit
	if s.Limiter != nil {
		err = s.Limiter(ctx, e, l)
	}
	if err != nil {
		return fmt.Errorf("limit %s of %s: %w", e.Name, e.NS.Name, err)
	}
	return nil
}

// Port is the interface in Switch that an end of the lanes is plugged into.
func (r *Rig) Port(e Endpoint) (string, error) {
	for i, l := range r.Lanes {
		switch e {
		case l.From:
			return r.Ports[2*i], nil
		case l.To:
			return r.Ports[2*i+1], nil
		}
	}
	return "", fmt.Errorf("%s of %s is no end of a lane", e.Name, e.NS.Name)
}

// limitPort has the daemon do it, as "gxswitch port set P --rate-to R" does.
func limitPort(ctx context.Context, r *Rig, c *control.Client, e Endpoint, l Limit) error {
	port, err := r.Port(e)
	if err != nil {
		return err
	}
	usec := uint32(limitInterval.Microseconds())
	rate := shaping.FromCredit(l.bytesIn(limitInterval), usec)
	spec := control.PortSpec{Name: port, RateTo: &rate}
	if l.From {
		spec = control.PortSpec{Name: port, RateFrom: &rate}
	}
	_, err = c.SetPort(ctx, spec)
	return err
}

func (l Limit) bytesIn(d time.Duration) uint64 {
	return uint64(float64(l.BitsPerSecond) / 8 * d.Seconds())
}

// limitEgress puts a token bucket (tc-tbf(8)) before the bridge's port, with the
// credit and the queue that gxswitch has. What comes from a guest the bridge has
// before any queueing discipline sees it.
func (s *Session) limitEgress(r *Rig, e Endpoint, l Limit) error {
	if l.From {
		return ErrNoLimit
	}
	name, err := r.Port(e)
	if err != nil {
		return err
	}
	var port host.Link
	err = r.Switch.Do(func() error {
		port, err = host.LinkByName(name)
		if err != nil {
			return err
		}
		if l.BitsPerSecond == 0 {
			return removeTBF(port.Index)
		}
		if err := netlink.QdiscReplace(l.tbf(port.Index)); err != nil {
			return fmt.Errorf("tbf: %w", err)
		}
		return nil
	})
	if err == nil && l.BitsPerSecond > 0 {
		s.undo(func() error { return r.Switch.Do(func() error { return removeTBF(port.Index) }) })
	}
	return err
}

// tbf is "tc qdisc … tbf rate R burst B latency 50ms". Its burst is a time, in
// the kernel's ticks.
func (l Limit) tbf(index int) *netlink.Tbf {
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       l.BitsPerSecond / 8,
		Buffer:     uint32(float64(limitInterval.Microseconds()) * netlink.TickInUsec()),
		Limit:      uint32(l.bytesIn(limitInterval + tbfLatency)),
	}
}

// removeTBF gives the interface back the queueing discipline it came with.
func removeTBF(index int) error {
	list, err := netlink.QdiscList(link(index))
	if err != nil {
		return fmt.Errorf("list queueing disciplines: %w", err)
	}
	for _, q := range list {
		if t, ok := q.(*netlink.Tbf); ok {
			if err := netlink.QdiscDel(t); err != nil {
				return fmt.Errorf("remove tbf: %w", err)
			}
		}
	}
	return nil
}

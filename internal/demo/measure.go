package demo

import (
	"context"
	"fmt"
	"time"
)

// How a pair is tried.
const (
	talkPings    = 20
	talkPatience = time.Second // from the last request

	blockedPings    = 5
	blockedPatience = 250 * time.Millisecond
)

// result is what came of a pair.
type result struct {
	pings
	bitsPerSecond float64
	fault         string // what is wrong, in words; "" if the pair behaves
}

// measure tries a pair.
func (s *site) measure(ctx context.Context, p pair) (result, error) {
	if p.mayTalk {
		return s.talk(ctx, p)
	}
	return s.knock(ctx, p)
}

// talk tries a pair that may talk. A transfer that fails is the pair's fault,
// not the demo's.
func (s *site) talk(ctx context.Context, p pair) (r result, err error) {
	r.pings, err = ping(ctx, s.spaces[p.from], p.addr, newPingID(), talkPings, talkPatience)
	if err != nil {
		return r, err
	}
	switch {
	case r.received < r.sent:
		r.fault = fmt.Sprintf("%d of %d pings were lost", r.sent-r.received, r.sent)
	case r.duplicates > 0:
		r.fault = fmt.Sprintf("%d pings came back twice", r.duplicates)
	}
	if r.received == 0 {
		return r, nil
	}
	r.bitsPerSecond, err = transfer(ctx, s.spaces[p.from], s.spaces[p.to], p.addr, s.transfer)
	if err != nil && r.fault == "" {
		r.fault = fmt.Sprintf("the TCP transfer failed: %v", err)
	}
	return r, nil
}

// knock tries a pair that must not talk. The far end listens too: a request
// that gets there is a leak, even if no answer finds its way back.
func (s *site) knock(ctx context.Context, p pair) (r result, err error) {
	far, err := listenICMP(s.spaces[p.to])
	if err != nil {
		return r, err
	}
	defer far.Close()
	id := newPingID()
	r.pings, err = ping(ctx, s.spaces[p.from], p.addr, id, blockedPings, blockedPatience)
	if err != nil {
		return r, err
	}
	if r.arrived, err = countRequests(far, id); err != nil {
		return r, err
	}
	switch {
	case r.received > 0:
		r.fault = fmt.Sprintf("%d of %d pings were answered, where the mode forbids any", r.received, r.sent)
	case r.arrived > 0:
		r.fault = fmt.Sprintf("%d of %d pings arrived, where the mode forbids any", r.arrived, r.sent)
	}
	return r, nil
}

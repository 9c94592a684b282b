package shaping

import "math"

// tcp is a sender with data without end, and its receiver: slow start,
// congestion avoidance by Reno (RFC 5681) or CUBIC (RFC 9438), loss found by
// selective acknowledgments (three segments later) or by timeout. It is coarse,
// in segments, but its window moves as a real one does.
type tcp struct {
	k     *link
	flow  uint32
	cubic bool
	most  int // segments in a super-frame; 1 is no GSO

	cwnd, ssthresh float64
	next           int
	inFlight       map[int]int64 // segment → when it was last sent
	order          []sending     // in flight, or acknowledged meanwhile
	again          []int         // lost, to be sent again
	recover        int           // end of the window whose loss is accounted for
	received       map[int]bool
	arrivals       int // segments, each once

	srtt     int64
	lastMax  float64
	epoch    int64
	heard    int64
	timeouts int
}

type sending struct {
	n  int
	at int64
}

const segmentBytes = 1514

func newTCP(k *link, flow uint32, cubic bool, most int) *tcp {
	return &tcp{k: k, flow: flow, cubic: cubic, most: most, cwnd: 10, ssthresh: math.Inf(1),
		inFlight: map[int]int64{}, received: map[int]bool{}, srtt: k.delay}
}

func (c *tcp) start() *tcp {
	c.k.after(0, c.fill)
	c.k.after(sec/5, c.watch)
	return c
}

// fill sends what the window has room for. With GSO it waits until that is a
// good part of a super-frame (tcp_tso_should_defer).
func (c *tcp) fill() {
	for {
		room := int(c.cwnd) - len(c.inFlight)
		n := min(room, c.most)
		if n <= 0 || len(c.inFlight) > 0 && n < min(c.most, int(c.cwnd)/3) {
			return
		}
		super := &packet{flow: c.flow}
		for range n {
			super.segment = append(super.segment, c.segment())
			super.bytes += segmentBytes
		}
		if n == 1 {
			super = super.segment[0]
		} else {
			super.lost = func() {}
		}
		c.k.send(super)
	}
}

func (c *tcp) segment() *packet {
	n := c.next
	if len(c.again) > 0 {
		n, c.again = c.again[0], c.again[1:]
	} else {
		c.next++
	}
	sent := c.k.now
	c.inFlight[n] = sent
	c.order = append(c.order, sending{n, sent})
	return &packet{flow: c.flow, bytes: segmentBytes, arrive: func() {
		if !c.received[n] {
			c.received[n] = true
			c.arrivals++
		}
		c.k.after(c.k.delay, func() { c.acked(n, sent) })
	}}
}

func (c *tcp) acked(n int, sent int64) {
	c.heard = c.k.now
	c.srtt += (c.k.now - sent - c.srtt) / 8
	if _, ok := c.inFlight[n]; ok {
		delete(c.inFlight, n)
		c.grow()
	}
	// What was sent before this one, or three segments before it at the same
	// time, and is not acknowledged, is lost (as RACK has it, RFC 8985).
	lost := false
	for len(c.order) > 0 {
		o := c.order[0]
		at, waits := c.inFlight[o.n]
		if waits = waits && at == o.at; waits {
			if o.at > sent || o.at == sent && o.n+3 > n {
				break
			}
			delete(c.inFlight, o.n)
			c.again = append(c.again, o.n)
			lost = lost || o.n >= c.recover
		}
		c.order = c.order[1:]
	}
	if lost {
		c.reduce()
	}
	c.fill()
}

func (c *tcp) grow() {
	if c.cwnd < c.ssthresh {
		c.cwnd++
		return
	}
	if c.cubic {
		// RFC 9438: C = 0.4, β = 0.7, but not slower than Reno would be.
		t := float64(c.k.now-c.epoch) / 1e9
		k := math.Cbrt(c.lastMax * 0.3 / 0.4)
		want := 0.4*math.Pow(t-k, 3) + c.lastMax
		reno := c.lastMax*0.7 + 3*0.3/1.7*t/(float64(c.srtt)/1e9)
		if want = math.Max(want, reno); want > c.cwnd {
			c.cwnd += math.Min((want-c.cwnd)/c.cwnd, 0.5)
		}
		return
	}
	c.cwnd += 1 / c.cwnd
}

func (c *tcp) reduce() {
	c.recover = c.next
	beta := 0.5
	if c.cubic {
		beta = 0.7
	}
	c.lastMax, c.epoch = c.cwnd, c.k.now
	c.cwnd = math.Max(2, c.cwnd*beta)
	c.ssthresh = c.cwnd
}

// watch is the retransmission timer, with the 200 ms of Linux at least.
func (c *tcp) watch() {
	rto := max(sec/5, 3*c.srtt)
	if c.k.now-c.heard >= rto && len(c.inFlight) > 0 {
		c.timeouts++
		c.heard = c.k.now
		for _, o := range c.order {
			if at, ok := c.inFlight[o.n]; ok && at == o.at {
				c.again = append(c.again, o.n)
			}
		}
		clear(c.inFlight)
		c.order = nil
		c.ssthresh, c.cwnd, c.recover = math.Max(2, c.cwnd/2), 1, c.next
		c.fill()
	}
	c.k.after(rto/4, c.watch)
}

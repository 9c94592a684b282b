package nat

import "time"

// state says how far a session has come, and by that how long it may be silent
// and whether another may take its place.
type state uint8

// The states. TCP's are those of RFC 6146, 3.5.2, in fewer words; "opener" is
// who sent the first SYN. A FIN or RST counts only where its sequence number is
// one that the other end expects (see track).
//
//	state            on                          next
//	tcpOpening       SYN of the other end        tcpEstablished
//	tcpEstablished   FIN of the opener           tcpOpenerFin
//	                 FIN of the other end        tcpOtherFin
//	tcpOpenerFin     FIN of the other end        tcpClosed
//	tcpOtherFin      FIN of the opener           tcpClosed
//	any of the four  RST of one end              tcpOpenerReset, tcpOtherReset
//	but tcpOpening
//	…Reset           anything else of that end   tcpEstablished
//	tcpClosed,       SYN of the opener           tcpOpening
//	…Reset
//	udpUnreplied     a packet of the other end   udpReplied
//
// An end that has reset the connection sends nothing but RST. Does it send more,
// then the RST was another's, and the session lives (RFC 7857, 2.2).
const (
	tcpOpening state = iota
	tcpEstablished
	tcpOpenerFin
	tcpOtherFin
	tcpClosed
	tcpOpenerReset
	tcpOtherReset
	udpUnreplied
	udpReplied
	dnsQuery
	icmpEcho
	numStates
)

var stateWords = [numStates]string{
	tcpOpening:     "opening",
	tcpEstablished: "established",
	tcpOpenerFin:   "half-closed by guest",
	tcpOtherFin:    "half-closed by remote",
	tcpClosed:      "closed",
	tcpOpenerReset: "reset by guest",
	tcpOtherReset:  "reset by remote",
	udpUnreplied:   "unreplied",
	udpReplied:     "replied",
	dnsQuery:       "dns",
	icmpEcho:       "echo",
}

// stateWord is the state as people see it. guestOpened tells which end is the
// guest's.
func stateWord(s state, guestOpened bool) string {
	if !guestOpened {
		switch s {
		case tcpOpenerFin, tcpOpenerReset:
			s++
		case tcpOtherFin, tcpOtherReset:
			s--
		}
	}
	return stateWords[s]
}

// stateFrom is stateWord, backwards: the state with that word that a session can
// come to from its first state, or that first state.
func stateFrom(word string, guestOpened bool, first state) state {
	last := first
	switch first {
	case tcpOpening:
		last = tcpOtherReset
	case udpUnreplied:
		last = udpReplied
	}
	for s := first; s <= last; s++ {
		if stateWord(s, guestOpened) == word {
			return s
		}
	}
	return first
}

// assured tells a session that both ends have agreed to, and that is not over.
func (s state) assured() bool {
	return s >= tcpEstablished && s <= tcpOtherFin || s == udpReplied
}

// Timeouts are how long a session may be silent. Zero values stand for the
// defaults; times are rounded up to seconds.
type Timeouts struct {
	TCPEstablished time.Duration // also half-closed. 2 h 4 min (RFC 5382, REQ-5)
	TCPTransitory  time.Duration // opening, closed, reset. 4 min (RFC 5382, REQ-5)
	UDP            time.Duration // 5 min (RFC 4787, REQ-5)
	DNS            time.Duration // UDP to port 53. 30 s: REQ-5 a lets well-known ports have less
	ICMP           time.Duration // 60 s (RFC 5508, REQ-2)
}

// seconds is the timeout of every state.
func (t Timeouts) seconds() (s [numStates]int32) {
	or := func(d, otherwise time.Duration) int32 {
		if d <= 0 {
			d = otherwise
		}
		return int32(min((d-1)/time.Second+1, 1<<30))
	}
	transitory := or(t.TCPTransitory, 4*time.Minute)
	for i := range s {
		s[i] = transitory
	}
	established := or(t.TCPEstablished, 2*time.Hour+4*time.Minute)
	s[tcpEstablished], s[tcpOpenerFin], s[tcpOtherFin] = established, established, established
	s[udpUnreplied] = or(t.UDP, 5*time.Minute)
	s[udpReplied] = s[udpUnreplied]
	s[dnsQuery] = or(t.DNS, 30*time.Second)
	s[icmpEcho] = or(t.ICMP, time.Minute)
	return s
}

const dnsPort = 53

// firstState is the state of a session that a packet with that key opens.
func firstState(k key) state {
	switch {
	case k.proto() == protoTCP:
		return tcpOpening
	case k.proto() == protoICMP:
		return icmpEcho
	case k.dport() == dnsPort:
		return dnsQuery
	}
	return udpUnreplied
}

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	_
	ack
)

// direction is which of a session's two keys a packet has.
type direction uint8

const (
	opener direction = iota // of the end that opened the session
	other
)

// nextTCP is the state after a segment with these flags. expected tells that its
// sequence number is one that the other end expects.
func nextTCP(s state, d direction, flags byte, expected bool) state {
	over := s == tcpClosed || s == tcpOpenerReset || s == tcpOtherReset
	switch {
	case flags&(syn|fin|rst) == syn:
		if s == tcpOpening && d == other {
			return tcpEstablished
		}
		if over && d == opener && flags&ack == 0 {
			return tcpOpening
		}
	case flags&rst != 0:
		if expected && s >= tcpEstablished && s <= tcpOtherFin {
			return tcpOpenerReset + state(d)
		}
		return s
	case flags&fin != 0 && expected:
		if s == tcpEstablished {
			return tcpOpenerFin + state(d)
		}
		if s == tcpOtherFin-state(d) {
			return tcpClosed
		}
	}
	if s == tcpOpenerReset+state(d) {
		return tcpEstablished
	}
	return s
}

// Package nat lets the guests of a network share one IPv4 address: it rewrites
// their packets on the way out, the answers on the way in, and what comes for a
// port forward.
//
// It is a table of sessions and the rewriting of bytes. It routes nothing: the
// caller decides which packets come here, decrements TTL, answers ARP and finds
// the next hop of the address that a Verdict names. It knows nothing of IPv6,
// opens no socket, starts no goroutine and reads no clock: time is an argument,
// in seconds of any clock that does not run backwards, the same for all callers.
//
// # Sessions
//
// A session is two keys, one for each direction: the side a packet comes from,
// protocol, both addresses and both ports. What matches one is rewritten to the
// reverse of the other. G is a guest, R a remote, E the external address, S the
// target of a forward of port f, W the gateway's inside address:
//
//	session   opened by                      answered by                    rewritten to
//	outbound  inside  G:g → R:r              outside R:r → E:e              E:e → R:r   R:r → G:g
//	forward   outside R:r → E:f              inside  S:s → R:r              R:r → S:s   E:f → R:r
//	hairpin   inside  G:g → E:f              inside  S:s → W:w              W:w → S:s   E:f → G:g
//
// As the side is part of a key, nobody on the uplink can pass for a guest. The
// port of an ICMP session is the echo identifier. TCP, UDP and ICMP echo have
// sessions; other protocols do not pass.
//
// # Ports
//
// e and w come from a range of ports that the host's own connections stay out
// of; the host must have it in ip_local_reserved_ports. Inbound packets to other
// ports are the host's, unless a forward takes them.
//
// Tables that share an external address (SetSiblings) divide the range between
// them. It may be divided anew while sessions live (SetPorts): those keep their
// ports, also in the range of another table, which leaves them alone. So what is
// nat_no_session here may be of a session there: the caller asks all of them.
//
// Sessions are endpoint-dependent: a port serves many remotes at a time, and
// answers to none that was not asked (RFC 4787, 4.1 and 5). So the range bounds
// the sessions to one remote port, not those of the network. See ports.go for
// which port a session gets: sessions of one guest port have the same external
// port wherever it is free, so most guests see the endpoint-independent mapping
// that RFC 4787 REQ-1 asks for, but nothing promises it.
//
// # Timeouts
//
// A session ends when it has been silent for as long as its state allows:
// RFC 5382 REQ-5, RFC 4787 REQ-5 and RFC 5508 REQ-1; states and TCP's table are
// in state.go. Until Expire finds it an overdue session takes room, but no
// packet matches it.
//
// # Bypass
//
// Packets that change nothing of a session may be rewritten elsewhere, in the
// kernel (bypass.go). The table says in its verdicts which, and what they become
// (Bind), asks when the last passed, and ends there what ends here.
//
// # Bounds, and why they are fair
//
// The table is bounded, and so is each guest's part of it (Config.GuestLimit).
// Whoever is at a bound makes room at its own expense. A guest at its limit
// loses the session of its own that is longest without a packet, of those that
// are no established connection; has it none, then its packet is dropped. Where
// the whole table is full, or all ports to one remote port are taken, then the
// guest with the most sessions loses one to a guest with fewer. So a guest that
// opens sessions as fast as it can soon replaces its own only. What comes in by
// a forward counts for the forward, and not for the guest behind it.
//
// # Fragments
//
// The first fragment of a packet has the ports, and those behind it follow it
// for some seconds. RFC 4787 REQ-14: fragments must come in order. What could
// rewrite the header of the first fragment at the receiver is dropped.
//
// # Threads
//
// Everything may be called from any goroutine. A packet of a session takes no
// lock and waits for nobody; it writes the session's stamp once a second, and
// TCP's acknowledgement every 32 KiB. Opening a session, changing its state and
// ending it take the table's one mutex, for some 0.3 µs, or 1.5 where the ports to
// a remote run out; Expire takes it for some 20 µs at a time. One is enough: it
// opens two million sessions a second (BenchmarkOpen), a session is in the table
// under two keys that no shard would share, and who is to give way is decided over
// all of them. Fragments take a mutex of their own.
//
// # Failure
//
// A packet that can't pass has a frame.DropReason:
//
//	malformed       its headers contradict themselves, or hide behind fragments
//	spoof_ip        its source is on the other side, or is the switch itself
//	no_route        there is no external address, or its destination is nobody's
//	nat_exhausted   no room or no port for a new session
//	nat_no_session  no session, and it can't open one
//
// # Restart
//
// Sessions live in this process's memory. To keep them over a restart the caller
// writes Sessions somewhere now and then and gives them to Restore: TCP
// connections that were opened since are lost, but for those whose flows a Bypass
// has kept (SessionOf). A port is a function of
// Config.Secret and the guest's port where it is free, so a caller that also
// keeps the secret has most UDP flows come back to the port they had.
package nat

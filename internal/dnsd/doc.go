// Package dnsd is a network's DNS server on the host's leg: it answers for the
// stations of the network out of Names, and forwards everything else.
//
// It is a forwarder with a cache. It does not resolve from the root, does not
// validate DNSSEC (the DO and CD bits pass, AD is cleared: it was not us who
// looked), and has no zones.
//
// # Whom it answers
//
// Guests and the host, and it can be nobody else. The sockets have a filter that
// passes what comes by the leg and by the loopback: by another interface not even a
// connection begins. They are not bound to the leg, because then an answer could not
// go to another address of the host's. The source must be one of Config.Sources, an
// IPv6 link-local one, or the host's, which the kernel takes from nobody else.
// Others get no answer, which they could have had sent to somebody else.
//
// # What it answers
//
//	name                        answer
//	NAME.domain                 the station's addresses; NXDOMAIN where there is none
//	NAME                        likewise; an unknown one is not taken outside
//	reverse, of a station       its name
//	reverse, private, Sources   NXDOMAIN
//	localhost                   the loopback (RFC 6761, 6.3)
//	type ANY                    HINFO (RFC 8482)
//	any other                   the upstream's answer, or the cache's
//
// Nothing below the domain goes to the upstream, so a domain that exists
// elsewhere too is hidden. An answer of the upstream that leads to a private,
// link-local or loopback address loses that record: a web page outside could use
// it to reach what is inside (DNS rebinding). Config.RebindOK names domains where
// such addresses are meant.
//
// An answer is cached as a whole, under its question, for the shortest TTL in it.
// So what an upstream adds to an answer is never taken for another name.
//
// # The upstream
//
// "system" is what resolv.conf(5) names, read again when a second has passed. The
// stub of systemd-resolved (127.0.0.53) is used like any other server: it knows
// which domains go to which link (VPN), and the files behind it don't. It may be
// configured to ask this server. Such a circle ends at once: our own addresses
// are never an upstream, and a question that is already on its way is not sent a
// second time, so the one that comes back waits for itself until both time out.
//
// Questions go out from a new socket each, that is with a random port, and a
// random ID (RFC 5452). An answer that is truncated is fetched again over TCP.
//
// # Bounds
//
// What guests can make this server hold is bounded: questions on their way to the
// upstream in all and by source, TCP connections likewise, and the cache in bytes.
//
// # Threads
//
// A goroutine a question, by the library. Names must be safe for that.
package dnsd
